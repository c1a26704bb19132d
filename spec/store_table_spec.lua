-- A store that is a table of the program's own: how the core asks it, what becomes of a session when it fails, and that
-- no error of it shows what it keeps. The sandbox is strict: a refresh token presented twice ends the session.
describe("a table as a store", function()
  local box = require "support.box"
  local client = require "support.client"
  local died_on_its_way = require "support.died_on_its_way"
  local core = require "dpg.core"
  local dpg = require "dpg"
  local hubs = require "dpg.hub"
  local process = require "support.process"

  local sandbox

  before_each(function() sandbox = box.start { rotation = "strict" } end)
  after_each(function()
    client.nothing_left()
    client.close()
    sandbox:stop()
  end)

  -- A store over `kept`, which several may share; each operation is noted in kept.log.
  local function new_store(kept, fields)
    kept.log = kept.log or {}
    local function note(name) kept.log[#kept.log + 1] = name end
    local store = {}
    function store.lock(_, owner, ttl)
      note "lock"
      if kept.owner and kept.owner ~= owner and core.now() < kept.till then return false, 0.02, kept.owner end
      kept.owner, kept.till = owner, core.now() + ttl
      return true
    end
    function store.load()
      note "load"
      return kept.bytes
    end
    function store.save(_, bytes, expected)
      note(bytes:find('"in_flight":true', 1, true) and "mark" or "save")
      if kept.bytes ~= expected then return false end
      kept.bytes = bytes
      return true
    end
    function store.unlock(_, owner)
      note "unlock"
      if kept.owner == owner then kept.owner = nil end
      return true
    end
    for name, value in pairs(fields or {}) do store[name] = value end
    return store
  end

  local function log(kept)
    local text = table.concat(kept.log, " ")
    kept.log = {}
    return text
  end

  local function account(user, nth)
    return dpg.assert(user:account(user.accounts[nth or 1].uuid))
  end

  local function assert_each_presented_once()
    local tokens = sandbox:refresh_tokens()
    for index, token in ipairs(tokens) do
      assert.equal(index < #tokens and 1 or 0, token.presented, "refresh token " .. index .. " of " .. #tokens)
    end
    assert.equal(0, sandbox:report().families_revoked)
  end

  it("signs in, rotates, is gone on with by another engine, and is signed out", function()
    local kept = {}
    local user = dpg.assert(client.sign_in(sandbox, "jane", { store = new_store(kept) }))
    assert.equal("lock load save unlock lock load save unlock", log(kept))
    assert(account(user):me())
    assert.equal("lock load mark save unlock", log(kept))
    client.close()
    user = dpg.assert(dpg.resume(client.options(sandbox, { store = new_store(kept) })))
    assert.equal("lock load unlock", log(kept))
    assert(account(user, 2):me())
    assert_each_presented_once()
    dpg.assert(user:sign_out())
    local nobody, err = dpg.resume(client.options(sandbox, { store = new_store(kept) }))
    assert.same({ nil, "sign_in_required", "signed_out" }, { nobody, err.code, err.reason })
    assert.is_nil(kept.owner)
  end)

  it("is asked under a name that tells people who it is, and no other holder has", function()
    local owners = {}
    for i = 1, 2 do
      local kept = {}
      local store = new_store(kept)
      local lock = store.lock
      function store.lock(self, owner, ttl)
        owners[i] = owner
        assert.equal(45, ttl)
        return lock(self, owner, ttl)
      end
      dpg.assert(client.sign_in(sandbox, "jane", { store = store }))
    end
    assert.is_truthy(owners[1]:find("^process %d+.*, %x+%-%d+%-%d+$"), owners[1])
    assert.is_true(#owners[1] <= 120)
    assert.are_not.equal(owners[1]:match ", (%x+)", owners[2]:match ", (%x+)")
  end)

  it("is held for one credential while another, which wants the same record, is told to wait", function()
    local serve = require "dpg.serve"
    local answers = {}
    local hub = { keeps = serve.new(), close = function() end, engine = {
      answer = function(_, ask, ...) answers[ask] = { ... } end,
    } }
    local host = { start = function(_, ask, work, ...) ask:_ended(pcall(work, ...)) end }
    local kept = {}
    local store = new_store(kept)
    store.identity = "one"
    assert(serve.handle(hub, store))
    local function ask(number, op, fields)
      local request = { ask = number, op = op, identity = "named one", ttl = 45 }
      for name, value in pairs(fields) do request[name] = value end
      serve.perform(hub, host, request)
      return answers[number][1]
    end
    assert.equal("done", ask(1, "lock", { owner = "me-1-0" }))
    assert.equal("busy", ask(2, "lock", { owner = "me-2-0" }))
    store = nil -- luacheck: ignore 311 (the program has dropped it; what is under way has not)
    collectgarbage()
    collectgarbage()
    assert.is_true(serve.is_keeping(hub.keeps))
    assert.equal("done", ask(3, "save", { owner = "me-1-0", bytes = "new" }))
    assert.equal("new", kept.bytes)
    assert.equal("done", ask(4, "unlock", { owner = "me-1-0" }))
    assert.is_false(serve.is_keeping(hub.keeps))
  end)

  it("keeps one session for two engines: each refresh token is presented once", function()
    sandbox:set { access_token_life = 0.3 }
    sandbox:fault { path = "/me", delay = 0.05, times = "always" }
    local kept = {}
    dpg.assert(client.sign_in(sandbox, "jane", { store = new_store(kept) }))
    local sessions = {}
    for i = 1, 2 do -- another user agent takes another engine
      sessions[i] = account(dpg.assert(dpg.resume(client.options(sandbox, {
        store = new_store(kept), user_agent = "spec/" .. i,
      }))), i)
    end
    dpg.run(function()
      for _, session in ipairs(sessions) do
        dpg.spawn(function()
          local served = 0
          for _ = 1, 12 do
            local me, err = session:me()
            if me then served = served + 1 else assert(died_on_its_way(err), err) end
          end
          assert(served > 0)
        end)
      end
    end)
    assert.is_true(sandbox:exchanges() > 3)
    assert_each_presented_once()
  end)

  it("walks once for all tables of one identity, and for each of those without one", function()
    for _, case in ipairs { { "mine", 1 }, { nil, 2 } } do
      local kept, users = {}, {}
      dpg.assert(client.sign_in(sandbox, "jane", { store = new_store(kept, { identity = case[1] }) }))
      local before, walks = sandbox:exchanges(), 0
      for i = 1, 2 do
        local store = new_store(kept, { identity = case[1] })
        users[i] = dpg.assert(dpg.resume(client.options(sandbox, { store = store })))
      end
      log(kept)
      dpg.run(function()
        for i = 1, 2 do dpg.spawn(function() assert(account(users[i]):me()) end) end
      end)
      for _, name in ipairs(kept.log) do
        if name == "load" then walks = walks + 1 end
      end
      assert.equal(case[2], walks)
      assert.equal(before + 1, sandbox:exchanges())
      client.close()
    end
  end)

  local ways = { -- how an operation fails; what the message ends in; the code
    { "raises a text", function() error("no luck", 0) end, "no luck" },
    { "raises a table", function() error { kind = "storage", code = "store_gone", message = "gone" } end, "gone",
      "store_gone" },
    { "raises nil", function() error() end, "an error that is nil" },
    { "returns an error", function() return nil, "no luck" end, "no luck" },
    { "returns our error", function() return nil, { kind = "storage", code = "store_gone", message = "gone" } end,
      "gone", "store_gone" },
    { "returns an error with a code that is none", function()
      return nil, { kind = "storage", code = "a b", message = "gone" }
    end, "gone" },
    { "returns what is no answer", function() return 7 end, "answered number: .- expected" },
  }
  for _, name in ipairs { "lock", "load", "save" } do
    for _, way in ipairs(ways) do
      it(("says what went wrong when %s %s, and goes on when it works again"):format(name, way[1]), function()
        local kept = {}
        local store = new_store(kept)
        local session = account(dpg.assert(client.sign_in(sandbox, "jane", { store = store })))
        local kept_function = store[name]
        store[name] = way[2]
        local me, err = session:me()
        assert.same({ nil, "storage", way[4] or "store_failed" }, { me, err.kind, err.code }, tostring(err))
        assert.is_truthy(err.message:find("^the store: " .. name .. " .*" .. way[3]), err.message)
        assert.equal(0, sandbox:exchanges())
        store[name] = kept_function
        assert(session:me())
        assert_each_presented_once()
      end)
    end
  end

  it("answers false, and no seconds, when it is not a lock's answer", function()
    local store = new_store {}
    store.lock = function() return false end
    local _, err = client.sign_in(sandbox, "jane", { store = store })
    assert.equal("the store: lock answered nil: after false, seconds expected", err.message)
    assert.equal(0, sandbox:count { path = "/auth/sign_in" })
  end)

  it("hands the token out when an unlock fails, and says so", function()
    local kept, said = {}, {}
    local store = new_store(kept)
    local user = dpg.assert(client.sign_in(sandbox, "jane", { store = store, on_event = function(name, event)
      if name == "storage" then said[#said + 1] = event.code end
    end }))
    local unlock = store.unlock
    store.unlock = function() error "no luck" end
    assert(account(user):me())
    assert.same({ "store_failed" }, said)
    store.unlock, kept.owner = unlock, nil -- as the lease runs out
    assert(account(user, 2):me())
    assert_each_presented_once()
  end)

  for _, case in ipairs {
    { "was made all the same", true }, { "was not made", false },
  } do
    it("loses nothing when the save of a successor fails, and " .. case[1], function()
      local kept, failures = {}, 0
      local store = new_store(kept)
      local user = dpg.assert(client.sign_in(sandbox, "jane", { store = store }))
      local save = store.save
      function store.save(self, bytes, expected)
        if kept.log[#kept.log] == "mark" and failures < 2 then
          failures = failures + 1
          if case[2] then save(self, bytes, expected) end
          kept.log[#kept.log + 1] = "mark"
          return nil, "the answer was lost"
        end
        return save(self, bytes, expected)
      end
      account(user):me()
      local deadline = core.now() + 20
      repeat until account(user):me() or core.now() > deadline
      assert.equal(1, sandbox:exchanges())
      client.close()
      user = dpg.assert(dpg.resume(client.options(sandbox, { store = new_store(kept) })))
      assert(account(user, 2):me())
      assert_each_presented_once()
    end)
  end

  it("shows nothing of a record in an error, whatever the store says", function()
    local kept = {}
    local store = new_store(kept)
    local user = dpg.assert(client.sign_in(sandbox, "jane", { store = store }))
    local secrets = {}
    local function tell(_, bytes)
      error("could not do SET redis://user:hidden@host " .. (bytes or kept.bytes):match '"refresh_token".*', 0)
    end
    local messages = {}
    for _, name in ipairs { "load", "save" } do
      local kept_function = store[name]
      store[name] = tell
      local _, err = account(user):me()
      for _, value in pairs(err) do messages[#messages + 1] = tostring(value) end
      messages[#messages + 1] = tostring(err)
      store[name] = kept_function
    end
    for _, token in ipairs(sandbox:refresh_tokens()) do secrets[#secrets + 1] = token.value or token.token end
    local text = table.concat(messages, "\n")
    assert.is_nil(text:find("dpg_rt_", 1, true))
    assert.is_nil(text:find("hidden", 1, true))
    assert.is_truthy(text:find("could not do SET", 1, true))
    for _, secret in ipairs(secrets) do assert.is_nil(text:find(secret, 1, true)) end
  end)

  it("has its successor before a script has control again, though its call has ended", function()
    local kept = {}
    local user = dpg.assert(client.sign_in(sandbox, "jane", { store = new_store(kept) }))
    sandbox:fault { path = "/auth/token", delay = 0.8 }
    local session = dpg.assert(user:account(user.accounts[1].uuid, { deadline = 0.2 }))
    local _, err = session:me()
    assert.equal("timeout", err.kind)
    assert.is_nil(kept.bytes:find('"in_flight":true', 1, true))
    assert.is_nil(kept.owner)
    assert(account(user):me())
    assert_each_presented_once()
  end)

  it("has its successor when the program ends in the middle of an exchange #heavy", function()
    if not process.is_heavy then return end -- it takes its time
    local path = process.folder() .. "/record"
    local child = process.start([[
      local dpg = require "dpg"
      local base_url, path, login, password = ...
      local bytes, owner
      local store = {
        lock = function(_, name) owner = owner or name return owner == name or false, 0.05 end,
        load = function() return bytes end,
        save = function(_, new, old)
          if old ~= bytes then return false end
          bytes = new
          local file = assert(io.open(path, "w"))
          file:write(new)
          file:close()
          return true
        end,
        unlock = function() owner = nil return true end,
      }
      local user = dpg.assert(dpg.sign_in { base_url = base_url, login = login, password = password, store = store,
        device = { identifier = "i", name = "n", platform = "p" } })
      print "signed in"
      repeat until io.open(path .. ".go")
      user:account(user.accounts[1].uuid, { deadline = 0.2 }):me()
      assert(bytes:find('"in_flight":true', 1, true))
    ]], sandbox.base_url, path, sandbox.people.jane.login, sandbox.people.jane.password)
    child:expect "signed in"
    sandbox:fault { path = "/auth/token", delay = 6 }
    process.write_file(path .. ".go", "")
    local status, _ = child:wait()
    assert.equal(0, status, child:stderr())
    assert.is_nil(process.read_file(path):find('"in_flight":true', 1, true))
    assert.equal(2, #sandbox:refresh_tokens())
    assert_each_presented_once()
  end)

  it("serves a game's loop, too", function()
    local kept, loop, name = {}, dpg.loop(), nil
    loop:spawn(function()
      local user = dpg.assert(client.sign_in(sandbox, "jane", { store = new_store(kept) }))
      name = dpg.assert(account(user):me()).account
    end)
    client.step_until(loop, function() return name end)
    assert_each_presented_once()
    loop:close()
  end)

  it("is let go of with the last session that has it", function()
    local seen = setmetatable({}, { __mode = "k" })
    do
      local store = new_store {}
      seen[store] = true
      dpg.assert(client.sign_in(sandbox, "jane", { store = store }))
    end
    for _ = 1, 5 do collectgarbage() end
    assert.is_nil(next(seen))
    assert.equal(1, hubs.counts().engines)
  end)
end)
