-- The caller's own files, as Lua's io and os reach them: by a path in UTF-8, as everywhere in dpg, whatever the code
-- page of the system is. What is read and written in bulk is the core's.
local core = require "dpg.core"

local M = {}

---io.open
---@param path string
---@param mode string
---@return file*? file
---@return string? problem
function M.open(path, mode)
  return io.open(core.io_path(path), mode)
end

---@param path string
---@return integer? size  nil: it isn't there, can't be read, or is a pipe, which would have to be waited for
function M.size(path)
  if core.kind(path) == "other" then return nil end
  local file = M.open(path, "rb")
  if not file then return nil end
  local size = file:seek "end"
  file:close()
  return size
end

---@param path string
---@return string? bytes  nil: it isn't there, or can't be read
function M.read(path)
  local file = M.open(path, "rb")
  if not file then return nil end
  local bytes = file:read "*a"
  file:close()
  return bytes
end

---@param path string
---@return boolean
function M.is_folder(path)
  return core.kind(path) == "folder"
end

return M
