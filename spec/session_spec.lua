-- A service session over a real socket: values, answers, errors, paging, writes.
local client = require "support.client"
local dpg = require "dpg"
local boxes = require "support.box"

describe("a service session", function()
  local box, gallery

  setup(function()
    box = boxes.start()
    gallery = client.service(box)
  end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function() box:reset_seen() end)
  after_each(function()
    box:clear_faults()
    client.nothing_left()
  end)

  it("says who is calling and what they may do", function()
    local me, answer = gallery:me()
    assert.equal("Northlight Festival", me.account.name)
    assert.equal(200, answer.status)
    assert.is_string(answer.request_id)
    assert.equal(1, answer.attempts)
  end)

  it("asks for its capabilities once, and keeps them", function()
    local reader = client.service(box, { token = box.tokens.read })
    assert.is_true(reader:can "api.images.read")
    assert.is_false(reader:can "api.images.write")
    assert.is_false(reader:can "api.never.heard.of")
    assert.equal(1, box:count { path = "/me" })
  end)

  it("sends its token as a bearer, and asks for JSON", function()
    gallery:me()
    local seen = box:seen { path = "/me" }[1]
    assert.equal("application/json", seen.headers.accept)
    assert.truthy(seen.headers.authorization:find(require("dpg.sandbox").digest(box.token), 1, true))
    assert.truthy(seen.headers["user-agent"]:find("^dpg/" .. dpg._VERSION:gsub("%p", "%%%0")))
  end)

  it("lists a page with its paging", function()
    local page = dpg.assert(gallery.images:list { limit = 7, offset = 14 })
    assert.equal(7, #page.items)
    assert.is_true(page.has_more)
    assert.equal(21, page.next_offset)
    assert.equal("limit=7&offset=14", box:seen {}[1].query)
  end)

  it("has no next offset on the last page", function()
    local page = dpg.assert(gallery.images:list { limit = 200 })
    assert.is_false(page.has_more)
    assert.is_nil(page.next_offset)
  end)

  it("walks every image once, in as many pages as it takes", function()
    local seen, n = {}, 0
    local it = gallery.images:each { limit = 50 }
    while true do
      local image, err = it:next()
      if not image then
        assert.is_nil(err)
        break
      end
      assert.is_nil(seen[image.public_uuid])
      seen[image.public_uuid] = true
      n = n + 1
    end
    assert.equal(120, n)
    assert.equal(3, box:count { path = "/images" })
  end)

  it("walks by `for`, with large pages", function()
    local n = 0
    for image in gallery.images:each() do
      assert.is_string(image.title)
      n = n + 1
    end
    assert.equal(120, n)
    assert.equal(1, box:count { path = "/images" })
  end)

  it("raises an iterator's error, and asks for that same page when it is asked again", function()
    local it = gallery.images:each { limit = 50, retry = false }
    it()
    box:fault { path = "/images", status = 500 }
    for _ = 2, 50 do it() end
    local ok, err = pcall(it)
    assert.is_false(ok)
    assert.same({ "api", 500 }, { err.kind, err.status })
    assert.is_table(it())
    it:close()
    local queries = {}
    for i, entry in ipairs(box:seen { path = "/images" }) do queries[i] = i <= 3 and entry.query or nil end
    assert.same({ "limit=50&offset=0", "limit=50&offset=50", "limit=50&offset=50" }, queries)
  end)

  it("ends a closed iterator, twice too", function()
    local it = gallery.images:each()
    it:next()
    it:close()
    it:close()
    assert.is_nil(it:next())
  end)

  it("filters", function()
    local page = dpg.assert(gallery.images:list { min_rating = 4, has_geo = true, limit = 200 })
    for _, image in ipairs(page.items) do assert.is_true(image.rating >= 4) end
    assert.equal("has_geo=true&limit=200&min_rating=4", box:seen {}[1].query)
  end)

  it("gets an image, its versions, and the facets", function()
    local first = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    local image, answer = dpg.assert(gallery.images:get(first.public_uuid))
    assert.equal(first.public_uuid, image.public_uuid)
    assert.is_string(answer.etag)
    assert.is_string(dpg.assert(gallery.images:versions(first.public_uuid))[1].url)
    assert.is_table(dpg.assert(gallery.images:facets { min_rating = 1 }))
  end)

  it("says not_modified for an ETag that still holds", function()
    local first = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    local _, answer = dpg.assert(gallery.images:get(first.public_uuid))
    local same, err = gallery.images:get(first.public_uuid, { if_none_match = answer.etag })
    assert.is_nil(same)
    assert.equal("not_modified", err.code)
    assert.equal(304, err.status)
  end)

  it("lists keywords, namespaces, profiles and sets", function()
    assert.is_true(#dpg.assert(gallery.keywords:list()).items > 10)
    assert.is_true(#dpg.assert(gallery.keywords:namespaces()).items > 1)
    assert.is_true(#dpg.assert(gallery.metadata_profiles:list()).items > 0)
    local keyword
    for one in gallery.keywords:each() do keyword = one end
    assert.is_table(keyword)
  end)

  it("reads sets: a level, the tree, one, its images", function()
    local tree = dpg.assert(gallery.sets:tree())
    local names = {}
    for set in gallery.sets:each() do names[#names + 1] = set.name end
    assert.equal(#tree, #names)
    local parent = tree[1]
    for _, set in ipairs(tree) do
      if #set.children > 0 then parent = set end
    end
    local children = dpg.assert(gallery.sets:list { parent_public_uuid = parent.public_uuid })
    assert.equal(#parent.children, #children.items)
    assert.equal(parent.name, dpg.assert(gallery.sets:get(parent.public_uuid)).name)
    assert.is_table(dpg.assert(gallery.sets:images(parent.public_uuid)).items)
  end)

  it("keeps whole numbers whole", function()
    local page = dpg.assert(gallery.images:list { limit = 1 })
    assert.equal("1", tostring(page.next_offset))
    assert.truthy(tostring(page.items[1].rating):match("^%d$"))
  end)

  it("updates an image, and the write is an Operation", function()
    local first = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    local fields = { title = "Main Stage", rotation = 90 }
    local operation, answer = dpg.assert(gallery.images:update(first.public_uuid, fields))
    assert.equal(202, answer.status)
    assert.equal(operation, dpg.assert(operation:wait { timeout = 30 }))
    assert.equal("succeeded", operation.status)
    assert.equal("Main Stage", dpg.assert(gallery.images:get(first.public_uuid)).title)
  end)

  it("gives every write a key of its own, and tells it", function()
    local first = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    local _, one = dpg.assert(gallery.images:update(first.public_uuid, { title = "One" }))
    local _, two = dpg.assert(gallery.images:update(first.public_uuid, { title = "Two" }))
    assert.truthy(one.idempotency_key:match("^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$"))
    assert.are_not.equal(one.idempotency_key, two.idempotency_key)
    local seen = box:seen { method = "PATCH" }
    assert.equal(one.idempotency_key, seen[1].headers["idempotency-key"])
  end)

  it("keeps a write's key and bytes through its retries, and the work is done once", function()
    local first = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    box:fault { path = "/images/.*", method = "PATCH", drop = "half" }
    local before = box:report().operations
    local _, answer = dpg.assert(gallery.images:update(first.public_uuid, { title = "Again", description = "x" },
      { retry = { base = 0.01 } }))
    assert.equal(2, answer.attempts)
    assert.equal(before + 1, box:report().operations)
    local seen = box:seen { method = "PATCH" }
    assert.equal(2, #seen)
    assert.equal(seen[1].headers["idempotency-key"], seen[2].headers["idempotency-key"])
    assert.equal(seen[1].body_digest, seen[2].body_digest)
  end)

  it("takes a key from the caller, and tells it in an error", function()
    local first = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    dpg.assert(gallery.images:update(first.public_uuid, { title = "A" }, { idempotency_key = "key-1" }))
    local _, err = gallery.images:update(first.public_uuid, { title = "B" }, { idempotency_key = "key-1" })
    assert.same({ "api", 409, "idempotency_key_conflict" }, { err.kind, err.status, err.code })
    assert.equal("key-1", err.idempotency_key)
  end)

  it("asks a session's function for keys", function()
    local n = 0
    local mine = client.service(box, { idempotency_key = function()
      n = n + 1
      return "mine-" .. n
    end })
    local first = dpg.assert(mine.images:list { limit = 1 }).items[1]
    local _, answer = dpg.assert(mine.images:update(first.public_uuid, { title = "Mine" }))
    assert.equal("mine-1", answer.idempotency_key)
  end)

  it("takes the session's retries, and lets a call beat them", function()
    local once = client.service(box, { retry = false })
    box:fault { path = "/me", status = 503, times = 2 }
    local _, err = once:me()
    assert.equal(1, err.attempts)
    local me, answer = once:me { retry = { attempts = 2, base = 0.01 } }
    assert.is_table(me)
    assert.equal(2, answer.attempts)
  end)

  it("gives up on an attempt after `timeout`, on the call after `deadline`", function()
    box:fault { path = "/me", hold = true, times = "always" }
    local _, err = gallery:me { timeout = 0.05, retry = false }
    assert.equal("timeout", err.kind)
    _, err = gallery:me { deadline = 0.1 }
    assert.equal("timeout", err.kind)
    box:release()
  end)

  it("refuses an answer that is larger than it may be", function()
    local _, err = gallery.images:list { limit = 200, max_response_bytes = 1000, retry = false }
    assert.is_not_nil(err)
    assert.is_string(err.code)
  end)

  local answers = { -- name, fault, kind, code
    { "HTML in a 200", { html = true }, "protocol", "unreadable" },
    { "an empty 200", { status = 200, body = "" }, "protocol", "unreadable" },
    { "JSON that is no list", { status = 200, body = '{"a":1}' }, "protocol", "unreadable" },
    { "JSON cut in half", { status = 200, body = '[{"a":' }, "protocol", "unreadable" },
    { "a redirect", { status = 302, headers = { Location = "http://127.0.0.1:1/v1/images" } }, "protocol", "redirect" },
    { "a 404 in HTML", { status = 404, body = "<html>" }, "api", "not_found" },
    { "a 500 with nothing", { status = 500, body = "" }, "api", "server_error" },
    { "a code it does not know", { status = 422, code = "brand_new" }, "api", "brand_new" },
    { "bytes that are no HTTP", { garbage = true }, nil, nil },
    { "a reset connection", { reset = true }, "network", nil },
  }
  for _, case in ipairs(answers) do
    it("makes one clear error of " .. case[1], function()
      case[2].path, case[2].times = "/images", "always"
      box:fault(case[2])
      local page, err = gallery.images:list { retry = false }
      assert.is_nil(page)
      if case[3] then assert.equal(case[3], err.kind) end
      if case[4] then assert.equal(case[4], err.code) end
      assert.same({ "GET", "/images" }, { err.method, err.path })
      assert.is_nil(tostring(err):find("\n", 1, true))
    end)
  end

  it("never follows a redirect", function()
    box:fault { path = "/images", status = 302, headers = { Location = box.base_url .. "/me" } }
    gallery.images:list { retry = false }
    assert.equal(0, box:count { path = "/me" })
  end)

  it("keeps DPG's own words of a validation error", function()
    local first = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    local _, err = gallery:request("PATCH", "/images/" .. first.public_uuid, { body = { title = ("x"):rep(192) } })
    assert.same({ "api", "validation", 400, "title" }, { err.kind, err.code, err.status, err.field })
    assert.is_string(err.detail)
    assert.is_string(err.request_id)
    assert.is_string(err.idempotency_key)
  end)

  it("names the scope that a refused call needs, for raw requests too", function()
    local reader = client.service(box, { token = box.tokens.read })
    local first = dpg.assert(reader.images:list { limit = 1 }).items[1]
    local _, err = reader.images:update(first.public_uuid, { title = "No" })
    assert.same({ "api", "forbidden", 403, "api.images.write" }, { err.kind, err.code, err.status, err.scope })
    _, err = reader:request("PATCH", "/images/" .. first.public_uuid, { body = { title = "No" } })
    assert.equal("api.images.write", err.scope)
  end)

  it("says that the API is off", function()
    box:set { api_enabled = false }
    local _, err = gallery:me()
    box:set { api_enabled = true }
    assert.same({ "api", "api_not_enabled", 403 }, { err.kind, err.code, err.status })
  end)

  for _, name in ipairs { "expired", "revoked" } do
    it("says that a token has been " .. name .. ", and asks once", function()
      local stale = client.service(box, { token = box.tokens[name] })
      local _, err = stale:me()
      assert.same({ "auth", 401 }, { err.kind, err.status })
      assert.equal(1, box:count { path = "/me" })
    end)
  end

  it("calls a server that is not there a network error", function()
    local gone = boxes.start()
    local nowhere = client.service(gone, { retry = false })
    gone:stop()
    local _, err = nowhere:me()
    assert.equal("network", err.kind)
  end)
end)

describe("session:request", function()
  local box, gallery

  setup(function()
    box = boxes.start()
    gallery = client.service(box)
  end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function() box:reset_seen() end)
  after_each(client.nothing_left)

  it("reads what has no method", function()
    local facets, answer = dpg.assert(gallery:request("GET", "/facets", { query = { min_rating = 4, has_geo = true } }))
    assert.is_table(facets)
    assert.equal(200, answer.status)
    assert.equal("has_geo=true&min_rating=4", box:seen {}[1].query)
  end)

  it("sends a table as JSON and gives a write its key", function()
    local image = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    dpg.assert(gallery:request("patch", "/images/" .. image.public_uuid, { body = { title = "Raw" } }))
    local seen = box:seen { method = "PATCH" }[1]
    assert.equal("application/json", seen.headers["content-type"])
    assert.is_string(seen.headers["idempotency-key"])
  end)

  it("adds headers, and encodes what is in the query", function()
    local query = { query = "a&b=c d/ü" }
    dpg.assert(gallery:request("GET", "/images", { headers = { ["X-Trace"] = "t-1" }, query = query }))
    local seen = box:seen {}[1]
    assert.equal("t-1", seen.headers["x-trace"])
    assert.equal("query=a%26b%3Dc%20d%2F%C3%BC", seen.query)
  end)

  it("refuses a header that would make two", function()
    local _, err = gallery:request("GET", "/images", { headers = { ["X-Trace"] = "a\r\nX-Evil: 1" } })
    assert.equal("usage", err.kind)
    assert.equal(0, box:count {})
  end)

  it("gives back another kind of text as it is, and an empty answer as true", function()
    box:fault { path = "/images", status = 200, body = "a;b", headers = { ["Content-Type"] = "text/csv" } }
    assert.equal("a;b", (dpg.assert(gallery:request("GET", "/images"))))
    box:fault { path = "/images", status = 204, body = "" }
    assert.is_true((dpg.assert(gallery:request("GET", "/images"))))
  end)

  it("calls HTML in a 200 a protocol error", function()
    box:fault { path = "/images", html = true }
    local _, err = gallery:request("GET", "/images")
    assert.equal("protocol", err.kind)
  end)

  it("sends no key to /auth/*", function()
    gallery:request("POST", "/auth/never", { body = {} })
    assert.is_nil(box:seen {}[1].headers["idempotency-key"])
  end)
end)

describe("near variants of the wire", function()
  local variants = {
    { list = "data" }, { list = "items" }, { operation = "operation" }, { numbers = "strings" },
  }
  for _, variant in ipairs(variants) do
    local name = next(variant) .. " as " .. variant[next(variant)]
    it("are read: " .. name, function()
      local box = boxes.start { variants = variant }
      local gallery = client.service(box)
      local n = 0
      for _ in gallery.images:each { limit = 50 } do n = n + 1 end
      assert.equal(120, n)
      local first = dpg.assert(gallery.images:list { limit = 1 }).items[1]
      local operation = dpg.assert(gallery.images:update(first.public_uuid, { title = "Variant" }))
      assert.equal("succeeded", dpg.assert(operation:wait()).status)
      assert.is_table(dpg.assert(gallery.sets:tree())[1])
      client.close()
      box:stop()
    end)
  end
end)

describe("over TLS", function()
  it("speaks to a server whose authority it is given, and to no other", function()
    local box = boxes.start { tls = true }
    local gallery = client.service(box)
    assert.equal("Northlight Festival", dpg.assert(gallery:me()).account.name)
    local _, err = dpg.service { token = box.token, base_url = box.base_url, retry = false }:me()
    assert.equal("tls", err.kind)
    client.close()
    box:stop()
  end)
end)
