-- What bench/instructions.lua counts: the client at work against the server in bench/alone.c. Each kind of work is warm
-- and between two marks, and its garbage is taken out within them.
local alone = require "alone"
local dpg = require "dpg"

local FIELDS = { "public_uuid", "title", "keywords" }

local IMAGE = "be66ea4e-7b1c-4c1e-9d0a-3f2b8a6c1d55"

local gallery = dpg.assert(dpg.service {
  token = "dpg_api_live_bench", base_url = "http://127.0.0.1:1/v1", on_event = function() end,
})

local function me() dpg.assert(gallery:me()) end

local function at_once(count)
  dpg.run(function()
    for _ = 1, 8 do
      dpg.spawn(function()
        for _ = 1, count / 8 do me() end
      end)
    end
  end)
end

local function each(work)
  return function(count)
    for _ = 1, count do work() end
  end
end

local WORKS = {
  { "me", 100, each(me) },
  { "at-once", 96, at_once },
  { "write", 48, each(function() dpg.assert(gallery.images:set_rating(IMAGE, 4)) end) },
  { "page", 10, each(function() dpg.assert(gallery.images:list { limit = 50 }) end) },
  { "fields", 10, each(function() dpg.assert(gallery.images:list { limit = 50, fields = FIELDS }) end) },
}

for _, work in ipairs(WORKS) do
  local name, count, perform = work[1], work[2], work[3]
  perform(8)
  -- A collector that comes and goes would count one time more than another: here it comes once.
  collectgarbage()
  collectgarbage "stop"
  alone.mark "-"
  perform(count)
  collectgarbage()
  alone.mark(("%s %d"):format(name, count))
  collectgarbage "restart"
end
