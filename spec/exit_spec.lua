-- How a program ends while its session is at work: by Ctrl-C, by an error, by os.exit, by falling off its end. What is
-- on disk afterwards is what the next process goes on from.
describe("a program that ends", function()
  local box = require "support.box"
  local client = require "support.client"
  local compat = require "dpg.compat"
  local dpg = require "dpg"
  local nginxes = require "support.nginx"
  local process = require "support.process"
  local record_of = require "support.record".read
  local socket = require "socket"

  local sandbox, folder

  before_each(function()
    sandbox = box.start { rotation = "strict" }
    folder = process.folder()
  end)

  after_each(function()
    client.close()
    sandbox:stop()
  end)

  -- A store with a new session of jane's: each sign-in is a family of its own.
  local function sign_in(name)
    local path = folder .. "/" .. name
    dpg.assert(client.sign_in(sandbox, "jane", { store = dpg.store.file(path) }))
    client.close()
    return path
  end

  -- The newest refresh token is what the record holds, and no exchange is said to be out.
  local function assert_saved(path, old_id)
    local record = assert(record_of(path))
    assert.is_false(record.marked)
    assert.are_not.equal(old_id, record.id)
    for _, token in ipairs(sandbox:refresh_tokens()) do
      if token.id == record.id then assert.same({ "current", 0 }, { token.state, token.presented }) end
    end
  end

  local function goes_on(path)
    local user = dpg.assert(dpg.resume { base_url = sandbox.base_url, store = dpg.store.file(path) })
    dpg.assert(dpg.assert(user:account(user.accounts[1].uuid)):me())
  end

  local resume = [[
    local dpg = require "dpg"
    local base_url, path, ending = ...
    local user = dpg.assert(dpg.resume{ base_url = base_url, store = dpg.store.file(path) })
    local session = dpg.assert(user:account(user.accounts[1].uuid))
  ]]

  it("by Ctrl-C in a long wait does so at once, and its session goes on without an exchange", function()
    local path = sign_in "session"
    sandbox:fault { path = "/images", hold = true }
    local child = process.start(resume .. [[
      dpg.assert(session:me())
      session.images:list()
    ]], sandbox.base_url, path)
    assert(sandbox:wait_seen { path = "/images" })
    local begun = socket.gettime()
    child:signal "INT"
    assert.equal(1, (child:wait()))
    assert.is_true(socket.gettime() - begun < 1.1)
    assert.truthy(child:stderr():find("interrupted!", 1, true))
    assert.is_false(record_of(path).marked)
    goes_on(path)
    assert.equal(1, sandbox:exchanges())
  end)

  it("by Ctrl-C during an exchange hears it when the successor is on disk, not before", function()
    local path = sign_in "session"
    local old_id = record_of(path).id
    sandbox:fault { path = "/auth/token", hold = true }
    -- what stands on disk at the very moment that the interrupt is heard
    local child = process.start(resume .. [[
      print(select(2, pcall(session.me, session)))
      local file = io.open(path, "rb")
      print(file:read "*a":find('"in_flight":true', 1, true) and "marked" or "saved")
    ]], sandbox.base_url, path)
    assert(sandbox:wait_seen { path = "/auth/token" })
    assert.is_true(record_of(path).marked)
    child:signal "INT"
    socket.sleep(0.4) -- longer than the engine's usual turns: it has had time to hear it too early
    sandbox:release()
    local status, lines = child:wait()
    assert.equal(0, status, child:stderr())
    assert.truthy(lines[1]:find("interrupted!", 1, true))
    assert.equal("saved", lines[2])
    assert_saved(path, old_id)
    goes_on(path)
    assert.equal(1, sandbox:exchanges())
  end)

  local closes_at_exit = rawget(_G, "jit") or _VERSION ~= "Lua 5.1" -- 5.1's os.exit closes nothing
  local endings = { -- ending, status, whether it closes the Lua state
    { "falls off its end", 0, true },
    { "raises an error", 1, true },
    { "calls os.exit(0, true)", 0, closes_at_exit },
  }

  -- The engine gives a script its turn when an exchange takes longer than 5 s: all endings wait for that together.
  it("while an exchange is out saves its successor if it closes its Lua state, else leaves its mark #heavy", function()
    sandbox:set { rotation = "grace" }
    local script = process.script(resume .. [[
      local _, err = session:me{ deadline = 0.2 }
      print("leaving: " .. err.code)
      if ending == "raises an error" then error "the end" end
      if ending == "calls os.exit(0, true)" then os.exit(0, true) end
    ]])
    sandbox:fault { path = "/auth/token", hold = true, times = "always" }
    local children, paths, ids = {}, {}, {}
    for i, case in ipairs(endings) do
      paths[i] = sign_in("session" .. i)
      ids[i] = record_of(paths[i]).id
      children[i] = process.start(script, sandbox.base_url, paths[i], case[1])
    end
    for _, child in ipairs(children) do child:expect "leaving: deadline" end
    for _, path in ipairs(paths) do assert.is_true(record_of(path).marked) end
    sandbox:clear_faults()
    for i, case in ipairs(endings) do
      assert.equal(case[2], (children[i]:wait()), children[i]:stderr())
      if case[3] then
        assert_saved(paths[i], ids[i])
      else
        assert.is_true(record_of(paths[i]).marked)
      end
      goes_on(paths[i]) -- a mark is asked about again, and the server still knows the answer
    end
    assert.equal(0, sandbox:report().families_revoked)
  end)

  it("does not wait for ordinary calls that are under way", function()
    local path = sign_in "session"
    sandbox:fault { path = "/me", hold = true }
    local child = process.start(resume .. [[
      dpg.run(function()
        dpg.spawn(function() session:me() end)
        dpg.assert(session.images:list{ limit = 1 })
        os.exit(0, true)
      end)
    ]], sandbox.base_url, path)
    local begun = socket.gettime()
    assert.same({ 0, "" }, { (child:wait()), child:stderr() })
    assert.is_true(socket.gettime() - begun < 3)
    assert.equal(1, sandbox:exchanges())
    assert.is_false(record_of(path).marked)
  end)

  -- A thread that is inside TLS while its code, its libraries or its process go away: how often is for EXITS to say.
  it("with a thread inside TLS ends as it should, each time #heavy", function()
    local big = "location = /v1/big { alias big; }"
    -- a handshake for each call: what crashes when OpenSSL is taken down under it (27 of 150, without the join at exit)
    local nginx = nginxes.start(sandbox, { both = { big }, old = { http2 = false, big, "keepalive_requests 1;" } })
    process.write_file(nginx.folder .. "/big", ("x"):rep(50000))
    local script = process.script [[
      local core = require "dpg.core"
      local base_url, ca_file, token, ending, n = ...
      local engine = assert(core.engine{ ca_file = ca_file, max_connections = 32 })
      assert(engine:thread())
      local credential = assert(core.service(engine, base_url, token))
      local function start()
        assert(engine:start{ method = "GET", url = base_url .. "/big", credential = credential })
      end
      for _ = 1, 200 do start() end
      for _ = 1, tonumber(n) do
        local kind, id
        repeat
          engine:wait(1000)
          kind, id = engine:next()
        until kind == "done"
        assert(engine:take(id) == 200)
        start()
      end
      if ending == "kill" then
        print "going on"
        while true do
          engine:wait(1000)
          engine:next()
        end
      end
      if ending == "error" then error "the end" end
      if ending == "exit" then os.exit(3) end
      if ending == "exit and close" then os.exit(4, true) end
    ]]
    local exit = { "exit", 3 } -- ending, status
    local ways = {
      exit, { "return", 0 }, exit, { "exit and close", 4 }, exit, { "error", 1 }, { "kill", 137 },
    }
    local total, running = tonumber(os.getenv "EXITS" or process.is_heavy and 42 or 7), {}
    local function finish()
      local child, way, n = compat.unpack(table.remove(running, 1))
      if way[1] == "kill" then
        child:expect "going on"
        child:signal "KILL"
      end
      local status = child:wait()
      assert.equal(way[2], status, ("%s after %d answers: %s"):format(way[1], n, child:stderr()))
    end
    for i = 1, total do
      local way, n = ways[i % #ways + 1], i % 40
      local url = nginx:url(i % 4 == 0 and "both" or "old")
      running[#running + 1] = { process.start(script, url, nginx.ca_file, sandbox.token, way[1], n), way, n }
      if #running == 4 then finish() end
    end
    while #running > 0 do finish() end
    nginx:stop()
  end)
end)
