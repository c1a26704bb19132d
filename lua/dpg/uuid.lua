-- Random UUIDs (version 4, RFC 9562 section 5.4) for Idempotency-Keys, from the system's random numbers.
local core = require "dpg.core"

---@return string
return function()
  local b = { core.random_bytes(16):byte(1, 16) }
  b[7] = b[7] % 16 + 64
  b[9] = b[9] % 64 + 128
  local hex = {}
  for i = 1, 16 do hex[i] = string.format("%02x", b[i]) end
  local text = table.concat(hex)
  return (text:gsub("^(........)(....)(....)(....)", "%1-%2-%3-%4-"))
end
