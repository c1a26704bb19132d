-- The smallest store in Lua that keeps its promises: a table, for specs that break it, or look inside.
local core = require "dpg.core"

local Store = {}
Store.__index = Store

function Store:lock(owner, ttl)
  local kept, now = self.kept, core.now()
  if kept.owner and kept.owner ~= owner and now < kept.till then return false, 0.02, kept.owner end
  kept.owner, kept.till = owner, now + ttl
  return true
end

function Store:unlock(owner)
  if self.kept.owner == owner then self.kept.owner = nil end
  return true
end

function Store:load()
  return self.kept.bytes
end

function Store:save(bytes, expected)
  if self.kept.bytes ~= expected then return false end
  self.kept.bytes = bytes
  return true
end

---@param kept? table  what is kept, `bytes`: two stores with the same table are two handles of one record
---@param overrides? table<string, function>
---@return dpg.LuaStore
return function(kept, overrides)
  local store = setmetatable({ kept = kept or {} }, Store)
  for name, fn in pairs(overrides or {}) do store[name] = fn end
  return store
end
