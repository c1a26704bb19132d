-- dpg.store.redis inside a real nginx, over cosockets.
local nginx = require "support.nginx"
local process = require "support.process"
local redis = require "support.redis"

if process.name ~= "luajit" then return end -- nginx's Lua is the same, whichever Lua runs this

describe("dpg.store.redis in nginx", function()
  local why = nginx.why_no_lua() or redis.is_missing()
  if why then return pending("keeps what a store promises (" .. why .. ")") end

  -- `store`, over the specs' client, or over nginx.redis or resty.redis where one of them is installed.
  local init = [[
    dpg = require "dpg"
    local new_client = require "support.redis_client"
    local path = "unix:%s"
    function connect()
      local sock = ngx.socket.tcp()
      sock:settimeout(5000)
      local ok, err = sock:connect(path)
      if not ok then return nil, err end
      return new_client(sock)
    end
    local found, resty
    for _, name in ipairs { "resty.redis", "nginx.redis" } do
      if not found then found, resty = pcall(require, name) end
    end
    reused = 0
    function connect_resty()
      local one = resty:new()
      one:set_timeout(5000)
      local ok, err = one:connect(path)
      if not ok then return nil, err end
      reused = reused + one:get_reused_times()
      return one
    end
    has_resty = found
    store = dpg.store.redis { key = "dpg:session:jane", connect = connect }
  ]]

  it("keeps what a store promises", function()
    local server = redis.start { is_kept = false }
    local web = nginx.start_lua {
      init = init:format(server.path),
      server = [[
        location /check { content_by_lua_block { ngx.print(tostring(dpg.store.check(store))) } }
        location /resty { content_by_lua_block {
          if not has_resty then return ngx.print "not installed" end
          local report = dpg.store.check(dpg.store.redis { key = "resty", connect = connect_resty })
          ngx.print(tostring(report), reused > 20 and "" or "no connection was kept")
        } }
      ]],
    }
    finally(function()
      web:quit()
      server:stop()
    end)
    for _, path in ipairs { "/check", "/resty" } do
      local status, said = web:get(path)
      assert.equal(200, status)
      if said ~= "not installed" then assert(said:match "(%d+) of %1 promises kept$", said) end
    end
  end)
end)
