-- What client specs share: sessions of a box, people who sign in, and a look at what is left behind.
local core = require "dpg.core"
local dpg = require "dpg"
local hub = require "dpg.hub"
local socket = require "socket"

local M = {}

---Options for a box, with `more` over them.
local function options(box, more)
  local all = { base_url = box.base_url, ca_file = box.ca_file }
  for name, value in pairs(more or {}) do all[name] = value end
  return all
end

M.options = options

---A session with a service token of the box (the one with every scope).
function M.service(box, more)
  local all = options(box, more)
  all.token = all.token or box.token
  return dpg.assert(dpg.service(all))
end

M.device = { identifier = "spec-device", name = "A spec", platform = "linux" }

---Signs a person of the box in.
function M.sign_in(box, name, more)
  local person = box.people[name]
  local all = options(box, more)
  all.login, all.password, all.device = all.login or person.login, all.password or person.password, M.device
  all.store = all.store or dpg.store.memory()
  return dpg.sign_in(all)
end

---A session for the first account of a person, or another.
function M.person(box, name, more, nth)
  local user = dpg.assert(M.sign_in(box, name, more))
  return assert(user:account(user.accounts[nth or 1].uuid)), user
end

local function left()
  local counts = hub.counts()
  for _, name in ipairs { "calls", "transfers", "timers", "untaken" } do
    if (counts[name] or 0) ~= 0 then return name .. " left: " .. tostring(counts[name]) end
  end
end

---Asserts that no call is under way or was left untaken. An engine with a thread may still be about to end what was
---cancelled.
function M.nothing_left()
  local ends_at = core.now() + 10
  while left() and core.now() < ends_at do socket.sleep(0.002) end
  assert(not left(), left())
end

---Steps a loop until `done()` is true, or fails after `seconds` (20). Between two steps it waits on the loop's
---descriptor: under valgrind a program that only steps leaves the engine's thread no turn for many seconds.
function M.step_until(loop, done, seconds)
  local readable = { getfd = function() return loop:fd() end, dirty = function() return false end }
  local ends_at = core.now() + (seconds or 20)
  while not done() do
    loop:step()
    if done() then break end
    assert(core.now() < ends_at, "it never came")
    socket.select({ readable }, nil, 0.05)
  end
end

---Ends all engines, so that a suite leaves nothing.
function M.close()
  hub.close_all(0)
end

---The name of a folder that isn't there yet: a file store makes it.
function M.folder()
  local path = os.tmpname()
  os.remove(path)
  return path .. ".d"
end

---The interpreter that runs this.
function M.interpreter()
  local lowest
  for index = -1, -20, -1 do
    if not (arg and arg[index]) then break end
    lowest = arg[index]
  end
  return lowest or "lua"
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

---Starts another process of the same Lua, which runs `script`; what it prints is read with `:read`.
---@param script string
---@param pid_file? string  where its pid is written before it begins
function M.child(script, pid_file)
  local note = pid_file and "echo $$ >" .. quote(pid_file) .. "; " or ""
  local command = "exec " .. quote(M.interpreter()) .. " -e " .. quote(script) .. " 2>&1"
  local environment = "LUA_PATH=" .. quote(package.path) .. " LUA_CPATH=" .. quote(package.cpath) .. " "
  return io.popen(environment .. "sh -c " .. quote(note .. command))
end

return M
