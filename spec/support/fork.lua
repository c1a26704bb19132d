-- fork, as far as this Lua can have it: luaposix where it is installed, else the FFI of LuaJIT; false on the others.
--
-- Under valgrind a child ends as another program, which nobody looks at: what OpenSSL keeps for a thread of the parent
-- counts as lost in a child, which has no such thread. What it does before that is checked like everything else.
local is_valgrind = os.getenv "CHECKER" == "valgrind"
local has_posix, unistd = pcall(require, "posix.unistd")
if has_posix then
  local wait = require "posix.sys.wait".wait
  local function exit(status)
    if is_valgrind then unistd.exec("/bin/sh", { "-c", "exit " .. status }) end
    unistd._exit(status)
  end
  return { fork = unistd.fork, wait = wait, exit = exit }
end

local has_ffi, ffi = pcall(require, "ffi")
if not has_ffi then return false end

ffi.cdef [[
  int fork(void);
  int waitpid(int pid, int *status, int options);
  void _exit(int status);
  int execl(const char *path, const char *name, ...);
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
function M.exit(status)
  if is_valgrind then
    local function text(s) return ffi.cast("const char *", s) end
    ffi.C.execl("/bin/sh", "sh", text "-c", text("exit " .. status), text(nil))
  end
  ffi.C._exit(status)
end

return M
