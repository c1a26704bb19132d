-- Decoding beside lua-cjson: the same texts, in turns, in one process. Says how many times as fast we are.
--
--   LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='build/lua5.4/?.so;;' lua5.4 bench/json.lua [ROUNDS]
--
-- The texts are pages of the sandbox's library, the same on every machine and Lua. Time is the process's CPU time, with
-- the collector running as it does for everybody; each turn begins with a clean heap. Of the turns' ratios the median
-- counts, and the quartiles say how far to trust it.

local cjson = require "cjson"
local core = require "dpg.core"
local json = require "dpg.sandbox.json"
local page = dofile "bench/pages.lua"

local TURN_SECONDS = 0.06

local rounds = assert(tonumber(arg[1] or 31), "usage: bench/json.lua [ROUNDS]")

-- --- what is decoded -----------------------------------------------------------------------------------------------

local function numbers(count)
  local list = {}
  for i = 1, count do list[i] = i % 3 == 0 and i * 7 / 16 or i * 1103 end
  return json.encode(list)
end

local three = { public_uuid = true, title = true, keywords = true }
local nested = { public_uuid = true, title = true, thumbnail = { url = true } }

local works = { -- name, text, what is wanted of it (nil: all; lua-cjson always decodes all)
  { "page of 200 images", page(200, "brief") },
  { "page of 128 images", page(128, "brief") },
  { "page of 50 images", page(50, "brief") },
  { "  three fields", page(200, "brief"), three },
  { "  three, one nested", page(200, "brief"), nested },
  { "50 whole images", page(50, "whole") },
  { "  three fields", page(50, "whole"), three },
  { "1 whole image", page(1, "whole") },
  { "20000 numbers", numbers(20000) },
}

-- --- turns ---------------------------------------------------------------------------------------------------------

local function turn(decode, text, times)
  collectgarbage()
  collectgarbage()
  local from = os.clock()
  for _ = 1, times do decode(text) end
  return (os.clock() - from) / times
end

local function times_for(decode, text)
  local times = 1
  while true do
    local spent = turn(decode, text, times) * times
    if spent >= TURN_SECONDS / 4 then return math.max(1, math.ceil(times * TURN_SECONDS / spent)) end
    times = times * 4
  end
end

local function quantiles(list)
  table.sort(list)
  local function at(part) return list[math.floor((#list - 1) * part + 1.5)] end
  return at(0.5), at(0.25), at(0.75)
end

local function measure(name, text, wanted)
  local function decode() return core.decode(text, nil, wanted) end
  local times = times_for(cjson.decode, text)
  local theirs, ratios = {}, {}
  for i = 1, rounds do
    theirs[i] = turn(cjson.decode, text, times)
    ratios[i] = theirs[i] / turn(decode, text, times)
  end
  print(string.format("%-20s %6.1f KB   lua-cjson %7.1f us   dpg %.2fx as fast (%.2f to %.2f)", name, #text / 1000,
    (quantiles(theirs)) * 1e6, quantiles(ratios)))
end

print(rawget(_G, "jit") and rawget(_G, "jit").version or _VERSION)
for _, work in ipairs(works) do measure(work[1], work[2], work[3]) end
