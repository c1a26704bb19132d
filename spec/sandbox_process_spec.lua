-- Checks the sandbox as a process: it starts or says why not, ends with whoever started it, leaves nothing behind,
-- prints no secret; and the shell command.

local boxes = require "spec.support.box"
local options = require "dpg.sandbox.options"
local sandbox = require "dpg.sandbox"
local socket = require "socket"

local CHILD_LIFE_S = 20

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- The Lua that runs this spec: the first word of its command line.
local function interpreter()
  local lowest = 0
  while arg[lowest - 1] do lowest = lowest - 1 end
  return quote(arg[lowest])
end

local function output_of(command)
  local pipe = io.popen(command)
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- What a Lua program prints; `after` follows it in the shell.
local function run_lua(program, after)
  return output_of(("LUA_PATH=%s LUA_CPATH=%s %s -e %s %s"):format(quote(package.path), quote(package.cpath),
    interpreter(), quote(program), after))
end

describe("dpg.sandbox.start", function()
  it("names an option that it does not know", function()
    assert.has_error(function() sandbox.start { rotatoin = "grace" } end, "unknown sandbox option 'rotatoin'")
  end)

  it("names an option whose value is wrong", function()
    assert.has_error(function() sandbox.start { rotation = "sometimes" } end,
      "sandbox option 'rotation' can't be sometimes")
  end)

  it("says what its process said when it can't start", function()
    local ok, err = pcall(sandbox.start, { lua = "lua-of-nowhere" })
    assert.is_false(ok)
    assert.truthy(err:find("did not start: .*lua%-of%-nowhere.*not found"))
  end)

  it("says so when its port is taken", function()
    local taken = assert(socket.bind("127.0.0.1", 0))
    local _, port = taken:getsockname()
    local ok, err = pcall(sandbox.start, { port = tonumber(port) })
    taken:close()
    assert.is_false(ok)
    assert.truthy(err:find("can't listen on 127.0.0.1:" .. port, 1, true))
  end)

  it("stops once, waits for the end, and leaves no process and no file", function()
    local box = boxes.start { tls = true }
    local folder = box.ca_file:match "^(.*)/"
    assert.truthy(io.open(box.ca_file, "r")):close()
    box:stop()
    box:stop()
    assert.is_nil(io.open(("/proc/%d/stat"):format(box.pid), "r"))
    assert.is_nil(io.open(folder .. "/ca.pem", "r"))
    assert.has_error(function() box:report() end, "the sandbox is stopped")
  end)

  for _, lua in ipairs { "lua5.1", "lua5.2", "lua5.3", "lua5.4", "luajit" } do
    if output_of("command -v " .. lua) ~= "" then
      it("runs under " .. lua .. " where that is asked for", function()
        local box = boxes.start { lua = lua, tls = true }
        assert.equal(0, box:report().requests)
        box:stop()
      end)
    end
  end

  local function is_gone(path)
    local file = io.open(path, "r")
    local line = file and file:read "*l"
    if file then file:close() end
    return not line or line:find "%) Z" ~= nil -- a process that nobody has waited for
  end

  local function is_soon_gone(path)
    for _ = 1, 500 do
      if is_gone(path) then return true end
      socket.sleep(0.01)
    end
    return false
  end

  local kill_9 = "os.execute 'kill -9 $PPID'"
  -- The child inherits the pipe that ties the sandbox to its program.
  local leave_child = ("os.execute 'sleep %d >/dev/null 2>&1 &' "):format(CHILD_LIFE_S)
  local endings = {
    { "returns", "", 0 }, { "exits", "os.exit(0)", 0 }, { "is killed by kill -9", kill_9, 137 },
    { "is killed while a child of its lives on", leave_child .. kill_9, 137 },
    { "returns while a child of its lives on", leave_child, 0 },
  }
  for _, ending in ipairs(endings) do
    it("ends, and leaves no file, with a program that " .. ending[1], function()
      local began = socket.gettime()
      local output = run_lua([[
        local box = require("dpg.sandbox").start{ tls = true }
        io.stdout:write(box.pid, " ", box.ca_file, "\n")
        io.stdout:flush() ]] .. ending[2], "2>/dev/null; echo \"ended $?\"")
      local pid, ca_file = output:match "^(%d+) (%S+)\n"
      assert.equal(tostring(ending[3]), output:match "ended (%d+)\n$") -- a crash at the very end would show here
      assert.is_true(is_soon_gone(("/proc/%s/stat"):format(pid)))
      assert.is_true(is_soon_gone(ca_file))
      assert.is_true(socket.gettime() - began < CHILD_LIFE_S, "it waited for somebody else's child")
    end)
  end
end)

describe("a sandbox that is used", function()
  it("prints nothing where it makes no mistake, and no secret ever", function()
    assert.equal("ended 0\n", run_lua([[
      local box = require("dpg.sandbox").start{}
      local client = require("socket").connect("127.0.0.1", box.port)
      client:send("GET /v1/me HTTP/1.1\r\nAuthorization: Bearer " .. box.token .. "\r\nConnection: close\r\n\r\n")
      assert(client:receive("*a"):find "200 OK")
      box:stop()]], "2>&1; echo \"ended $?\""))
  end)
end)

describe("dpg-sandbox", function()
  local function run(flags)
    return output_of(("true | %s bin/dpg-sandbox %s 2>&1; echo \"ended $?\""):format(interpreter(), flags))
  end

  it("tells where it listens and whom it knows", function()
    local text = run("--until-eof --tls --rotation grace --access-token-life 0.5 --sign-in-limit 5/60 --verbose")
    for _, part in ipairs {
      "https://127%.0%.0%.1:%d+/v1", "dpg_api_live_%x+", "jane@example%.com  %S+", "two%-factor code 246810",
      "uploads to +https://127%.0%.0%.1:%d+\n", "files from +https://127%.0%.0%.1:%d+\n",
      "http://127%.0%.0%.1:%d+/%x+", "ended 0",
    } do
      assert.truthy(text:find(part), part)
    end
  end)

  it("explains every option", function()
    local text = run "--help"
    for _, option in ipairs(options.list) do
      assert.truthy(text:find("--" .. option.name:gsub("_", "-"), 1, true))
    end
  end)

  local refused = {
    { "--colour blue", "unknown flag --colour" }, { "--rotation odd", "'rotation' can't be odd" },
    { "--port x", "'port'" },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local text = run(case[1])
      assert.truthy(text:find(case[2], 1, true))
      assert.truthy(text:find "ended 2")
    end)
  end
end)
