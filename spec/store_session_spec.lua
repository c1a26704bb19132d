-- Sessions on stores written in Lua: a person whose record lies in Redis, shared by processes, while Redis goes away,
-- comes back with or without what it had, and while a process sleeps past its lease; and records that are sealed. The
-- sandbox is strict: a refresh token that is presented twice ends the session.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local lates = require "support.late"
local process = require "support.process"
local redis = require "support.redis"

local KEY = "dpg:session:jane"

-- Every refresh token but the last was presented once, and that one never. Returns how many there were.
local function assert_each_presented_once(box)
  local tokens = box:refresh_tokens()
  for index, token in ipairs(tokens) do
    local wanted = index < #tokens and 1 or 0
    assert(token.presented == wanted,
      ("refresh token %d of %d was presented %d times"):format(index, #tokens, token.presented))
  end
  assert.equal(0, box:report().families_revoked)
  return #tokens
end

local function account(user, nth)
  return dpg.assert(user:account(user.accounts[nth].uuid))
end

describe("a session in Redis", function()
  local missing = redis.is_missing()
  if missing then
    it("is shared", function() pending(missing) end)
    return
  end

  local box, server

  before_each(function()
    box = boxes.start { rotation = "strict" }
    server = redis.start()
  end)
  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
    server:stop()
  end)

  local function store()
    return dpg.store.redis { key = KEY, connect = function() return server:connect() end }
  end

  local function sign_in(more)
    more = more or {}
    more.store = store()
    return client.sign_in(box, "jane", more)
  end

  -- As another process does: with another engine.
  local function resume(more)
    client.close()
    more = more or {}
    more.store = store()
    return dpg.resume(client.options(box, more))
  end

  -- What a child begins with: its `user`, from the store at the socket `path`.
  local beginning = [[
    local dpg = require "dpg"
    local redis = require "support.redis"
    local base_url, path, note = ...
    local store = dpg.store.redis { key = "]] .. KEY .. [[", connect = function()
      return redis.connect { path = path, timeout = 5 }
    end }
    local function account(nth)
      local function on_event(name)
        if name == "storage" then print(name) end
      end
      local user = dpg.assert(dpg.resume { base_url = base_url, store = store, on_event = on_event })
      return dpg.assert(user:account(user.accounts[nth or 1].uuid))
    end
  ]]

  local function child(script, ...)
    return process.start(beginning .. script, box.base_url, server.path, ...)
  end

  it("is signed in, rotated, gone on with by another process, and signed out", function()
    local user = dpg.assert(sign_in())
    assert(account(user, 1):me())
    local other = dpg.assert(resume())
    assert(account(other, 1):me())
    assert.equal(1, box:exchanges()) -- theirs was taken
    assert(account(other, 2):me())
    assert.equal(3, assert_each_presented_once(box))
    assert.equal(0, server:call("EXISTS", "{" .. KEY .. "}:lock"))
    dpg.assert(other:sign_out())
    local nobody, err = resume()
    assert.same({ nil, "sign_in_required" }, { nobody, err.code })
  end)

  local expiries = process.is_heavy and 12 or 4

  it("goes through many expiries in two processes; each refresh token is presented once #heavy", function()
    box:set { access_token_life = 0.4 }
    box:fault { path = "/me", delay = 0.02, times = "always" }
    dpg.assert(sign_in())
    local stop = server.folder .. "/stop"
    local children = {}
    for i = 1, 2 do
      children[i] = child([[
        local died_on_its_way = require "support.died_on_its_way"
        local sessions, served, failed, why = { account(1), account(2) }, "never served", 0, ""
        local function is_to_stop()
          local file = io.open(note)
          if file then file:close() end
          return file ~= nil
        end
        dpg.run(function()
          for i = 1, 4 do
            dpg.spawn(function()
              while not is_to_stop() do
                local me, err = sessions[i % 2 + 1]:me()
                if me then served = "served" end
                if not me and not died_on_its_way(err) then failed, why = failed + 1, tostring(err) end
              end
            end)
          end
        end)
        print(served .. ", " .. failed .. " failed " .. why)
      ]], stop)
    end
    assert(box:wait_seen({ path = "/auth/token" }, expiries, 60))
    process.write_file(stop, "")
    for _, one in ipairs(children) do
      local status, lines = one:wait()
      assert.same({ 0, { "served, 0 failed " }, "" }, { status, lines, one:stderr() })
    end
    assert.is_true(assert_each_presented_once(box) > expiries)
  end)

  it("is not begun while Redis is down: the password stays here", function()
    server:kill()
    local user, err = sign_in()
    assert.same({ nil, "storage", "store_unreachable" }, { user, err.kind, err.code }, tostring(err))
    assert.equal(0, box:count { path = "/auth/sign_in" })
    client.close() -- a lock that may have been taken would be given back for a while
  end)

  it("lives on its access token while Redis is down, spends nothing, and goes on when Redis is back", function()
    local user = dpg.assert(sign_in())
    assert(account(user, 1):me())
    server:kill()
    assert(account(user, 1):me())
    local me, err = account(user, 2):me()
    assert.same({ nil, "storage", "store_unreachable" }, { me, err.kind, err.code }, tostring(err))
    assert.equal(1, box:exchanges())
    server:start()
    assert(account(user, 2):me())
    assert.equal(3, assert_each_presented_once(box))
  end)

  for _, case in ipairs {
    { "with all that it had", true }, { "with nothing", false },
  } do
    it("is saved when Redis dies during an exchange and comes back " .. case[1], function()
      server:stop()
      server = redis.start { is_kept = case[2] }
      dpg.assert(sign_in())
      box:fault { path = "/auth/token", hold = true, times = "always" }
      local walker = child [[
        local work = account()
        repeat until work:me()
        print "served"
      ]]
      assert(box:wait_seen { path = "/auth/token" })
      server:kill()
      box:clear_faults()
      walker:expect "storage"
      server:start()
      walker:expect "served"
      assert(account(dpg.assert(resume()), 1):me())
      assert.equal(2, assert_each_presented_once(box))
    end)
  end

  -- --- a process that sleeps past its lease ---

  for _, case in ipairs(process.is_heavy and {
    { "when it had the lock", "lock", 1 }, { "before its mark was saved", "save", 0 },
    { "when its mark was saved", "save", 1 },
  } or {}) do
    it("is not lost when a process is stopped " .. case[1] .. ", past its lease: it sends nothing #heavy", function()
      local late, why = lates.new()
      if not late then return pending(why) end
      dpg.assert(sign_in())
      local walker = process.start_through(late.through, beginning .. [[
        local name, after = note, select(4, ...) == "1"
        local kept, stopped = store[name], false
        local function stop()
          stopped = true
          os.execute "kill -STOP $PPID"
        end
        store[name] = function(...)
          if not stopped and not after then stop() end
          local a, b, c = kept(...)
          if not stopped then stop() end
          print(name, a)
          return a, b, c
        end
        dpg.assert(account():me())
        print "served"
      ]], box.base_url, server.path, case[2], case[3])
      process.wait_until_stopped(walker.pid)
      assert.equal(0, box:count { path = "/auth/token" })
      assert.equal(1, server:call("DEL", "{" .. KEY .. "}:lock")) -- as it runs out
      assert(account(dpg.assert(resume()), 1):me())
      late:add(walker.pid, 60)
      walker:signal "CONT"
      walker:expect "served"
      assert.equal(1, box:count { path = "/auth/token" })
      assert(account(dpg.assert(resume()), 1):me())
      assert.equal(2, assert_each_presented_once(box))
      assert.equal(0, server:call("EXISTS", "{" .. KEY .. "}:lock"))
    end)
  end
end)

describe("a sealed session", function()
  if not pcall(require, "openssl.cipher") then
    it("is sealed", function() pending "luaossl is not installed for this Lua: ./dev test installs it" end)
    return
  end
  local SEAL = ("s"):rep(32)
  local box, path

  before_each(function()
    box = boxes.start { rotation = "strict" }
    path = process.folder() .. "/session"
  end)
  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
  end)

  local function sealed(key)
    return dpg.store.sealed(dpg.store.file(path), key or SEAL)
  end

  local function sign_in(store)
    return client.sign_in(box, "jane", { store = store or sealed() })
  end

  local function resume(store)
    client.close()
    return dpg.resume(client.options(box, { store = store or sealed() }))
  end

  it("is signed in, rotated and gone on with, and its file shows no token", function()
    local user = dpg.assert(sign_in())
    assert(account(user, 1):me())
    user = dpg.assert(resume())
    assert(account(user, 2):me())
    assert.equal(3, assert_each_presented_once(box))
    local bytes = process.read_file(path)
    assert.is_nil(bytes:find("dpg_", 1, true))
    assert.is_nil(bytes:find("jane", 1, true))
    assert.is_truthy(bytes:find('"generation":3,', 1, true), bytes)
    assert.equal("-rw-------", process.shell("ls -l '" .. path .. "' | cut -c1-10"))
    assert.equal("session session.lock", process.shell("cd '" .. path:match "^(.*)/" .. "' && echo *"))
    dpg.assert(user:sign_out())
    assert.equal("sign_in_required", select(2, resume()).code)
    dpg.assert(sign_in())
  end)

  it("is neither read, nor written over, nor called damaged, without its key", function()
    dpg.assert(sign_in())
    local bytes, sent = process.read_file(path), box:count { path = "/auth/sign_in" }
    for code, store in pairs {
      store_wrong_key = function() return sealed(("x"):rep(32)) end,
      store_other_origin = function() return dpg.store.file(path) end,
    } do
      for _, try in ipairs { resume, sign_in } do
        local user, err = try(store())
        assert.same({ nil, code }, { user, err.code }, tostring(err))
        client.close()
      end
    end
    assert.equal(bytes, process.read_file(path))
    assert.equal(sent, box:count { path = "/auth/sign_in" })
    assert.equal("session session.lock", process.shell("cd '" .. path:match "^(.*)/" .. "' && echo *"))
    assert(account(dpg.assert(resume()), 1):me())
  end)

  it("does not take the place of one that is not sealed", function()
    dpg.assert(sign_in(dpg.store.file(path)))
    local bytes = process.read_file(path)
    for _, try in ipairs { resume, sign_in } do
      local user, err = try()
      assert.same({ nil, "storage", "store_not_sealed" }, { user, err.kind, err.code }, tostring(err))
      client.close()
    end
    assert.equal(bytes, process.read_file(path))
  end)

  it("is found when a process was killed between writing it and renaming it", function()
    local user = dpg.assert(sign_in())
    local before = process.read_file(path)
    assert(account(user, 1):me())
    client.close()
    os.rename(path, path .. ".spare")
    process.write_file(path, before)
    os.execute("chmod 600 '" .. path .. "'")
    assert(account(dpg.assert(resume()), 2):me())
    assert.equal(3, assert_each_presented_once(box))
  end)
end)
