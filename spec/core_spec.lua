-- dpg.core, the binding itself: what it refuses, what is closed, in what order things may go.
local boxes = require "support.box"
local client = require "support.client"
local core = require "dpg.core"

local URL = "http://127.0.0.1:1/v1"

local function raised(fn, ...)
  local ok, problem = pcall(fn, ...)
  assert.is_false(ok)
  return problem
end

describe("core.engine", function()
  it("raises at an option it does not know", function()
    assert.truthy(raised(core.engine, { colour = "red" }):find("'colour'", 1, true))
    assert.truthy(raised(core.engine, { [1] = true }):find("number", 1, true))
    assert.truthy(raised(core.engine, { max_connections = 0 }):find("'max_connections'", 1, true))
    assert.truthy(raised(core.engine, { http2 = 1 }):find("'http2'", 1, true))
  end)

  it("shows its state and hides its metatable", function()
    local engine = assert(core.engine {})
    assert.equal("dpg.engine (0 calls)", tostring(engine))
    assert.equal("protected", getmetatable(engine))
    assert.is_nil(engine.__gc)
    engine:close()
    assert.equal("dpg.engine (closed)", tostring(engine))
  end)

  it("can be closed twice, and then refuses work", function()
    local engine = assert(core.engine {})
    engine:close()
    engine:close(0)
    local id, err = engine:start { method = "GET", url = URL }
    assert.is_nil(id)
    assert.same({ "usage", "closed" }, { err.kind, err.code })
    assert.is_nil((engine:wait(0)))
    assert.is_nil((engine:take(1)))
    assert.is_nil(engine:next())
    assert.is_nil(engine:counts())
    assert.is_false(engine:is_mine())
    engine:cancel(1)
    engine:abandon(1)
  end)

  it("raises when it is given something else for itself", function()
    local engine = assert(core.engine {})
    local start = engine.start
    assert.is_false(pcall(start, {}, {}))
    assert.is_false(pcall(start, io.stdout, {}))
    engine:close()
  end)

  it("tells what is under way", function()
    local engine = assert(core.engine {})
    local id = assert(engine:start { timer = 60 })
    engine:wait(0)
    assert.equal(1, engine:counts().timers + 0 * id)
    assert.equal("dpg.engine (1 calls)", tostring(engine))
    engine:close()
  end)
end)

describe("engine:start", function()
  local engine
  before_each(function() engine = assert(core.engine { events = true }) end)
  after_each(function() engine:close(0) end)

  local slips = {
    { "an unknown field", { colour = 1 }, "'colour'" },
    { "a url that is no text", { url = 7 }, "'url'" },
    { "a time that is NaN", { timer = 0 / 0 }, "'timer'" },
    { "a negative timeout", { url = URL, timeout = -1 }, "'timeout'" },
    { "half an attempt", { url = URL, attempts = 1.5 }, "'attempts'" },
    { "a way to repeat nobody knows", { url = URL, repeats = "often" }, "'repeats'" },
    { "headers that are no texts", { url = URL, headers = { a = 1 } }, "'headers'" },
    { "headers in a list", { url = URL, headers = { "a" } }, "'headers'" },
    { "a credential that is none", { url = URL, credential = io.stdout }, "'credential'" },
  }
  for _, case in ipairs(slips) do
    it("raises at " .. case[1], function()
      assert.truthy(raised(engine.start, engine, case[2]):find(case[3], 1, true))
    end)
  end

  local refused = {
    { "a header with a line end", { method = "GET", url = URL, headers = { ["X-A"] = "a\r\nB: c" } } },
    { "a header with NUL", { method = "GET", url = URL, headers = { ["X-A"] = "a\0b" } } },
    { "a header's name with a blank", { method = "GET", url = URL, headers = { ["X A"] = "a" } } },
    { "plain http to another machine", { method = "GET", url = "http://example.com/v1" } },
    { "a url that is none", { method = "GET", url = "hello" } },
    { "a method with a blank", { method = "GET /x", url = URL } },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local id, err = engine:start(case[2])
      assert.is_nil(id)
      assert.equal("usage", err.kind)
    end)
  end

  it("runs a timer, never early", function()
    local begun = engine:now()
    local id = assert(engine:start { timer = 0.0301 })
    local kind, done
    repeat
      assert(engine:wait(1000))
      kind, done = engine:next()
    until kind
    assert.same({ "done", id }, { kind, done })
    assert.is_true(engine:now() - begun >= 0.0301)
    assert.is_number((engine:take(id)))
    local none, err = engine:take(id)
    assert.is_nil(none)
    assert.is_string(err.code)
  end)

  it("ends a cancelled call as cancelled", function()
    local id = assert(engine:start { timer = 60 })
    engine:cancel(id)
    local kind, done
    repeat
      engine:wait(100)
      kind, done = engine:next()
    until kind == "done"
    assert.equal(id, done)
    local none, err = engine:take(id)
    assert.is_nil(none)
    assert.equal("cancelled", err.kind)
  end)

  it("tells nothing of an abandoned call, and keeps nothing of it", function()
    local id = assert(engine:start { timer = 0.01 })
    engine:abandon(id)
    local other = assert(engine:start { timer = 0.03 })
    local kind, done
    repeat
      engine:wait(100)
      kind, done = engine:next()
    until kind == "done"
    assert.equal(other, done)
    engine:take(other)
    assert.same({ 0, 0 }, { engine:counts().calls, engine:counts().untaken })
  end)

  it("ignores numbers of no call", function()
    engine:cancel(12345)
    engine:abandon(12345)
    engine:cancel(0)
    assert.is_false(pcall(engine.cancel, engine, -1))
    assert.is_false(pcall(engine.take, engine, "one"))
  end)
end)

describe("credentials", function()
  it("belong to the engine they were made for", function()
    local one, two = assert(core.engine {}), assert(core.engine {})
    local credential = assert(core.service(one, URL, "token-1"))
    local problem = raised(two.start, two, { method = "GET", url = URL, credential = credential })
    assert.truthy(problem:find("another engine", 1, true))
    one:close()
    two:close()
  end)

  it("go to one origin only", function()
    local engine = assert(core.engine {})
    local credential = assert(core.service(engine, URL, "token-1"))
    local id, err = engine:start { method = "GET", url = "http://127.0.0.1:2/v1/me", credential = credential }
    assert.is_nil(id)
    assert.equal("usage", err.kind)
    engine:close()
  end)

  it("show no token", function()
    local engine = assert(core.engine {})
    local credential = assert(core.service(engine, URL, "token-secret-1"))
    assert.is_nil(tostring(credential):find("secret", 1, true))
    for key, value in pairs(credential:info()) do
      assert.is_nil((tostring(key) .. tostring(value)):find("secret", 1, true))
    end
    engine:close()
  end)

  it("refuse a token that can't be sent", function()
    local engine = assert(core.engine {})
    for _, token in ipairs { "", "a b", "a\r\nb", "a\0b" } do
      local credential, err = core.service(engine, URL, token)
      assert.is_nil(credential)
      assert.equal("usage", err.kind)
    end
    engine:close()
  end)

  it("are closed with their engine, whatever goes first", function()
    local engine = assert(core.engine {})
    local credential = assert(core.person(engine, URL, assert(core.memory_store())))
    engine:close()
    assert.equal("dpg.credential (closed)", tostring(credential))
    assert.is_nil(credential:info())
    local id, err = credential:load()
    assert.is_nil(id)
    assert.equal("closed", err.code)
    credential, engine = nil, nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
  end)

  it("outlive the engine's own userdata", function()
    local credential = assert(core.person(assert(core.engine {}), URL, assert(core.memory_store())))
    collectgarbage()
    collectgarbage()
    assert.is_table(credential:info())
    assert.is_number((credential:load()))
  end)

  it("raise at a store or options that are none", function()
    local engine = assert(core.engine {})
    assert.is_false(pcall(core.person, engine, URL, {}))
    assert.is_false(pcall(core.person, engine, URL, assert(core.memory_store()), { colour = 1 }))
    engine:close()
  end)
end)

describe("core.random_bytes", function()
  it("gives as many as are asked for, and not the same twice", function()
    assert.equal(16, #core.random_bytes(16))
    assert.equal(13, #core.random_bytes(13))
    assert.are_not.equal(core.random_bytes(16), core.random_bytes(16))
    assert.is_false(pcall(core.random_bytes, 0))
    assert.is_false(pcall(core.random_bytes, 1e9))
  end)
end)

describe("the end of a Lua state", function()
  it("with calls and sessions in every state is quiet, in any order of finalisers", function()
    local box = boxes.start()
    box:fault { path = "/images", hold = true, times = "always" }
    for round = 1, 4 do
      local pipe = client.child(string.format([[
        local core = require "dpg.core"
        local dpg = require "dpg"
        local engine = core.engine { events = true }
        local keep = { core.person(engine, %q, core.memory_store()), core.service(engine, %q, "t") }
        local id = engine:start { method = "GET", url = %q .. "/images", credential = keep[2] }
        for _ = 1, 3 do engine:wait(5) end
        if %d == 1 then engine = nil elseif %d == 2 then keep = nil elseif %d == 3 then engine:close(0) end
        if %d < 4 then collectgarbage() end
        dpg.service { token = %q, base_url = %q }:me()
        print "fine"
      ]], box.base_url, box.base_url, box.base_url, round, round, round, round, box.token, box.base_url))
      assert.equal("fine\n", pipe:read "*a")
      pipe:close()
    end
    box:stop()
  end)
end)
