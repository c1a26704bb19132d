-- A look at the record that a file store keeps, for specs that ask what a crash or an exit has left.
local process = require "support.process"
local sandbox = require "dpg.sandbox"

local M = {}

---@param path string
---@return { id: string?, marked: boolean, refresh_token: string? }?  nil: there is no whole record. `id` names the
---  refresh token as the sandbox's refresh_tokens() does; `marked`: an exchange of it has begun and not been saved
function M.read(path)
  local length, body = (process.read_file(path) or ""):match "^dpg%-record 1 (%d+) %x+\n(.*)$"
  if not length or #body ~= tonumber(length) then return nil end
  local token = body:match '"(dpg_rt_%x+)"'
  return {
    id = token and sandbox.digest(token), marked = body:find('"in_flight":true', 1, true) ~= nil, refresh_token = token,
  }
end

return M
