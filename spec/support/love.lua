-- LÖVE programs for specs: with a window, under Xvfb, where a script plays the person (love/main.lua); and without one
-- (love_bare/main.lua). What they print is read line by line, as of any child.
local process = require "support.process"

local M = {}

---Why there is no LÖVE to run here: it is LuaJIT, so it is tested with that Lua alone; nil: there is.
---@return string? reason
function M.missing()
  for _, command in ipairs { "love", "xvfb-run", "xauth" } do
    if process.shell("command -v " .. command) == "" then
      return command .. " is not installed; ./dev test installs it"
    end
  end
end

---Does this Lua run the specs of LÖVE? A checker would check LÖVE, too.
M.is_here = process.name == "luajit" and (os.getenv "CHECKER" or "") == ""

local quote = process.quote

---@class spec.Love
---@field status? integer
local Love = {}
Love.__index = Love

local function start(words, environment)
  local line = {}
  for name, value in pairs(environment) do line[#line + 1] = name .. "=" .. quote(value) end
  local command = "env " .. table.concat(line, " ") .. " LUA_PATH=" .. quote(package.path) .. " LUA_CPATH="
    .. quote(package.cpath) .. " ALSOFT_DRIVERS=null timeout -k 5 300 " .. words .. " 2>&1; printf '\\nended %d\\n' $?"
  return setmetatable({ _pipe = assert(io.popen("sh -c " .. quote(command))), _said = {} }, Love)
end

---Runs an example with a person.
---@param example string  "examples/love"
---@param script string  the person's; see love/main.lua
---@param environment table<string, string>
---@return spec.Love
function M.play(example, script, environment)
  local path = process.folder() .. "/person.lua"
  process.write_file(path, script)
  local all = { LOVE_EXAMPLE = example, LOVE_PERSON = path }
  for name, value in pairs(environment) do all[name] = value end
  return start("xvfb-run -a -s '-screen 0 640x400x24' love spec/support/love", all)
end

---Runs love_bare, which has no window.
---@param environment table<string, string>
---@return spec.Love
function M.bare(environment)
  return start("love spec/support/love_bare", environment)
end

---The next line; nil: it has ended, with `status`.
function Love:read()
  if self.status then return nil end
  local line
  repeat line = self._pipe:read "*l" until line ~= ""
  local status = line and line:match "^ended (%d+)$"
  if line and not status then
    self._said[#self._said + 1] = line
    return line
  end
  self.status = tonumber(status) or -1
  self._pipe:close()
end

---Blocks until it prints this very line; raises when it ends before.
function Love:expect(wanted)
  for line in self.read, self do
    if line == wanted then return end
  end
  error(("LÖVE ended (%d) before it said '%s'; it said: %s"):format(self.status, wanted, self:said()), 2)
end

---Blocks until it has ended.
---@return integer status
function Love:wait()
  repeat until not self:read()
  return self.status
end

---All that it has printed.
function Love:said()
  return table.concat(self._said, " | ")
end

return M
