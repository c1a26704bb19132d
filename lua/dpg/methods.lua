-- Guards the public methods of a class: called with a dot where a colon belongs, they say so at the caller's line,
-- instead of failing somewhere inside of dpg. Called once by each class that people get hold of, below its methods.
local errors = require "dpg.errors"

local function guarded(fn, name, method)
  return function(self, ...)
    -- by what it can do, not by its metatable: an object that inherits from ours is fine
    if type(self) ~= "table" or self[method] == nil then
      errors.raise("%s is a method: write %s:%s(…), with a colon", name .. "." .. method, name, method)
    end
    return fn(self, ...)
  end
end

---@param class table  its methods; those whose names begin with "_" are left alone
---@param name string  what an object is called in the message: "images"
return function(class, name)
  for method, fn in pairs(class) do
    if type(fn) == "function" and not method:find("^_") then class[method] = guarded(fn, name, method) end
  end
end
