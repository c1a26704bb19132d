-- Calls through an HTTP proxy: what it is told and what it never sees, logins, refusals, deaths, and when there is
-- none. The name gallery.test exists nowhere: only the proxy leads to nginx, whose certificate is for it.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local nginxes = require "support.nginx"
local process = require "support.process"
local proxies = require "support.proxy"

describe("through a proxy", function()
  local box, nginx, proxy, other_ca, image

  setup(function()
    box = boxes.start()
    nginx = nginxes.start(box, { usual = {}, old = { http2 = false } })
    proxy = proxies.start(nginx.ports.usual)
    other_ca = nginxes.other_authority()
    image = dpg.assert(client.service(box).images:list { limit = 1 }).items[1].public_uuid
    client.close()
  end)
  teardown(function()
    proxy:stop()
    nginx:stop()
    box:stop()
  end)
  before_each(function()
    box:reset_seen()
    proxy:forget()
  end)
  after_each(function()
    box:clear_faults()
    proxy:set "usual"
    proxy:lead_to(nginx.ports.usual)
    client.nothing_left()
    client.close() -- no tunnel reaches into the next test
  end)

  local function options(more)
    local all = {
      base_url = "https://gallery.test/v1", ca_file = nginx.ca_file, proxy = proxy:url(), deadline = 10,
      retry = { base = 0.01 },
    }
    for name, value in pairs(more or {}) do all[name] = value end
    return all
  end

  local function service(more)
    local all = options(more)
    all.token = box.token
    return dpg.assert(dpg.service(all))
  end

  local function person(more)
    local jane = box.people.jane
    local all = options(more)
    all.login, all.password, all.device, all.store = jane.login, jane.password, client.device, dpg.store.memory()
    local user = dpg.assert(dpg.sign_in(all))
    return user:account(user.accounts[1].uuid)
  end

  local function at_once(n, one)
    dpg.run(function()
      local tasks = {}
      for i = 1, n do tasks[i] = dpg.spawn(one, i) end
      for _, task in ipairs(tasks) do task:await() end
    end)
  end

  local function effects(work)
    local before = box:report().operations
    work()
    return box:report().operations - before
  end

  -- --- what it is told ---------------------------------------------------------------------------------------------

  it("a call is led by CONNECT, with the login, and the answer comes back", function()
    assert.equal("Northlight Festival", dpg.assert(service():me()).account.name)
    local seen = proxy:seen()
    assert.equal(1, #seen)
    local names = {}
    for name in seen[1].head:gmatch "\r\n([%w-]+):" do names[#names + 1] = name:lower() end
    table.sort(names)
    assert.same({ "host", "proxy-authorization", "proxy-connection", "user-agent" }, names)
    assert.truthy(seen[1].head:find("^CONNECT gallery%.test:443 HTTP/1%.1\r\nHost: gallery%.test:443\r\n"))
    assert.truthy(seen[1].head:find("\r\nProxy-Authorization: Basic " .. proxies.BASIC .. "\r\n", 1, true))
  end)

  it("the server hears nothing of the proxy's login", function()
    dpg.assert(service():me())
    for name, value in pairs(box:seen()[1].headers) do
      assert.is_nil(name:find "proxy")
      assert.is_nil(value:find(proxies.BASIC, 1, true))
    end
  end)

  it("an open proxy is told no login", function()
    proxy:set "open"
    dpg.assert(service({ proxy = proxy:url "" }):me())
    assert.is_nil(proxy:seen()[1].head:lower():find "authorization")
  end)

  it("a login with percent-encoded bytes arrives decoded", function()
    dpg.assert(service({ proxy = proxy:url(proxies.USER .. ":%733cret%2Dof%2dthe-proxy") }):me())
  end)

  it("a proxy without a scheme is taken for an HTTP proxy", function()
    dpg.assert(service({ proxy = (proxy:url():gsub("^http://", "")) }):me())
    assert.equal(1, #proxy:seen())
  end)

  it("many calls at once share one tunnel, over HTTP/2", function()
    local gallery = service()
    at_once(50, function() dpg.assert(gallery:me()) end)
    assert.equal(1, #proxy:seen())
    for _, request in ipairs(box:seen()) do assert.equal("HTTP/2.0", request.headers["x-protocol"]) end
  end)

  it("a server without HTTP/2 is spoken to as it wants", function()
    proxy:lead_to(nginx.ports.old)
    local gallery = service({ max_connections = 3 })
    at_once(20, function() dpg.assert(gallery:me()) end)
    assert.is_true(#proxy:seen() <= 3)
    for _, request in ipairs(box:seen()) do assert.equal("HTTP/1.1", request.headers["x-protocol"]) end
  end)

  it("sign-in and each exchange have a tunnel of their own", function()
    box:set { access_token_life = 0 }
    local session = person()
    for _ = 1, 3 do session:me() end
    box:set { access_token_life = 900 }
    local exchanges, connections = 0, {}
    for _, request in ipairs(box:seen()) do
      local connection = request.headers["x-connection"]
      if request.path:find "^/auth/" then
        exchanges = exchanges + 1
        assert.is_nil(connections[connection])
        assert.equal("HTTP/1.1", request.headers["x-protocol"])
      end
      connections[connection] = true
    end
    assert.is_true(exchanges >= 4)
    assert.equal(exchanges + 1, #proxy:seen())
  end)

  it("a proxy sees names and TLS, never a token, a password or a word of a call", function()
    local session = person()
    dpg.assert(session:me())
    dpg.assert(service():me())
    dpg.assert(service().images:update(image, { title = "a title for nobody's eyes" }))
    local words = { box.token, box.people.jane.login, box.people.jane.password, "for nobody's eyes", "dpg_", "Bearer",
      image, "/v1" }
    for _, connection in ipairs(proxy:seen()) do
      for _, word in ipairs(words) do
        assert.is_nil(connection.head:find(word, 1, true))
        assert.is_nil(connection.up:find(word, 1, true))
      end
      assert.equal("\22\3", connection.up:sub(1, 2)) -- a TLS handshake from the first byte on
    end
  end)

  it("the certificate must be the server's: a proxy that leads elsewhere gets no token", function()
    for _, wrong in ipairs { { ca_file = other_ca }, { base_url = "https://elsewhere.test/v1" } } do
      local me, err = service(wrong):me()
      assert.is_nil(me)
      assert.same({ "tls", "certificate_invalid", 1 }, { err.kind, err.code, err.attempts })
    end
    assert.equal(0, box:count())
  end)

  -- --- refusals ----------------------------------------------------------------------------------------------------

  local function no_secret(value, where)
    for _, secret in ipairs { proxies.PASSWORD, "s3cret", proxies.BASIC, box.token } do
      assert(not tostring(value):find(secret, 1, true), where .. " shows a secret")
      for name, one in pairs(type(value) == "table" and value or {}) do
        assert(not tostring(one):find(secret, 1, true), where .. "." .. tostring(name) .. " shows a secret")
      end
    end
  end

  local refusals = { -- what, the proxy's mode, the login, kind, code, in its words, asked how often
    { "a login that is wrong", "usual", "desk:wrong-s3cret", "usage", "proxy_refused", "407", 1 },
    { "no login where one is wanted", "usual", "", "usage", "proxy_refused", "407", 1 },
    { "a 403", "refuse 403", nil, "usage", "proxy_refused", "403", 1 },
    { "a 407 to the right login", "refuse 407", nil, "usage", "proxy_refused", "407", 1 },
    { "a 403 that says the login again", "echo", nil, "usage", "proxy_refused", "403", 1 },
    { "a 502", "refuse 502", nil, "network", "connect_failed", "502", 3 },
    { "a 503", "refuse 503", nil, "network", "connect_failed", "503", 3 },
    { "a closed connection", "close", nil, "network", "connect_failed", nil, 3 },
    { "a 200, and closes", "cut", nil, "network", "connect_failed", nil, 3 },
    { "bytes that are no HTTP", "garbage", nil, "network", "connect_failed", nil, 3 },
    { "headers without end", "endless", nil, "protocol", "headers_too_large", nil, 1 },
    { "a death within the handshake", "down 50", nil, "network", "connect_failed", nil, 3 },
  }
  for _, case in ipairs(refusals) do
    local what, mode, login, words, times = case[1], case[2], case[3], case[6], case[7]
    local kind, code = case[4], case[5]
    it("that answers CONNECT with " .. what .. " a call fails, unsent, and shows no login", function()
      local events = {}
      proxy:set(mode)
      local gallery = service {
        proxy = proxy:url(login), retry = { base = 0.01, attempts = 3 },
        on_event = function(_, event) events[#events + 1] = event end,
      }
      local me, err = gallery:me()
      assert.is_nil(me)
      assert.same({ kind, code, times }, { err.kind, err.code, err.attempts }, tostring(err))
      assert.truthy(tostring(err):find("gallery.test", 1, true))
      if words then assert.truthy(tostring(err):find(words, 1, true), tostring(err)) end
      assert.equal(times, #proxy:seen())
      assert.equal(0, box:count())
      no_secret(err, "the error")
      no_secret(gallery, "the session")
      for _, event in ipairs(events) do no_secret(event, "an event") end
      proxy:set "usual"
      if not login then dpg.assert(gallery:me()) end -- and when it has come to its senses, all is well
    end)
  end

  it("that refuses, a sign-in fails and no password has left", function()
    proxy:set "refuse 403"
    local jane = box.people.jane
    local user, err = dpg.sign_in(options { login = jane.login, password = jane.password, device = client.device,
      store = dpg.store.memory() })
    assert.is_nil(user)
    assert.same({ "usage", "proxy_refused" }, { err.kind, err.code })
    assert.equal("", proxy:seen()[1].up)
  end)

  it("that refuses for a while, a person's session is not lost, and no token is in doubt", function()
    box:set { access_token_life = 0 }
    local session = person()
    session:me()
    box:set { access_token_life = 900 }
    for _, mode in ipairs { "refuse 407", "close", "cut" } do
      proxy:set(mode)
      local me, err = session:me { deadline = 0.5 }
      assert.is_nil(me)
      assert.are_not.equal("auth", err.kind, tostring(err))
    end
    proxy:set "usual"
    dpg.assert(session:me())
    assert.equal(0, box:report().presented_more_than_once)
  end)

  it("that says nothing, a call ends at its timeout", function()
    proxy:set "silent"
    local me, err = service({ retry = false }):me { timeout = 0.3 }
    assert.is_nil(me)
    assert.equal("timeout", err.kind)
  end)

  it("that can't be reached, a call fails, unsent", function()
    local _, err = service({ proxy = "http://desk:s3cret@127.0.0.1:1", retry = false }):me()
    assert.same({ "network", "connect_failed" }, { err.kind, err.code })
    no_secret(err, "the error")
  end)

  local unusable = {
    "ftp://desk:s3cret@127.0.0.1:1", "http://desk:s3cret and@127.0.0.1:1", "http://desk:s3cret@127.0.0.1:99999",
    "http://desk:s3cret@[::1", "://desk:s3cret@host", "http://desk:s3cret\1@127.0.0.1:1", "http://",
    "http://desk:s3cret\0@127.0.0.1:1", "http://desk:s3cret%00@127.0.0.1:1", -- libcurl would go without the proxy
  }
  for _, text in ipairs(unusable) do
    it(("that is none, %q, no call is made, and no login shown"):format(text):gsub("%c", "?"), function()
      local me, err = service({ proxy = text }):me()
      assert.is_nil(me)
      assert.same({ "usage", "invalid_option" }, { err.kind, err.code }, tostring(err))
      assert.truthy(tostring(err):find "proxy")
      no_secret(err, "the error")
    end)
  end

  -- --- a proxy that dies in the middle -----------------------------------------------------------------------------

  local function retitle(gallery, title, more) return gallery.images:update(image, { title = title }, more) end

  for _, http2 in ipairs { true, false } do
    local over = http2 and " over HTTP/2" or " over HTTP/1.1"
    it("that dies" .. over .. " between a write and its answer, it is repeated under its key, and done once", function()
      local gallery, aside = service { http2 = http2 }, client.service(box) -- the second one goes past the proxy
      box:fault { method = "PATCH", path = "/images/.*", hold = true }
      assert.equal(1, effects(function()
        dpg.run(function()
          local write = dpg.spawn(function() return dpg.assert(retitle(gallery, "once")) end)
          repeat dpg.assert(aside:me()) until box:count { method = "PATCH" } == 1
          proxy:drop()
          box:release()
          write:await()
        end)
      end))
      local writes = box:seen { method = "PATCH" }
      assert.equal(2, #writes)
      assert.equal(writes[1].headers["idempotency-key"], writes[2].headers["idempotency-key"])
      assert.equal(2, #proxy:seen())
    end)
  end

  it("that dies in the middle of long answers, reads are repeated, and come whole", function()
    local whole = dpg.assert(client.service(box).images:list { limit = 100 })
    proxy:set "down 9000"
    local gallery = service({ retry = { base = 0.01, attempts = 2 } })
    local page, err = gallery.images:list { limit = 100 }
    assert.is_nil(page)
    assert.same({ "network", "answer_cut", 2 }, { err.kind, err.code, err.attempts })
    assert.equal(2, #proxy:seen())
    proxy:set "usual"
    assert.equal(#whole.items, #dpg.assert(gallery.images:list { limit = 100 }).items)
  end)

  it("that dies again and again among 60 writes, none is lost or doubled", function()
    local gallery = service({ retry = { attempts = 40, base = 0.01, budget = false } })
    assert.equal(60, effects(function()
      proxy:set "down 6000" -- a handshake and some answers
      at_once(60, function(i) dpg.assert(retitle(gallery, "title " .. i)) end)
    end))
    assert.is_true(#proxy:seen() > 3)
  end)

  -- --- none --------------------------------------------------------------------------------------------------------

  it("loopback is never reached, whatever is said", function()
    for _, host in ipairs { "127.0.0.1", "localhost", "127.9.9.9" } do
      local _, err = service({ base_url = nginx:url("usual", host), retry = false }):me()
      if host == "127.9.9.9" then assert.equal("connect_failed", err.code) end -- nobody listens there
    end
    assert.same({}, proxy:seen())
    assert.equal(2, box:count { path = "/me" })
  end)

  it("`proxy = false` goes to no proxy", function()
    dpg.assert(service({ base_url = nginx:url("usual", "0.0.0.0"), proxy = false }):me())
    assert.same({}, proxy:seen())
    dpg.assert(service({ base_url = nginx:url("usual", "0.0.0.0") }):me())
    assert.equal(1, #proxy:seen())
  end)

  -- What the environment says, in a process of its own. 0.0.0.0 is reached without a proxy, and is no loopback.
  local in_a_child = [[
    local base_url, ca_file, proxy, token_file = ...
    local dpg = require "dpg"
    local options = {
      base_url = base_url, ca_file = ca_file, token = io.open(token_file):read "*a", deadline = 10, retry = false,
    }
    if proxy == "none" then options.proxy = false elseif proxy ~= "unsaid" then options.proxy = proxy end
    local gallery = dpg.assert(dpg.service(options))
    local me, err = gallery:me()
    print(me and me.account.name or err.code)
  ]]
  local environments = { -- what, its words (%s: the proxy), host, the option, by the proxy?
    { "https_proxy names one", "https_proxy=%s", "0.0.0.0", "unsaid", true },
    { "HTTPS_PROXY names one", "HTTPS_PROXY=%s", "0.0.0.0", "unsaid", true },
    { "all_proxy names one", "all_proxy=%s", "0.0.0.0", "unsaid", true },
    { "nothing is named", "", "0.0.0.0", "unsaid", false },
    { "http_proxy alone is another matter", "http_proxy=%s", "0.0.0.0", "unsaid", false },
    { "https_proxy names one, and `proxy = false`", "https_proxy=%s all_proxy=%s", "0.0.0.0", "none", false },
    { "https_proxy names one, for loopback", "https_proxy=%s all_proxy=%s", "127.0.0.1", "unsaid", false },
    { "https_proxy names one, for localhost", "https_proxy=%s all_proxy=%s", "localhost", "unsaid", false },
    { "no_proxy excepts the host", "https_proxy=%s no_proxy=example.com,0.0.0.0", "0.0.0.0", "unsaid", false },
    { "NO_PROXY excepts all", "https_proxy=%s NO_PROXY='*'", "0.0.0.0", "unsaid", false },
    { "no_proxy excepts another host", "https_proxy=%s no_proxy=example.com", "0.0.0.0", "unsaid", true },
    { "https_proxy names a dead one, `proxy` a good one", "https_proxy=http://127.0.0.1:1", "0.0.0.0", "own", true },
  }
  for _, case in ipairs(environments) do
    local what, words, host, option, is_proxied = case[1], case[2], case[3], case[4], case[5]
    it("of the environment: " .. what .. ": " .. (is_proxied and "proxied" or "direct"), function()
      local token_file = process.folder() .. "/token"
      process.write_file(token_file, box.token)
      local none = "env -u https_proxy -u HTTPS_PROXY -u all_proxy -u ALL_PROXY -u http_proxy -u no_proxy -u NO_PROXY "
      local child = process.start_through(none .. words:gsub("%%s", proxy:url()), in_a_child,
        nginx:url("usual", host), nginx.ca_file, option == "own" and proxy:url() or option, token_file)
      child:expect "Northlight Festival"
      assert.equal(0, (child:wait()))
      assert.equal(is_proxied and 1 or 0, #proxy:seen())
    end)
  end
end)
