-- dpg.wire: the near variants of what the API's guides leave open are all read.
local json = require "dpg.json"
local wire = require "dpg.wire"

describe("dpg.wire", function()
  it("reads a list bare, under data and under items", function()
    for _, text in ipairs { '[{"a":1}]', '{"data":[{"a":1}]}', '{"items":[{"a":1}]}' } do
      assert.same({ { a = 1 } }, wire.list(json.decode(text)))
    end
  end)

  it("reads an empty list in all its forms", function()
    for _, text in ipairs { "[]", '{"data":[]}', '{"items":[]}' } do
      assert.same({}, wire.list(json.decode(text)))
    end
  end)

  it("takes nothing else for a list", function()
    for _, text in ipairs { "{}", '{"data":{}}', '"a"', "null", "7", '{"data":null}' } do
      assert.is_nil(wire.list(json.decode(text)), text)
    end
  end)

  it("reads an Operation bare and under operation", function()
    for _, text in ipairs { '{"uuid":"u","status":"queued"}', '{"operation":{"uuid":"u","status":"queued"}}' } do
      assert.equal("u", wire.operation(json.decode(text)).uuid)
    end
  end)

  it("takes nothing without uuid and status for an Operation", function()
    for _, text in ipairs { "{}", "[]", '{"uuid":"u"}', '{"operation":null}', "null", '{"uuid":null,"status":null}' } do
      assert.is_nil(wire.operation(json.decode(text)), text)
    end
  end)

  local paging = { -- has-more, next-offset, more, offset
    { "true", "50", true, 50 }, { "false", "50", false, 50 }, { "True", " 50 ", true, 50 }, { "1", "50", true, 50 },
    { nil, nil, false, nil }, { "true", "soon", true, nil }, { "yes", "1e3", false, nil },
  }
  for _, case in ipairs(paging) do
    it("reads X-Has-More: " .. tostring(case[1]) .. ", X-Next-Offset: " .. tostring(case[2]), function()
      local more, offset = wire.paging { ["x-has-more"] = case[1], ["x-next-offset"] = case[2] }
      assert.equal(case[3], more)
      assert.equal(case[4], offset)
    end)
  end

  it("finds why an Operation failed, under error or result", function()
    assert.equal("too_big", wire.operation_error { error = { code = "too_big" } }.code)
    assert.equal("no room", wire.operation_error { result = { message = "no room" } }.message)
    assert.same({}, wire.operation_error { result = json.null })
    assert.same({}, wire.operation_error {})
  end)

  it("is the only file that says what is assumed of signing in", function()
    assert.same({ login = "l", password = "p", device = { identifier = "i" } },
      wire.sign_in_body("l", "p", { identifier = "i" }))
    assert.same({ mfa_token = "t", code = "1" }, wire.mfa_body("t", "1"))
  end)
end)

describe("dpg.wire.time", function()
  local cases = {
    { 1764014400, 1764014400 }, { "1764014400", 1764014400 }, { "2025-11-24T20:00:00Z", 1764014400 },
    { "2025-11-24T21:30:00+01:30", 1764014400 }, { "2025-11-24t12:00:00.123-0800", 1764014400 },
    { "2025-11-24 20:00:00", 1764014400 }, { "1970-01-01T00:00:00Z", 0 }, { "1969-12-31T23:59:59Z", -1 },
    { "2024-02-29T00:00:00Z", 1709164800 }, { "2000-03-01T00:00:00Z", 951868800 }, { "soon", nil }, { true, nil },
    { "2025-11-24T20:00:00 at noon", nil }, { "", nil }, { nil, nil },
  }
  for _, case in ipairs(cases) do
    it("reads " .. tostring(case[1]), function() assert.equal(case[2], wire.time(case[1])) end)
  end
end)

describe("dpg.wire.link", function()
  it("has an expiry that is a number, and keeps what it can't read", function()
    assert.same({ url = "u", expires_at = 5, new = 1 }, wire.link(json.decode '{"url":"u","expires_at":"5","new":1}'))
    assert.equal("soon", wire.link { url = "u", expires_at = "soon" }.expires_at)
    for _, value in ipairs { {}, { url = 5 }, { url = "" }, json.array { "u" }, "u" } do
      assert.is_nil(wire.link(value))
    end
  end)
end)
