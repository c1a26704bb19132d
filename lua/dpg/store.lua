-- Where a person's tokens are kept: in a file, in memory, or wherever a table with the four operations keeps them. The
-- first two are the core's own; here they are only named, so that the same store can be opened again in another
-- process. dpg.sign_in and dpg.resume take them. What a store has to do: doc/stores.md.
local core = require "dpg.core"
local errors = require "dpg.errors"
local serve = require "dpg.serve"

local M = {}

---@class dpg.Store
---@field kind "file"|"memory"  where it keeps
---@field path? string  of a file
local Store = {}
Store.__index = Store
Store.__name = "dpg.Store"

function Store:__tostring()
  return self.path and "dpg.Store (file " .. self.path .. ")" or "dpg.Store (memory)"
end

-- The core's object. A file is opened anew by each engine; memory is one object, which refuses another process
-- itself.
function Store:_handle(engine)
  if self._core and (self.kind == "memory" or self._engine == engine) then return self._core end
  local err
  if self.kind == "memory" then
    self._core, err = core.memory_store()
  else
    self._core, err = core.file_store(self.path)
  end
  self._engine = engine
  if not self._core then return nil, err end
  return self._core
end

---Keeps the session in a file (mode 0600), so that the next run needs no password. All processes of a machine may
---share it.
---@param path string
---@return dpg.Store
function M.file(path)
  if type(path) ~= "string" or path == "" or path:find("%z") then
    errors.raise("dpg.store.file: a path expected, got %s", type(path) == "string" and "an empty one" or type(path))
  end
  if path:match("^~") then
    errors.raise("dpg.store.file: '~' means a home directory in a shell only: os.getenv \"HOME\" .. \"/…\" expected")
  end
  return setmetatable({ kind = "file", path = path }, Store)
end

local memories = 0

---Keeps the session in this process's memory: it ends with it.
---@return dpg.Store
function M.memory()
  memories = memories + 1
  return setmetatable({ kind = "memory", _number = memories }, Store)
end

-- What a store written in Lua can do.
local OPERATIONS = { "lock", "load", "save", "unlock" }

-- The same of a store that is kept in C.
local Operations = { __name = "dpg.Store" }
Operations.__index = Operations

for _, name in ipairs(OPERATIONS) do
  Operations[name] = function(self, ...)
    local handle = self._handle
    return handle[name](handle, ...)
  end
end

function Operations:__tostring()
  return tostring(self._store)
end

---Checks what was given as `store`; raises, and says which stores there are.
---@param where string
---@param store any
---@return dpg.Store|dpg.LuaStore
function M.accept(where, store)
  if getmetatable(store) == Store then return store end
  if store == nil then
    errors.raise("%s: option 'store' is missing: dpg.store.file(path) keeps the session for the next run, "
      .. "dpg.store.memory() for this process only", where)
  end
  if type(store) ~= "table" then
    errors.raise("%s: option 'store': a store expected (dpg.store.file(path), dpg.store.redis{ … }, a table of your "
      .. "own), got %s", where, type(store))
  end
  for _, name in ipairs(OPERATIONS) do
    if type(store[name]) ~= "function" then
      errors.raise("%s: option 'store': a store is a table with the functions lock, load, save and unlock; '%s' is %s",
        where, name, type(store[name]))
    end
  end
  return store
end

---The four operations of any store, as doc/stores.md says them.
---@param store dpg.Store|dpg.LuaStore
---@return dpg.LuaStore? operations
---@return dpg.Error? err
function M.operations(store)
  if getmetatable(store) ~= Store then return store end
  local handle, err
  if store.kind == "memory" then
    handle, err = store:_handle()
  else
    handle, err = core.file_store(store.path, true)
  end
  if not handle then return nil, errors.from_core(err) end
  local identity = store.path and "file " .. store.path or "memory " .. store._number
  return setmetatable({ lease = false, identity = identity, _handle = handle, _store = store }, Operations)
end

---The core's handle of a store, for an engine.
---@param hub dpg.Hub
---@param store dpg.Store|dpg.LuaStore
---@return userdata? handle
---@return table? err
function M.handle(hub, store)
  if getmetatable(store) == Store then return store:_handle(hub.engine) end
  return serve.handle(hub, store)
end

return M
