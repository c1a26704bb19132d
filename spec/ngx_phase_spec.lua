-- dpg inside a real nginx: where it may wait and where it says that it can't.
local boxes = require "support.box"
local nginx = require "support.nginx"
local process = require "support.process"
local socket = require "socket"
local ssl = require "ssl"

if process.name ~= "luajit" then return end -- nginx's Lua is the same, whichever Lua runs this

describe("dpg in nginx", function()
  local why = nginx.why_no_lua()
  if why then return pending("waits where it may (" .. why .. ")") end

  local box, server

  setup(function()
    box = boxes.start()
    server = nginx.start_lua {
      init = ([[
        dpg = require "dpg"
        gallery = dpg.assert(dpg.service { token = %q, base_url = %q })
        said_in_init = tostring(select(2, gallery:me()))
        function ask(...)
          local me, err = gallery:me(...)
          return me and me.account.name or tostring(err)
        end
      ]]):format(box.token, box.base_url),
      http = [[
        lua_shared_dict said 64k;
        init_worker_by_lua_block { ngx.shared.said:set("init_worker", ask()) }
        upstream chosen { server 0.0.0.1; balancer_by_lua_block { ngx.shared.said:set("balancer", ask()) } }
      ]],
      tls = [[
        ssl_certificate_by_lua_block { ngx.ctx.said = ask() }
        location / { content_by_lua_block { ngx.print(ngx.ctx.said) } }
      ]],
      server = [[
        location /init { content_by_lua_block { ngx.say(said_in_init) } }
        location /content { content_by_lua_block { ngx.print(ask()) } }
        location /access { access_by_lua_block { ngx.ctx.said = ask() }
          content_by_lua_block { ngx.print(ngx.ctx.said) } }
        location /rewrite { rewrite_by_lua_block { ngx.ctx.said = ask() }
          content_by_lua_block { ngx.print(ngx.ctx.said) } }
        location /timer { content_by_lua_block {
          local semaphore = require "ngx.semaphore".new(0)
          local said
          ngx.timer.at(0, function() said = ask() semaphore:post(1) end)
          semaphore:wait(10)
          ngx.print(said)
        } }
        location /set { set_by_lua_block $said { return ask() } content_by_lua_block { ngx.print(ngx.var.said) } }
        location /header { content_by_lua_block { ngx.print "." }
          header_filter_by_lua_block { ngx.shared.said:set("header", ask()) } }
        location /body { content_by_lua_block { ngx.print "." }
          body_filter_by_lua_block { ngx.shared.said:set("body", ask()) } }
        location /log { content_by_lua_block { ngx.print "." } log_by_lua_block { ngx.shared.said:set("log", ask()) } }
        location /balancer { proxy_pass http://chosen; }
        location /said { content_by_lua_block { ngx.print(ngx.shared.said:get(ngx.var.arg_phase)) } }
      ]],
    }
  end)
  teardown(function()
    server:stop()
    box:stop()
  end)

  for _, phase in ipairs { "content", "access", "rewrite", "timer" } do
    it("waits in " .. phase, function()
      local _, body = server:get("/" .. phase)
      assert.equal("Northlight Festival", body)
    end)
  end

  it("waits in ssl_certificate_by_lua", function()
    local client = socket.connect("127.0.0.1", server.ports.tls)
    client = assert(ssl.wrap(client, { mode = "client", protocol = "any", verify = "none" }))
    assert(client:dohandshake())
    local _, body = server:get("/", nil, client)
    assert.equal("Northlight Festival", body)
  end)

  -- Whom the phase's own code has asked, and what it got.
  local function refusal(phase)
    if phase == "init" or phase == "set" then return (select(2, server:get("/" .. phase))) end
    server:get("/" .. phase)
    return nginx.wait_for(function()
      local _, said = server:get("/said?phase=" .. phase)
      return said ~= "nil" and said
    end)
  end

  for phase, name in pairs {
    init = "init", init_worker = "init_worker", set = "set", header = "header_filter", body = "body_filter",
    log = "log", balancer = "balancer",
  } do
    it("refuses to wait in " .. name .. ", and says where to", function()
      local before = box:count {}
      local said = refusal(phase)
      assert.truthy(said:find("^cannot_wait_here: a call can't wait in nginx's phase " .. name .. ": make it in "
        .. "ngx%.timer%.at%(0, function%(%) … end%)"), said)
      assert.equal(before, box:count {})
    end)
  end
end)
