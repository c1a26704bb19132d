-- What callers get wrong: each bad value is named before anything is sent, or sent so that it can't do harm. A wrong
-- type raises at the caller's line; a value that the API would refuse is nil, err of kind "usage".
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local notes = require "support.notes"

local NAN, INFINITY = 0 / 0, 1 / 0

local ESCAPES = { ["\r"] = "\\r", ["\n"] = "\\n", ["\0"] = "\\0" }

local function show(value)
  if type(value) == "table" then return "{ " .. table.concat(value, ", ") .. " }" end
  if type(value) ~= "string" then return value ~= value and "NaN" or tostring(value) end
  if #value > 60 then return ("text of %d bytes"):format(#value) end
  return '"' .. value:gsub("%c", ESCAPES) .. '"'
end

describe("an argument that is wrong:", function()
  local box, gallery, image

  setup(function()
    box = boxes.start()
    gallery = client.service(box, { retry = false, deadline = 5 })
    image = dpg.assert(gallery.images:list { limit = 1 }).items[1].public_uuid
  end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function() box:reset_seen() end)
  after_each(function() client.nothing_left() end)

  -- --- refused unsent ---

  local function service(options)
    return function() return dpg.service(options) end
  end

  local function base(url)
    return "base_url " .. show(url), service { token = "dpg_api_live_x", base_url = url }, "base_url"
  end

  local function token(text)
    return "token " .. show(text), service { token = text }, "token"
  end

  local function list(name, value)
    return "images:list { " .. name .. " = " .. show(value) .. " }", function()
      return gallery.images:list { [name] = value }
    end, name
  end

  local function get(uuid)
    return "images:get " .. show(uuid), function() return gallery.images:get(uuid) end, "public_uuid"
  end

  local function title(what, text)
    return "a title of " .. what, function() return gallery.images:update(image, { title = text }) end, "title"
  end

  local function path(text)
    return "session:request GET " .. show(text), function() return gallery:request("GET", text) end, "path"
  end

  local refusals = { -- what, call, field
    { token "" }, { token "a b" }, { token "abc\n" }, { token "abc\r\nX-Evil: 1" }, { token "abc\0" }, { token "é" },
    { base "http://example.com/v1" }, { base "http://127.0.0.1.example.com/v1" }, { base "http://localhost.evil/v1" },
    { base "http://127.0.0.1@example.com/v1" }, { base "https://user:pass@example.com/v1" },
    { base "ftp://127.0.0.1/v1" },
    { base "example.com/v1" }, { base "https://example.com" }, { base "https://example.com/v1?x=1" },
    { base "https://example.com/v1#x" }, { base "https://exa mple.com/v1" }, { base "https://example.com\\@evil/v1" },
    { base "https://example.com/v1\r\nX: y" }, { base "https:///v1" }, { base "file:///etc/v1" },
    { list("limit", 0) }, { list("limit", 201) }, { list("limit", -1) }, { list("limit", 1.5) }, { list("limit", NAN) },
    { list("limit", INFINITY) }, { list("offset", -1) }, { list("offset", 0.5) }, { list("rating", 6) },
    { list("min_rating", -1) }, { list("query", "a\0b") }, { list("created_at_from", "") },
    { list("created_at_from", INFINITY) }, { list("created_at_from", NAN) }, { list("keyword", {}) },
    { list("bbox", { 1, 2, 3 }) },
    { get "" }, { get "." }, { get ".." }, { get "%2e%2E" },
    { title("192 characters", ("x"):rep(192)) }, { title("192 letters of two bytes", ("é"):rep(192)) },
    { title("text with a NUL", "a\0b") },
    { path "" }, { path "images" }, { path "//example.com/x" }, { path "/../v2/images" }, { path "/images/%2e%2e/x" },
    { path "/images?limit=1" }, { path "/images#x" }, { path "/images\r\nX: y" }, { path "/a b" }, { path "/a\\b" },
    { path "http://example.com/x" },
  }
  for _, case in ipairs(refusals) do
    local what, call, field = case[1], case[2], case[3]
    it(what .. " is refused unsent, and named", function()
      local value, err = call()
      notes.row(what, err)
      assert.is_nil(value)
      assert.same({ "usage", field }, { err.kind, err.field }, tostring(err))
      assert.is_nil(tostring(err):find("[%c]"))
      assert.equal(0, box:count {})
    end)
  end

  -- --- raised at the caller's line ---

  local slips = { -- what, call, a word of the message
    { "no token at all, but a number", function() dpg.service { token = 5 } end, "'token'" },
    { "images:list { limit = \"50\" }", function() gallery.images:list { limit = "50" } end, "'limit'" },
    { "images:list { limits = 50 }", function() gallery.images:list { limits = 50 } end, "'limits'" },
    { "images:list(50)", function() gallery.images:list(50) end, "table" },
    { "images:get()", function() gallery.images:get() end, "public_uuid" },
    { "images:get(5)", function() gallery.images:get(5) end, "public_uuid" },
    { "images:update without fields", function() gallery.images:update(image) end, "table" },
    { "images:update { titel = … }", function() gallery.images:update(image, { titel = "x" }) end, "'titel'" },
    { "images:update { title = 5 }", function() gallery.images:update(image, { title = 5 }) end, "'title'" },
    { "timeout = 0", function() gallery:me { timeout = 0 } end, "'timeout'" },
    { "timeout = NaN", function() gallery:me { timeout = NAN } end, "'timeout'" },
    { "deadline = -1", function() gallery:me { deadline = -1 } end, "'deadline'" },
    { "retry = { attempts = 0 }", function() gallery:me { retry = { attempts = 0 } } end, "attempts" },
    { "retry = { tries = 3 }", function() gallery:me { retry = { tries = 3 } } end, "tries" },
    { "an ETag with a line end", function() gallery:me { if_none_match = "a\r\nX: y" } end, "'if_none_match'" },
    { "an idempotency key with a line end", function()
      gallery.images:update(image, { title = "x" }, { idempotency_key = "a\nb" })
    end, "'idempotency_key'" },
    { "a user_agent with a line end", function() dpg.service { token = "t", user_agent = "a\nb" } end, "'user_agent'" },
    { "session:request without a method", function() gallery:request(nil, "/me") end, "method" },
    { "session:request with method \"GET /x\"", function() gallery:request("GET /x", "/me") end, "method" },
    { "session:request with an Authorization of its own", function()
      gallery:request("GET", "/me", { headers = { authorization = "Bearer x" } })
    end, "authorization" },
    { "session:request with a function in the body", function()
      gallery:request("POST", "/sets", { body = { name = print } })
    end, "body" },
    { "session:request with a table in itself as the body", function()
      local body = {}
      body.body = body
      gallery:request("POST", "/sets", { body = body })
    end, "body" },
    { "dpg.sign_in without a store", function()
      dpg.sign_in { login = "a", password = "b", device = client.device, base_url = box.base_url }
    end, "'store'" },
    { "dpg.sign_in with a path as the store", function()
      dpg.sign_in { login = "a", password = "b", device = client.device, store = "/tmp/x", base_url = box.base_url }
    end, "'store'" },
    { "dpg.store.file with a NUL", function() dpg.store.file("/tmp/a\0b") end, "path" },
  }
  for _, case in ipairs(slips) do
    it(case[1] .. " raises at the caller's line, unsent", function()
      local ok, problem = pcall(case[2])
      notes.row(case[1], "raises: " .. tostring(problem))
      assert.is_false(ok)
      assert.is_string(problem)
      assert.truthy(problem:find("hostile_argument_spec.lua:", 1, true), problem)
      assert.truthy(problem:find(case[3], 1, true), problem)
      assert.equal(0, box:count {})
    end)
  end

  it("a header with a line end or a NUL is refused unsent", function()
    for _, value in ipairs { "a\r\nX-Evil: 1", "a\nb", "a\0b" } do
      local me, err = gallery:request("GET", "/me", { headers = { ["X-Mine"] = value } })
      notes.row("session:request with header X-Mine: " .. show(value), err)
      assert.is_nil(me)
      assert.same({ "usage", "header" }, { err.kind, err.code })
      assert.equal(0, box:count {})
    end
  end)

  -- --- sent, and harmless ---

  it("an identifier with a slash, a question mark or a percent stays in its place", function()
    for _, uuid in ipairs { "a/b", "../me", "x?y=1", "x#y", "%2e", "100%", "é", "a\nb", ("x"):rep(4000) } do
      box:reset_seen()
      local value, err = gallery.images:get(uuid)
      notes.row("images:get " .. show(uuid), err)
      assert.is_nil(value)
      local seen = box:seen {}
      if err.kind == "usage" then
        assert.equal(0, #seen)
      else
        assert.same({ "api", 404, 1 }, { err.kind, err.status, #seen })
        assert.equal("/images/" .. uuid, seen[1].path) -- as the server decodes it
        assert.truthy(err.path:find("^/images/[%w%%%-%._~]+$"), err.path)
        assert.equal("", seen[1].query)
      end
    end
  end)

  it("a query keeps what is in it", function()
    for _, text in ipairs { "a&limit=1", "a=b", "x#y", "ü/ß", "a b", "a+b", "%00", "a\r\nb" } do
      dpg.assert(gallery.images:list { query = text, limit = 2 })
    end
    for _, seen in ipairs(box:seen {}) do
      assert.truthy(seen.query:find("^limit=2&query=[%w%%%-%._~]+$"), seen.query)
    end
  end)

  local fine = {
    { "a base_url with slashes at its end", function()
      return client.service(box, { base_url = box.base_url .. "//" }):me()
    end },
    { "a limit of 1", function() return gallery.images:list { limit = 1 } end },
    { "a limit of 200", function() return gallery.images:list { limit = 200 } end },
    { "an offset beyond the end", function() return gallery.images:list { offset = 1e6 } end },
    { "a title of 191 characters", function() return gallery.images:update(image, { title = ("x"):rep(191) }) end },
    { "a title of 191 letters of two bytes", function()
      return gallery.images:update(image, { title = ("é"):rep(191) })
    end },
    { "a title that is empty", function() return gallery.images:update(image, { title = "" }) end },
  }
  for _, case in ipairs(fine) do
    it(case[1] .. " is fine", function()
      dpg.assert(case[2]())
      notes.row(case[1], "none")
    end)
  end

  it("an account that the person does not have is refused unsent", function()
    local _, user = client.person(box, "solo")
    box:reset_seen()
    for _, uuid in ipairs { "", "..", box.people.jane.accounts[2].uuid } do
      local session, err = user:account(uuid)
      notes.row("user:account " .. show(uuid), err)
      assert.is_nil(session)
      assert.same({ "usage", "unknown_account" }, { err.kind, err.code })
    end
    assert.equal(0, box:count {})
  end)

  it("a login or password with anything in it goes as it is, and is refused as any other", function()
    for _, text in ipairs { 'x"}', "a\nb", "a\0b", "é", ("x"):rep(100000) } do
      local user, err = client.sign_in(box, "jane", { password = text, deadline = 5 })
      notes.row("dpg.sign_in with the password " .. show(text), err)
      assert.is_nil(user)
      assert.same({ "auth", "unauthorized" }, { err.kind, err.code })
    end
  end)
end)
