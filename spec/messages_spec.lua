-- What goes wrong, as people read it: each error is provoked, and all of them stand in spec/golden/errors.txt, whole,
-- as tostring and error() show them. After a change of one: `DPG_WRITE_GOLDEN=1`, and read the difference. (The parts
-- that they are made of, all of them, are in spec/golden/messages.txt.)
local boxes = require "support.box"
local client = require "support.client"
local compat = require "dpg.compat"
local dpg = require "dpg"
local process = require "support.process"

-- Texts do not depend on the Lua that shows them, but for those that Lua writes itself.
if process.name ~= "lua5.4" or os.getenv "CHECKER" == "valgrind" then return end

local GOLDEN = "spec/golden/errors.txt"
local UNKNOWN = "0192f3e4-0000-7000-8000-000000000001"

describe("what goes wrong, as people read it,", function()
  local box, folder, gallery, lines = nil, nil, nil, {}

  local function plain(text)
    text = tostring(text):gsub(folder:gsub("%p", "%%%0"), "DIR"):gsub("spec/messages_spec%.lua:%d+", "FILE:LINE")
    text = text:gsub("127%.0%.0%.1:%d+", "127.0.0.1:PORT"):gsub("port %d+", "port PORT")
    text = text:gsub("%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x", "UUID")
    text = text:gsub("request_id [%w_-]+", "request_id R")
    text = text:gsub("(127%.0%.0%.1:PORT: )%u[^(]* %(", "%1LIBCURL'S OWN WORDS (")
    text = text:gsub("(generation [%d]+).-(%(auth)", "%1 … %2"):gsub("damaged%-[%w.-]+", "damaged-N")
    return text
  end

  -- `it` provokes an error that is returned or raised.
  local function says(name, provoke)
    it(name, function()
      local results = compat.pack(pcall(provoke))
      local err = results[1] and results[3] or results[2]
      if results[1] then assert.is_nil(results[2], name .. " has not gone wrong") end
      assert.is_not_nil(err, name .. " has not gone wrong")
      lines[#lines + 1] = name .. "\n  " .. plain(err) .. "\n"
    end)
  end

  local function service(more)
    local options = client.options(box, { token = box.token })
    for key, value in pairs(more) do options[key] = value end
    return dpg.service(options)
  end

  local function faulty(fault)
    return function()
      box:fault(fault)
      local one = dpg.assert(service { retry = false, timeout = fault.hold and 0.2 or nil, deadline = fault.deadline })
      local value, err = one:me()
      box:clear_faults()
      return value, err
    end
  end

  local function write_file(name, text)
    local file = assert(io.open(folder .. "/" .. name, "wb"))
    file:write(text)
    file:close()
    return folder .. "/" .. name
  end

  local function stored(text)
    local path = write_file("session-" .. #text, text)
    os.execute("chmod 600 " .. path)
    return dpg.store.file(path)
  end

  setup(function()
    box = boxes.start()
    folder = process.folder()
    gallery = client.service(box)
  end)
  teardown(function()
    box:stop()
    table.sort(lines)
    local text = "# Errors as people read them; made by spec/messages_spec.lua, which says how.\n\n"
      .. table.concat(lines, "\n")
    if os.getenv "DPG_WRITE_GOLDEN" then
      local file = assert(io.open(GOLDEN, "wb"))
      file:write(text)
      file:close()
    end
  end)

  -- where a session begins
  says("no token is given", function() return dpg.service { token = nil } end)
  says("a token with a line end", function() return dpg.service { token = "dpg\n" } end)
  says("a base_url without its version", function() return service { base_url = "https://example.com" } end)
  says("a base_url with plain http", function() return service { base_url = "http://example.com/v1" } end)
  says("an option that there is not", function() return service { timout = 3 } end)
  says("an option of another type", function() return service { timeout = "3" } end)
  says("a retry of a wrong kind", function() return service { retry = { attempts = 0 } } end)
  says("a proxy that is none", function() return dpg.assert(service { proxy = "::" }):me() end)
  says("a ca_file that is not there", function()
    return dpg.assert(service { ca_file = folder .. "/none.pem" }):me()
  end)
  says("no store", function() return dpg.resume {} end)
  says("a store that is none", function() return dpg.resume { store = "session" } end)
  says("a store that lacks a function", function() return dpg.resume { store = { lock = print } } end)

  -- slips in calls
  says("a dot for a colon", function() return gallery.images.get(UNKNOWN) end)
  says("an option that a call has not", function() return gallery.images:list { lmit = 2 } end)
  says("an option of the session's in a call", function() return gallery.images:list { base_url = "x" } end)
  says("an argument of another type", function() return gallery.images:set_rating(UNKNOWN, "4") end)
  says("a uuid that is none", function() return gallery.images:get "sunset.jpg" end)
  says("a value out of its limits", function() return gallery.images:set_rating(UNKNOWN, 9) end)
  says("a text that is too long", function()
    return gallery.images:update(UNKNOWN, { title = ("x"):rep(192) })
  end)
  says("a field that is missing", function() return gallery.sets:create {} end)
  says("nothing to change", function() return gallery.images:update(UNKNOWN, {}) end)
  says("a keyword with two axes", function() return gallery.images:add_keywords(UNKNOWN, { { value = "a:b" } }) end)
  says("a time without a zone", function()
    return gallery.sets:set_visibility(UNKNOWN, {
      image_public_uuids = { UNKNOWN }, activation_time = "2030-07-01T18:00",
    })
  end)
  says("too many writes in a batch", function()
    local writes = {}
    for i = 1, 51 do writes[i] = dpg.assert(gallery.prepare.images:set_rating(UNKNOWN, 4)) end
    return gallery.operations:batch(writes)
  end)
  says("a read that is prepared", function() return gallery.prepare.images:get(UNKNOWN) end)
  says("a raw path without its slash", function() return gallery:request("GET", "me") end)
  says("a raw path with the version", function() return gallery:request("GET", "/v1/me") end)
  says("a raw path with a query", function() return gallery:request("GET", "/images?limit=1") end)
  says("a header that is ours", function()
    return gallery:request("GET", "/me", { headers = { Authorization = "x" } })
  end)
  says("a body that is no JSON", function() return gallery:request("POST", "/x", { body = { [1] = 1, a = 2 } }) end)
  says("a function in a body", function() return gallery:request("POST", "/x", { body = { f = print } }) end)

  -- what the API says
  says("an image that is not there", function() return gallery.images:get(UNKNOWN) end)
  says("a token that may only read", function()
    local reader = dpg.assert(service { token = box.tokens.read })
    return reader.images:set_rating(reader.images:list({ limit = 1 }).items[1].public_uuid, 4)
  end)
  says("a token that was revoked", function() return dpg.assert(service { token = box.tokens.revoked }):me() end)
  says("an account whose API is off", faulty { path = "/me", status = 403, code = "api_not_enabled" })
  says("a rate limit that is longer than the call", faulty { path = "/me", retry_after = "500" })
  says("a rate limit, asked once", faulty { path = "/me", retry_after = "1" })
  says("not modified", function()
    local _, answer = gallery:me()
    return gallery:me { if_none_match = answer.etag }
  end)

  -- the line
  says("nobody listens", function()
    return dpg.assert(service { base_url = "http://127.0.0.1:9/v1", retry = false }):me()
  end)
  says("the server hangs", faulty { path = "/me", hold = true })
  says("the server hangs past the deadline", function()
    box:fault { path = "/me", hold = true }
    local value, err = dpg.assert(service { deadline = 0.2 }):me()
    box:clear_faults()
    return value, err
  end)
  says("the server hangs up", faulty { path = "/me", drop = "before" })
  says("half an answer", faulty { path = "/me", truncate = true })
  says("a page of HTML", faulty { path = "/me", html = true })
  says("503 with HTML", faulty { path = "/me", status = 503, body = "<html>" })
  says("garbage", faulty { path = "/me", garbage = true })
  says("a redirect", faulty { path = "/me", redirect = "https://example.com/" })
  says("JSON that is cut", faulty { path = "/me", body = '{"account":' })
  says("JSON that is something else", faulty { path = "/me", body = "[1]" })
  says("an answer that is too large", function() return gallery.images:list { max_response_bytes = 100 } end)
  says("a certificate of nobody's", function()
    local secure = boxes.start { tls = true }
    local one = dpg.assert(dpg.service { token = "t", base_url = secure.base_url, retry = false })
    local value, err = one:me()
    secure:stop()
    return value, err
  end)

  -- a person
  says("a wrong password", function() return client.sign_in(box, "jane", { password = "not-it" }) end)
  says("two-factor without a function", function() return client.sign_in(box, "omar") end)
  says("a wrong code", function()
    local _, err = client.sign_in(box, "omar")
    return err.challenge:answer "000000"
  end)
  says("a code as a number", function()
    local _, err = client.sign_in(box, "omar")
    return err.challenge:answer(1234)
  end)
  says("an account that is not theirs", function()
    return dpg.assert(client.sign_in(box, "jane")):account(UNKNOWN)
  end)
  says("an empty store", function()
    return dpg.resume(client.options(box, { store = dpg.store.file(folder .. "/absent") }))
  end)
  says("signed out", function()
    local work, user = client.person(box, "jane")
    dpg.assert(user:sign_out())
    return work:me()
  end)
  says("a session that was revoked", function()
    local work = client.person(box, "solo")
    box:revoke_family "solo"
    box:revoke_access_tokens()
    box:advance(2000)
    return work:me()
  end)

  -- stores
  says("a store in a folder that is none", function()
    return dpg.resume { store = dpg.store.file(write_file("plain", "") .. "/session") }
  end)
  says("a store that is a folder", function()
    os.execute(("mkdir -p %s/mine/session"):format(folder))
    return dpg.resume { store = dpg.store.file(folder .. "/mine/session") }
  end)
  says("a store with a tilde", function() return dpg.resume { store = dpg.store.file "~/session" } end)
  says("a store that others can write", function()
    os.execute(("mkdir %s/all && chmod 777 %s/all"):format(folder, folder))
    return dpg.resume { store = dpg.store.file(folder .. "/all/session") }
  end)
  says("a store that is damaged", function() return dpg.resume { store = stored '{"version":' } end)
  says("a store of another origin", function()
    local store = dpg.store.file(folder .. "/there")
    dpg.assert(client.sign_in(box, "jane", { store = store }))
    return dpg.resume { store = store }
  end)
  says("a Redis that is away", function()
    local function connect() return nil, "connection refused" end
    return dpg.resume { store = dpg.store.redis { key = "k", connect = connect } }
  end)
  says("a store in Lua that raises", function()
    local function no() error("it is broken", 0) end
    return dpg.resume { store = { lock = no, load = no, save = no, unlock = no } }
  end)
  says("a key that is too short", function() return dpg.store.sealed(dpg.store.memory(), "secret") end)

  -- files
  local function image() return gallery.images:list({ limit = 1 }).items[1].public_uuid end
  says("a file that is not there", function() return gallery.uploads:send(folder .. "/none.jpg") end)
  says("an empty file", function() return gallery.uploads:send(write_file("empty.jpg", "")) end)
  says("a source without a name", function() return gallery.uploads:send { bytes = "x" } end)
  says("a file twice", function()
    local path = write_file("a.jpg", "x")
    return gallery.uploads:send_many { path, path }
  end)
  says("a journal that is another file", function()
    return gallery.uploads:send_many({ write_file("b.jpg", "x") }, { journal = write_file("journal", "hello\n") })
  end)
  says("a target that is there", function() return gallery.downloads:save(image(), write_file("c.jpg", "x")) end)
  says("a target in no folder", function() return gallery.downloads:save(image(), folder .. "/none/c.jpg") end)
  says("a file that is too large for a string", function()
    return gallery.downloads:read(image(), { max_response_bytes = 10 })
  end)
  says("an upload whose answer is lost", function()
    box:fault { server = "processor", drop = "after" }
    local value, err = gallery.uploads:send({ bytes = ("x"):rep(1000), filename = "d.jpg" })
    box:clear_faults()
    return value, err
  end)

  -- Operations and tasks
  says("an Operation that failed", function()
    box:fault { path = "/images/.*", method = "PATCH", status = 202,
      body = '{"uuid":"' .. UNKNOWN .. '","status":"failed","type":"t","error":{"code":"processing_failed"}}' }
    local operation = dpg.assert(gallery.images:update(image(), { title = "x" }))
    box:clear_faults()
    return operation:wait()
  end)
  says("an Operation that takes its time", function()
    box:fault { path = "/images/.*", method = "PATCH", status = 202,
      body = '{"uuid":"' .. UNKNOWN .. '","status":"running","type":"t"}' }
    local operation = dpg.assert(gallery.images:update(image(), { title = "x" }))
    box:fault { path = "/operations/.*", times = "always", status = 200,
      body = '{"uuid":"' .. UNKNOWN .. '","status":"running","type":"t"}' }
    local value, err = operation:wait { timeout = 0.01 }
    box:clear_faults()
    return value, err
  end)
  says("a call in a coroutine of one's own", function()
    return dpg.run(function() return coroutine.wrap(function() return gallery:me() end)() end)
  end)
  says("a call in on_event", function()
    local inner
    local one
    one = dpg.assert(service { on_event = function() inner = inner or compat.pack(one:me()) end })
    one:me()
    return compat.unpack(inner, 1, inner.n)
  end)
  says("spawn outside of tasks", function() return dpg.spawn(print) end)
  says("run without a function", function() return dpg.run "x" end)

  it("is as it stands in " .. GOLDEN .. " (DPG_WRITE_GOLDEN=1 writes it)", function()
    if os.getenv "DPG_WRITE_GOLDEN" then return end
    local golden = {}
    local text = assert(process.read_file(GOLDEN))
    for entry in text:gmatch "([^\n#]+\n  [^\n]+\n)" do golden[#golden + 1] = entry end
    table.sort(lines)
    assert.same(golden, lines)
  end)
end)
