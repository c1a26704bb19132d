-- dpg in luv's event loop: several calls at once, while a timer of luv's ticks on.
--
--   DPG_TOKEN=dpg_api_live_… lua5.4 examples/luv.lua
--
-- DPG_BASE_URL points it somewhere else than at the real API: at `dpg-sandbox`, say.
local dpg = require "dpg"
local uv = require "luv"

local gallery = dpg.assert(dpg.service { token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL" })
local ticks, timer = 0, uv.new_timer()
timer:start(0, 5, function() ticks = ticks + 1 end)

local loop = dpg.assert(dpg.loop())
local watcher = uv.new_poll(loop:fd())
watcher:start("r", function()
  if loop:step() > 0 then return end
  watcher:close()
  timer:close()
end)

for page = 1, 4 do
  loop:spawn(function()
    local images = dpg.assert(gallery.images:list { limit = 25, offset = (page - 1) * 25 })
    print("page " .. page .. ": " .. images.items[1].title, "at tick " .. ticks)
  end)
end
uv.run()
loop:close()
