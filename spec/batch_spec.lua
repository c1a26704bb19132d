-- Many writes in few requests: session.prepare, operations:batch, operations:batch_all.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"

describe("session.prepare", function()
  local gallery, uuid

  setup(function()
    gallery = dpg.assert(dpg.service { token = "t", base_url = "http://127.0.0.1:1/v1" }) -- nothing is sent
    uuid = "be66ea4e-0000-4000-8000-000000000000"
  end)
  teardown(client.close)

  it("checks a write and keeps it", function()
    local write = dpg.assert(gallery.prepare.images:update(uuid, { title = "x", rotation = 90 }))
    assert.same({ "PATCH", "/images/" .. uuid }, { write.method, write.path })
    assert.same({ title = "x", rotation = 90 }, write.body)
    assert.equal("dpg.Write (PATCH /images/" .. uuid .. ")", tostring(write))
    local none, err = gallery.prepare.images:update(uuid, { title = ("x"):rep(192) })
    assert.is_nil(none)
    assert.same({ "usage", "title" }, { err.kind, err.field })
  end)

  it("has every write of images, keywords, sets and archives", function()
    local prepare = gallery.prepare
    assert.is_nil(dpg.assert(prepare.images:delete(uuid)).body)
    assert.same({ keyword = "b", namespace = "a" },
      dpg.assert(prepare.images:remove_keyword(uuid, { namespace = "a", value = "b" })).body)
    assert.same({ from = "a", to = "b:c", image_public_uuids = { uuid } }, dpg.assert(prepare.keywords:rename {
      from = "a", to = { namespace = "b", value = "c" }, image_public_uuids = { { public_uuid = uuid } },
    }).body)
    assert.equal("/sets/reorder", dpg.assert(prepare.sets:reorder { uuid }).path)
    assert.equal("/archives", dpg.assert(prepare.archives:create { image_public_uuids = { uuid } }).path)
  end)

  local slips = {
    { "a read", function() gallery.prepare.images:get(uuid) end, "only a write" },
    { "a walk", function() gallery.prepare.images:each() end, "only a write" },
    { "options", function() gallery.prepare.images:delete(uuid, { timeout = 3 }) end, "operations:batch" },
  }
  for _, case in ipairs(slips) do
    it("raises at " .. case[1], function()
      local ok, problem = pcall(case[2])
      assert.is_false(ok)
      assert.truthy(problem:find(case[3], 1, true), problem)
    end)
  end
end)

describe("operations:batch", function()
  local box, gallery, images

  before_each(function()
    box = boxes.start { operation_polls = 1 }
    gallery = client.service(box)
    images = dpg.assert(gallery.images:list { limit = 200 }).items
    box:reset_seen()
  end)
  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
  end)

  local function ratings(first, last, rating)
    local writes = {}
    for i = first, last do
      writes[#writes + 1] = dpg.assert(gallery.prepare.images:set_rating(images[i].public_uuid, rating))
    end
    return writes
  end

  local function rating_of(i) return dpg.assert(images[i]:get()).rating end

  it("gives an Operation for each write, in their order, which can be waited for", function()
    local batch, answer = dpg.assert(gallery.operations:batch(ratings(1, 3, 5)))
    assert.equal(202, answer.status)
    assert.equal(3, batch.summary.total)
    for i, operation in ipairs(batch.operations) do
      assert.same({ images[i].public_uuid }, operation.image_public_uuids)
      assert.equal("succeeded", dpg.assert(operation:wait()).status)
      assert.equal(5, rating_of(i))
    end
  end)

  it("takes tables, with paths behind the base URL or whole", function()
    local path = "/images/" .. images[1].public_uuid
    dpg.assert(gallery.operations:batch {
      { method = "patch", path = path, body = { title = "One" } }, { method = "PUT", path = "/v1" .. path .. "/rating",
        body = { rating = 2 } },
    })
    local operation = dpg.assert(gallery.operations:batch { { method = "DELETE", path = path } }).operations[1]
    dpg.assert(operation:wait())
    assert.equal("image_not_found", select(2, images[1]:get()).code)
  end)

  it("is all or nothing, and done once when it is sent again", function()
    local before = box:report().operations
    local writes = ratings(1, 2, 1)
    writes[3] = { method = "PUT", path = "/images/" .. images[3].public_uuid .. "/rating", body = { rating = 9 } }
    local batch, err = gallery.operations:batch(writes)
    assert.is_nil(batch)
    assert.same({ "api", "validation", 400 }, { err.kind, err.code, err.status })
    assert.equal(before, box:report().operations)
    box:fault { path = "/operations/batch", drop = "after" }
    dpg.assert(gallery.operations:batch(ratings(1, 2, 1), { retry = { base = 0.01 } }))
    assert.equal(3, box:count { path = "/operations/batch" })
    assert.equal(before + 2, box:report().operations)
  end)

  it("calls a batch without Operations a protocol error", function()
    for _, body in ipairs { "{}", "[]x", '{"operations":[{"uuid":"u"}]}', '{"operations":{}}', '"x"' } do
      box:fault { path = "/operations/batch", status = 202, body = body }
      local batch, err = gallery.operations:batch(ratings(1, 1, 1), { retry = false })
      assert.is_nil(batch)
      assert.equal("protocol", err.kind, body)
    end
  end)

  describe("batch_all", function()
    it("splits what is more than 50 and reports on each", function()
      local report = dpg.assert(gallery.operations:batch_all(ratings(1, 120, 4)))
      assert.equal(3, box:count { path = "/operations/batch" })
      assert.same({ true, 120, 120, 0 }, { report.ok, #report.items, report.succeeded, report.failed })
      for i, item in ipairs(report.items) do
        assert.same({ images[i].public_uuid }, item.operation.image_public_uuids)
        assert.equal("succeeded", item.outcome)
      end
      assert.equal(4, rating_of(120))
      local keys = {}
      for i, entry in ipairs(box:seen { path = "/operations/batch" }) do keys[i] = entry.headers["idempotency-key"] end
      assert.is_true(keys[1] ~= keys[2] and keys[2] ~= keys[3])
    end)

    it("looks after all Operations side by side: at each once before at any twice", function()
      box:stop()
      box = boxes.start { operation_polls = 2 }
      gallery = client.service(box)
      assert.is_true(dpg.assert(gallery.operations:batch_all(ratings(1, 12, 2))).ok)
      local seen, looks = {}, 0
      for _, entry in ipairs(box:seen { method = "GET" }) do
        local uuid = entry.path:match "/operations/(.+)"
        if uuid then
          looks = looks + 1
          if seen[uuid] then assert.is_true(looks > 12) end
          seen[uuid] = true
        end
      end
      assert.equal(24, looks)
    end)

    it("checks every write before the first batch is sent", function()
      local writes = ratings(1, 60, 4)
      writes[60] = { method = "GET", path = "/images" }
      local report, err = gallery.operations:batch_all(writes)
      assert.is_nil(report)
      assert.same({ "usage", "writes" }, { err.kind, err.field })
      assert.truthy(err.message:find("item 60", 1, true))
      assert.equal(0, box:count {})
    end)

    it("goes on after a batch that is refused", function()
      local writes = ratings(1, 6, 3)
      writes[3] = { method = "DELETE", path = "/images/00000000-0000-4000-8000-000000000000" }
      local report = dpg.assert(gallery.operations:batch_all(writes, { size = 2 }))
      local outcomes = {}
      for i, item in ipairs(report.items) do outcomes[i] = item.outcome end
      assert.same({ "succeeded", "succeeded", "refused", "refused", "succeeded", "succeeded" }, outcomes)
      assert.same({ false, 2 }, { report.ok, report.refused })
      assert.equal("image_not_found", report.items[4].err.code)
    end)

    it("stops at what a later batch would meet, too, and says what was not sent", function()
      for _, case in ipairs { { { status = 500 }, "unknown" }, { { status = 401 }, "refused" },
        { { reset = true, work = true }, "unknown" }, { { retry_after = "300" }, "refused" } } do
        local fault = { path = "/operations/batch", nth = 2, times = "always" }
        for name, value in pairs(case[1]) do fault[name] = value end
        box:fault(fault)
        local one = client.service(box, { retry = false, deadline = 2 }) -- a gate of its own
        local report = dpg.assert(one.operations:batch_all(ratings(1, 6, 3), { size = 2 }))
        -- a token that is refused, or a gate that is closed, is also in the way of looking at the first Operations
        assert.same({ 2, 2, 2 }, { report.succeeded + report.running, report[case[2]], report.unsent })
        assert.is_table(report.items[3].err)
        assert.equal(report.items[3].idempotency_key, report.items[3].err.idempotency_key)
        assert.is_nil(report.items[5].err)
        box:clear_faults()
        client.close()
      end
    end)

    it("goes on in a later run under the same key, and does nothing twice", function()
      local writes = ratings(1, 7, 2)
      box:fault { path = "/operations/batch", nth = 3, times = "always", drop = "after" }
      local options = { size = 2, idempotency_key = "job-7", retry = false }
      local report = dpg.assert(gallery.operations:batch_all(writes, options))
      assert.same({ 4, 2, 1 }, { report.succeeded, report.unknown, report.unsent })
      assert.equal("job-7.3", report.items[5].idempotency_key)
      assert.equal(6, box:report().operations)
      box:clear_faults()
      report = dpg.assert(gallery.operations:batch_all(writes, options))
      assert.is_true(report.ok)
      assert.equal(7, box:report().operations)
    end)

    it("tells Operations that fail from those that still run", function()
      box:set { operation_outcome = "failed" }
      local report = dpg.assert(gallery.operations:batch_all(ratings(1, 2, 2)))
      assert.same({ 2, "operation" }, { report.failed, report.items[1].err.kind })
      box:set { operation_polls = 50, operation_outcome = "succeeded" }
      report = dpg.assert(gallery.operations:batch_all(ratings(3, 4, 2), { wait = false }))
      assert.same({ 2 }, { report.running, report.items[1].err })
      report = dpg.assert(gallery.operations:batch_all(ratings(5, 5, 2), { wait = 0.05 }))
      assert.same({ 1, "operation_timeout" }, { report.running, report.items[1].err.code })
    end)

    it("does not guess which Operation is whose", function()
      local one = '{"operations":[{"uuid":"u","status":"succeeded"}]}'
      box:fault { path = "/operations/batch", status = 202, body = one }
      local report = dpg.assert(gallery.operations:batch_all(ratings(1, 2, 2)))
      assert.same({ 2, "protocol" }, { report.unknown, report.items[1].err.kind })
    end)

    it("raises at wrong options", function()
      for _, options in ipairs { { size = 51 }, { size = 0 }, { size = "2" }, { wait = 0 }, { sise = 2 } } do
        local ok, problem = pcall(gallery.operations.batch_all, gallery.operations, ratings(1, 1, 1), options)
        assert.is_false(ok)
        assert.truthy(problem:find(next(options), 1, true))
      end
    end)
  end)
end)
