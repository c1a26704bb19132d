-- The specs of the public face, their text unchanged, inside a worker of a real nginx.
local nginx = require "support.nginx"
local process = require "support.process"

if process.name ~= "luajit" then return end -- nginx's Lua is the same, whichever Lua runs this

-- Nginx hides its environment, so under a sanitizer the processes that sign_in_spec starts would not find its library.
local QUICK = "session page prefetch batch objects cache endpoints"
  .. (os.getenv "CHECKER" == "asan" and "" or " sign_in")
local FILES = (os.getenv "DPG_NGINX_SPECS" or QUICK):gmatch "%S+"

describe("inside nginx", function()
  local why = nginx.why_no_lua()
  if why then return pending("the specs of the public face pass (" .. why .. ")") end

  local server
  setup(function()
    local here = process.shell "pwd"
    server = nginx.start_lua {
      init = ('here = %q package.path = here .. "/spec/?.lua;" .. package.path arg = { [-1] = "luajit" }'):format(here),
      http = "lua_http10_buffering off;",
      server = [[
        location /run { content_by_lua_block {
          require "support.in_nginx".run(here .. "/spec/" .. ngx.var.arg_file .. "_spec.lua", function(line)
            ngx.say(line)
            ngx.flush(true)
          end)
        } }
      ]],
    }
  end)
  teardown(function() server:stop() end)

  for file in FILES do
    it("passes " .. file .. "_spec", function()
      local client = server:connect()
      client:settimeout(120)
      local _, body = server:get("/run?file=" .. file, nil, client)
      local passed, failed = body:match "(%d+) passed, (%d+) failed\n$"
      assert.equal("0", failed, body:gsub("ok     [^\n]*\n", "") .. server:log():sub(-2000))
      assert.is_true(tonumber(passed) > 0)
    end)
  end
end)
