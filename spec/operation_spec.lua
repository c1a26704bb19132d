-- Operations: waiting for what a write began, politely and with an end.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"

describe("operation:wait", function()
  local box, gallery, uuid

  local function start(options)
    box = boxes.start(options)
    gallery = client.service(box)
    uuid = dpg.assert(gallery.images:list { limit = 1 }).items[1].public_uuid
  end

  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
  end)

  it("asks nothing when the 202 has said it all", function()
    start { operation_polls = 0 }
    local operation = dpg.assert(gallery.images:update(uuid, { title = "Now" }))
    assert.is_true(operation:is_finished())
    assert.equal(operation, operation:wait())
    assert.equal(0, box:count { path = "/operations/.*" })
  end)

  it("polls until it has ended, with the ETag of the last answer", function()
    start { operation_polls = 3 }
    local operation = dpg.assert(gallery.images:update(uuid, { title = "Soon" }))
    assert.equal("succeeded", dpg.assert(operation:wait { timeout = 30 }).status)
    local seen = box:seen { path = "/operations/.*" }
    assert.equal(3, #seen)
    assert.is_nil(seen[1].headers["if-none-match"])
    assert.is_string(seen[2].headers["if-none-match"])
    assert.equal(304, seen[2].status)
  end)

  it("lets its interval grow", function()
    start { operation_polls = 4 }
    dpg.assert(dpg.assert(gallery.images:update(uuid, { title = "Soon" })):wait())
    local seen = box:seen { path = "/operations/.*" }
    assert.is_true(seen[4].at - seen[3].at > seen[2].at - seen[1].at)
  end)

  it("polls no earlier than a Retry-After asks for", function()
    start { operation_polls = 2, operation_retry_after = 1 }
    local operation = dpg.assert(gallery.images:update(uuid, { title = "Later" }))
    local begun = box:now()
    dpg.assert(operation:wait { timeout = 30 })
    local seen = box:seen { path = "/operations/.*" }
    assert.equal(2, #seen)
    assert.is_true(seen[1].at - begun >= 0.9)
    assert.is_true(seen[2].at - seen[1].at >= 0.999)
  end)

  it("says at once that a Retry-After passes its timeout, and how long it is", function()
    start { operation_polls = 2, operation_retry_after = 300 }
    local operation = dpg.assert(gallery.images:update(uuid, { title = "Never" }))
    local _, err = operation:wait { timeout = 1 }
    assert.same({ "timeout", "operation_timeout", 300 }, { err.kind, err.code, err.retry_after })
    assert.equal(0, box:count { path = "/operations/.*" })
  end)

  it("ends in time, and leaves an Operation that can be waited for again", function()
    start { operation_polls = 4 }
    local operation = dpg.assert(gallery.images:update(uuid, { title = "Slow" }))
    local none, err = operation:wait { timeout = 0.05 }
    assert.is_nil(none)
    assert.same({ "timeout", "operation_timeout" }, { err.kind, err.code })
    assert.equal(operation.uuid, err.operation_uuid)
    assert.equal("succeeded", dpg.assert(operation:wait { timeout = 30 }).status)
  end)

  it("makes a failed Operation an error of kind operation", function()
    start { operation_polls = 1, operation_outcome = "failed" }
    local operation = dpg.assert(gallery.images:update(uuid, { title = "Bad" }))
    local none, err = operation:wait()
    assert.is_nil(none)
    assert.equal("operation", err.kind)
    assert.equal("failed", err.operation.status)
    assert.is_string(err.message)
    assert.same({ nil, err.kind }, { (operation:wait()), select(2, operation:wait()).kind })
  end)

  it("hands on what a poll can't do, and can be waited for again", function()
    start { operation_polls = 1 }
    local operation = dpg.assert(gallery.images:update(uuid, { title = "Odd" }))
    box:fault { path = "/operations/.*", status = 404, code = "operation_not_found" }
    local _, err = operation:wait()
    assert.same({ "api", "operation_not_found" }, { err.kind, err.code })
    assert.equal("succeeded", dpg.assert(operation:wait()).status)
  end)

  it("does without ETags", function()
    start { operation_polls = 2, etag = false }
    assert.equal("succeeded", dpg.assert(dpg.assert(gallery.images:update(uuid, { title = "Plain" })):wait()).status)
  end)

  it("raises at an unknown option", function()
    start()
    local operation = dpg.assert(gallery.images:update(uuid, { title = "X" }))
    local ok, problem = pcall(operation.wait, operation, { timeuot = 3 })
    assert.is_false(ok)
    assert.truthy(problem:find("timeuot", 1, true))
  end)
end)

describe("operations:get", function()
  it("gets an Operation as it stands, and keeps unknown fields", function()
    local box = boxes.start { operation_polls = 2 }
    local gallery = client.service(box)
    local image = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    local made = dpg.assert(gallery.images:update(image.public_uuid, { title = "X" }))
    local operation = dpg.assert(gallery.operations:get(made.uuid))
    assert.equal("running", operation.status)
    assert.equal("update", operation.type)
    assert.same({ image.public_uuid }, operation.image_public_uuids)
    box:fault { path = "/operations/.*", status = 200,
      body = '{"uuid":"u","status":"queued","wait":"a field of that name","brand_new":{"a":1}}' }
    operation = dpg.assert(gallery.operations:get(made.uuid))
    assert.same({ a = 1 }, operation.brand_new)
    assert.is_function(operation.wait)
    local _, err = gallery.operations:get "op-00000000"
    assert.equal("operation_not_found", err.code)
    client.close()
    box:stop()
  end)
end)
