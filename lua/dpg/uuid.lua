-- Random UUIDs (version 4, RFC 9562 section 5.4) for Idempotency-Keys, from the system's random numbers.
local core = require "dpg.core"

local HEX = {}
for byte = 0, 255 do HEX[byte] = string.format("%02x", byte) end

---@return string
return function()
  local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p = core.random_bytes(16):byte(1, 16)
  g, i = g % 16 + 64, i % 64 + 128
  return HEX[a] .. HEX[b] .. HEX[c] .. HEX[d] .. "-" .. HEX[e] .. HEX[f] .. "-" .. HEX[g] .. HEX[h] .. "-" .. HEX[i]
    .. HEX[j] .. "-" .. HEX[k] .. HEX[l] .. HEX[m] .. HEX[n] .. HEX[o] .. HEX[p]
end
