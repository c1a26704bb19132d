-- A session's way to the core: the recipe for its credential, and the handles made from it for the process that
-- uses them. Secrets (a service token) live in the recipe's closure, so that no table of ours shows them.
local core = require "dpg.core"
local errors = require "dpg.errors"
local hubs = require "dpg.hub"
local stores = require "dpg.store"

local M = {}

---@class dpg.Connection
---@field base_url string
---@field origin string
local Connection = {}
Connection.__index = Connection
Connection.__name = "dpg.Connection"

---The hub and the credential, made anew in a child made by fork.
---@return dpg.Hub?
---@return any credential_or_err
function Connection:open()
  if self._hub and self._hub.engine:is_mine() then return self._hub, self._credential end
  local hub, err = hubs.get(self._config)
  if not hub then return nil, err end
  local credential
  credential, err = self._make(hub)
  if not credential then return nil, errors.from_core(err) end
  self._hub, self._credential = hub, credential
  if self._config.on_event then hub:listen(self._config.on_event, credential) end
  return hub, credential
end

---What the core knows of the person: accounts, state, reason, generation, rotations. Nil when there is no handle yet.
---@return table?
function Connection:info()
  return self._credential and self._credential:info()
end

local function new(config, make)
  return setmetatable({
    base_url = config.base_url, origin = config.origin, _config = config, _make = make,
  }, Connection)
end

---@param config table
---@param token string
---@return dpg.Connection
function M.service(config, token)
  return new(config, function(hub) return core.service(hub.engine, config.base_url, token) end)
end

---@param config table
---@param store dpg.Store|dpg.LuaStore
---@param replay? boolean
---@return dpg.Connection
function M.person(config, store, replay)
  return new(config, function(hub)
    local handle, err = stores.handle(hub, store)
    if not handle then return nil, err end
    return core.person(hub.engine, config.base_url, handle, replay ~= nil and { replay = replay } or nil)
  end)
end

return M
