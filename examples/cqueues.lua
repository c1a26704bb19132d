-- dpg in a cqueues controller: several calls at once, while another coroutine of cqueues' ticks on.
--
--   DPG_TOKEN=dpg_api_live_… lua5.4 examples/cqueues.lua
--
-- DPG_BASE_URL points it somewhere else than at the real API: at `dpg-sandbox`, say.
local cqueues = require "cqueues"
local dpg = require "dpg"

local gallery = dpg.assert(dpg.service { token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL" })
local ticks, is_done, controller = 0, false, cqueues.new()

local loop = dpg.assert(dpg.loop())
local watcher = { pollfd = loop:fd(), events = "r" }
controller:wrap(function()
  repeat cqueues.poll(watcher) until loop:step() == 0
  is_done = true
end)
controller:wrap(function()
  while not is_done do
    ticks = ticks + 1
    cqueues.sleep(0.005)
  end
end)

for page = 1, 4 do
  loop:spawn(function()
    local images = dpg.assert(gallery.images:list { limit = 25, offset = (page - 1) * 25 })
    print("page " .. page .. ": " .. images.items[1].title, "at tick " .. ticks)
  end)
end
assert(controller:loop())
loop:close()
