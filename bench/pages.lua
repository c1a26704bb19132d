-- Pages of the sandbox's library as JSON, the same on every machine and Lua.
local library = require "dpg.sandbox.library"

local SEED = 20250914

---@param count integer  images
---@param shape "brief"|"whole"  as in a list, or as by themselves
---@return string
return function(count, shape)
  local made = library.new({ unique_id = "myfest" }, count, SEED, "https://cdn.example.com")
  local texts = {}
  for i, image in ipairs(made.images) do texts[i] = made[shape](made, image, false).text end
  return "[" .. table.concat(texts, ",") .. "]"
end
