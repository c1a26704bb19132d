-- fork, which no Lua has by itself and Debian's luaposix only up to 5.3: fork.c, compiled where it is needed.
--
-- Under valgrind a child ends as another program, which nobody looks at: what OpenSSL keeps for a thread of the parent
-- counts as lost in a child, which has no such thread. What it does before that is checked like everything else.
local process = require "support.process"

local is_valgrind = os.getenv "CHECKER" == "valgrind"

local path = os.tmpname()
local said = process.shell(("${CC:-cc} -O1 -Wall -Werror -shared -fPIC -o %s spec/support/fork.c "
  .. "$(pkg-config --cflags %s)"):format(path, process.name))
local open = package.loadlib(path, "luaopen_fork")
os.remove(path)
if not open then error("spec/support/fork.c: " .. said) end
local posix = open()

local M = {}

---@return integer? pid  0 in the child
function M.fork()
  local pid = posix.fork()
  return pid >= 0 and pid or nil
end

---Blocks until the child has ended.
---@param pid integer
function M.wait(pid) posix.wait(pid) end

---Ends the process at once: nothing is closed, no buffer is written.
---@param status integer
function M.exit(status) posix.exit(status, is_valgrind) end

return M
