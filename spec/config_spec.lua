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
    { "a retry budget for one call", function() session.images:list { retry = { budget = 1 } } end, "budget" },
    { "an unknown field of retry", function() dpg.service { token = "t", retry = { attempt = 1 } } end, "attempt" },
    { "no attempts", function() dpg.service { token = "t", retry = { attempts = 0 } } end, "attempts" },
    { "a timeout of 0", function() dpg.service { token = "t", timeout = 0 } end, "timeout" },
    { "a timeout as text", function() session:me { timeout = "3" } end, "timeout" },
    { "an on_event that is no function", function() dpg.service { token = "t", on_event = {} } end, "on_event" },
    { "another host", function() dpg.service { token = "t", host = "other" } end, "blocking" },
    { "one key for all writes", function() dpg.service { token = "t", idempotency_key = "k" } end, "idempotency_key" },
    { "a key for a read", function() session.images:list { idempotency_key = "k" } end, "idempotency_key" },
    { "an ETag for a write", function() session.images:update("x", { title = "t" }, { if_none_match = "e" }) end,
      "if_none_match" },
    { "a key with a line end", function()
      session.images:update("x", { title = "t" }, { idempotency_key = "a\r\nb: c" })
    end, "idempotency_key" },
    { "a user agent with a line end", function() dpg.service { token = "t", user_agent = "a\r\nb" } end, "user_agent" },
    { "options that are no table", function() session.images:list(7) end, "table" },
    { "a uuid that is no text", function() session.images:get(7) end, "public_uuid" },
    { "no uuid", function() session.images:get() end, "public_uuid" },
    { "fields that are no table", function() session.images:update("x", "title") end, "table of fields" },
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
    { "signing in without a store", function()
      dpg.sign_in { login = "l", password = "p", device = { identifier = "i", name = "n", platform = "p" } }
    end, "dpg.store.file(path)" },
    { "a store written in Lua", function() dpg.resume { store = { load = print } } end, "dpg.store.memory()" },
    { "signing in without a device", function()
      dpg.sign_in { login = "l", password = "p", store = dpg.store.memory() }
    end, "'device'" },
    { "a device without a name", function()
      dpg.sign_in { login = "l", password = "p", store = dpg.store.memory(), device = { identifier = "i" } }
    end, "'name'" },
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
  }
  for _, case in ipairs(refusals) do
    it("refuse " .. case[1] .. ", unsent", function()
      local none, err = dpg.service(case[2])
      assert.is_nil(none)
      assert.same({ "usage", case[3] }, { err.kind, err.field })
    end)
  end

  it("refuse a path that leaves the API", function()
    for _, path in ipairs { "images", "/../v2/x", "/x?y=1", "//other.example/x" } do
      local _, err = session:request("GET", path)
      assert.same({ "usage", "path" }, { err.kind, err.field })
    end
    local _, err = session.images:get ".."
    assert.same({ "usage", "public_uuid" }, { err.kind, err.field })
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
    assert.equal(a, b)
    assert.are_not.equal(a, c)
  end)
end)
