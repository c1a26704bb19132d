-- Writes are done once: one Idempotency-Key a logical write, made before the first byte, whatever becomes of answers.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local process = require "support.process"

describe("a write", function()
  local box, gallery, uuid

  before_each(function()
    box = boxes.start { operation_polls = 0 }
    gallery = client.service(box, { retry = { base = 0.001, cap = 0.01 } })
    uuid = dpg.assert(gallery.images:list { limit = 1 }).items[1].public_uuid
    box:reset_seen()
  end)
  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
  end)

  it("has one key and the same bytes in all its attempts, whatever goes wrong with them", function()
    local faults = {
      { drop = "before" }, { drop = "after" }, { drop = "half" }, { reset = true, work = true }, { truncate = true },
      { status = 500, work = true }, { status = 502, html = true }, { status = 503 }, { status = 504, work = true },
      { retry_after = "0" }, { close_reused = true },
    }
    for _, fault in ipairs(faults) do
      box:reset_seen()
      local before = box:report().operations
      fault.path, fault.method = "/images/.*", "PUT"
      box:fault(fault)
      dpg.assert(gallery.images:set_rating(uuid, 3))
      local seen = box:seen { method = "PUT" }
      assert.is_true(#seen >= 2)
      for _, entry in ipairs(seen) do
        assert.same({ seen[1].headers["idempotency-key"], seen[1].body_digest },
          { entry.headers["idempotency-key"], entry.body_digest })
      end
      assert.equal(before + 1, box:report().operations)
      box:clear_faults()
    end
  end)

  it("tells its key when it fails, and goes on under it: the work is done once", function()
    box:fault { path = "/images/.*", method = "PUT", times = "always", drop = "after" }
    local none, err = gallery.images:set_rating(uuid, 4, { retry = false })
    assert.is_nil(none)
    assert.equal("network", err.kind)
    assert.is_string(err.idempotency_key)
    box:clear_faults()
    local _, answer = dpg.assert(gallery.images:set_rating(uuid, 4, { idempotency_key = err.idempotency_key }))
    assert.equal(err.idempotency_key, answer.idempotency_key)
    assert.equal(1, box:report().operations)
  end)

  it("tells its key in every kind of error that comes after it was made", function()
    for kind, fault in pairs {
      network = { reset = true }, timeout = { hold = true }, protocol = { html = true }, api = { status = 403 },
      auth = { status = 401 },
    } do
      fault.path, fault.times = "/images/.*", "always"
      box:fault(fault)
      local session = client.service(box, { retry = false })
      local timeout = kind == "timeout" and 0.2 or nil -- the others have an answer, however long it takes
      local _, err = session.images:set_rating(uuid, 1, { timeout = timeout, idempotency_key = "mine" })
      assert.same({ kind, "mine" }, { err.kind, err.idempotency_key })
      box:clear_faults()
      client.close()
    end
  end)

  it("under a key that belongs to another is a conflict of its own, asked once", function()
    dpg.assert(gallery.images:set_rating(uuid, 4, { idempotency_key = "taken" }))
    box:reset_seen()
    local none, err = gallery.images:set_rating(uuid, 5, { idempotency_key = "taken" })
    assert.is_nil(none)
    assert.same({ "api", "idempotency_key_conflict", 409, "taken", 1 },
      { err.kind, err.code, err.status, err.idempotency_key, err.attempts })
    assert.equal(1, box:count {})
    box:reset_seen()
    box:fault { path = "/images/.*", status = 409, times = "always" }
    err = select(2, gallery.images:set_rating(uuid, 5))
    assert.equal("idempotency_key_conflict", err.code)
    assert.equal(1, box:count {})
  end)

  it("carries a key in every method that writes", function()
    local writes = {
      function() return gallery.images:delete(uuid) end, function() return gallery.images:clear_crop(uuid) end,
      function() return gallery.keywords:rename { from = "a", to = "b", image_public_uuids = { uuid } } end,
      function() return gallery.sets:create { name = "a" } end, function() return gallery.downloads:url(uuid) end,
      function() return gallery.archives:create { image_public_uuids = { uuid } } end,
      function() return gallery.operations:batch { { method = "DELETE", path = "/images/" .. uuid } } end,
      function() return gallery:request("POST", "/sets", { body = { name = "b" } }) end,
    }
    for _, write in ipairs(writes) do write() end
    local seen, keys = box:seen {}, {}
    assert.equal(#writes, #seen)
    for _, entry in ipairs(seen) do
      local key = entry.headers["idempotency-key"]
      assert.truthy(key:match "^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$")
      assert.is_nil(keys[key])
      keys[key] = true
    end
  end)
end)

-- The whole of it: DPG_WRITES=10000 in the environment.
local WRITES = tonumber(os.getenv "DPG_WRITES") or (process.is_heavy and 500 or 100)
local TASKS = 8

describe("many writes #heavy", function()
  it("have each one effect, though 30 % of the answers are lost after the work", function()
    local box = boxes.start { operation_polls = 0 }
    local gallery = client.service(box, {
      retry = { base = 0.001, cap = 0.005, attempts = 30, budget = false }, deadline = 600, timeout = 60,
    })
    local images = dpg.assert(gallery.images:list { limit = 100 }).items
    box:reset_seen()
    box:fault { path = "/images/.*", method = "PUT", times = "always", drop = "after", chance = 0.3, seed = 7 }
    local done, keys = 0, {}
    dpg.run(function()
      for first = 1, TASKS do
        dpg.spawn(function()
          for i = first, WRITES, TASKS do
            local _, answer = dpg.assert(gallery.images:set_rating(images[i % #images + 1].public_uuid, i % 6))
            assert(not keys[answer.idempotency_key])
            keys[answer.idempotency_key] = true
            done = done + 1
          end
        end)
      end
    end)
    assert.equal(WRITES, done)
    assert.equal(WRITES, box:report().operations)
    assert.is_true(box:report().requests > WRITES * 1.2) -- many were sent again
    client.nothing_left()
    client.close()
    box:stop()
  end)
end)
