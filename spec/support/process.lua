-- Child processes for specs: another process of the same Lua runs a script, and what it prints is read line by line, so
-- that a spec waits for a word instead of sleeping. It can be sent signals. All through io.popen and sh, alike on every
-- Lua; what a spec leaves running is killed when the suite ends, and all temporary folders go.
local at_end = require "support.at_end"
local disk = require "dpg.disk"

local M = {}

---A word for sh.
---@param text any
---@return string
function M.quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

local quote = M.quote

local function interpreter()
  local lowest = "lua"
  for index = -1, -20, -1 do
    if not (arg and arg[index]) then break end
    lowest = arg[index]
  end
  return lowest
end

---The interpreter that runs this: "lua5.4" …
M.lua = interpreter()

---Its name alone: "lua5.4", "luajit" …
M.name = M.lua:match "[^/\\]+$"

---The heaviest tests run in full on two of the five Luas, and shortened on the others.
M.is_heavy = M.name == "lua5.4" or M.name == "luajit"

-- --- files ---------------------------------------------------------------------------------------------------------

---A new temporary folder (0700).
---@return string path
function M.folder()
  local pipe = assert(io.popen [[mktemp -d "${TMPDIR:-/tmp}/dpg-spec.XXXXXX"]])
  local path = pipe:read "*l"
  pipe:close()
  assert(path, "no temporary folder can be made")
  at_end.add(path, function() os.execute("rm -rf " .. quote(path)) end)
  return path
end

---@return string? bytes  nil: there is no such file
M.read_file = disk.read

function M.write_file(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  assert(file:close())
end

---What a shell command prints, without the line end; "" when nothing.
function M.shell(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read "*a"
  pipe:close()
  return (text:gsub("\n$", ""))
end

---Has sh run `first`, and `last` once the pipe is closed, or this process has ended in whatever way, even with its
---whole group of processes.
---@param first string
---@param last string
---@return file* pipe
function M.guard(first, last)
  return assert(io.popen("$(command -v setsid) sh -c "
    .. quote(first .. "\ntrap '' INT TERM HUP; cat >/dev/null; " .. last), "w"))
end

---Blocks until a process has been stopped by a signal.
---@param pid integer
function M.wait_until_stopped(pid)
  -- ps hangs with a sanitizer in it
  assert(M.shell(("n=0; export LD_PRELOAD=; until [ \"$(ps -o state= -p %d)\" = T ]; do n=$((n + 1)); "
    .. "[ $n -lt 3000 ] || exit 1; sleep 0.01; done; echo stopped"):format(pid)) == "stopped", "it did not stop")
end

-- --- a child -------------------------------------------------------------------------------------------------------

---@class spec.Child
---@field pid integer
---@field status? integer  once it has ended: its exit status, or 128 and the signal's number
local Child = {}
Child.__index = Child

-- The outer shell stays to tell how the inner one, which becomes Lua, has ended.
local command = [[exec 2>/dev/null; LUA_PATH=%s LUA_CPATH=%s sh -c 'echo $$; exec "$@"' sh %s </dev/null 2>%s
printf '\nended %%s\n' $?]]

local started = 0

---Keeps a script as a file, for start(). It prints line by line, also on 5.1, where print alone does not.
---@param text string
---@return string path
function M.script(text)
  local path = M.folder() .. "/script.lua"
  M.write_file(path, 'io.stdout:setvbuf "line" ' .. text)
  return path
end

local function start(through, script, ...)
  local path = script:find("\n", 1, true) and M.script(script) or script
  started = started + 1
  local errors = M.folder() .. "/" .. started .. ".stderr"
  local words = { through, quote(M.lua), quote(path) }
  for i = 1, select("#", ...) do words[#words + 1] = quote((select(i, ...))) end
  local text = command:format(quote(package.path), quote(package.cpath), table.concat(words, " "), quote(errors))
  local child = setmetatable({ _pipe = assert(io.popen(text)), _errors = errors }, Child)
  child.pid = tonumber(child._pipe:read "*l")
  at_end.add(child, Child.stop)
  return child
end

---Starts a script in a process of its own; returns once that is there.
---@param script string  the path of one (see script), or its text
---@param ... any  its arguments
---@return spec.Child
function M.start(script, ...)
  return start("", script, ...)
end

---As start, but through another program, which becomes Lua by exec: "setpriv …", "unshare -m …".
---@param through string  words for the shell
---@param script string
---@param ... any
---@return spec.Child
function M.start_through(through, script, ...)
  return start(through, script, ...)
end

---The next line that the child prints; blocks until there is one. Blank lines don't count.
---@return string? line  nil: it has ended
function Child:read()
  if self.status then return nil end
  local line
  repeat line = self._pipe:read "*l" until line ~= ""
  local status = line and line:match "^ended (%d+)$"
  if line and not status then return line end
  self.status = tonumber(status) or -1
  self._pipe:close()
  at_end.remove(self)
  return nil
end

---Blocks until the child prints this very line; raises when it ends before, and says what it printed instead.
---@param wanted string
function Child:expect(wanted)
  local others = {}
  for line in self.read, self do
    if line == wanted then return end
    others[#others + 1] = line
  end
  error(("the child ended (%s) before it said '%s'; it said: %s %s"):format(self.status, wanted,
    table.concat(others, " | "), self:stderr()), 2)
end

---Blocks until the child has ended.
---@return integer status
---@return string[] lines  what it still printed
function Child:wait()
  local lines = {}
  for line in self.read, self do lines[#lines + 1] = line end
  return self.status, lines
end

---Sends it a signal; on return it has been sent.
---@param name string  "KILL", "INT" …
function Child:signal(name)
  if not self.status then os.execute("kill -" .. name .. " " .. self.pid .. " 2>/dev/null") end
end

---Kills it, if it still runs, and waits for its end.
function Child:stop()
  self:signal "KILL"
  self:wait()
end

---What it has written to stderr.
---@return string
function Child:stderr()
  return M.read_file(self._errors) or ""
end

return M
