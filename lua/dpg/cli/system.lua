-- What the command needs of the system and Lua does not have: terminals, folders, file modes. All through sh and the
-- tools of POSIX, alike on every Lua.
local M = {}

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
  local said = tonumber(os.getenv "COLUMNS") or tonumber(M.read("stty size 2>/dev/null </dev/tty"):match "^%d+ (%d+)$")
  return said and said >= 20 and said or 80
end

---@return boolean
function M.is_folder(path)
  return M.run("test -d " .. M.quote(path))
end

---Makes a folder that nobody else can look into, and those above it.
---@param path string
---@return boolean made
function M.make_private_folder(path)
  return M.run("umask 077 && mkdir -p " .. M.quote(path) .. " 2>/dev/null")
end

---The plain files of a folder that have no dot in front.
---@param path string
---@return string[] names  sorted by their bytes
function M.files(path)
  local names = {}
  local pipe = io.popen("cd " .. M.quote(path) .. [[ && for f in *; do test -f "$f" && printf '%s\0' "$f"; done]], "r")
  if pipe then
    for name in (pipe:read "*a"):gmatch "(%Z+)" do names[#names + 1] = name end
    pipe:close()
  end
  table.sort(names)
  return names
end

---@return string? letters  "-rw-------"
function M.mode(path)
  return M.read("ls -ldn -- " .. M.quote(path) .. " 2>/dev/null"):match "^(%S%S%S%S%S%S%S%S%S%S)"
end

---@return string? bytes
function M.read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read "*a"
  file:close()
  return bytes
end

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

---@return integer? bytes
function M.size(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local size = file:seek "end"
  file:close()
  return size
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
