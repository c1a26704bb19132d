-- Waiting as told: Retry-After in all its forms, through a real server; and what is repeated, and what never.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"

describe("a 429", function()
  local box, gallery, waits, is_closed

  setup(function() box = boxes.start() end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function()
    box:reset_seen()
    waits, is_closed = {}, false
    gallery = client.service(box, { retry = { base = 0.01 }, on_event = function(name, event)
      if name == "retry" then waits[#waits + 1] = event.wait end
      is_closed = is_closed or name == "gate_closed"
    end })
  end)
  after_each(function()
    box:clear_faults()
    client.nothing_left()
    client.close() -- gates are the engine's: none may reach into the next test
  end)

  -- Compared with a little less than was asked for: the sandbox tells its moments in 14 digits.
  local function gap()
    local seen = box:seen { path = "/me" }
    return seen[#seen].at - seen[#seen - 1].at
  end

  it("is waited out as long as it says, in seconds", function()
    box:fault { path = "/me", retry_after = "1" }
    dpg.assert(gallery:me())
    assert.is_true(gap() >= 0.999)
    assert.is_true(waits[1] >= 1)
  end)

  it("is waited out until the date it gives", function()
    local at = math.floor(box:now()) + 2
    box:fault { path = "/me", retry_after = os.date("!%a, %d %b %Y %H:%M:%S GMT", at) }
    dpg.assert(gallery:me())
    local seen = box:seen { path = "/me" }
    assert.equal(2, #seen)
    assert.is_true(gap() >= 0.999)
  end)

  it("asks the longest of several", function()
    box:fault { path = "/me", retry_after = { "0", "1" } }
    dpg.assert(gallery:me())
    assert.is_true(gap() >= 0.999)
  end)

  for _, value in ipairs { "-5", "inf", "1e400", "", "soon", "0x10", "nan", "1 2", "Thu, 99 Foo 2025 99:99:99 GMT" } do
    it("with an unreadable Retry-After hangs nobody: " .. string.format("%q", value), function()
      box:fault { path = "/me", retry_after = value }
      local _, answer = dpg.assert(gallery:me { deadline = 10 })
      assert.equal(2, answer.attempts)
    end)
  end

  for _, value in ipairs { "60", "99999999999", "999999999999999999999999" } do
    it("that passes the deadline is an error at once, with retry_after: " .. value, function()
      box:fault { path = "/me", retry_after = value }
      local begun = box:now()
      local none, err = gallery:me { deadline = 50 }
      assert.is_nil(none)
      assert.same({ "api", "rate_limited", 429 }, { err.kind, err.code, err.status })
      assert.is_true(err.retry_after >= 60)
      assert.is_true(box:now() - begun < 20)
      assert.equal(1, box:count { path = "/me" })
    end)
  end

  it("of one customer does not stop another", function()
    local other = client.service(box, { token = box.tokens.other_account })
    box:fault { path = "/me", retry_after = "30" }
    local _, err = gallery:me { deadline = 10 }
    assert.equal("rate_limited", err.code)
    dpg.assert(other:me { deadline = 10 })
  end)

  it("holds the credential's other calls back too", function()
    box:fault { path = "/me", retry_after = "1" }
    dpg.run(function()
      dpg.spawn(function() dpg.assert(gallery:me()) end)
      while not is_closed do coroutine.yield() end
      dpg.assert(gallery.images:list { limit = 1 })
    end)
    assert.is_true(box:seen({ path = "/images" })[1].at - box:seen({ path = "/me" })[1].at >= 0.999)
  end)
end)

describe("a call", function()
  local box, gallery

  setup(function() box = boxes.start() end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function()
    box:reset_seen()
    gallery = client.service(box, { retry = { base = 0.01, attempts = 3 } })
  end)
  after_each(function()
    box:clear_faults()
    client.nothing_left()
  end)

  for _, status in ipairs { 500, 502, 503, 504 } do
    it("is sent again after a " .. status, function()
      box:fault { path = "/me", status = status }
      local _, answer = dpg.assert(gallery:me())
      assert.equal(2, answer.attempts)
    end)
  end

  for _, status in ipairs { 400, 403, 404, 409, 413, 422 } do
    it("is not sent again after a " .. status, function()
      box:fault { path = "/me", status = status, times = "always" }
      local _, err = gallery:me()
      assert.equal(status, err.status)
      assert.equal(1, box:count { path = "/me" })
    end)
  end

  it("ends after its attempts, and says how many there were", function()
    box:fault { path = "/me", status = 500, times = "always" }
    local _, err = gallery:me()
    assert.same({ "api", 500, 3 }, { err.kind, err.status, err.attempts })
    assert.equal(3, box:count { path = "/me" })
  end)

  it("repeats without a budget when it is false", function()
    box:fault { path = "/me", status = 503, times = 3 }
    local _, answer = client.service(box, { retry = { base = 0.01, budget = false } }):me()
    assert.equal(4, answer.attempts)
  end)

  it("stops repeating when the origin's budget is spent", function()
    local frugal = client.service(box, { retry = { base = 0.01, attempts = 10, budget = 2 } })
    box:fault { path = "/me", status = 500, times = "always" }
    frugal:me()
    assert.equal(3, box:count { path = "/me" })
  end)

  it("without a key and with a body is not sent again when its answer is lost", function()
    box:fault { path = "/auth/never", drop = "half", times = "always" }
    gallery:request("POST", "/auth/never", { body = {} })
    assert.equal(1, box:count { path = "/auth/never" })
  end)
end)

describe("on_event", function()
  local box

  setup(function() box = boxes.start() end)
  teardown(function()
    client.close()
    box:stop()
  end)

  it("tells of starts, answers and retries, each with its call", function()
    local told = {}
    local gallery = client.service(box, { retry = { base = 0.01 }, on_event = function(name, event)
      told[#told + 1] = name .. " " .. tostring(event.status or event.attempt)
      assert.is_number(event.id)
      assert.equal("GET", event.method)
      assert.equal("/v1/me", event.path)
    end })
    box:fault { path = "/me", status = 503 }
    dpg.assert(gallery:me())
    assert.same({ "start 1", "response 503", "retry 503", "start 2", "response 200" }, told)
  end)

  it("tells of a rotation", function()
    local names = {}
    local session = client.person(box, "jane", { on_event = function(name) names[name] = (names[name] or 0) + 1 end })
    dpg.assert(session:me())
    assert.equal(1, names.rotated)
  end)

  it("of one person hears nothing of another's rotations", function()
    local heard = {}
    local function listener(name)
      return function(event) heard[name .. " " .. event] = (heard[name .. " " .. event] or 0) + 1 end
    end
    local jane = client.person(box, "jane", { on_event = listener "jane" })
    local solo = client.person(box, "solo", { on_event = listener "solo" })
    dpg.assert(jane:me())
    dpg.assert(solo:me())
    dpg.assert(jane:me())
    assert.same({ 1, 1 }, { heard["jane rotated"], heard["solo rotated"] })
  end)

  it("of one call hears that call alone", function()
    local n = 0
    local gallery = client.service(box)
    dpg.assert(gallery:me { on_event = function() n = n + 1 end })
    dpg.assert(gallery:me())
    assert.equal(2, n)
  end)

  it("that raises breaks no call, and is reported once", function()
    local n = 0
    local pipe = client.child(string.format([[
      local dpg = require "dpg"
      local gallery = dpg.service { token = %q, base_url = %q, on_event = function() error "mine" end }
      for _ = 1, 3 do dpg.assert(gallery:me()) end
    ]], box.token, box.base_url))
    for line in pipe:lines() do
      assert.truthy(line:find("on_event raised", 1, true), line)
      assert.truthy(line:find("mine", 1, true), line)
      n = n + 1
    end
    pipe:close()
    assert.equal(1, n)
  end)

  it("can't make calls, and is told so", function()
    local err
    local gallery
    gallery = client.service(box, { on_event = function() err = select(2, gallery:me()) end })
    dpg.assert(gallery:me())
    assert.same({ "usage", "inside_on_event" }, { err.kind, err.code })
  end)
end)
