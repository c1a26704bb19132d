-- Options: unknown ones raise and are named, at the caller's line; call beats session beats default.
local config = require "dpg.config"
local dpg = require "dpg"

local function raised(fn, ...)
  local ok, problem = pcall(fn, ...)
  assert.is_false(ok)
  return problem
end

describe("options", function()
  it("that are unknown raise, are named, and blame the caller's line", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local problem = raised(function() dpg.service { token = "t", tokn = 1 } end)
    assert.truthy(problem:find("config_spec.lua:" .. line .. ":", 1, true), problem)
    assert.truthy(problem:find("'tokn'", 1, true), problem)
  end)

  local session = assert(dpg.service { token = "abcdefgh" })
  local slips = { -- name, function, what is named
    { "an engine's option for one call", function() session.images:list { ca_file = "x" } end, "session is made" },
    { "an engine's option for one account", function()
      require("dpg.user").new({ info = function() end }, {}):account("x", { proxy = false })
    end, "dpg.sign_in" },
    { "a retry budget for one call", function() session.images:list { retry = { budget = 1 } } end, "budget" },
    { "an unknown field of retry", function() dpg.service { token = "t", retry = { attempt = 1 } } end, "attempt" },
    { "no attempts", function() dpg.service { token = "t", retry = { attempts = 0 } } end,
      "'retry.attempts': a whole number above 0 expected, got 0" },
    { "a timeout of 0", function() dpg.service { token = "t", timeout = 0 } end, "'timeout': seconds above 0" },
    { "an http2 that is no boolean", function() dpg.service { token = "t", http2 = "no" } end, "a boolean expected" },
    { "an empty base_url", function() dpg.service { token = "t", base_url = "" } end, "got an empty one" },
    { "a deadline for op:wait", function()
      require("dpg.operation").read(session, { uuid = "u", status = "queued" }, {}):wait { deadline = 1 }
    end, "'deadline' is unknown; here are: on_event, timeout" },
    { "a timeout as text", function() session:me { timeout = "3" } end, "timeout" },
    { "an on_event that is no function", function() dpg.service { token = "t", on_event = {} } end, "on_event" },
    { "one key for all writes", function() dpg.service { token = "t", idempotency_key = "k" } end, "idempotency_key" },
    { "a key for a read", function() session.images:list { idempotency_key = "k" } end, "idempotency_key" },
    { "an ETag for a write", function() session.images:update("x", { title = "t" }, { if_none_match = "e" }) end,
      "if_none_match" },
    { "a key with a line end", function()
      session.images:update("x", { title = "t" }, { idempotency_key = "a\r\nb: c" })
    end, "idempotency_key" },
    { "a user agent with a line end", function() dpg.service { token = "t", user_agent = "a\r\nb" } end, "user_agent" },
    { "options that are no table", function() session.images:list(7) end, "table" },
    { "a uuid that is no text", function() session.images:get(7) end, "images:get: a public_uuid" },
    { "no uuid", function() session.images:get() end, "got nothing" },
    { "an image where its uuid is due", function() session.images:get { public_uuid = "x" } end, "field public_uuid" },
    { "fields that are no table", function() session.images:update("x", "title") end, "table of fields" },
    { "an option among the fields", function() session.images:update("x", { idempotency_key = "k" }) end,
      "a table of their own" },
    { "a limit as text", function() session.images:list { limit = "50" } end, "images:list: 'limit': a whole number" },
    { "a method nobody knows", function() session:request("FETCH", "/x") end, "FETCH" },
    { "our own headers", function()
      session:request("GET", "/x", { headers = { authorization = "x" } })
    end, "authorization" },
    { "a body that can't be JSON", function() session:request("POST", "/x", { body = { f = print } }) end, "function" },
    { "a query that holds a table of tables", function()
      session:request("GET", "/x", { query = { a = { {} } } })
    end, "'a'" },
    { "a scope that is no text", function() session:can(7) end, "scope" },
    { "dpg.spawn outside of dpg.run", function() dpg.spawn(print) end, "dpg.run" },
    { "dpg.run without a function", function() dpg.run(7) end, "function" },
    { "an empty path for a store", function() dpg.store.file "" end, "path" },
    { "a path that only a shell understands", function() dpg.store.file "~/session" end, "HOME" },
    { "signing in without a store", function()
      dpg.sign_in { login = "l", password = "p", device = { identifier = "i", name = "n", platform = "p" } }
    end, "dpg.store.file(path)" },
    { "half a store written in Lua", function() dpg.resume { store = { lock = print } } end, "'load' is nil" },
    { "signing in without a device", function()
      dpg.sign_in { login = "l", password = "p", store = dpg.store.memory() }
    end, "'device'" },
    { "a device without a name", function()
      dpg.sign_in { login = "l", password = "p", store = dpg.store.memory(), device = { identifier = "i" } }
    end, "'device.name': a string expected, got nothing" },
    { "signing in without a password", function()
      dpg.sign_in { login = "l", store = dpg.store.memory(), device = { identifier = "i", name = "n", platform = "p" } }
    end, "'password'" },
  }
  for _, case in ipairs(slips) do
    it("raise at " .. case[1], function()
      local problem = raised(case[2])
      assert.truthy(problem:find("config_spec.lua:", 1, true), problem)
      assert.truthy(problem:find(case[3], 1, true), problem)
    end)
  end

  local refusals = { -- name, arguments, field
    { "no token", {}, "token" },
    { "an empty token", { token = "" }, "token" },
    { "a token with a line end", { token = "abc\r\nX: y" }, "token" },
    { "plain http to another machine", { token = "t", base_url = "http://example.com/v1" }, "base_url" },
    { "a base_url without its version", { token = "t", base_url = "https://example.com" }, "base_url" },
    { "a base_url with a port that is none", { token = "t", base_url = "https://example.com:x/v1" }, "base_url" },
  }
  for _, case in ipairs(refusals) do
    it("refuse " .. case[1] .. ", unsent", function()
      local none, err = dpg.service(case[2])
      assert.is_nil(none)
      assert.same({ "usage", case[3] }, { err.kind, err.field })
    end)
  end

  it("refuse a path that leaves the API", function()
    local cases = {
      images = "slash", ["https://x.example/v1/images"] = "slash", ["/x?y=1"] = "query = {",
      ["/v1/images"] = "say /images",
      ["/../v2/x"] = "dots that climb", ["//other.example/x"] = "//",
    }
    for path, hint in pairs(cases) do
      local _, err = session:request("GET", path)
      assert.same({ "usage", "path" }, { err.kind, err.field })
      assert.truthy(err.message:find(hint, 1, true), err.message)
    end
    local _, err = session.images:get ".."
    assert.same({ "usage", "public_uuid" }, { err.kind, err.field })
  end)

  local dots = { -- a dot where a colon belongs
    { "images:list", function() session.images.list() end },
    { "images:list", function() session.images.list { limit = 1 } end },
    { "images:get", function() session.images.get "a-uuid" end },
    { "images:each", function() session.images.each { rating = 3 } end },
    { "session:me", function() session.me() end },
    { "session:can", function() session.can "api.images.read" end },
    { "session:request", function() session.request("GET", "/facets") end },
    { "iterator:next", function() session.images:each().next() end },
    { "operation:wait", function()
      require("dpg.operation").read(session, { uuid = "u", status = "queued" }, {}).wait { timeout = 1 }
    end },
    { "task:await", function()
      dpg.run(function() dpg.spawn(function() end).await() end)
    end },
  }
  for _, case in ipairs(dots) do
    it("of " .. case[1] .. " behind a dot: told to use a colon", function()
      local problem = raised(case[2])
      assert.truthy(problem:find("config_spec.lua:", 1, true), problem)
      assert.truthy(problem:find("write " .. case[1] .. "(…), with a colon", 1, true), problem)
    end)
  end

  it("may come to an object that inherits from a session", function()
    local mine = setmetatable({}, { __index = session })
    local _, err = mine:request("GET", "images")
    assert.equal("path", err.field)
  end)

  it("leave the caller's tables alone", function()
    local given = { token = "abcdefgh", retry = { attempts = 2 } }
    local made = dpg.service(given)
    made.images:each { rating = 3 }
    assert.same({ token = "abcdefgh", retry = { attempts = 2 } }, given)
  end)
end)

describe("dpg.config.merge", function()
  it("lets the call beat the session", function()
    assert.equal(1, config.merge({ timeout = 1 }, { timeout = 2 }).timeout)
    assert.equal(false, config.merge({ timeout = false }, { timeout = 2 }).timeout)
    assert.equal(2, config.merge({}, { timeout = 2 }).timeout)
  end)

  it("merges retry field by field", function()
    assert.same({ attempts = 3, base = 1 }, config.merge({ retry = { attempts = 3 } }, { retry = { base = 1 } }).retry)
    assert.same({ attempts = 1 }, config.merge({ retry = false }, { retry = { attempts = 5 } }).retry)
    assert.same({ attempts = 1 }, config.merge({}, { retry = false }).retry)
    assert.same({ attempts = 4 }, config.merge({ retry = { attempts = 4 } }, { retry = false }).retry)
  end)
end)

describe("dpg.config.engine", function()
  it("keeps sessions with the same engine options on one engine", function()
    local _, a = config.engine { base_url = "x", timeout = 1 }
    local _, b = config.engine { base_url = "y", on_event = print }
    local _, c = config.engine { ca_file = "/x" }
    assert.are_not.equal(a, (select(2, config.engine { retry = { budget = 1 } })))
    assert.equal(a, b)
    assert.are_not.equal(a, c)
  end)

  it("takes a budget of false for no limit", function()
    assert.equal(math.huge, config.engine { retry = { budget = false } }.retry_budget)
    assert.equal(0, config.engine { retry = { budget = 0 } }.retry_budget)
  end)
end)

-- What each option takes, to the ends of its range.
describe("options, value by value:", function()
  local bad_number = { -1, 0, 0 / 0, "3", {}, true }
  local cases = { -- name, what it takes, what it does not (all that is no false and no nil)
    { "timeout", { 0.001, 30, math.huge, false }, bad_number },
    { "deadline", { 0.001, 120, math.huge, false }, bad_number },
    { "max_response_bytes", { 1, 2 ^ 31 }, { -1, 0, 1.5, 0 / 0, "1", false } },
    { "max_connections", { 1, 1000 }, { 0, 0.5, "16", false } },
    { "retry", { false, {}, { attempts = 1 }, { base = 0.001, cap = 60, budget = 0 }, { budget = false } },
      { true, 3, "no" } },
    { "proxy", { false, "http://127.0.0.1:1" }, { true, 3, "", {} } },
    { "http2", { true, false }, { 1, "true" } },
    { "prefetch", { true, false }, { 1, "true" } },
    { "user_agent", { "me/1 (a b)" }, { "", " me", "a\nb", "\127", 3, false } },
    { "ca_file", { "/none.pem" }, { "", 3, false } },
    { "on_event", { print }, { "print", {}, false } },
    { "cache", { dpg.cache.memory() }, { {}, true, false } },
    { "idempotency_key", { function() return "k" end }, { "k", 3, false } },
  }
  for _, case in ipairs(cases) do
    local name = case[1]
    it(name, function()
      for _, value in ipairs(case[2]) do
        local fine, problem = pcall(config.check, "here", { [name] = value }, config.SESSION)
        assert.is_true(fine, name .. " = " .. tostring(value) .. ": " .. tostring(problem))
      end
      for _, value in ipairs(case[3]) do
        local problem = raised(config.check, "here", { [name] = value }, config.SESSION)
        assert.truthy(problem:find("here: option '" .. name .. "': .+ expected, got "), problem)
      end
    end)
  end

  local parts = {
    { "attempts", { 1, 6 }, { 0, 1.5, "6", false } },
    { "base", { 0.001, 60 }, { 0, -1, math.huge, 0 / 0, "1", false } },
    { "cap", { 0.001, 60 }, { 0, -1, math.huge, 0 / 0, "1", false } },
    { "budget", { 0, 100, false }, { -1, 0 / 0, "100", true } },
  }
  for _, case in ipairs(parts) do
    local name = case[1]
    it("retry." .. name, function()
      for _, value in ipairs(case[2]) do
        config.check("here", { retry = { [name] = value } }, config.SESSION)
      end
      for _, value in ipairs(case[3]) do
        local problem = raised(config.check, "here", { retry = { [name] = value } }, config.SESSION)
        assert.truthy(problem:find("here: option 'retry." .. name .. "': .+ expected, got "), problem)
      end
    end)
  end

  it("says what was given: of a number itself, of other things their type", function()
    local function told(options) return (raised(config.check, "here", options, config.SESSION):match "got (.*)$") end
    assert.equal("-1", told { timeout = -1 })
    assert.equal("string", told { timeout = "3" })
    assert.equal("1.5", told { max_connections = 1.5 })
    assert.equal("-0.5", told { retry = { base = -0.5 } })
    assert.equal("table", told { retry = { base = {} } })
    assert.equal("-2", told { retry = { budget = -2 } })
    assert.equal("'tries'", told { retry = { tries = 3 } })
    assert.equal("an empty one", told { ca_file = "" })
  end)

  it("of a call that writes: a key, printable, or a function that makes it", function()
    for _, value in ipairs { "k", "a b", print } do config.check("here", { idempotency_key = value }, config.WRITE) end
    for _, value in ipairs { "", " k", "a\r\nb", 7, {} } do
      raised(config.check, "here", { idempotency_key = value }, config.WRITE)
    end
  end)

  it("of a call that reads: an ETag as the server sent it", function()
    for _, value in ipairs { '"a"', 'W/"\195\188"', "bare" } do
      config.check("here", { if_none_match = value }, config.READ)
    end
    for _, value in ipairs { "", ' "a"', '"a"\r\n', "\127", 7, {} } do
      raised(config.check, "here", { if_none_match = value }, config.READ)
    end
  end)
end)
