-- Big files that nobody has to keep: bytes that look random and are computed from a seed and an offset, so that any
-- range can be had at once. A test that knows the seed knows every byte. Pure.
--
-- A file is made of blocks of 64 KiB. Block n (from 0) begins with 32 bytes that name seed and n
-- ("dpgblob 0000000007 000000000003 "), followed by 65,504 bytes out of a pool of pseudo-random ones, taken from
-- another place in each block.

local random = require "dpg.sandbox.random"

local M = {}

local BLOCK = 65536
local HEAD = "dpgblob %010d %012d "
local HEAD_BYTES = 32
local POOL = 2 * BLOCK
local STEP = 40503 -- from one block's place in the pool to the next one's
local MAX_SEED = 9999999999

local MAX_POOLS = 32
local pools, pool_count = {}, 0 -- by their seeds, for the files that are read side by side
local last = {} -- the last block made

local function pool_of(seed)
  if pools[seed] then return pools[seed] end
  local number, parts = random.dice(seed).number, {}
  for index = 1, POOL / 4 do
    parts[index] = string.char(number(256) - 1, number(256) - 1, number(256) - 1, number(256) - 1)
  end
  if pool_count >= MAX_POOLS then
    pools, pool_count = {}, 0
  end
  pools[seed], pool_count = table.concat(parts), pool_count + 1
  return pools[seed]
end

local function block(seed, n)
  if last.seed == seed and last.n == n then return last.bytes end
  local from = n * STEP % (POOL - BLOCK + HEAD_BYTES)
  local bytes = HEAD:format(seed, n) .. pool_of(seed):sub(from + 1, from + BLOCK - HEAD_BYTES)
  last = { seed = seed, n = n, bytes = bytes }
  return bytes
end

---@param value any
---@return boolean  whether it can be a seed
function M.is_seed(value)
  return type(value) == "number" and value >= 0 and value <= MAX_SEED and value % 1 == 0
end

---@param seed integer  0 to 9,999,999,999
---@param offset integer  from 0
---@param count integer
---@return string bytes
function M.bytes(seed, offset, count)
  local parts, stop = {}, offset + count
  while offset < stop do
    local n = math.floor(offset / BLOCK)
    local from = offset - n * BLOCK
    local to = math.min(BLOCK, stop - n * BLOCK)
    local whole = block(seed, n)
    parts[#parts + 1] = to - from == BLOCK and whole or whole:sub(from + 1, to)
    offset = n * BLOCK + to
  end
  return table.concat(parts)
end

---The seed of which these bytes are the beginning, by their first 32 bytes.
---@param text string
---@return integer? seed
function M.seed_of(text)
  local seed = text:match "^dpgblob (%d%d%d%d%d%d%d%d%d%d) 000000000000 "
  return seed and math.floor(tonumber(seed)) or nil
end

return M
