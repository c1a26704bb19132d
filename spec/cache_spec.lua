-- dpg.cache: repeated reads are conditional, what has not changed is answered from memory, and nobody sees another's.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"

describe("a session with a cache", function()
  local box, gallery, uuid

  before_each(function()
    box = boxes.start { operation_polls = 0 }
    gallery = client.service(box, { cache = dpg.cache.memory() })
    uuid = dpg.assert(client.service(box).images:list { limit = 1 }).items[1].public_uuid
    box:reset_seen()
  end)
  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
  end)

  local function condition(n)
    return box:seen { method = "GET" }[n].headers["if-none-match"]
  end

  it("asks for an image again on the condition that it has changed, and answers from memory when it has not", function()
    local first, answer = dpg.assert(gallery.images:get(uuid))
    assert.is_nil(answer.cached)
    local again, hit = dpg.assert(gallery.images:get(uuid))
    assert.same(first, again)
    assert.are_not.equal(first, again)
    assert.same({ true, 200, answer.etag }, { hit.cached, hit.status, hit.etag })
    assert.are_not.equal(answer.request_id, hit.request_id)
    assert.is_nil(condition(1))
    assert.equal(answer.etag, condition(2))
    assert.equal(304, box:seen {}[2].status)
  end)

  it("gives what is new once it has changed, and keeps that", function()
    dpg.assert(gallery.images:get(uuid))
    dpg.assert(gallery.images:update(uuid, { title = "Changed" }))
    local image, answer = dpg.assert(gallery.images:get(uuid))
    assert.same({ "Changed" }, { image.title, answer.cached })
    image, answer = dpg.assert(gallery.images:get(uuid))
    assert.same({ "Changed", true }, { image.title, answer.cached })
  end)

  it("keeps pages with what steers them, each under its own query", function()
    for _ = 1, 2 do
      local n = 0
      for _ in gallery.images:each { limit = 50 } do n = n + 1 end
      assert.equal(120, n)
    end
    assert.equal(3, box:count { path = "/images", status = 200 })
    assert.equal(3, box:count { path = "/images", status = 304 })
    local page, answer = dpg.assert(gallery.images:list { limit = 50, offset = 0 })
    assert.same({ true, true, 50 }, { answer.cached, page.has_more, page.next_offset })
  end)

  it("serves raw requests too, but for those with headers of their own", function()
    dpg.assert(gallery:request("GET", "/facets"))
    assert.is_true(select(2, dpg.assert(gallery:request("GET", "/facets"))).cached)
    assert.is_nil(select(2, dpg.assert(gallery:request("GET", "/facets", { headers = { ["X-A"] = "b" } }))).cached)
  end)

  it("leaves a caller's own ETag alone", function()
    local _, answer = dpg.assert(gallery.images:get(uuid))
    local image, err = gallery.images:get(uuid, { if_none_match = answer.etag })
    assert.is_nil(image)
    assert.equal("not_modified", err.code)
    image, answer = gallery.images:get(uuid, { if_none_match = '"another"' })
    assert.same({ uuid }, { image.public_uuid, answer.cached })
  end)

  it("is not shared by tokens", function()
    local cache = dpg.cache.memory()
    local one, two = client.service(box, { cache = cache }), client.service(box, { cache = cache })
    dpg.assert(one.images:get(uuid))
    dpg.assert(two.images:get(uuid))
    assert.is_nil(condition(2))
    assert.is_true(select(2, dpg.assert(one.images:get(uuid))).cached)
  end)

  it("is not shared by the accounts of a person, nor used after signing out", function()
    local cache = dpg.cache.memory()
    local one, user = client.person(box, "jane", { cache = cache }, 1)
    local two = dpg.assert(user:account(user.accounts[2].uuid))
    dpg.assert(one.keywords:list())
    dpg.assert(two.keywords:list())
    assert.is_nil(condition(2))
    assert.is_true(select(2, dpg.assert(one.keywords:list())).cached)
    assert.is_true(select(2, dpg.assert(two.keywords:list())).cached)
    dpg.assert(user:sign_out())
    local _, err = one.keywords:list()
    assert.equal("sign_in_required", err.code)
  end)

  it("does not hide an error", function()
    dpg.assert(gallery.images:get(uuid))
    box:fault { path = "/images/.*", status = 403 }
    local _, err = gallery.images:get(uuid)
    assert.equal("forbidden", err.code)
    box:fault { path = "/images/.*", status = 404, code = "image_not_found" }
    _, err = gallery.images:get(uuid)
    assert.equal("image_not_found", err.code)
  end)

  it("keeps nothing that it could not read, and nothing without an ETag", function()
    box:fault { path = "/images/.*", status = 200, body = "<html>", headers = { ETag = '"portal"' } }
    assert.is_nil((gallery.images:get(uuid)))
    dpg.assert(gallery.images:get(uuid))
    assert.is_nil(condition(2))
    box:set { etag = false }
    for _ = 1, 2 do dpg.assert(gallery.keywords:list()) end
    assert.is_nil(condition(4))
  end)

  it("keeps no answer that is larger than all it may hold", function()
    local small = client.service(box, { cache = dpg.cache.memory { bytes = 2000 } })
    for _ = 1, 2 do dpg.assert(small.images:list { limit = 200 }) end
    assert.is_nil(condition(2))
  end)

  it("gives every answer to the task that asked", function()
    dpg.run(function()
      local tasks = {}
      for i = 1, 8 do tasks[i] = dpg.spawn(function() return dpg.assert(gallery.images:get(uuid)).public_uuid end) end
      for i = 1, 8 do assert.equal(uuid, tasks[i]:await()) end
    end)
  end)
end)

describe("dpg.cache.memory", function()
  local connection = {}

  local function filled(options, n)
    local cache = dpg.cache.memory(options)
    for i = 1, n do cache:_set(cache:_key(connection, nil, "/" .. i), ("x"):rep(1000), { etag = "e" .. i }) end
    return cache
  end

  local function has(cache, i)
    return cache:_get(cache:_key(connection, nil, "/" .. i)) ~= nil
  end

  it("holds so many answers, and forgets the one that was not used for the longest time", function()
    local cache = filled({ entries = 3 }, 3)
    assert.is_true(has(cache, 1))
    cache:_set(cache:_key(connection, nil, "/4"), "x", {})
    assert.same({ true, false, true, true }, { has(cache, 1), has(cache, 2), has(cache, 3), has(cache, 4) })
  end)

  it("holds so many bytes", function()
    local cache = filled({ bytes = 10000 }, 1000)
    local n = 0
    for i = 1, 1000 do n = n + (has(cache, i) and 1 or 0) end
    assert.is_true(n >= 4 and n < 10)
    assert.is_true(has(cache, 1000))
    assert.truthy(tostring(cache):find("^dpg.Cache %(%d answers, %d+ bytes%)$"))
  end)

  it("counts key, body and headers, and takes what just fits", function()
    local cache = dpg.cache.memory { entries = 1 }
    local function size_of(...)
      cache:_set(...)
      return tonumber((tostring(cache):match "(%d+) bytes"))
    end
    local size = size_of("key", "body", {})
    assert.equal(size + 1, size_of("key!", "body", {}))
    assert.equal(size + 4, size_of("key", "bodybody", {}))
    assert.equal(size + 5, size_of("key", "body", { ab = "cde" }))
    for _, case in ipairs { { size, true }, { size - 1, false } } do
      local tight = dpg.cache.memory { bytes = case[1] }
      tight:_set("key", "body", {})
      assert.equal(case[2], tight:_get "key" ~= nil)
    end
  end)

  it("counts an answer once that is kept anew", function()
    local cache = dpg.cache.memory { entries = 2 }
    for _ = 1, 5 do cache:_set("a", "x", {}) end
    cache:_set("b", "x", {})
    assert.is_table(cache:_get "a")
    assert.is_table(cache:_get "b")
    cache:_forget "a"
    cache:_forget "a"
    assert.is_nil(cache:_get "a")
  end)

  it("keeps no connection alive", function()
    local cache, gone = dpg.cache.memory(), setmetatable({}, { __mode = "k" })
    do
      local other = {}
      gone[other] = true
      cache:_set(cache:_key(other, "a", "/"), "x", {})
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(gone))
  end)

  it("raises at a wrong option", function()
    local cases = {
      { { entires = 3 }, "entires" }, { { entries = 0 }, "entries" }, { { bytes = 1.5 }, "bytes" }, { 7, "table" },
    }
    for _, case in ipairs(cases) do
      local ok, problem = pcall(dpg.cache.memory, case[1])
      assert.is_false(ok)
      assert.truthy(problem:find(case[2], 1, true), problem)
    end
    local ok, problem = pcall(dpg.service, { token = "x", cache = {} })
    assert.is_false(ok)
    assert.truthy(problem:find("dpg.cache.memory", 1, true))
  end)
end)
