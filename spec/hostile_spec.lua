-- Servers and networks that misbehave: what each answer, cut and reset is called, and that the session goes on
-- afterwards. Its companions: hostile_store_spec.lua (disks), hostile_argument_spec.lua (callers).
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local notes = require "support.notes"
local process = require "support.process"
local socket = require "socket"

local function copy(fields, path, times)
  local fault = { path = path, times = times }
  for name, value in pairs(fields) do fault[name] = value end
  return fault
end

-- --- ordinary answers ----------------------------------------------------------------------------------------------

describe("a call that is answered with", function()
  local box, gallery

  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)

  before_each(function() gallery = client.service(box, { retry = false, deadline = 5 }) end)
  after_each(function()
    client.nothing_left()
    client.close()
  end)

  local function status(code, body, more)
    local fault = { status = code, body = body }
    for name, value in pairs(more or {}) do fault[name] = value end
    return fault
  end

  local function raw(text) return { raw = text } end

  local OK = "HTTP/1.1 200 OK\r\n"
  local cases = { -- what, fault, kind, code
    { "HTML in a 200", { html = true }, "protocol", "unreadable" },
    { "HTML in a 401", { html = true, status = 401 }, "auth", "unauthorized" },
    { "HTML in a 403", { html = true, status = 403 }, "api", "forbidden" },
    { "HTML in a 502", { html = true, status = 502 }, "api", "bad_gateway" },
    { "an empty 200", status(200, ""), "protocol", "unreadable" },
    { "an empty 401", raw "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "auth", "unauthorized" },
    { "a 204", raw "HTTP/1.1 204 No Content\r\n\r\n", "protocol", "unreadable" },
    { "JSON cut in half", status(200, '{"account":{"uui'), "protocol", "unreadable" },
    { "two JSON values", status(200, "{}{}"), "protocol", "unreadable" },
    { "a list where an object should be", status(200, "[]"), "protocol", "unreadable" },
    { "a text where an object should be", status(200, '"me"'), "protocol", "unreadable" },
    { "a number where an object should be", status(200, "42"), "protocol", "unreadable" },
    { "null where an object should be", status(200, "null"), "protocol", "unreadable" },
    { "an object without what matters", status(200, "{}"), "protocol", "unreadable" },
    { "a wrong type in what matters", status(200, '{"capabilities":5}'), "protocol", "unreadable" },
    { "JSON with NaN", status(200, '{"capabilities":NaN}'), "protocol", "unreadable" },
    { "JSON that is not UTF-8", status(200, '{"capabilities":["\255\254"]}'), "protocol", "unreadable" },
    { "JSON with a NUL", status(200, '{"capa\0bilities":[]}'), "protocol", "unreadable" },
    { "JSON 100,000 levels deep", status(200, ("["):rep(100000)), "protocol", "unreadable" },
    { "a redirect to another host", status(302, "", { headers = { Location = "https://example.com/v1/me" } }),
      "protocol", "redirect" },
    { "a 300 without a place to go", status(300, ""), "protocol", "redirect" },
    { "a 304 that nobody asked for", raw "HTTP/1.1 304 Not Modified\r\n\r\n", "api", "not_modified" },
    { "a 418", status(418, "[]"), "api", "http_418" },
    { "a status of 599", raw "HTTP/1.1 599 ?\r\nContent-Length: 0\r\n\r\n", "api", "http_599" },
    { "a status of 600", raw "HTTP/1.1 600 ?\r\nContent-Length: 0\r\n\r\n", "protocol", "http_600" },
    { "a status of 999", raw "HTTP/1.1 999 ?\r\nContent-Length: 0\r\n\r\n", "protocol", "http_999" },
    { "a status that is no number", raw "HTTP/1.1 abc OK\r\n\r\n", "protocol", nil },
    { "an error whose code is no text", status(400, '{"error":{"code":[1],"message":{}}}'), "api", "bad_request" },
    { "an error that is a text", status(400, '{"error":"because"}'), "api", "because" },
    { "an error of several lines", status(400, '{"error":{"code":"a\\r\\nb","message":"x\\n\\u0000y"}}'), "api", nil },
    { "bytes that are no HTTP", { garbage = true }, "protocol", nil },
    { "HTTP/0.9", raw "<html>hello</html>", "protocol", nil },
    { "a header of 200,000 bytes", { headers = { ["X-Big"] = ("x"):rep(200000) } }, "protocol", nil },
    { "5,000 headers", raw(OK .. ("X-Many: yes, a great deal of them, one after another\r\n"):rep(5000) ..
      "X-End: " .. ("x"):rep(90000) .. "\r\nContent-Length: 2\r\n\r\n{}"), "protocol", nil },
    { "a header without a colon", raw(OK .. "no colon here\r\nContent-Length: 2\r\n\r\n{}"), "protocol", nil },
    { "a negative length", raw(OK .. "Content-Length: -5\r\n\r\n{}"), "protocol", nil },
    { "a length of 10^20", raw(OK .. "Content-Length: 100000000000000000000\r\n\r\n{}"), nil, nil },
    { "a length of 10^15", raw(OK .. "Content-Length: 1000000000000000\r\n\r\n{}"), nil, nil },
    { "chunks that are none", raw(OK .. "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"), nil, nil },
    { "chunks that end too soon", raw(OK .. "Transfer-Encoding: chunked\r\n\r\n10\r\n{}\r\n"), nil, nil },
    { "gzip that is none", raw(OK .. "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), nil, nil },
    { "less than its Content-Length", { truncate = true }, "network", nil },
    { "half an answer", { drop = "half" }, "network", nil },
    { "a closed connection, before the work", { drop = "before" }, "network", nil },
    { "a closed connection, after the work", { drop = "after" }, "network", nil },
    { "a reset", { reset = true }, "network", nil },
  }
  for _, case in ipairs(cases) do
    it(case[1] .. " makes one clear error, and the next call works", function()
      box:fault(copy(case[2], "/me"))
      local me, err = gallery:me()
      notes.row("GET /me: " .. case[1], err)
      assert.is_nil(me)
      if case[3] then assert.equal(case[3], err.kind, tostring(err)) end
      if case[4] then assert.equal(case[4], err.code, tostring(err)) end
      assert.is_nil(tostring(err):find("[%c]"))
      assert.equal("Northlight Festival", dpg.assert(gallery:me()).account.name)
    end)
  end

  for _, limits in ipairs { { timeout = 1 }, { deadline = 1 } } do
    local limit = next(limits)
    it("an answer that waited in the socket while the program was busy past its " .. limit .. " is used", function()
      box:reset_seen()
      box:fault { path = "/me", hold = true }
      dpg.run(function()
        local slow = dpg.spawn(function() return gallery:me(limits) end)
        repeat dpg.assert(gallery.images:list { limit = 1 }) until box:count { path = "/me" } == 1
        box:release()
        local busy_until = socket.gettime() + 1.5
        repeat until socket.gettime() > busy_until
        assert.is_table(dpg.assert(slow:await()))
      end)
      assert.equal(1, box:count { path = "/me" })
    end)
  end
end)

-- --- signing in ----------------------------------------------------------------------------------------------------

-- What goes wrong with one request, whether the server had done its work by then, and the kind of the error.
local troubles = {
  { "a closed connection, before the work", { drop = "before" }, false, "network" },
  { "a closed connection, after the work", { drop = "after" }, true, "network" },
  { "half an answer", { drop = "half" }, true, "network" },
  { "less than its Content-Length", { truncate = true }, true, "network" },
  { "a reset, before the work", { reset = true }, false, "network" },
  { "a reset, after the work", { reset = true, work = true }, true, "network" },
  { "bytes that are no HTTP", { garbage = true }, false, "protocol" },
  { "HTML in a 200", { html = true }, false, "protocol" },
  { "an empty 200", { status = 200, body = "" }, false, "protocol" },
  { "JSON cut in half", { status = 200, body = '{"refresh_token":"dpg_r' }, false, "protocol" },
  { "a 500", { status = 500 }, false, "api" },
  { "HTML in a 502, after the work", { html = true, status = 502, work = true }, true, "api" },
  { "a 503", { status = 503 }, false, "api" },
  { "a 504, after the work", { status = 504, work = true }, true, "api" },
}

describe("signing in, when the server answers", function()
  local box

  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)
  before_each(function() box:reset_seen() end)
  after_each(function()
    box:clear_faults()
    client.nothing_left()
    client.close()
  end)

  local function sign_in(person, more)
    more = more or {}
    more.deadline = 5
    return client.sign_in(box, person, more)
  end

  for _, case in ipairs(troubles) do
    it("the password with " .. case[1] .. " sends it once, and the next attempt works", function()
      box:fault(copy(case[2], "/auth/sign_in", "always"))
      local user, err = sign_in "jane"
      notes.row("POST /auth/sign_in: " .. case[1], err)
      assert.is_nil(user)
      assert.equal(case[4], err.kind, tostring(err))
      assert.equal(1, box:count { path = "/auth/sign_in" })
      box:clear_faults()
      dpg.assert(sign_in "jane")
    end)

    it("the code with " .. case[1] .. " sends it once, and the next attempt works", function()
      local _, question = sign_in "omar"
      box:fault(copy(case[2], "/auth/mfa", "always"))
      local user, err = question.challenge:answer(box.people.omar.code)
      notes.row("POST /auth/mfa: " .. case[1], err)
      assert.is_nil(user)
      assert.equal(case[4], err.kind, tostring(err))
      assert.equal(1, box:count { path = "/auth/mfa" })
      box:clear_faults()
      if not case[3] then
        dpg.assert(err.challenge:answer(box.people.omar.code)) -- the same question stands
      else
        dpg.assert(sign_in("omar", { mfa = function() return box.people.omar.code end }))
      end
    end)
  end

  local bodies = { -- wrong types in a 200
    '[]', '"dpg_rt_x"', '{}', '{"refresh_token":null}', '{"refresh_token":5}', '{"refresh_token":{}}',
    '{"refresh_token":""}', '{"refresh_token":"a\\nb"}', '{"mfa_token":5e300}', '{"mfa_token":[]}', '{"mfa_token":""}',
    '{"refresh_token":["dpg_rt_x"],"accounts":{}}',
  }
  for _, body in ipairs(bodies) do
    it("with " .. body .. " is a protocol error, or a question that can be given up", function()
      box:fault { path = "/auth/sign_in", status = 200, body = body }
      local user, err = sign_in "jane"
      notes.row("POST /auth/sign_in: 200 `" .. body .. "`", err)
      assert.is_nil(user)
      assert.is_true(err.kind == "protocol" or err.code == "mfa_required")
      dpg.assert(sign_in "jane")
    end)
  end
end)

-- --- the exchange of a refresh token -------------------------------------------------------------------------------

describe("an exchange, when the server answers", function()
  local box, path

  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)
  before_each(function()
    path = process.folder() .. "/session"
    box:set { rotation = "strict" }
    box:reset_seen()
  end)
  after_each(function()
    box:clear_faults()
    client.nothing_left()
    client.close()
  end)

  local function person(more)
    more = more or {}
    more.store = dpg.store.file(path)
    local session = client.person(box, "jane", more)
    return session
  end

  local function revoked() return box:report().families_revoked end

  for _, case in ipairs(troubles) do
    local what, fault, had_worked = case[1], case[2], case[3]

    it("with " .. what .. " asks the same token again; with a grace nothing is lost", function()
      box:set { rotation = "grace" }
      local session, before = person(), revoked()
      box:fault(copy(fault, "/auth/token"))
      dpg.assert(session:me { deadline = 10 })
      assert.equal(2, box:count { path = "/auth/token" })
      assert.equal(before, revoked())
      notes.row("POST /auth/token, grace: " .. what, "none: the same token was presented again, and answered")
    end)

    it("with " .. what .. (had_worked and " ends a strict server's session, and says why" or
      " asks the same token again; a strict server's session goes on"), function()
      local session = person()
      box:fault(copy(fault, "/auth/token"))
      local me, err = session:me { deadline = 10 }
      assert.equal(2, box:count { path = "/auth/token" })
      if not had_worked then
        assert.is_table(me)
        notes.row("POST /auth/token, strict: " .. what, "none: the same token was presented again, and taken")
        return
      end
      notes.row("POST /auth/token, strict: " .. what, err)
      assert.same({ "auth", "sign_in_required", "answer_lost" }, { err.kind, err.code, err.reason })
      _, err = session:me() -- and it is not presented a third time
      assert.equal("sign_in_required", err.code)
      assert.equal(2, box:count { path = "/auth/token" })
    end)
  end

  local unreadable = { -- wrong types in a 200 that spent nothing: asked again, and answered
    '[]', '"dpg_at_x"', '{}', 'null', '{"access_token":null}', '{"access_token":5}', '{"access_token":{}}',
    '{"access_token":[]}', '{"access_token":true}', '{"access_token":""}', '{"access_token":"a b"}',
    '{"access_token":"a\\nb"}', '{"access_token":"dpg_at_x","refresh_token":5}',
    '{"access_token":"dpg_at_x","refresh_token":{}}', '{"access_token":"dpg_at_x","refresh_token":false}',
    '{"access_token":"dpg_at_x","refresh_token":""}', '{"access_token":"dpg_at_x","refresh_token":"a\\r\\nb"}',
    '{"access_token":"dpg_at_x","expires_in":NaN}',
    '{"access_token":"' .. ("x"):rep(20000) .. '"}',
  }
  for _, body in ipairs(unreadable) do
    local shown = #body < 100 and body or body:sub(1, 30) .. "… (20,000 characters)"
    it("with " .. shown .. " asks again, and the session goes on", function()
      local session = person()
      box:fault { path = "/auth/token", status = 200, body = body }
      local me, err = session:me { deadline = 10 }
      notes.row("POST /auth/token: 200 `" .. shown .. "`", err.kind and err or "none: asked again, and answered")
      assert.is_table(me, tostring(err))
      assert.equal(2, box:count { path = "/auth/token" })
      assert.equal(0, box:count { path = "/me", status = 401 })
    end)
  end

  local lives = { -- a life that can't be read counts as the usual one, one below zero as none
    { '"soon"', true }, { "null", true }, { "{}", true }, { "[900]", true }, { "true", true }, { '""', true },
    { "1e18", true }, { "1e400", true }, { "-1", false }, { "0", false }, { '"0"', false }, { '"-1"', true },
  }
  for _, case in ipairs(lives) do
    it("with a life of " .. case[1] .. " takes it for " .. (case[2] and "a long one" or "over"), function()
      local session = person()
      local body = '{"access_token":"dpg_at_x","expires_in":' .. case[1] .. "}"
      box:fault { path = "/auth/token", status = 200, body = body }
      local me, err = session:me { deadline = 10 }
      notes.row("POST /auth/token: 200, an unknown access token, `expires_in` " .. case[1],
        me and "none: over at once, so exchanged again" or err)
      assert.equal(case[2] and 1 or 2, box:count { path = "/auth/token" })
      if case[2] then assert.same({ "auth", "unauthorized" }, { err.kind, err.code }) else assert.is_table(me) end
    end)
  end

  local refusals = { -- not a "no" to the token: nothing is spent, and nothing is wiped
    { "a 400", { status = 400 }, "api", "validation" }, { "a 403", { status = 403 }, "api", "forbidden" },
    { "a 404", { status = 404 }, "api", "not_found" },
    { "a 401 that is not in DPG's words", { html = true, status = 401 }, "api", nil },
    { "a redirect", { status = 302, headers = { Location = "https://example.com/" } }, nil, nil },
  }
  for _, case in ipairs(refusals) do
    it("with " .. case[1] .. " is an error; the session goes on afterwards", function()
      local session = person()
      box:fault(copy(case[2], "/auth/token"))
      local me, err = session:me { deadline = 10 }
      notes.row("POST /auth/token: " .. case[1], err.kind and err or "none: asked again, and answered")
      if not me then
        assert.equal(case[3], err.kind)
        if case[4] then assert.equal(case[4], err.code) end
      end
      client.close()
      local user = dpg.assert(dpg.resume(client.options(box, { store = dpg.store.file(path) })))
      dpg.assert(dpg.assert(user:account(user.accounts[1].uuid)):me())
    end)
  end

  it("no with DPG's 401 is a refusal: sign in again, and the token is not presented again", function()
    local session = person()
    box:revoke_family "jane"
    local _, err = session:me()
    notes.row("POST /auth/token: 401 in DPG's shape", err)
    assert.same({ "auth", "sign_in_required", "refused", 401 }, { err.kind, err.code, err.reason, err.status })
    _, err = session:me()
    assert.equal("sign_in_required", err.code)
    assert.equal(1, box:count { path = "/auth/token" })
  end)

  local waits = { -- Retry-After
    "-1", "inf", "nan", "1e400", "99999999999", "", "soon", "1 2",
    { "1", "1" }, { "", "1" }, "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 2100 23:59:59 GMT",
    "Thu, 99 Foo 2025 99:99:99 GMT",
  }

  it("429 with a malformed Retry-After hangs nobody, and loses nothing", function()
    local sessions = {}
    for i, value in ipairs(waits) do
      local shown = type(value) == "table" and "twice: " .. table.concat(value, " / ") or '"' .. value .. '"'
      path = process.folder() .. "/session"
      local session = person()
      box:fault { path = "/auth/token", retry_after = value }
      local begun, me, err
      for _ = 1, 10 do -- the exchange itself may take longer on a slow machine
        begun = box:now()
        me, err = session:me { deadline = 0.5 }
        if me or err.kind ~= "timeout" then break end
      end
      notes.row("POST /auth/token: 429, Retry-After " .. shown, me and "none: asked again at once" or err)
      assert.is_true(box:now() - begun < 1.5, shown)
      if not me then
        assert.same({ "api", "rate_limited" }, { err.kind, err.code })
        assert.is_true(err.retry_after > 0)
        if err.retry_after < 3 then sessions[#sessions + 1] = session end
      end
      assert(box:count { path = "/auth/token" } >= i)
    end
    dpg.run(function() -- those who were asked for a moment only
      for _, session in ipairs(sessions) do
        dpg.spawn(function() dpg.assert(session:me { deadline = 10 }) end)
      end
    end)
    assert.is_true(#sessions >= 6)
  end)
end)

-- --- clocks --------------------------------------------------------------------------------------------------------

describe("a server whose clock", function()
  local box

  before_each(function() box = boxes.start() end)
  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
  end)

  it("jumps ahead refuses the token that it has just given: an error, not a storm of exchanges", function()
    local session = client.person(box, "jane")
    dpg.assert(session:me())
    box:advance(86400)
    for _ = 1, 5 do
      local _, err = session:me()
      notes.row("GET /me: the server's clock jumped a day ahead", err)
      assert.same({ "auth", 401 }, { err.kind, err.status })
    end
    assert.equal(1, box:exchanges())
    box:advance(-86400)
    dpg.assert(session:me())
  end)

  for _, seconds in ipairs { 86400, -86400 } do
    it(("is %d s off tells lives by its own Date"):format(seconds), function()
      box:set { variants = { expiry = "unix" } }
      box:advance(seconds)
      local session = client.person(box, "jane")
      for _ = 1, 3 do dpg.assert(session:me()) end
      assert.equal(1, box:exchanges())
    end)
  end
end)
