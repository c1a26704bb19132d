-- The command in a real pseudo-terminal, as `script` (bsdutils) makes one, and in pipes. What it shows is read from a
-- file, so that a spec waits for a prompt before it types, as a person does.
local boxes = require "support.box"
local process = require "support.process"
local sandbox = require "dpg.sandbox"
local socket = require "socket"

local M = {}

local WAIT_S = 60

local quote = process.quote

---Is there a `script` that makes terminals here?
---@return boolean
function M.is_there()
  return process.shell "script -qec true /dev/null </dev/null >/dev/null && echo yes" == "yes"
end

---What the specs of files share: a box, and a folder in which the command runs, with a state folder of its own.
---@return table box
---@return table<string, string> environment
---@return string folder
function M.world()
  local box, folder = boxes.start { images = 6, operation_polls = 0 }, process.folder()
  return box, {
    DPG_BASE_URL = box.base_url, XDG_STATE_HOME = process.folder(), DPG_TOKEN = box.token, PWD = folder,
  }, folder
end

---A file of the person's own there: bytes that go by the length of its name.
function M.put(environment, name, bytes)
  process.write_file(environment.PWD .. "/" .. name, sandbox.blob_bytes(#name, 0, bytes))
end

-- The command line of bin/dpg: `environment` alone counts, not the variables of whoever runs the suite.
-- `through`: another program that becomes it.
local function command_line(words, environment, through)
  local line = { "env", "-u", "DPG_TOKEN", "-u", "DPG_PROFILE", "-u", "DPG_ACCOUNT", "-u", "NO_COLOR", "-u", "COLUMNS" }
  local all = { LUA_PATH = package.path, LUA_CPATH = package.cpath, TERM = "xterm" }
  for name, value in pairs(environment) do all[name] = value end
  for name, value in pairs(all) do line[#line + 1] = quote(name .. "=" .. value) end
  for _, word in ipairs(through or {}) do line[#line + 1] = quote(word) end
  line[#line + 1] = quote(process.lua)
  line[#line + 1] = quote(process.shell "pwd" .. "/bin/dpg")
  for _, word in ipairs(words) do line[#line + 1] = quote(word) end
  return table.concat(line, " ")
end

---Runs it in pipes, to its end.
---@param words string[]
---@param environment table<string, string>
---@param input? string
---@param through? string[]  another program that becomes it: { "setpriv", … }
---@return integer status
---@return string stdout
---@return string stderr
function M.pipe(words, environment, input, through)
  local folder = process.folder()
  process.write_file(folder .. "/in", input or "")
  local cd = environment.PWD and "cd " .. quote(environment.PWD) .. " && " or ""
  local pipe = io.popen(cd .. command_line(words, environment, through) .. " <" .. quote(folder .. "/in") .. " 2>"
    .. quote(folder .. "/err") .. "; printf '\\nended %s' $?")
  local said = pipe:read "*a"
  pipe:close()
  local stdout, status = said:match "^(.*)\nended (%d+)$"
  return tonumber(status), stdout, process.read_file(folder .. "/err")
end

---@class spec.Terminal
local Terminal = {}
Terminal.__index = Terminal

-- As a person does it whom Ctrl-Z has brought back to their shell: it has put the echo back, and they say fg.
local COME_BACK = "stty echo\necho STOPPED\nfg\nstatus=$?\n"

---Starts it in a terminal of its own.
---@param words string[]
---@param environment table<string, string>
---@param options? table  is_stopped: by Ctrl-Z, once; it shows STOPPED, and goes on. columns: how wide it says it is
---@return spec.Terminal
function M.start(words, environment, options)
  local is_stopped, columns = options and options.is_stopped, options and options.columns
  local folder = process.folder()
  process.write_file(folder .. "/command", "trap : INT\n" .. (is_stopped and "set -m\n" or "")
    .. (columns and "stty cols " .. columns .. "\n" or "")
    .. command_line(words, environment) .. "\nstatus=$?\n" .. (is_stopped and COME_BACK or "")
    .. "stty -a | grep -qw -e -echo && echo 'THE ECHO IS OFF'\nexit $status\n")
  process.write_file(folder .. "/shown", "")
  process.shell("mkfifo " .. quote(folder .. "/typed"))
  local inside = environment.PWD or "."
  local self = setmetatable({ folder = folder, at = 1 }, Terminal)
  self.pipe = io.popen("cd " .. quote(inside) .. "; SHELL=/bin/sh script -qefc "
    .. quote("exec sh " .. folder .. "/command") .. " " .. quote(folder .. "/shown") .. " <"
    .. quote(folder .. "/typed") .. " >/dev/null 2>&1; echo $? >" .. quote(folder .. "/status"))
  self.keyboard = assert(io.open(folder .. "/typed", "wb"))
  self.keyboard:setvbuf "no"
  return self
end

---All that was shown.
---@return string
function Terminal:shown()
  return process.read_file(self.folder .. "/shown")
end

---Waits until this is shown, behind what was waited for before.
---@param text string
function Terminal:expect(text)
  local ends_at = socket.gettime() + WAIT_S
  while true do
    local shown = self:shown()
    local _, last = shown:find(text, self.at, true)
    if last then
      self.at = last + 1
      return
    end
    if socket.gettime() > ends_at or process.read_file(self.folder .. "/status") then
      error("'" .. text .. "' was not shown, but: " .. shown, 2)
    end
    socket.sleep(0.01)
  end
end

---@param text string  "\3" is Ctrl-C
function Terminal:type(text)
  self.keyboard:write(text)
end

---Waits for its end.
---@return integer status
---@return string shown
function Terminal:wait()
  local ends_at = socket.gettime() + WAIT_S
  while not (process.read_file(self.folder .. "/status") or ""):find "%d" do
    if socket.gettime() > ends_at then error("it has not ended, but shown: " .. self:shown(), 2) end
    socket.sleep(0.01)
  end
  self.keyboard:close()
  self.pipe:close()
  return tonumber(process.read_file(self.folder .. "/status")), (self:shown():gsub("\r\n", "\n"))
end

return M
