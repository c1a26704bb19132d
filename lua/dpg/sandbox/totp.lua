-- Authenticator codes: RFC 6238 (SHA-1, 30 seconds, six digits) over RFC 4226, and the Base32 in which secrets are
-- shown (RFC 4648). Pure: the time is handed in.

local hash = require "dpg.sandbox.hash"

local M = { STEP_S = 30 }

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

---@param text string  Base32 in either case, blanks and padding ignored
---@return string bytes
function M.from_base32(text)
  local bytes, bits, count = {}, 0, 0
  for char in text:upper():gmatch "[A-Z2-7]" do
    bits = bits * 32 + ALPHABET:find(char, 1, true) - 1
    count = count + 5
    if count >= 8 then
      count = count - 8
      local byte = math.floor(bits / 2 ^ count)
      bytes[#bytes + 1] = string.char(byte)
      bits = bits - byte * 2 ^ count
    end
  end
  return table.concat(bytes)
end

---@param bytes string
---@return string text  Base32 without padding
function M.to_base32(bytes)
  local text, bits, count = {}, 0, 0
  local function put(width)
    local index = math.floor(bits / 2 ^ (count - width))
    bits = bits - index * 2 ^ (count - width)
    count = count - width
    text[#text + 1] = ALPHABET:sub(index + 1, index + 1)
  end
  for position = 1, #bytes do
    bits, count = bits * 256 + bytes:byte(position), count + 8
    while count >= 5 do put(5) end
  end
  if count > 0 then
    bits, count = bits * 2 ^ (5 - count), 5
    put(5)
  end
  return table.concat(text)
end

local function counter_bytes(counter)
  local bytes = {}
  for place = 8, 1, -1 do
    bytes[place] = string.char(counter % 256)
    counter = math.floor(counter / 256)
  end
  return table.concat(bytes)
end

---@param secret string  raw bytes
---@param time number  Unix seconds
---@param digits? integer  6
---@return string code
function M.code(secret, time, digits)
  local digest = hash.hmac_sha1(secret, counter_bytes(math.floor(time / M.STEP_S)))
  local offset = digest:byte(20) % 16 + 1
  local a, b, c, d = digest:byte(offset, offset + 3)
  local number = (((a % 128) * 256 + b) * 256 + c) * 256 + d
  digits = digits or 6
  return string.format("%0" .. digits .. "d", math.floor(number % 10 ^ digits))
end

---Whether a code is the present one or a neighbour, since clocks differ.
---@param secret string
---@param time number
---@param code string
---@return boolean
function M.accepts(secret, time, code)
  for drift = -1, 1 do
    if M.code(secret, time + drift * M.STEP_S) == code then return true end
  end
  return false
end

return M
