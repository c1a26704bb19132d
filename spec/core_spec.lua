-- dpg.core, the binding itself: what it refuses, what is closed, in what order things may go.
local boxes = require "support.box"
local client = require "support.client"
local compat = require "dpg.compat"
local core = require "dpg.core"
local dpg = require "dpg"
local process = require "support.process"

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

describe("core.spec", function()
  local cases = {
    { "a url", { url = URL } }, { "a body", { body = "" } }, { "parts", { parts = { { name = "a", value = "b" } } } },
    { "a sink", { sink = { chunks = 1 } } }, { "an unknown field", { colour = 1 } },
    { "headers that are none", { headers = { a = 1 } } },
  }
  for _, case in ipairs(cases) do
    it("raises at " .. case[1], function() assert.is_false(pcall(core.spec, case[2])) end)
  end

  it("takes no credential, which belongs to one engine", function()
    local engine = assert(core.engine {})
    assert.is_false(pcall(core.spec, { credential = assert(core.service(engine, URL, "token-1")) }))
    engine:close()
  end)

  it("is what many calls are made of, whatever becomes of the table", function()
    local box = boxes.start()
    local engine = assert(core.engine { ca_file = box.ca_file })
    local credential = assert(core.service(engine, box.base_url, box.token))
    local headers = { Accept = "application/" .. "json", ["X-One"] = ("1"):rep(100) }
    local spec = { method = "PU" .. "T", headers = headers, repeats = "unsent", attempts = 1 }
    local prepared = core.spec(spec)
    for name in pairs(headers) do headers[name] = nil end
    for name in pairs(spec) do spec[name] = nil end
    spec, headers = nil, nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    for i = 1, 3 do
      local body = i > 1 and "body " .. i or nil
      local two = i == 2 and "2" or nil
      local url = box.base_url .. "/n" .. i
      local id = assert(engine:start(prepared, credential, url, body, "X-Two", two, "X-Three", "3"))
      repeat engine:wait(1000) until engine:next() == "done"
      engine:take(id)
    end
    for i, seen in ipairs(box:seen { method = "PUT" }) do
      assert.equal("/n" .. i, seen.path)
      assert.equal(i > 1 and #"body 1" or 0, seen.body_length)
      assert.same({ "application/json", ("1"):rep(100), i == 2 and "2" or nil, "3" }, { seen.headers.accept,
        seen.headers["x-one"], seen.headers["x-two"], seen.headers["x-three"] })
    end
    assert.equal(3, box:count { method = "PUT" })
    engine:close()
    box:stop()
  end)

  it("is refused with what does not belong to a call", function()
    local engine, other = assert(core.engine {}), assert(core.engine {})
    local prepared, mine = core.spec { method = "GET" }, assert(core.service(engine, URL, "token-1"))
    local theirs = assert(core.service(other, URL, "token-1"))
    assert.truthy(raised(engine.start, engine, prepared, theirs, URL):find("another engine", 1, true))
    assert.is_false(pcall(engine.start, engine, prepared, mine))
    assert.is_false(pcall(engine.start, engine, prepared, mine, 7))
    assert.is_false(pcall(engine.start, engine, prepared, mine, URL, 7))
    assert.is_false(pcall(engine.start, engine, prepared, mine, URL, nil, "a", "1", "b", "2", "c", "3", "d", "4",
      "e", "5"))
    assert.is_false(pcall(engine.start, engine, prepared, mine, URL, nil, "a", 1))
    assert.is_false(pcall(engine.start, engine, io.stdout, mine, URL))
    local id, err = engine:start(prepared, mine, URL, nil, "a", "1\r\nb: 2")
    assert.is_nil(id)
    assert.equal("usage", err.kind)
    engine:close()
    other:close()
  end)
end)

describe("engine:take", function()
  local box, engine
  before_each(function()
    box = boxes.start()
    engine = assert(core.engine { ca_file = box.ca_file })
  end)
  after_each(function()
    engine:close()
    box:stop()
  end)

  local function answer(as, fault)
    fault.path = "/x"
    box:fault(fault)
    local id = assert(engine:start { method = "GET", url = box.base_url .. "/x", attempts = 1,
      credential = assert(core.service(engine, box.base_url, box.token)) })
    repeat engine:wait(1000) until engine:next() == "done"
    return engine:take(id, as)
  end

  local BODY = '{"data":[{"a":1,"b":[true]},{"a":"x"}],"n":null}'

  it("hands out all headers and the body, unless it is told otherwise", function()
    local status, headers, body, info, value = answer(nil, { status = 200, body = BODY })
    assert.same({ 200, BODY, 1 }, { status, body, info.attempts })
    assert.is_string(headers["content-type"])
    assert.is_nil(value)
  end)

  it("reads JSON without a string in between, and only what is wanted", function()
    local as = {
      answer = { ["x-three"] = "three", ["x-none"] = "none", ["x-empty"] = "empty" },
      headers = { "x-two", "no-such", "x-one" }, wanted = { a = true }, lists = { "data" },
    }
    local status, headers, body, info, value = answer(as, { status = 201, body = BODY,
      headers = { ["X-One"] = "1", ["X-Other"] = "5", ["X-Two"] = "2", ["X-Three"] = "3", ["X-Empty"] = "" } })
    assert.equal(201, status)
    assert.same({ attempts = 1, three = "3" }, info)
    assert.is_nil(body)
    assert.same({ ["x-one"] = "1", ["x-two"] = "2" }, headers)
    assert.same({ data = { { a = 1 }, { a = "x" } }, n = core.null }, value)
  end)

  it("hands out as it is what is no JSON, or no success", function()
    local faults = { { status = 200, body = "<html>" }, { status = 200, body = "" }, { status = 404, body = BODY } }
    for _, fault in ipairs(faults) do
      local status, headers, body, info, value = answer({}, fault)
      assert.same({ fault.status, fault.body }, { status, body })
      assert.same({ "nil", "table", "nil" }, { type(headers), type(info), type(value) })
    end
  end)

  it("raises at what says nothing, and then nothing is lost", function()
    local id = assert(engine:start { timer = 0 })
    repeat engine:wait(1000) until engine:next() == "done"
    assert.is_false(pcall(engine.take, engine, id, 7))
    assert.equal(0, (engine:take(id)))
  end)
end)

describe("core.dress", function()
  it("gives a metatable to those that have the string, and none yet", function()
    local mt, own = {}, setmetatable({ id = "x" }, {})
    local list = { { id = "a" }, { id = 1 }, {}, 7, "id", own, { id = "b" } }
    core.dress(list, mt, "id")
    local dressed = {}
    for i, one in ipairs(list) do
      if type(one) == "table" and getmetatable(one) == mt then dressed[#dressed + 1] = i end
    end
    assert.same({ 1, 7 }, dressed)
    assert.is_false(pcall(core.dress, 1, mt, "id"))
    assert.is_false(pcall(core.dress, list, nil, "id"))
    assert.is_false(pcall(core.dress, list, mt))
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

describe("engine:take", function()
  it("hands out one answer while a finaliser takes another", function()
    local box = boxes.start()
    local function page(name)
      local items = {}
      for i = 1, 20000 do items[i] = string.format('{"name":"%s%d"}', name, i) end
      return "[" .. table.concat(items, ",") .. "]"
    end
    local engine = assert(core.engine {})
    local ids = {}
    for i, name in ipairs { "a", "b" } do
      box:fault { path = "/images", status = 200, body = page(name) }
      ids[i] = assert(engine:start { method = "GET", url = box.base_url .. "/images" })
      repeat engine:wait(100) until engine:next() == "done"
    end
    local inner
    collectgarbage()
    collectgarbage "stop"
    compat.on_collect(function() inner = select(5, engine:take(ids[2], {})) end)
    collectgarbage "restart"
    local outer = select(5, engine:take(ids[1], {}))
    collectgarbage()
    for i = 1, 20000 do
      assert.equal("a" .. i, outer[i].name)
      assert.equal("b" .. i, inner[i].name)
    end
    engine:close()
    box:stop()
  end)
end)

describe("credential:info, and store:load", function()
  -- In a process of its own: the collector is at work all the time, and has little to look at there.
  it("say all of it while a finaliser asks, too", function()
    local box, path = boxes.start(), process.folder() .. "/session"
    assert(client.sign_in(box, "jane", { store = dpg.store.file(path) }))
    client.close()
    local child = process.start([[
      local compat = require "dpg.compat"
      local core = require "dpg.core"
      local dpg = require "dpg"
      local user = dpg.assert(dpg.resume { base_url = arg[1], store = dpg.store.file(arg[2]) })
      local credential = user._connection._credential
      local store, bytes = assert(core.memory_store()), ("x"):rep(1000)
      assert(store:lock("me", 5))
      assert(store:save(bytes, nil, false))
      local function tells() return #(credential:info().accounts or {}) == #user.accounts end
      local function loads() return store:load() == bytes end
      collectgarbage("setpause", 0)
      collectgarbage("setstepmul", 10000)
      for _, ask in ipairs { tells, loads } do
        local inner = 0
        for _ = 1, 500 do
          compat.on_collect(function() inner = inner + (ask() and 1 or 0) end)
          assert(ask())
        end
        collectgarbage()
        assert(inner == 500)
      end
      print(#user.accounts)
    ]], box.base_url, path)
    local status, lines = child:wait()
    assert.same({ 0, { "2" } }, { status, lines }, child:stderr())
    box:stop()
  end)
end)

describe("a call", function()
  it("is heard of whatever finalisers do while it is started and waited for", function()
    local box = boxes.start()
    -- one that hears of nothing would wait for good
    local child = process.start_through("timeout 300", [[
      local compat = require "dpg.compat"
      local dpg = require "dpg"
      local gallery = dpg.assert(dpg.service { base_url = arg[1], token = arg[2] })
      local function ask() dpg.assert(gallery:me()) end
      for i = 1, os.getenv "CHECKER" and 200 or 2000 do
        compat.on_collect(ask)
        local _ = {}
        for j = 1, i * 37 % 101 do _[j] = {} end -- so that the collector's turn comes everywhere
        ask()
      end
      print "fine"
    ]], box.base_url, box.token)
    local status, lines = child:wait()
    assert.same({ 0, { "fine" } }, { status, lines }, child:stderr())
    box:stop()
  end)
end)

describe("engine:head and engine:read", function()
  it("push what there is while a finaliser ends the call", function()
    local box = boxes.start()
    local gallery = client.service(box)
    local uuid = box:add_blob({ size = 200000, seed = 1, filename = "x.jpg" }).public_uuid
    local pause, mul = collectgarbage("setpause", 100), collectgarbage("setstepmul", 400)
    for i = 1, 60 do
      local chunks = gallery.downloads:chunks(uuid, { window = 65536 })
      dpg.assert(chunks:next())
      local engine, id = chunks._stream.hub.engine, chunks._stream.id
      collectgarbage()
      collectgarbage "stop"
      compat.on_collect(function() chunks:close() end)
      collectgarbage "restart"
      for _ = 1, i do local _ = {} end -- so that it comes everywhere
      for _ = 1, 3000 do
        local status, headers = engine:head(id)
        if not status then break end
        assert.equal("200000", headers["content-length"])
        local state, bytes = engine:read(id, 7)
        assert.is_true(state ~= "bytes" or #bytes == 7)
      end
      chunks:close()
    end
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", mul)
    client.close()
    box:stop()
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
