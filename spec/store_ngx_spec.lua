-- dpg.store.redis inside a real nginx, over cosockets: what a store promises, and one person shared by two nginx
-- through one Redis, which is restarted in between.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local nginx = require "support.nginx"
local process = require "support.process"
local redis = require "support.redis"

if process.name ~= "luajit" then return end -- nginx's Lua is the same, whichever Lua runs this

describe("dpg.store.redis in nginx", function()
  local why = nginx.why_no_lua() or redis.is_missing()
  if why then return pending("keeps what a store promises (" .. why .. ")") end

  -- `store`, over the specs' client; and what opens nginx.redis, Debian's older resty.redis, or that itself.
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
    local found, resty = pcall(require, "resty.redis")
    if not found then resty = require "nginx.redis" end
    reused = 0
    function connect_resty()
      local one = resty:new()
      one:set_timeout(5000)
      local ok, err = one:connect(path)
      if not ok then return nil, err end
      reused = reused + one:get_reused_times()
      return one
    end
    store = dpg.store.redis { key = "dpg:session:jane", connect = connect }
  ]]

  it("keeps what a store promises, over both clients", function()
    local server = redis.start { is_kept = false }
    local web = nginx.start_lua {
      init = init:format(server.path),
      server = [[
        location /check { content_by_lua_block { ngx.print(tostring(dpg.store.check(store))) } }
        location /resty { content_by_lua_block {
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
      assert.equal(200, status, web:log())
      assert(said:match "(%d+) of %1 promises kept$", said)
    end
  end)

  it("shares one person between two nginx, also when Redis is restarted, and presents each token once", function()
    local box = boxes.start { rotation = "strict", access_token_life = 0.3 }
    local server = redis.start()
    local webs = {}
    for i = 1, 2 do
      webs[i] = nginx.start_lua {
        workers = 2,
        init = init:format(server.path) .. ("base_url = %q died_on_its_way = require 'support.died_on_its_way'"):format(
          box.base_url),
        server = [[
          location /me { content_by_lua_block {
            local err
            if not user then user, err = dpg.resume { store = store, base_url = base_url } end
            if user and not account then account = user:account(user.accounts[1].uuid) end
            local me
            if account then me, err = account:me() end
            ngx.status = (me or died_on_its_way(err)) and 200 or err.kind == "storage" and 503 or 500
            ngx.print(me and "ok" or tostring(err))
          } }
        ]],
      }
    end
    finally(function()
      for _, web in ipairs(webs) do web:stop() end
      client.close()
      server:stop()
      box:stop()
    end)
    dpg.assert(client.sign_in(box, "solo", {
      store = dpg.store.redis { key = "dpg:session:jane", connect = function() return server:connect() end },
    }))

    -- Both serve, until `n` more exchanges have been made.
    local function serve(n)
      local wanted, served = box:exchanges() + n, 0
      nginx.wait_for(function()
        for _, web in ipairs(webs) do
          for _ = 1, 5 do
            local status, said = web:get "/me"
            assert.equal(200, status, said)
            if said == "ok" then served = served + 1 end
          end
        end
        return box:exchanges() >= wanted and served > 0
      end)
    end

    serve(6)
    server:kill()
    for _, web in ipairs(webs) do
      nginx.wait_for(function() return web:get "/me" == 503 end)
    end
    server:start()
    for _, web in ipairs(webs) do
      nginx.wait_for(function()
        local status, said = web:get "/me"
        assert(status == 200 or status == 503, said)
        return status == 200
      end)
    end
    serve(6)
    local report = box:report()
    assert.is_true(report.rotations >= 12)
    assert.same({ 0, 0, 0, 1 }, {
      report.presented_more_than_once, report.presented_spent, report.families_revoked, report.sign_ins,
    })
  end)
end)
