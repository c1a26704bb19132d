-- A signed-in person: their accounts, a session for each, signing out. All their sessions share one rotation, in
-- the core.
local call = require "dpg.call"
local config = require "dpg.config"
local errors = require "dpg.errors"
local methods = require "dpg.methods"
local session = require "dpg.session"

local M = {}

---@class dpg.User
---@field accounts dpg.Account[]  `uuid`, `name`, `unique_id`, and whatever else the server says of them
---@field person? table  who it is, as the server says
local User = {}
User.__index = User
User.__name = "dpg.User"

---@param connection dpg.Connection
---@param settings table
---@return dpg.User
function M.new(connection, settings)
  local info = connection:info() or {}
  return setmetatable({
    accounts = info.accounts or {}, person = info.user, _connection = connection, _config = settings,
  }, User)
end

function User:__tostring()
  return string.format("dpg.User (%d accounts, %s)", #self.accounts, self._connection.base_url)
end

---A session for one of the person's accounts. Sends nothing.
---@param uuid string  from `user.accounts`
---@param options? dpg.CallOptions  for this session: they beat those of dpg.sign_in
---@return dpg.Session? session
---@return dpg.Error? err  kind "usage", code "unknown_account"
function User:account(uuid, options)
  if type(uuid) ~= "string" then errors.raise("user:account: an account's uuid expected, got %s", type(uuid)) end
  options = config.check("user:account", options, config.CALL)
  config.check_call_retry("user:account", options)
  local known = #self.accounts == 0 and uuid ~= ""
  for _, account in ipairs(self.accounts) do known = known or account.uuid == uuid end
  if not known then
    return nil, errors.usage("unknown_account", "this person has no account with this uuid: user.accounts has them",
      { field = "uuid" })
  end
  local settings = {}
  for name, value in pairs(self._config) do settings[name] = value end
  for name, value in pairs(options) do settings[name] = value end
  return session.new(self._connection, settings, uuid)
end

---Forgets the tokens, here and in the store. Their sessions can do nothing from now on.
---@return boolean? ok
---@return dpg.Error? err  kind "storage": the store could not be written, and still holds the session
function User:sign_out()
  local status, err = call.credential(self._connection, "forget", nil, config.merge({}, self._config))
  if self._config.cache then self._config.cache:_disown(self._connection) end
  if not status then return nil, errors.from_core(err) end
  return true
end

methods(User, "user")

return M
