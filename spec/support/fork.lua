-- fork, as far as this Lua can have it: luaposix where it is installed, else the FFI of LuaJIT; false on the others.
local has_posix, unistd = pcall(require, "posix.unistd")
if has_posix then
  local wait = require "posix.sys.wait".wait
  return { fork = unistd.fork, wait = wait, exit = unistd._exit }
end

local has_ffi, ffi = pcall(require, "ffi")
if not has_ffi then return false end

ffi.cdef [[
  int fork(void);
  int waitpid(int pid, int *status, int options);
  void _exit(int status);
]]

local M = {}

---@return integer? pid  0 in the child
function M.fork()
  local pid = ffi.C.fork()
  return pid >= 0 and pid or nil
end

---Blocks until the child has ended.
---@param pid integer
function M.wait(pid) ffi.C.waitpid(pid, nil, 0) end

---Ends the process at once: nothing is closed, no buffer is written.
---@param status integer
function M.exit(status) ffi.C._exit(status) end

return M
