-- dpg beside copas: several calls at once, while copas goes round.
--
--   DPG_TOKEN=dpg_api_live_… lua5.1 examples/copas.lua
--
-- DPG_BASE_URL points it somewhere else than at the real API: at `dpg-sandbox`, say.
local copas = require "copas"
local dpg = require "dpg"

local gallery = dpg.assert(dpg.service { token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL" })
local ticks, is_done = 0, false

local loop = dpg.assert(dpg.loop())
-- copas waits for sockets: this one has nothing to read at first, and something as soon as there is to be stepped
local watcher = { getfd = function() return loop:fd() end, dirty = function() return false end }
function watcher.close() end
function watcher:receive()
  self.has_waited = not self.has_waited
  if self.has_waited then return nil, "timeout" end
  return ""
end
copas.addthread(function()
  repeat copas.receive(watcher, 1) until loop:step() == 0
  is_done = true
end)

for page = 1, 4 do
  loop:spawn(function()
    local images = dpg.assert(gallery.images:list { limit = 25, offset = (page - 1) * 25 })
    print("page " .. page .. ": " .. images.items[1].title, "at tick " .. ticks)
  end)
end
while not is_done do
  copas.step(0.005)
  ticks = ticks + 1
end
loop:close()
