-- dpg.errors: the one shape of an error.
local errors = require "dpg.errors"

describe("dpg.errors.from_response", function()
  local dpg_error = '{"error":{"code":"validation","message":"no","detail":"title is long","field":"title",'
    .. '"request_id":"r"}}'
  local cases = { -- name, status, body, kind, code
    { "calls a 200 that holds HTML a protocol error", 200, "<html>", "protocol", "unreadable" },
    { "calls an empty 200 a protocol error", 200, "", "protocol", "unreadable" },
    { "calls a refusal by its own name", 403, '{"error":{"code":"api_not_enabled"}}', "api", "api_not_enabled" },
    { "keeps a code it has never heard of", 418, '{"error":{"code":"teapot"}}', "api", "teapot" },
    { "reads a bare string as a code", 400, '{"error":"invalid_grant"}', "api", "invalid_grant" },
    { "calls a 401 a matter of signing in", 401, '{"error":{"code":"unauthorized"}}', "auth", "unauthorized" },
    { "names a 500 with HTML by its status", 500, "<html>", "api", "server_error" },
    { "names a 503 without a body by its status", 503, "", "api", "unavailable" },
    { "names a 429 with a broken body by its status", 429, '{"err', "api", "rate_limited" },
    { "names a status nobody has heard of", 499, nil, "api", "http_499" },
    { "follows no redirect", 302, "", "protocol", "redirect" },
    { "calls a 304 not_modified", 304, "", "api", "not_modified" },
    { "takes what is neither good nor a refusal for no answer of DPG's", 299, "{}", "protocol", "unreadable" },
    { "follows no redirect, whatever its number", 300, "", "protocol", "redirect" },
    { "knows the last of the redirects", 399, "", "protocol", "redirect" },
    { "knows the first of the refusals", 400, "", "api", "bad_request" },
    { "knows the last of the refusals", 599, "", "api", "http_599" },
    { "knows no refusal beyond them", 600, "", "protocol", "http_600" },
    { "survives an error that is a number", 400, '{"error":7}', "api", "bad_request" },
    { "survives a body that is an array", 400, '[1,2]', "api", "bad_request" },
    { "survives nulls in the error", 404, '{"error":{"code":null,"message":null}}', "api", "not_found" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      local err = errors.from_response(case[2], case[3])
      assert.equal(case[4], err.kind)
      assert.equal(case[5], err.code)
      assert.equal(case[2], err.status)
      assert.is_string(err.message)
    end)
  end

  it("keeps message, detail, field and request_id", function()
    local err = errors.from_response(400, dpg_error, { method = "PATCH", path = "/images/x" })
    assert.same({ "no", "title is long", "title", "r" }, { err.message, err.detail, err.field, err.request_id })
  end)

  it("names the scope that a 403 is about", function()
    local err = errors.from_response(403, '{"error":{"code":"forbidden","message":"no"}}', { scope = "api.sets.write" })
    assert.equal("api.sets.write", err.scope)
    assert.truthy(tostring(err):find("api.sets.write", 1, true))
  end)

  it("does not blame a scope when the whole API is off", function()
    local err = errors.from_response(403, '{"error":{"code":"api_not_enabled"}}', { scope = "api.sets.write" })
    assert.is_nil(err.scope)
  end)

  it("cuts out a secret that the server echoes", function()
    local body = '{"error":{"code":"unauthorized","message":"bad token tok-1.2%3 here","detail":"tok-1.2%3"}}'
    local err = errors.from_response(401, body, { secrets = { "tok-1.2%3" } })
    for _, value in pairs(err) do
      assert.is_nil(tostring(value):find("tok-1.2%3", 1, true))
    end
    assert.is_nil(tostring(err):find("tok-1.2%3", 1, true))
  end)
end)

describe("dpg.errors", function()
  it("leaves so short a secret in that a text would be riddled without it", function()
    local body = '{"error":{"code":"c","message":"the code is abcd, not abc"}}'
    local err = errors.from_response(400, body, { secrets = { "abcd", "not" } })
    assert.equal("the code is [secret], not abc", err.message)
  end)

  it("raises a text as it is, and at the line of who called", function()
    local _, told = pcall(function() errors.raise "it is 100%s sure" end)
    assert.truthy(told:find("^spec/errors_spec.lua:%d+: dpg: it is 100%%s sure$"), told)
    told = select(2, pcall(function() errors.raise("%s: %d", "dpg.run", 3) end))
    assert.truthy(told:find ": dpg.run: 3$", told)
  end)

  it("tells a host of an error object that it raises, and of nothing else", function()
    local heard, before = {}, errors.on_throw
    errors.on_throw = function(err) heard[#heard + 1] = err end
    local err = errors.usage("c", "m")
    local _, raised = pcall(errors.throw, err)
    assert.equal(err, raised)
    pcall(errors.throw, "a text")
    errors.on_throw = nil
    assert.equal(err, select(2, pcall(errors.throw, err)))
    errors.on_throw = before
    assert.same({ err }, heard)
  end)
end)

describe("an error object", function()
  local body = '{"error":{"code":"validation","message":"a\\nb","field":"title","request_id":"r-1"}}'
  local err = errors.from_response(400, body, { method = "PATCH", path = "/images/x", attempts = 2 })

  it("is one line as text, with the facts", function()
    local text = tostring(err)
    assert.is_nil(text:find("[\r\n]"))
    for _, part in ipairs { "validation", "a b", "PATCH /images/x", "status 400", "field title", "request_id r-1" } do
      assert.truthy(text:find(part, 1, true), part)
    end
  end)

  it("joins message and detail as one sentence", function()
    local gone = errors.new { kind = "api", code = "gone", message = "There is no such image.", detail = "no image 7" }
    assert.equal("gone: There is no such image: no image 7 (api)", tostring(gone))
  end)

  it("can be joined to a text on either side", function()
    assert.equal("failed: " .. tostring(err), "failed: " .. err)
    assert.equal(tostring(err) .. "!", err .. "!")
  end)

  it("is told from other tables", function()
    assert.is_true(errors.is(err))
    assert.is_false(errors.is { kind = "api" })
    assert.is_false(errors.is "text")
  end)
end)
