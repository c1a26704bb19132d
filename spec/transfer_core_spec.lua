-- dpg.core with bodies that are large: forms out of values, files and fed bytes, answers into files and chunks. The
-- other side is a LuaSocket server in this same process, a coroutine for each connection: it moves as the engine does.
local core = require "dpg.core"
local process = require "support.process"
local socket = require "socket"

-- The other side

local function peer(handler)
  local listener = assert(socket.bind("127.0.0.1", 0))
  listener:settimeout(0)
  local _, port = listener:getsockname()
  local p = { url = "http://127.0.0.1:" .. port .. "/x", connections = 0, requests = {} }
  local tasks = {}

  local function read(client, pattern)
    local got = ""
    while true do
      local bytes, err, part = client:receive(pattern, got)
      if bytes then return bytes end
      got = part
      if err ~= "timeout" then return nil, got end
      coroutine.yield()
    end
  end

  local function write(client, bytes)
    local at = 1
    while at <= #bytes do
      local last, err, part = client:send(bytes, at)
      at = (last or part) + 1
      if not last then
        if err ~= "timeout" then return nil end
        coroutine.yield()
      end
    end
    return true
  end

  local function serve(client, n)
    local request = { headers = {}, n = n }
    request.line = read(client, "*l")
    while request.line do
      local line = read(client, "*l")
      if not line or line == "" then break end
      local name, value = line:match "^([^:]+): ?(.*)$"
      request.headers[name:lower()] = value
    end
    p.requests[#p.requests + 1] = request
    handler(request, {
      body = function(length) return read(client, length or tonumber(request.headers["content-length"])) end,
      write = function(bytes) return write(client, bytes) end,
      answer = function(status, headers, body)
        return write(client, ("HTTP/1.1 %d X\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s"):format(status,
          headers, #body, body))
      end,
    })
    client:close()
  end

  function p.step()
    local client = listener:accept()
    if client then
      client:settimeout(0)
      p.connections = p.connections + 1
      local n = p.connections
      tasks[#tasks + 1] = coroutine.create(function() serve(client, n) end)
    end
    for i = #tasks, 1, -1 do
      assert(coroutine.resume(tasks[i]))
      if coroutine.status(tasks[i]) == "dead" then table.remove(tasks, i) end
    end
  end

  function p.close() listener:close() end
  return p
end

local function bytes_of(n)
  local unit = {}
  for i = 0, 255 do unit[i + 1] = string.char(i) end
  unit = table.concat(unit)
  return unit:rep(math.ceil(n / 256)):sub(1, n)
end

describe("dpg.core with large bodies", function()
  local engine, p, path

  before_each(function()
    engine = assert(core.engine {})
    path = os.tmpname()
  end)

  after_each(function()
    local counts = engine:counts()
    for _, name in ipairs { "calls", "transfers", "timers", "notes", "untaken" } do
      assert.equal(0, counts[name], name)
    end
    engine:close()
    if p then p.close() end
    p = nil
    os.remove(path)
    os.remove(path .. ".whole")
  end)

  -- The next note; gives up after 30 s, which none of this takes.
  local function next_note()
    for _ = 1, 30000 do
      local kind, id = engine:next()
      if kind then return kind, id end
      if p then p.step() end
      assert(engine:wait(1))
    end
    error "nothing happens"
  end

  local function finish(id)
    repeat local kind, which = next_note() until kind == "done" and which == id
    return engine:take(id)
  end

  local function start(spec)
    spec.url, spec.idle, spec.deadline = spec.url or p.url, spec.idle or 20, false
    return assert(engine:start(spec))
  end

  it("sends a form: values, a file and fed bytes, and tells how far it is", function()
    local body
    p = peer(function(_, client)
      body = client.body()
      client.answer(201, "", "ok")
    end)
    local text = bytes_of(300000)
    process.write_file(path, text)
    local id = start {
      method = "POST", repeats = "unfinished",
      parts = {
        { name = "a \"b\"", value = "x\0\r\n" },
        { name = "file", path = path, size = #text, filename = "a.jpg", content_type = "image/jpeg" },
        { name = "fed", fed = true, size = #text, filename = "ä.bin", content_type = "a/b" },
      },
    }
    local at, kinds = 0, {}
    while true do
      local kind, which = next_note()
      assert.equal(id, which)
      kinds[kind] = (kinds[kind] or 0) + 1
      if kind == "done" then break end
      assert.equal("want", kind)
      local taken = assert(engine:feed(id, text:sub(at + 1, at + 100000)))
      at = at + taken
    end
    assert.equal(#text, at)
    assert.is_true(kinds.want >= 1)
    local sent, to_send, received, to_receive = engine:progress(id)
    assert.equal(#body, sent)
    assert.same({ sent, 2, 2 }, { to_send, received, to_receive })
    local status, _, answer, info = engine:take(id)
    assert.same({ 201, "ok", 1 }, { status, answer, info.sent })
    assert.is_nil(engine:progress(id))
    local boundary = p.requests[1].headers["content-type"]:match "^multipart/form%-data; boundary=(.+)$"
    local function part(head, value) return "--" .. boundary .. "\r\nContent-Disposition: form-data; " .. head ..
      "\r\n\r\n" .. value .. "\r\n" end
    local want = part('name="a %22b%22"', "x\0\r\n") ..
      part('name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg', text) ..
      part('name="fed"; filename="ä.bin"\r\nContent-Type: a/b', text) .. "--" .. boundary .. "--\r\n"
    assert.is_true(body == want)
    assert.is_nil(p.requests[1].headers.authorization)
    assert.is_nil(p.requests[1].headers.expect)
  end)

  it("says why it takes no more bytes", function()
    p = peer(function(_, client)
      client.body()
      client.answer(200, "", "")
    end)
    local id = start { method = "POST", parts = { { name = "f", fed = true, size = 3 } } }
    local taken, err = engine:feed(id, "1234")
    assert.is_nil(taken)
    assert.same({ "usage", "too_many_bytes" }, { err.kind, err.code })
    assert.equal(3, engine:feed(id, "123"))
    finish(id)
    taken, err = engine:feed(id, "1")
    assert.is_nil(taken)
    assert.same({ "usage", "unknown_call" }, { err.kind, err.code })
  end)

  it("refuses a file that has another length, before anything is sent", function()
    p = peer(function() end)
    process.write_file(path, "12345")
    local id = start { method = "POST", parts = { { name = "f", path = path, size = 6 } } }
    local status, err = finish(id)
    assert.is_nil(status)
    assert.same({ "usage", "file_changed" }, { err.kind, err.code })
    assert.equal(0, p.connections)
  end)

  it("sends a form again that was cut, and not one that was whole", function()
    for _, whole in ipairs { false, true } do
      p = peer(function(request, client)
        if request.n == 2 then return client.body() and client.answer(200, "", "") end
        client.body(not whole and 1000 or nil)
      end)
      local text = bytes_of(8000000)
      process.write_file(path, text)
      local id = start { method = "POST", repeats = "unfinished", base = 0.001,
        parts = { { name = "f", path = path, size = #text } } }
      local status, err = finish(id)
      assert.equal(not whole and 200 or nil, status)
      if whole then assert.same({ "network", "connection_lost" }, { err.kind, err.code }) end
      assert.equal(whole and 1 or 2, p.connections)
      p.close()
    end
    p = nil
  end)

  it("writes an answer to a file, names it when it is whole, and goes on with one that is not", function()
    local text = bytes_of(1000000)
    p = peer(function(request, client)
      assert.equal("identity", request.headers["accept-encoding"])
      local from = tonumber((request.headers.range or "bytes=0-"):match "=(%d+)-")
      if request.n == 1 then
        client.write(("HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s"):format(#text, text:sub(1, 400000)))
      else
        client.answer(206, ("Content-Range: bytes %d-%d/%d\r\n"):format(from, #text - 1, #text), text:sub(from + 1))
      end
    end)
    local id = start { method = "GET", sink = { file = path, rename = path .. ".whole" } }
    local status, err = finish(id)
    assert.is_nil(status)
    assert.same({ "network", "answer_cut", 200 }, { err.kind, err.code, err.status })
    assert.is_nil(process.read_file(path .. ".whole"))
    local had = #process.read_file(path)
    assert.equal(400000, had)
    id = start { method = "GET", headers = { Range = "bytes=" .. had .. "-" },
      sink = { file = path, offset = had, expected = #text, rename = path .. ".whole" } }
    local ok, headers, body = finish(id)
    assert.same({ 206, "" }, { ok, body })
    assert.equal("bytes 400000-999999/1000000", headers["content-range"])
    assert.is_true(process.read_file(path .. ".whole") == text)
    assert.is_nil(process.read_file(path))
  end)

  it("takes no other part than the one that is missing", function()
    p = peer(function(_, client) client.answer(206, "Content-Range: bytes 5-9/10\r\n", "56789") end)
    process.write_file(path, "0123")
    local id = start { method = "GET", sink = { file = path, offset = 4, expected = 10 } }
    local _, err = finish(id)
    assert.same({ "protocol", "range_mismatch", 206 }, { err.kind, err.code, err.status })
    assert.equal("0123", process.read_file(path))
  end)

  it("says that there is no place for a file", function()
    p = peer(function(_, client) client.answer(200, "", "x") end)
    local _, err = finish(start { method = "GET", sink = { file = path .. "/none/a" } })
    assert.same({ "storage", "file_missing" }, { err.kind, err.code })
  end)

  it("hands chunks over, with the head first, and holds them back while nobody reads", function()
    local text = bytes_of(3000000)
    p = peer(function(_, client) client.answer(200, "ETag: \"a\"\r\n", text) end)
    local id = start { method = "GET", sink = { chunks = 100000 } }
    assert.is_nil(engine:head(id))
    assert.equal("later", engine:read(id))
    local kind, which = next_note()
    assert.same({ "data", id }, { kind, which })
    local status, headers = engine:head(id)
    assert.same({ 200, '"a"' }, { status, headers.etag })
    for _ = 1, 30 do
      p.step()
      engine:wait(1)
    end
    local _, _, received, to_receive = engine:progress(id)
    assert.is_true(received <= 100000)
    assert.equal(#text, to_receive)
    local got = {}
    while true do
      local state, bytes = engine:read(id, 30000)
      if state == "end" then break end
      if state == "bytes" then
        assert.is_true(#bytes <= 30000)
        got[#got + 1] = bytes
      else
        assert.equal("later", state)
        next_note()
      end
    end
    assert.is_true(table.concat(got) == text)
    local done, _, body = engine:take(id)
    assert.same({ 200, "" }, { done, body })
    while engine:next() do end
    local state, err = engine:read(id)
    assert.is_nil(state)
    assert.equal("unknown_call", err.code)
  end)

  it("times out whoever stops reading", function()
    p = peer(function(_, client) client.answer(200, "", bytes_of(3000000)) end)
    local id = start { method = "GET", idle = 0.05, sink = { chunks = 100000 } }
    local _, err = finish(id)
    assert.same({ "timeout", "stalled" }, { err.kind, err.code })
  end)

  it("frees a call that nobody wants any more, at any moment", function()
    p = peer(function(_, client) client.answer(200, "", bytes_of(3000000)) end)
    for turns = 0, 20 do
      local id = start { method = "POST", sink = { chunks = 65536 }, parts = { { name = "f", fed = true, size = 9 } } }
      for _ = 1, turns do
        engine:wait(1)
        p.step()
      end
      engine:abandon(id)
      assert.is_nil(engine:next())
    end
  end)

  it("raises at a part or a sink that is none, and refuses what can't be sent", function()
    local function problem(spec)
      spec.method, spec.url = "POST", "http://127.0.0.1:1/"
      local ok, text = pcall(engine.start, engine, spec)
      assert.is_false(ok)
      return text
    end
    assert.truthy(problem { parts = 1 }:find "'parts'")
    assert.truthy(problem { parts = { 1 } }:find "'parts'")
    assert.truthy(problem { parts = { { colour = "red" } } }:find "'colour'")
    assert.truthy(problem { parts = { { name = 1 } } }:find "'name'")
    assert.truthy(problem { parts = { { name = "a", size = 1.5 } } }:find "'size'")
    assert.truthy(problem { parts = { { name = "a", size = -1 } } }:find "'size'")
    assert.truthy(problem { sink = {} }:find "'sink'")
    assert.truthy(problem { sink = { file = "a", chunks = 1 } }:find "'sink'")
    assert.truthy(problem { sink = { chunks = 0 } }:find "'chunks'")
    assert.truthy(problem { repeats = "often" }:find "'repeats'")
    for _, spec in ipairs {
      { parts = { { name = "" } } },
      { parts = { { name = "a\r\nb: c" } } },
      { parts = { { name = "a", filename = "\n" } } },
      { parts = { { name = "a" } }, body = "b" },
      { parts = { { name = "a" } }, headers = { ["Content-Type"] = "a/b" } },
      { sink = { file = "" } }, { sink = { file = "a\0b" } },
    } do
      spec.method, spec.url = "POST", "http://127.0.0.1:1/"
      local id, err = engine:start(spec)
      assert.is_nil(id)
      assert.equal("usage", err.kind)
    end
  end)
end)
