-- SHA-1 and HMAC-SHA-1 (RFC 3174, RFC 2104) in plain Lua, for authenticator codes and for naming tokens without
-- showing them, a quick checksum for ETags, and CRC-32 for ZIP files. Bit operations come from where each Lua has them:
-- `bit` (LuaJIT), `bit32` (5.2), the operators (5.3 on), or nibble tables (5.1).

local M = {}

local WORD = 2 ^ 32

local function from_operators()
  local compile = load or loadstring -- luacheck: ignore 113
  local chunk = compile and compile [[
    return { band = function(a, b) return a & b end, bor = function(a, b) return a | b end,
             bxor = function(a, b) return a ~ b end, bnot = function(a) return ~a & 0xffffffff end }
  ]]
  return chunk and chunk()
end

local function nibble_table(operation)
  local rows = {}
  for a = 0, 15 do
    rows[a] = {}
    for b = 0, 15 do
      local result, bit = 0, 1
      for place = 0, 3 do
        local x, y = math.floor(a / 2 ^ place) % 2, math.floor(b / 2 ^ place) % 2
        result = result + operation(x, y) * bit
        bit = bit * 2
      end
      rows[a][b] = result
    end
  end
  return function(a, b)
    local result, place = 0, 1
    for _ = 1, 8 do
      local x, y = a % 16, b % 16
      result = result + rows[x][y] * place
      a, b, place = (a - x) / 16, (b - y) / 16, place * 16
    end
    return result
  end
end

local function from_tables()
  return {
    band = nibble_table(function(x, y) return x * y end),
    bor = nibble_table(function(x, y) return x + y - x * y end),
    bxor = nibble_table(function(x, y) return (x + y) % 2 end),
    bnot = function(a) return WORD - 1 - a end,
  }
end

local function bit_operations()
  for _, name in ipairs { "bit", "bit32" } do
    local ok, library = pcall(require, name)
    if ok and type(library) == "table" then return library end
  end
  local ok, library = pcall(from_operators)
  return ok and library or from_tables()
end

local bits = bit_operations()
local band, bor, bxor, bnot = bits.band, bits.bor, bits.bxor, bits.bnot

-- Left rotation by arithmetic: the same everywhere, whatever signs a bit library likes.
local function rotate(word, count)
  word = word % WORD
  local high = math.floor(word / 2 ^ (32 - count))
  return (word * 2 ^ count) % WORD + high
end

-- `%` makes LuaJIT's signed results unsigned again; math.floor keeps integers on 5.3 and 5.4, whose operators want
-- them.
local function whole(word)
  return math.floor(word % WORD)
end

local function word_bytes(word)
  return string.char(math.floor(word / 2 ^ 24) % 256, math.floor(word / 2 ^ 16) % 256, math.floor(word / 2 ^ 8) % 256,
    word % 256)
end

local function schedule(block, offset)
  local words = {}
  for index = 0, 15 do
    local a, b, c, d = block:byte(offset + index * 4, offset + index * 4 + 3)
    words[index] = whole(((a * 256 + b) * 256 + c) * 256 + d)
  end
  for index = 16, 79 do
    local mixed = bxor(bxor(words[index - 3], words[index - 8]), bxor(words[index - 14], words[index - 16]))
    words[index] = whole(rotate(mixed, 1))
  end
  return words
end

local function choose(b, c, d) return bor(band(b, c), band(bnot(b), d)) end
local function parity(b, c, d) return bxor(bxor(b, c), d) end
local function majority(b, c, d) return bor(bor(band(b, c), band(b, d)), band(c, d)) end

local rounds = { -- of twenty steps each
  { choose, 0x5a827999 }, { parity, 0x6ed9eba1 }, { majority, 0x8f1bbcdc }, { parity, 0xca62c1d6 },
}

local function compress(state, words)
  local a, b, c, d, e = state[1], state[2], state[3], state[4], state[5]
  for step = 0, 79 do
    local round = rounds[math.floor(step / 20) + 1]
    local mixed = whole(rotate(a, 5) + whole(round[1](b, c, d)) + e + round[2] + words[step])
    a, b, c, d, e = mixed, a, whole(rotate(b, 30)), c, d
  end
  for index, word in ipairs { a, b, c, d, e } do
    state[index] = whole(state[index] + word)
  end
end

---@param text string
---@return string digest  20 bytes
function M.sha1(text)
  local length = #text
  local padded = text .. "\128" .. ("\0"):rep((55 - length) % 64) .. word_bytes(math.floor(length / 2 ^ 29))
    .. word_bytes(length * 8 % WORD)
  local state = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 }
  for offset = 1, #padded, 64 do
    compress(state, schedule(padded, offset))
  end
  local parts = {}
  for index, word in ipairs(state) do
    parts[index] = word_bytes(word)
  end
  return table.concat(parts)
end

local function xor_key(key, byte)
  local bytes = {}
  for index = 1, 64 do
    bytes[index] = string.char(bxor(key:byte(index) or 0, byte))
  end
  return table.concat(bytes)
end

---@param key string
---@param text string
---@return string digest  20 bytes
function M.hmac_sha1(key, text)
  if #key > 64 then key = M.sha1(key) end
  return M.sha1(xor_key(key, 0x5c) .. M.sha1(xor_key(key, 0x36) .. text))
end

local digits = {}
for byte = 0, 255 do
  digits[string.char(byte)] = string.format("%02x", byte)
end

---@param bytes string
---@return string
function M.hex(bytes)
  return (bytes:gsub(".", digits))
end

---The name under which a token may be shown, logged and compared: the first 12 hex digits of its SHA-1.
---@param token string
---@return string id
function M.token_id(token)
  return M.hex(M.sha1(token):sub(1, 6))
end

---A checksum that is quick on every Lua; it guards nothing.
---@param text string
---@return string  13 hex digits
function M.checksum(text)
  local byte = string.byte
  local one, two = 5381, 52711
  for index = 1, #text, 4 do
    local a, b, c, d = byte(text, index, index + 3)
    local word = ((a * 256 + (b or 1)) * 256 + (c or 1)) * 256 + (d or 1)
    one = (one * 65599 + word) % 4294967291
    two = (two * 31 + one) % 16777213
  end
  return string.format("%08x%05x", math.floor(one), two % 0x100000)
end

-- CRC-32 byte by byte, since whole words are slow where Lua has no bit operations.

local xor -- xor[a][b] of bytes
local crc_bytes -- the four bytes of each entry of CRC-32's table, the lowest first

local function make_xor()
  local nibbles = nibble_table(function(x, y) return (x + y) % 2 end)
  local rows = {}
  for a = 0, 255 do
    local row = {}
    for b = 0, 255 do
      row[b] = a < 16 and b < 16 and nibbles(a, b) or false
    end
    rows[a] = row
  end
  for a = 0, 255 do
    local row, low, high = rows[a], rows[a % 16], rows[math.floor(a / 16)]
    for b = 0, 255 do
      row[b] = row[b] or high[math.floor(b / 16)] * 16 + low[b % 16]
    end
  end
  return rows
end

local function make_crc_bytes()
  local columns = { {}, {}, {}, {} }
  for index = 0, 255 do
    local word = index
    for _ = 1, 8 do
      local odd = word % 2 == 1
      word = math.floor(word / 2)
      if odd then word = whole(bxor(word, 0xedb88320)) end
    end
    for place = 1, 4 do
      columns[place][index] = math.floor(word / 256 ^ (place - 1)) % 256
    end
  end
  return columns
end

---CRC-32 (ISO 3309, as in ZIP) of what is added piece by piece.
---@return table sum  add(text), value()
function M.crc32()
  xor, crc_bytes = xor or make_xor(), crc_bytes or make_crc_bytes()
  local rows, one, two, three, four = xor, crc_bytes[1], crc_bytes[2], crc_bytes[3], crc_bytes[4]
  local a, b, c, d = 255, 255, 255, 255 -- the sum's bytes, the lowest first
  local sum = {}
  function sum.add(text)
    for index = 1, #text do
      local entry = rows[a][text:byte(index)]
      a, b, c, d = rows[b][one[entry]], rows[c][two[entry]], rows[d][three[entry]], four[entry]
    end
  end
  function sum.value()
    return (((255 - d) * 256 + 255 - c) * 256 + 255 - b) * 256 + 255 - a
  end
  return sum
end

return M
