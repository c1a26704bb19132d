-- What the command needs of the system and Lua does not have: terminals, folders, file modes. All through sh and the
-- tools of POSIX, alike on every Lua.
local core = require "dpg.core"
local disk = require "dpg.disk"

local M = {}

---Seconds on a clock for short spans, which nobody sets.
M.now = core.now
M.kind = core.kind
M.is_folder, M.size = disk.is_folder, disk.size

---A word for sh.
---@param text string
---@return string
function M.quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

---Runs a command of sh.
---@param command string
---@return boolean succeeded
function M.run(command)
  local status = os.execute(command)
  return status == true or status == 0
end

---What a command of sh prints, without the last line end.
---@param command string
---@return string
function M.read(command)
  local pipe = io.popen(command, "r")
  if not pipe then return "" end
  local text = pipe:read "*a" or ""
  pipe:close()
  return (text:gsub("\n$", ""))
end

local terminals = {}

---Is it a terminal? 0: the standard input, 1: its output, 2: its errors.
---@param descriptor integer
---@return boolean
function M.is_terminal(descriptor)
  if terminals[descriptor] == nil then terminals[descriptor] = M.run("test -t " .. descriptor) end
  return terminals[descriptor]
end

---How many columns the terminal has.
---@return integer
function M.columns()
  local said = tonumber(M.read("stty size 2>/dev/null </dev/tty"):match "^%d+ (%d+)$") or 0
  if said == 0 then said = tonumber(os.getenv "COLUMNS") or 80 end
  return said >= 20 and said or 80
end

---Makes a folder that nobody else can look into, and those above it.
---@param path string
---@return boolean made
function M.make_private_folder(path)
  return M.run("umask 077 && mkdir -p " .. M.quote(path) .. " 2>/dev/null")
end

-- Into a folder, whatever it is called: CDPATH, "-" and options are for names without a path before them.
local function enter(path)
  return "cd " .. M.quote(path:find "^/" and path or "./" .. path)
end

-- Sizes and stamps as ls tells them, to the nanosecond where it can.
local function ls(path, what)
  local command, stamps, sizes = "TZ=UTC LC_ALL=C QUOTING_STYLE=literal ls -lnL", {}, {}
  local said = M.read(("%s && %s --full-time %s 2>/dev/null"):format(enter(path), command, what))
  if said == "" then said = M.read(("%s && %s %s 2>/dev/null"):format(enter(path), command, what)) end
  for line in said:gmatch "[^\n]+" do
    local size, written, name = line:match "^%S+ +%d+ +%S+ +%S+ +(%d+) +(%S+ +%S+ +%S+) (.+)$"
    if name then stamps[name], sizes[name] = size .. " " .. written, tonumber(size) end
  end
  return stamps, sizes
end

---Tells a file from what it is after it has been written to.
---@param path string
---@param name string
---@return string
function M.stamp(path, name)
  return (ls(path, "-d " .. M.quote("./" .. name)))["./" .. name] or "?"
end

-- "/" is no file's name: it says that all have been read.
local FILES = [[ 2>/dev/null && test -r . && {
  for f in *; do test -f "$f" && printf '%s\0' "$f"; done
  printf /
}]]

---The plain files of a folder that have no dot in front.
---@param path string
---@return { name: string, size: integer, stamp: string }[]? files  sorted by their bytes; the stamp is another one when
---  the file has been written to; nil: the folder is gone, or may not be read or entered
function M.files(path)
  local names = M.read(enter(path) .. FILES)
  if names:sub(-1) ~= "/" then return nil end
  local stamps, sizes = ls(path, "")
  local list = {}
  for name in names:sub(1, -2):gmatch "(%Z+)" do
    local size = sizes[name] or M.size(path .. "/" .. name) or 0
    list[#list + 1] = { name = name, size = size, stamp = stamps[name] or "?" }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

---The files whose paths begin so, but for locks.
---@param path string
---@return string[] paths
function M.matching(path)
  local list = {}
  for found in M.read(("for f in %s*; do printf '%%s\\n' \"$f\"; done"):format(M.quote(path))):gmatch "[^\n]+" do
    if not found:find "%.lock$" and M.size(found) then list[#list + 1] = found end
  end
  return list
end

local AT_ONCE = 200 -- what fits into one command line

---What is in files of a folder, as POSIX's cksum sees it: the same for the same.
---@param path string
---@param names string[]
---@return table<string, string> prints  by name; without those that can't be read
function M.prints(path, names)
  local prints = {}
  for first = 1, #names, AT_ONCE do
    local words = {}
    for i = first, math.min(first + AT_ONCE - 1, #names) do words[#words + 1] = M.quote(names[i]) end
    local said = M.read(enter(path) .. " && for f in " .. table.concat(words, " ")
      .. '; do { cksum <"$f" || echo; } 2>/dev/null; done')
    local i = first
    for line in (said .. "\n"):gmatch "([^\n]*)\n" do
      local sum, size = line:match "^(%d+) (%d+)"
      if sum and names[i] then prints[names[i]] = sum .. "-" .. size end
      i = i + 1
    end
  end
  return prints
end

---Takes a note that this process is at work on what `path` is for. It is the system's, and ends with the process.
---@param path string
---@return (fun())? give_back  nil: another process is at work on it, or nothing can be written there
---@return string? pid  of the other
function M.lock(path)
  local lock, pid = core.lock(path)
  if not lock then return nil, pid end
  return function()
    os.remove(path) -- while it is ours
    lock:close()
  end
end

---@return string? letters  "-rw-------"
function M.mode(path)
  return M.read("ls -ldn -- " .. M.quote(path) .. " 2>/dev/null"):match "^(%S%S%S%S%S%S%S%S%S%S)"
end

---@return string? bytes
M.read_file = disk.read

---@return boolean? written
---@return string? problem
function M.write_file(path, bytes)
  local file, problem = io.open(path, "wb")
  if not file then return nil, problem end
  local written
  written, problem = file:write(bytes)
  local closed, late = file:close()
  if not (written and closed) then return nil, problem or late end
  return true
end

---A short name for a text: the same for the same, not for secrets.
---@param text string
---@return string
function M.digest(text)
  local a, b = 5381, 52711
  for i = 1, #text do
    local byte = text:byte(i)
    a = (a * 131 + byte) % 2147483647
    b = (b * 137 + byte) % 2147483629
  end
  return ("%08x%08x"):format(a, b)
end

return M
