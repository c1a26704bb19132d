-- Checks the sandbox's connections, its misbehaviour on demand down to the last byte, its record of what it saw, TLS.

local boxes = require "spec.support.box"
local http = require "spec.support.raw_http"
local json = require "dpg.sandbox.json"
local sandbox = require "dpg.sandbox"
local socket = require "socket"

local call = http.call
local connect = http.connect
local device = http.device
local exchange = http.exchange
local get = http.get
local read_response = http.read_response
local refresh_token_of = http.refresh_token_of
local request_text = http.request_text

describe("dpg.sandbox", function()
  local box

  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)
  before_each(function()
    box:clear_faults()
    box:reset_seen()
  end)

  describe("connections", function()
    it("are kept, and take requests that come all at once", function()
      local client = connect(box)
      local one = request_text("GET", "/me", { token = box.token })
      client:send(one .. request_text("GET", "/images?limit=1", { token = box.token }) .. one)
      local statuses = {}
      for index = 1, 3 do statuses[index] = read_response(client).status end
      client:close()
      assert.same({ 200, 200, 200 }, statuses)
      local seen = box:seen()
      assert.same({ false, true, true }, { seen[1].reused, seen[2].reused, seen[3].reused })
      assert.equal(seen[1].connection, seen[3].connection)
    end)

    it("close when asked", function()
      local client = connect(box)
      client:send(request_text("GET", "/me", { token = box.token, headers = { Connection = "close" } }))
      assert.equal("close", read_response(client).headers.connection)
      assert.equal("closed", select(2, client:receive(1)))
      client:close()
    end)

    it("take a target in absolute form", function()
      local client = connect(box)
      client:send("GET http://127.0.0.1/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " .. box.token .. "\r\n\r\n")
      assert.equal(200, read_response(client).status)
      client:close()
    end)

    it("answer HEAD like GET, without the body", function()
      local client = connect(box)
      local options = { token = box.token }
      client:send(request_text("HEAD", "/me", options) .. request_text("GET", "/me", options))
      local head, whole = read_response(client, "HEAD"), read_response(client)
      client:close()
      assert.equal(whole.headers["content-length"], head.headers["content-length"])
      assert.equal(whole.headers.etag, head.headers.etag)
    end)

    it("take chunked bodies, in whatever pieces they come", function()
      local body = json.encode { login = box.people.jane.login, password = box.people.jane.password, device = device }
      local head = "POST /v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      local text = head .. ("%x\r\n%s\r\n5\r\n%s\r\n0\r\n\r\n"):format(#body - 5, body:sub(1, -6), body:sub(-5))
      local client = connect(box)
      for from = 1, #text, 37 do client:send(text:sub(from, from + 36)) end
      assert.equal(200, read_response(client).status)
      client:close()
    end)

    it("hear 100 Continue where they wait for it", function()
      local client = connect(box)
      client:send "POST /v1/auth/token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
      assert.equal("HTTP/1.1 100 Continue", client:receive "*l")
      client:receive "*l"
      client:send "{}"
      assert.equal(400, read_response(client).status)
      client:close()
    end)

    it("can be five hundred at a time", function()
      local clients = {}
      for index = 1, 500 do
        clients[index] = connect(box)
        clients[index]:send(request_text("GET", "/images?limit=200", { token = box.token }))
      end
      local good = 0
      for _, client in ipairs(clients) do
        local response = read_response(client)
        if response and response.status == 200 and #response.json == 120 then good = good + 1 end
        client:close()
      end
      assert.equal(500, good)
    end)
  end)

  describe("faults", function()
    it("strike the Nth matching request, as often as told", function()
      box:fault { path = "/me", nth = 2, times = 2, status = 503 }
      local statuses = {}
      for index = 1, 4 do
        get(box, "/sets")
        statuses[index] = get(box, "/me").status
      end
      assert.same({ 200, 503, 503, 200 }, statuses)
    end)

    it("strike paths by pattern and method, always, until cleared", function()
      box:fault { path = "/images/.+", method = "GET", times = math.huge, status = 500 }
      local function status(path) return get(box, path).status end
      assert.same({ 500, 500, 200 }, { status "/images/x", status "/images/y", status "/me" })
      box:clear_faults()
      assert.equal(404, get(box, "/images/x").status)
    end)

    it("are checked", function()
      assert.has_error(function() box:fault { pth = "/me" } end, "unknown field 'pth' in a fault")
      assert.has_error(function() box:fault { drop = "now" } end)
    end)

    it("refuse in DPG's shape, with a code of choice, without doing the work", function()
      local token = refresh_token_of(box, "jane")
      box:fault { path = "/auth/token", status = 400, code = "invalid_grant" }
      local response = exchange(box, token, box.accounts[1])
      assert.same({ 400, "invalid_grant" }, { response.status, response.json.error.code })
      assert.equal(200, exchange(box, token, box.accounts[1]).status)
    end)

    it("may do the work and refuse all the same", function()
      local token = refresh_token_of(box, "jane")
      box:fault { path = "/auth/token", status = 503, work = true }
      assert.equal(503, exchange(box, token, box.accounts[1]).status)
      assert.equal(401, exchange(box, token, box.accounts[1]).status)
    end)

    it("send Retry-After as it is given, twice where it is a list", function()
      box:fault { path = "/me", retry_after = "soon" }
      box:fault { path = "/me", nth = 2, retry_after = { "1", "2" }, status = 503 }
      local first, second = get(box, "/me"), get(box, "/me")
      assert.same({ 429, "soon", 503 }, { first.status, first.headers["retry-after"], second.status })
      local text = table.concat(second.lines, "\n")
      assert.truthy(text:find("Retry-After: 1\nRetry-After: 2", 1, true))
    end)

    it("answer with a page of HTML, another body, other headers", function()
      box:fault { path = "/me", html = true }
      box:fault { path = "/me", nth = 2, body = '{"a":', headers = { etag = '"mine"', ["X-Request-Id"] = false } }
      local html, altered = get(box, "/me"), get(box, "/me")
      assert.same({ 200, "text/html; charset=utf-8" }, { html.status, html.headers["content-type"] })
      assert.same({ 200, '{"a":', '"mine"' }, { altered.status, altered.body, altered.headers.etag })
      assert.is_nil(altered.headers["x-request-id"])
    end)

    it("send garbage, or any bytes", function()
      box:fault { path = "/me", garbage = true }
      box:fault { path = "/me", nth = 2, raw = "HTTP/1.1 200 OK\r\nX: \0\255" }
      assert.equal("not HTTP", select(2, get(box, "/me")))
      local client = connect(box)
      client:send(request_text("GET", "/me", { token = box.token }))
      assert.equal("HTTP/1.1 200 OK\r\nX: \0\255", select(3, client:receive(1000)))
      client:close()
    end)

    it("send less than they announce", function()
      box:fault { path = "/me", truncate = true }
      local _, err, partial = get(box, "/me")
      assert.equal("closed", err)
      assert.is_table(json.decode(partial))
    end)

    it("send half an answer, the work done", function()
      local token = refresh_token_of(box, "jane")
      box:fault { path = "/auth/token", drop = "half" }
      local client = connect(box)
      local body = { refresh_token = token, account_uuid = box.accounts[1].uuid }
      client:send(request_text("POST", "/auth/token", { body = body }))
      local _, err, partial = client:receive(100000)
      client:close()
      assert.equal("closed", err)
      assert.truthy(partial:find "^HTTP/1.1 200 OK\r\n")
      assert.equal("spent", box:refresh_tokens()[#box:refresh_tokens() - 1].state)
    end)

    it("close a kept connection after an answer", function()
      box:fault { path = "/me", close_idle = true }
      local client = connect(box)
      client:send(request_text("GET", "/me", { token = box.token }))
      local response = read_response(client)
      assert.same({ 200, "keep-alive" }, { response.status, response.headers.connection })
      assert.equal("closed", select(2, client:receive(1)))
      client:close()
    end)

    it("close a reused connection when the request has been read, and no fresh one", function()
      box:fault { close_reused = true }
      local client = connect(box)
      client:send(request_text("GET", "/me", { token = box.token }))
      assert.equal(200, read_response(client).status)
      client:send(request_text("GET", "/me", { token = box.token }))
      assert.equal("closed", select(2, read_response(client)))
      client:close()
      assert.same({ 2, 1 }, { box:count { path = "/me" }, box:count { path = "/me", status = 200 } })
    end)

    it("hold an answer until released, the work done, while others are served", function()
      local token = refresh_token_of(box, "jane")
      box:fault { path = "/auth/token", hold = true }
      local client = connect(box)
      local body = { refresh_token = token, account_uuid = box.accounts[1].uuid }
      client:send(request_text("POST", "/auth/token", { body = body }))
      assert.equal(1, box:wait_seen({ path = "/auth/token" }, 1, 5))
      assert.equal(200, get(box, "/me").status)
      client:settimeout(0)
      assert.equal("timeout", select(2, client:receive(1)))
      client:settimeout(http.READ_TIMEOUT_S)
      box:release()
      assert.equal(200, read_response(client).status)
      client:close()
    end)

    it("delay an answer", function()
      box:fault { path = "/me", delay = 0.15 }
      local began = socket.gettime()
      assert.equal(200, get(box, "/me").status)
      assert.is_true(socket.gettime() - began >= 0.15)
    end)
  end)

  describe("the record", function()
    it("tells each request, and no token", function()
      call(box, "GET", "/images?limit=3", { token = box.token, headers = { ["X-Mine"] = "yes" } })
      local token = refresh_token_of(box, "jane")
      exchange(box, token, box.accounts[1])
      local seen = box:seen()
      assert.same({ "GET", "/images", "limit=3", "yes", 200 },
        { seen[1].method, seen[1].path, seen[1].query, seen[1].headers["x-mine"], seen[1].status })
      assert.equal("Bearer " .. sandbox.digest(box.token), seen[1].headers.authorization)
      assert.equal(sandbox.digest(token), seen[3].refresh_token)
      local text = json.encode(seen)
      for _, secret in ipairs { box.token, token, box.people.jane.password } do
        assert.is_nil(text:find(secret, 1, true))
      end
    end)

    it("counts by path, pattern and method", function()
      get(box, "/images/x")
      get(box, "/images/y")
      call(box, "PUT", "/images/x", { token = box.token })
      assert.same({ 3, 2, 0, 3 }, {
        box:count { path = "/images/." }, box:count { path = "/images/x" }, box:count { path = "/images" }, box:count(),
      })
      assert.equal(2, #box:seen { path = "/images/.", method = "GET" })
    end)

    it("names a filter that it does not know", function()
      assert.has_error(function() box:count { pth = "/me" } end, "requests can't be told apart by 'pth'")
    end)

    it("waits for requests that are under way", function()
      box:fault { path = "/me", delay_work = 0.05, times = "always" }
      local clients = {}
      for index = 1, 3 do
        clients[index] = connect(box)
        clients[index]:send(request_text("GET", "/me", { token = box.token }))
      end
      assert.is_true(box:wait_seen({ path = "/me", status = 200 }, 3, 5) >= 3)
      for _, client in ipairs(clients) do client:close() end
    end)

    it("gives up waiting when the time has run out", function()
      assert.same({ nil, "timeout" }, { box:wait_seen({ path = "/never" }, 1, 0.01) })
    end)
  end)
end)

describe("dpg.sandbox over TLS", function()
  local box

  setup(function() box = boxes.start { tls = true } end)
  teardown(function() box:stop() end)
  before_each(function() box:clear_faults() end)

  it("is verified by its own authority, and serves large answers", function()
    assert.truthy(box.base_url:find "^https://127.0.0.1:%d+/v1$")
    assert.equal(120, #get(box, "/images?limit=200").json)
  end)

  it("lets nobody in who trusts other authorities", function()
    local client = assert(socket.connect("127.0.0.1", box.port))
    client:settimeout(http.READ_TIMEOUT_S)
    local settings = { mode = "client", protocol = "any", verify = "peer", options = "all" }
    local secure = assert(require "ssl".wrap(client, settings))
    assert.is_false((secure:dohandshake()))
    secure:close()
  end)

  it("is not held up by a client that never shakes hands", function()
    local silent = assert(socket.connect("127.0.0.1", box.port))
    assert.equal(200, get(box, "/me").status)
    silent:close()
  end)

  it("ends a connection without an answer", function()
    box:fault { drop = "before" }
    assert.is_nil((get(box, "/me")))
    assert.equal(200, get(box, "/me").status)
  end)
end)

describe("a reset", function()
  -- LuaSocket calls every end "closed"; but a socket that was reset has no peer any more.
  local function has_peer(client)
    local raw = socket.tcp4()
    raw:close()
    raw:setfd(client:getfd())
    local peer = raw:getpeername()
    raw:setfd(-1)
    return peer ~= nil
  end

  local cases = { -- fault, whether the peer is gone
    { "is an RST", { reset = true }, false }, { "differs from a drop", { drop = "before" }, true },
  }
  for _, tls in ipairs { false, true } do
    for _, case in ipairs(cases) do
      it(case[1] .. (tls and " under TLS" or ""), function()
        local box = boxes.start { tls = tls }
        box:fault(case[2])
        local client = connect(box)
        client:send(request_text("GET", "/me", { token = box.token }))
        local line = client:receive "*l"
        local there = has_peer(client)
        client:close()
        box:stop()
        assert.same({ nil, case[3] }, { line, there })
      end)
    end
  end
end)
