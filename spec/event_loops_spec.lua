-- The examples for other people's event loops, under the real ones: their calls go on side by side, and the loop of
-- luv, cqueues or copas goes round meanwhile.
local boxes = require "support.box"
local client = require "support.client"
local socket = require "socket"

-- Debian has copas for 5.1 and 5.2 (and LuaJIT), but it is Lua, and runs on all.
local PATHS = ";/usr/share/lua/5.3/?.lua;/usr/share/lua/5.1/?.lua"

describe("an example runs dpg in the loop of", function()
  local box

  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)
  before_each(function() box:reset_seen() end)
  after_each(function() box:clear_faults() end)

  for _, name in ipairs { "luv", "cqueues", "copas" } do
    it(name, function()
      local script = ([[
        package.path = package.path .. %q
        local is_there = pcall(require, %q)
        print(is_there and "there" or "missing")
        io.stdout:flush()
        if not is_there then return end
        local env = { DPG_TOKEN = %q, DPG_BASE_URL = %q }
        os.getenv = function(name) return env[name] end
        dofile "examples/%s.lua"
      ]]):format(PATHS, name, box.token, box.base_url, name)
      box:fault { path = "/images", hold = true, times = "always" }
      local pipe = client.child(script)
      if pipe:read "*l" == "missing" then return pending(name .. " is not installed for this Lua") end
      while box:count { path = "/images" } < 4 do socket.sleep(0.01) end
      socket.sleep(0.2) -- its own loop has time to go round
      box:release()
      local output = pipe:read "*a"
      pipe:close()
      assert.equal(4, box:count { path = "/images" }, output)
      local ticks = {}
      for page, tick in output:gmatch "page (%d): [^\n]+\tat tick (%d+)" do ticks[tonumber(page)] = tonumber(tick) end
      assert.equal(4, #ticks, output)
      for _, tick in ipairs(ticks) do assert.is_true(tick > 1, output) end
    end)
  end
end)
