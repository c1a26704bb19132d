-- HTTP/2, with a real nginx: many calls on one connection, and what becomes of calls when nginx says GOAWAY, resets a
-- stream or dies. Whatever happens, every call is answered, and every write is done once.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local nginxes = require "support.nginx"

describe("behind nginx,", function()
  local box, nginx, image

  setup(function()
    box = boxes.start()
    nginx = nginxes.start(box, {
      usual = {}, -- HTTP/2 where the client offers it
      old = { http2 = false },
      impatient = { "keepalive_requests 10;" }, -- GOAWAY after each ten requests
      narrow = { "http2_max_concurrent_streams 3;" },
    })
    image = dpg.assert(client.service(box).images:list { limit = 1 }).items[1].public_uuid
    client.close()
  end)
  teardown(function()
    nginx:stop()
    box:stop()
  end)
  before_each(function() box:reset_seen() end)
  after_each(function()
    box:clear_faults()
    client.nothing_left()
    client.close()
  end)

  local function options(server, more)
    local all = { base_url = nginx:url(server), ca_file = nginx.ca_file, deadline = 20 }
    for name, value in pairs(more or {}) do all[name] = value end
    return all
  end

  local function service(server, more)
    local all = options(server, more)
    all.token = box.token
    return dpg.assert(dpg.service(all))
  end

  -- Calls `one` with 1 to n, all at once.
  local function at_once(n, one)
    dpg.run(function()
      local tasks = {}
      for i = 1, n do tasks[i] = dpg.spawn(one, i) end
      for _, task in ipairs(tasks) do task:await() end
    end)
  end

  -- How many different values a header had among the requests that reached the sandbox, and one of them.
  local function values(header, filter)
    local known, count, one = {}, 0, nil
    for _, request in ipairs(box:seen(filter)) do
      one = request.headers[header]
      if not known[one] then count = count + 1 end
      known[one] = true
    end
    return count, one
  end

  local function effects(work)
    local before = box:report().operations
    work()
    return box:report().operations - before
  end

  local function retitle(gallery, title, more)
    return gallery.images:update(image, { title = title }, more)
  end

  -- --- one connection ----------------------------------------------------------------------------------------------

  it("a hundred calls at once share one connection", function()
    local gallery = service "usual"
    at_once(100, function() dpg.assert(gallery:me()) end)
    assert.equal(100, box:count { path = "/me", status = 200 })
    assert.same({ 1, "HTTP/2.0" }, { values("x-protocol") })
    assert.equal(1, (values "x-connection"))
  end)

  it("calls one after the other share it, too", function()
    local gallery = service "usual"
    for _ = 1, 20 do dpg.assert(gallery:me()) end
    assert.same({ 1, "HTTP/2.0" }, { values("x-protocol") })
    assert.equal(1, (values "x-connection"))
  end)

  it("a person's first call has its connection made while its token is fetched", function()
    local person = box.people.solo
    for _, server in ipairs { "usual", "old" } do
      local user = dpg.assert(dpg.sign_in(options(server, {
        login = person.login, password = person.password, device = client.device, store = dpg.store.memory(),
      })))
      local session = dpg.assert(user:account(user.accounts[1].uuid))
      for _ = 1, 3 do dpg.assert(session:me()) end
    end
    local tokens, calls = box:seen { path = "/auth/token" }, box:seen { path = "/me" }
    assert.same({ 2, 6 }, { #tokens, #calls })
    local function connection(request) return tonumber(request.headers["x-connection"]) end
    assert.is_true(connection(calls[1]) < connection(tokens[1])) -- nginx counts them as they come
    assert.equal(connection(calls[1]), connection(calls[3]))
    assert.equal("HTTP/2.0", calls[1].headers["x-protocol"])
    -- one without HTTP/2 is asked over a connection of its own
    assert.is_true(connection(calls[4]) > connection(tokens[2]))
    assert.equal(connection(calls[4]), connection(calls[6]))
  end)

  it("more calls at once than the server takes on one connection are all answered", function()
    local gallery = service "narrow"
    at_once(60, function() dpg.assert(gallery:me()) end)
    assert.equal(60, box:count { path = "/me", status = 200 })
    assert.same({ 1, "HTTP/2.0" }, { values("x-protocol") })
  end)

  it("`http2 = false` speaks HTTP/1.1, on no more than max_connections", function()
    local gallery = service("usual", { http2 = false, max_connections = 4 })
    at_once(40, function() dpg.assert(gallery:me()) end)
    assert.equal(40, box:count { path = "/me", status = 200 })
    assert.same({ 1, "HTTP/1.1" }, { values("x-protocol") })
    assert.is_true((values "x-connection") <= 4)
  end)

  it("a server without HTTP/2 is spoken to as it wants", function()
    local gallery = service "old"
    at_once(20, function() dpg.assert(gallery:me()) end)
    assert.equal(20, box:count { path = "/me", status = 200 })
    assert.same({ 1, "HTTP/1.1" }, { values("x-protocol") })
  end)

  it("an answer that is too large ends its own stream, not its neighbours'", function()
    local gallery = service "usual"
    dpg.assert(gallery:me())
    box:fault { path = "/facets", status = 200, body = '{"x":"' .. ("x"):rep(1000000) .. '"}', times = "always" }
    at_once(30, function(i)
      if i % 5 > 0 then return dpg.assert(gallery:me()) end
      local facets, err = gallery.images:facets { max_response_bytes = 5000 }
      assert.is_nil(facets)
      assert.same({ "protocol", "response_too_large" }, { err.kind, err.code })
    end)
    assert.equal(25, box:count { path = "/me", status = 200 })
    assert.equal(1, (values("x-connection", { path = "/me" })))
  end)

  it("a timeout ends its own stream, not its neighbours'", function()
    local gallery = service "usual"
    dpg.assert(gallery:me())
    box:fault { path = "/facets", hold = true, times = "always" }
    at_once(12, function(i)
      if i > 3 then return dpg.assert(gallery:me()) end
      local facets, err = gallery.images:facets { timeout = 0.2, retry = false }
      assert.is_nil(facets)
      assert.equal("timeout", err.kind)
    end)
    dpg.assert(gallery:me())
    assert.equal(1, (values "x-connection"))
  end)

  -- --- exchanges ---------------------------------------------------------------------------------------------------

  it("signing in and exchanges go over HTTP/1.1, each on a connection of its own; calls do not", function()
    local person = box.people.jane
    box:set { access_token_life = 0 } -- each call needs an exchange
    local user = dpg.assert(dpg.sign_in(options("usual", {
      login = person.login, password = person.password, device = client.device, store = dpg.store.memory(),
    })))
    local session = user:account(user.accounts[1].uuid)
    for _ = 1, 4 do session:me() end
    box:set { access_token_life = 900 }
    dpg.assert(session:me())
    local connections, exchanges, calls = {}, 0, 0
    for _, request in ipairs(box:seen()) do
      local connection, is_exchange = request.headers["x-connection"], request.path:find "^/auth/" ~= nil
      assert.equal(is_exchange and "HTTP/1.1" or "HTTP/2.0", request.headers["x-protocol"], request.path)
      if is_exchange then
        assert.is_nil(connections[connection], request.path .. " was sent on a used connection")
        exchanges = exchanges + 1
      else
        assert.are_not.equal("exchange", connections[connection])
        calls = calls + 1
      end
      connections[connection] = is_exchange and "exchange" or "call"
    end
    assert.is_true(exchanges >= 6 and calls >= 5, exchanges .. " exchanges, " .. calls .. " calls")
    assert.equal(0, box:report().presented_more_than_once)
  end)

  -- --- GOAWAY ------------------------------------------------------------------------------------------------------

  it("a GOAWAY after each ten requests loses no call of 200", function()
    local gallery = service "impatient"
    at_once(200, function() dpg.assert(gallery:me()) end)
    assert.equal(200, box:count { path = "/me", status = 200 })
    assert.same({ 1, "HTTP/2.0" }, { values("x-protocol") })
    assert.is_true((values "x-connection") >= 20)
  end)

  it("a GOAWAY after each ten requests loses and doubles no write of 150", function()
    local gallery, keys = service "impatient", {}
    assert.equal(150, effects(function()
      at_once(150, function(i)
        local operation, answer = dpg.assert(retitle(gallery, "title " .. i))
        assert.is_string(operation.uuid)
        keys[answer.idempotency_key] = true
      end)
    end))
    local count = 0
    for _ in pairs(keys) do count = count + 1 end
    assert.equal(150, count)
    assert.equal(150, (values("idempotency-key", { method = "PATCH" })))
    assert.is_true((values "x-connection") >= 15)
  end)

  it("a reload in the middle of many writes loses and doubles none", function()
    local gallery, old, sent = service "usual", nginx:worker(), 0
    local is_reloaded, after = false, 0
    local function write_on() -- until the new worker has had some
      repeat
        sent = sent + 1
        dpg.assert(retitle(gallery, "title " .. sent))
        if sent > 60 and not is_reloaded then
          is_reloaded = true
          nginx:reload()
        elseif is_reloaded then
          local _, worker = values("x-worker", { method = "PATCH" })
          if tonumber(worker) ~= old then after = after + 1 end
        end
      until after >= 12
    end
    local done = effects(function() at_once(12, write_on) end)
    assert.equal(sent, done)
    assert.equal(sent, (values("idempotency-key", { method = "PATCH" })))
    assert.equal(2, (values "x-worker"))
  end)

  -- --- resets ------------------------------------------------------------------------------------------------------

  local cuts = { -- bytes of the answer that nginx gets before the sandbox drops it, and what the error is called
    { 0, "connection_lost" }, { 20, "answer_cut" },
  }
  for _, case in ipairs(cuts) do
    local bytes, code = case[1], case[2]
    local where = " after a write, with " .. bytes .. " bytes of its answer,"

    it("a reset of the stream" .. where .. " is repeated under its key, and done once", function()
      local gallery = service "usual"
      assert.equal(1, effects(function()
        box:fault { method = "PATCH", path = "/images/.*", cut = bytes, times = 2 }
        local operation, answer = dpg.assert(retitle(gallery, "once"))
        assert.equal(3, answer.attempts)
        dpg.assert(operation:wait())
      end))
      assert.equal(3, box:count { method = "PATCH" })
      assert.equal(1, (values("idempotency-key", { method = "PATCH" })))
      assert.equal(1, (values "x-connection")) -- a stream was lost, not the connection
    end)

    it("a reset of the stream" .. where .. " is one clear error without retries", function()
      local gallery = service "usual"
      box:fault { method = "PATCH", path = "/images/.*", cut = bytes }
      local operation, err = retitle(gallery, "lost", { retry = false })
      assert.is_nil(operation)
      assert.same({ "network", code }, { err.kind, err.code })
      assert.truthy(tostring(err):find "HTTP/2 stream")
      -- a later program goes on where this one stopped
      assert.equal(0, effects(function()
        dpg.assert(retitle(gallery, "lost", { idempotency_key = err.idempotency_key }))
      end))
    end)
  end

  it("resets of one call in three among 90 lose and double no write", function()
    local gallery = service("usual", { retry = { attempts = 30, base = 0.01, budget = false } })
    assert.equal(90, effects(function()
      box:fault { method = "PATCH", path = "/images/.*", cut = 10, times = "always", chance = 0.33, seed = 7 }
      at_once(90, function(i) dpg.assert(retitle(gallery, "title " .. i)) end)
    end))
    assert.is_true(box:count { method = "PATCH" } > 90)
    assert.equal(90, (values("idempotency-key", { method = "PATCH" })))
    assert.equal(1, (values "x-connection"))
  end)

  it("the death of nginx's worker, with 12 writes done and unanswered, loses and doubles none", function()
    local gallery = service "usual"
    dpg.assert(gallery:me())
    assert.equal(12, effects(function()
      box:fault { method = "PATCH", path = "/images/.*", hold = true, times = 12 }
      dpg.run(function()
        local tasks = {}
        for i = 1, 12 do tasks[i] = dpg.spawn(function() dpg.assert(retitle(gallery, "title " .. i)) end) end
        repeat dpg.assert(gallery:me()) until box:count { method = "PATCH" } == 12
        nginx:kill_worker()
        for _, task in ipairs(tasks) do task:await() end
      end)
    end))
    assert.equal(24, box:count { method = "PATCH" })
    assert.equal(12, (values("idempotency-key", { method = "PATCH" })))
    assert.equal(2, (values "x-worker"))
  end)

  it("an exchange whose connection dies is asked again with the same token, never by libcurl itself", function()
    box:set { rotation = "grace" }
    local person = box.people.jane
    local user = dpg.assert(dpg.sign_in(options("usual", {
      login = person.login, password = person.password, device = client.device, store = dpg.store.memory(),
    })))
    box:fault { path = "/auth/token", cut = 10 }
    dpg.assert(user:account(user.accounts[1].uuid):me())
    assert.equal(2, box:count { path = "/auth/token" })
    assert.equal(2, (values("x-connection", { path = "/auth/token" })))
    box:set { rotation = "strict" }
  end)
end)
