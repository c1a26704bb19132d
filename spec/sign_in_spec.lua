-- Signing in, the second factor, resuming, signing out: over a real socket, with real stores.
local boxes = require "support.box"
local client = require "support.client"
local died_on_its_way = require "support.died_on_its_way"
local dpg = require "dpg"

describe("dpg.sign_in", function()
  local box

  before_each(function() box = boxes.start() end)
  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
  end)

  it("signs a person in, and lists their accounts", function()
    local user = dpg.assert(client.sign_in(box, "jane"))
    assert.is_true(#user.accounts >= 2)
    assert.equal("Northlight Festival", user.accounts[1].name)
    assert.is_string(user.accounts[1].uuid)
    assert.is_string(user.accounts[1].unique_id)
  end)

  it("gives a session for each account, and each is that account's", function()
    local user = dpg.assert(client.sign_in(box, "jane"))
    for _, account in ipairs(user.accounts) do
      local session = assert(user:account(account.uuid))
      local me = dpg.assert(session:me())
      assert.equal(account.uuid, me.account.uuid)
      assert.equal(box.people.jane.login, me.user.login)
    end
  end)

  it("sends login, password and device, without a key and without a bearer", function()
    dpg.assert(client.sign_in(box, "jane"))
    local seen = box:seen { path = "/auth/sign_in" }
    assert.equal(1, #seen)
    assert.is_nil(seen[1].headers["idempotency-key"])
    assert.is_nil(seen[1].headers.authorization)
    assert.equal("application/json", seen[1].headers["content-type"])
  end)

  it("knows no account that is not the person's, and sends nothing for it", function()
    local user = dpg.assert(client.sign_in(box, "jane"))
    local none, err = user:account "somebody-elses"
    assert.is_nil(none)
    assert.same({ "usage", "unknown_account" }, { err.kind, err.code })
  end)

  it("says that the password is wrong, once", function()
    local user, err = client.sign_in(box, "jane", { password = "not-the-password" })
    assert.is_nil(user)
    assert.same({ "auth", "unauthorized", 401 }, { err.kind, err.code, err.status })
    assert.is_nil(err.challenge)
    assert.equal(1, box:count { path = "/auth/sign_in" })
  end)

  it("tells a rate limit with its retry_after when the deadline does not allow the wait", function()
    box:set { sign_in_limit = { 1, 300 } }
    client.sign_in(box, "jane")
    local _, err = client.sign_in(box, "jane", { deadline = 60 })
    assert.same({ "api", "rate_limited", 429 }, { err.kind, err.code, err.status })
    assert.is_true(err.retry_after > 60)
  end)

  it("waits a short rate limit out", function()
    box:set { sign_in_limit = { 1, 1 } }
    dpg.assert(client.sign_in(box, "jane"))
    dpg.assert(client.sign_in(box, "jane"))
    assert.is_true(box:count { path = "/auth/sign_in", status = 429 } >= 1)
  end)

  it("sends a password once only when its answer is lost", function()
    box:fault { path = "/auth/sign_in", drop = "after" }
    local user, err = client.sign_in(box, "jane")
    assert.is_nil(user)
    assert.is_not_nil(err.kind)
    assert.equal(1, box:count { path = "/auth/sign_in" })
  end)

  it("sends no password when the store can't be written", function()
    local _, err = client.sign_in(box, "jane", { store = dpg.store.file "/proc/none/session" })
    assert.equal("storage", err.kind)
    assert.equal(0, box:count { path = "/auth/sign_in" })
  end)

  it("calls a 200 without tokens a protocol error", function()
    box:fault { path = "/auth/sign_in", status = 200, body = '{"hello":1}' }
    local _, err = client.sign_in(box, "jane")
    assert.same({ "protocol", 200 }, { err.kind, err.status })
    box:fault { path = "/auth/sign_in", html = true }
    _, err = client.sign_in(box, "jane")
    assert.equal("protocol", err.kind)
  end)

  it("keeps one session for two users of one store", function()
    local store = dpg.store.memory()
    local user = dpg.assert(client.sign_in(box, "jane", { store = store }))
    local again = dpg.assert(dpg.resume(client.options(box, { store = store })))
    dpg.assert(user:account(user.accounts[1].uuid):me())
    dpg.assert(again:account(again.accounts[2].uuid):me())
    assert.equal(0, box:report().presented_more_than_once)
    assert.equal(2, box:exchanges())
  end)

  describe("with two-factor on", function()
    it("asks the callback for the code", function()
      local asked = 0
      local user = dpg.assert(client.sign_in(box, "omar", { mfa = function(try)
        asked = asked + 1
        assert.equal(1, try)
        return box.people.omar.code
      end }))
      assert.equal(1, asked)
      assert.is_string(user.accounts[1].uuid)
    end)

    it("asks again after a wrong code, three times in all", function()
      local tries = {}
      local _, err = client.sign_in(box, "omar", { mfa = function(try, problem)
        tries[#tries + 1] = try .. " " .. problem.code
        return "999999"
      end })
      assert.same({ "1 mfa_required", "2 unauthorized", "3 unauthorized" }, tries)
      assert.same({ "auth", "unauthorized", 401 }, { err.kind, err.code, err.status })
      assert.equal(1, box:count { path = "/auth/sign_in" })
    end)

    it("takes a code with blanks, as people type it", function()
      local code = box.people.omar.code
      local typed = code:sub(1, 3) .. " " .. code:sub(4) .. "\n"
      dpg.assert(client.sign_in(box, "omar", { mfa = function() return typed end }))
    end)

    it("raises at a callback that returns a number, which has lost its zeros", function()
      local ok, problem = pcall(client.sign_in, box, "omar", { mfa = function() return 246810 end })
      assert.is_false(ok)
      assert.truthy(problem:find("`mfa` function must return the code as a string, got number", 1, true), problem)
      assert.equal(0, box:count { path = "/auth/mfa" })
    end)

    it("hands the question on when the callback gives up", function()
      local _, err = client.sign_in(box, "omar", { mfa = function() return nil end })
      assert.same({ "auth", "mfa_required" }, { err.kind, err.code })
      assert.is_table(dpg.assert(err.challenge:answer(box.people.omar.code)).accounts)
    end)

    it("hands out a challenge without a callback, which can be answered again after a wrong code", function()
      local user, err = client.sign_in(box, "omar")
      assert.is_nil(user)
      assert.same({ "auth", "mfa_required" }, { err.kind, err.code })
      local challenge = err.challenge
      user, err = challenge:answer "000000"
      assert.is_nil(user)
      assert.same({ "auth", "unauthorized", 401 }, { err.kind, err.code, err.status })
      assert.equal(challenge, err.challenge)
      user = dpg.assert(challenge:answer(box.people.omar.code))
      assert.is_table(dpg.assert(user:account(user.accounts[1].uuid):me()))
    end)

    it("closes a challenge that has been answered", function()
      local _, err = client.sign_in(box, "omar")
      dpg.assert(err.challenge:answer(box.people.omar.code))
      local none, closed = err.challenge:answer(box.people.omar.code)
      assert.is_nil(none)
      assert.same({ "usage", "challenge_closed" }, { closed.kind, closed.code })
      assert.equal("dpg.Challenge (closed)", tostring(err.challenge))
    end)

    it("closes a challenge whose mfa_token is said to be gone", function()
      local _, err = client.sign_in(box, "omar")
      local challenge = err.challenge
      box:fault { path = "/auth/mfa", status = 401, code = "mfa_token_expired" }
      local _, gone = challenge:answer(box.people.omar.code)
      assert.equal("mfa_token_expired", gone.code)
      assert.is_nil(gone.challenge)
      local _, closed = challenge:answer(box.people.omar.code)
      assert.equal("challenge_closed", closed.code)
    end)

    it("raises at a code that is a number, whose zeros are lost", function()
      local _, err = client.sign_in(box, "omar")
      local ok, problem = pcall(err.challenge.answer, err.challenge, 123456)
      assert.is_false(ok)
      assert.truthy(problem:find("zeros", 1, true))
    end)

    it("shows no mfa_token in the error, the challenge or their fields", function()
      local _, err = client.sign_in(box, "omar")
      local function visit(value, seen)
        assert.is_nil(tostring(value):find("dpg_mfa_", 1, true))
        if type(value) ~= "table" or seen[value] then return end
        seen[value] = true
        for key, one in pairs(value) do
          visit(key, seen)
          visit(one, seen)
        end
      end
      visit(err, {})
    end)
  end)
end)

describe("dpg.resume", function()
  local box, folder, path

  before_each(function()
    box = boxes.start()
    folder = client.folder()
    path = folder .. "/session"
  end)
  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
    os.execute("rm -rf '" .. folder .. "'")
  end)

  it("says sign_in_required when the store holds nothing", function()
    for _, store in ipairs { dpg.store.memory(), dpg.store.file(path) } do
      local user, err = dpg.resume(client.options(box, { store = store }))
      assert.is_nil(user)
      assert.same({ "auth", "sign_in_required" }, { err.kind, err.code })
    end
    assert.equal(0, box:count {})
  end)

  it("goes on from a file without a password, in a new engine", function()
    local user = dpg.assert(client.sign_in(box, "jane", { store = dpg.store.file(path) }))
    local accounts = user.accounts
    dpg.assert(user:account(accounts[1].uuid):me())
    client.close() -- as the end of a program
    box:reset_seen()
    local again = dpg.assert(dpg.resume(client.options(box, { store = dpg.store.file(path) })))
    assert.same(accounts, again.accounts)
    dpg.assert(again:account(accounts[1].uuid):me())
    assert.equal(0, box:count { path = "/auth/sign_in" })
    assert.equal(0, box:report().presented_more_than_once)
  end)

  it("waits no longer than its deadline for a sibling's exchange, and says who is in the way", function()
    path = folder .. "/waiting"
    local work = client.person(box, "jane", { store = dpg.store.file(path) })
    local gallery = client.service(box)
    box:fault { path = "/auth/token", hold = true }
    local err
    dpg.run(function()
      local exchange = dpg.spawn(function() return work:me() end)
      repeat dpg.assert(gallery:me()) until box:count { path = "/auth/token" } == 1 -- it has its lock, and is out
      local _
      _, err = dpg.resume(client.options(box, {
        store = dpg.store.file(path), deadline = 0.3, user_agent = "a sibling", -- an engine of its own
      }))
      box:release()
      dpg.assert(exchange:await())
    end)
    assert.equal("storage", err.kind)
    assert.equal("store_busy", err.code)
  end)

  it("goes on in another process", function()
    local user = dpg.assert(client.sign_in(box, "jane", { store = dpg.store.file(path) }))
    dpg.assert(user:account(user.accounts[1].uuid):me())
    local pipe = client.child(string.format([[
      local dpg = require "dpg"
      local user = dpg.assert(dpg.resume { base_url = %q, store = dpg.store.file(%q) })
      print(dpg.assert(user:account(user.accounts[1].uuid):me()).account.name)
    ]], box.base_url, path))
    assert.equal("Northlight Festival\n", pipe:read "*a")
    pipe:close()
    dpg.assert(user:account(user.accounts[2].uuid):me())
    assert.equal(0, box:report().presented_more_than_once)
  end)

  it("finds nothing after signing out, here and in the store", function()
    local store = dpg.store.file(path)
    local user = dpg.assert(client.sign_in(box, "jane", { store = store }))
    local session = user:account(user.accounts[1].uuid)
    dpg.assert(session:me())
    assert.is_true(dpg.assert(user:sign_out()))
    local _, err = session:me()
    assert.same({ "auth", "sign_in_required" }, { err.kind, err.code })
    client.close()
    _, err = dpg.resume(client.options(box, { store = dpg.store.file(path) }))
    assert.same({ "auth", "sign_in_required" }, { err.kind, err.code })
  end)

  it("can sign in anew over a session that has ended", function()
    local store = dpg.store.file(path)
    local user = dpg.assert(client.sign_in(box, "jane", { store = store }))
    box:revoke_family "jane"
    box:revoke_access_tokens()
    local _, err = user:account(user.accounts[1].uuid):me()
    assert.same({ "auth", "sign_in_required" }, { err.kind, err.code })
    user = dpg.assert(client.sign_in(box, "jane", { store = store }))
    dpg.assert(user:account(user.accounts[1].uuid):me())
  end)
end)

describe("a person's session", function()
  it("goes on through many expiries, and presents no refresh token twice", function()
    local box = boxes.start { access_token_life = 0.05 }
    local session = client.person(box, "jane")
    local deadline, served = 0, false
    while box:exchanges() < 5 or not served do
      local page, err = session.images:list { limit = 1 }
      served = served or page ~= nil
      assert.is_true(page ~= nil or died_on_its_way(err), tostring(err))
      deadline = deadline + 1
      assert.is_true(deadline < 500)
    end
    assert.equal(0, box:report().presented_more_than_once)
    assert.equal(0, box:report().families_revoked)
    client.nothing_left()
    client.close()
    box:stop()
  end)

  it("takes options of its own for an account", function()
    local box = boxes.start()
    local _, user = client.person(box, "solo")
    local quick = user:account(user.accounts[1].uuid, { retry = false })
    box:fault { path = "/me", status = 503 }
    local _, err = quick:me()
    assert.equal(1, err.attempts)
    client.close()
    box:stop()
  end)
end)
