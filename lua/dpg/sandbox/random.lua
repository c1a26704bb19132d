-- Unguessable names for tokens, Operations and requests (from /dev/urandom, where there is one), and the repeatable
-- generator that seeds the library.

local hash = require "dpg.sandbox.hash"

local M = {}

local POOL_BYTES = 4096
local pool, position = "", 1

local function weak_bytes(count)
  local bytes = {}
  for index = 1, count do
    bytes[index] = string.char(math.random(0, 255))
  end
  return table.concat(bytes)
end

local function refill()
  local file = io.open("/dev/urandom", "rb")
  if file then
    file:setvbuf("full", POOL_BYTES)
    pool = file:read(POOL_BYTES)
    file:close()
  else
    math.randomseed(os.time())
    pool = weak_bytes(POOL_BYTES)
  end
  position = 1
end

---@param count integer  at most 4096
---@return string
function M.bytes(count)
  if position + count - 1 > #pool then refill() end
  local bytes = pool:sub(position, position + count - 1)
  position = position + count
  return bytes
end

---@param count integer  bytes, of two digits each
---@return string
function M.hex(count)
  return hash.hex(M.bytes(count))
end

local function uuid_from(hex)
  return ("%s-%s-4%s-a%s-%s"):format(hex:sub(1, 8), hex:sub(9, 12), hex:sub(14, 16), hex:sub(18, 20), hex:sub(21, 32))
end

---@return string
function M.uuid()
  return uuid_from(M.hex(16))
end

---A repeatable generator: Lehmer's, exact in doubles, so that every Lua makes the same library.
---@param seed integer
---@return table dice  `number(n)` from 1 to n, `pick(list)`, `chance(percent)`, `uuid()`
function M.dice(seed)
  local state = seed % 2147483646 + 1
  local dice = {}
  function dice.number(n)
    state = state * 16807 % 2147483647
    return math.floor(state / 7) % n + 1
  end
  function dice.pick(list) return list[dice.number(#list)] end
  function dice.chance(percent) return dice.number(100) <= percent end
  function dice.uuid()
    local hex = {}
    for index = 1, 8 do
      hex[index] = string.format("%04x", dice.number(65536) - 1)
    end
    return uuid_from(table.concat(hex))
  end
  for _ = 1, 8 do dice.number(2) end
  return dice
end

return M
