-- dpg.json.encode: how Lua values become JSON text. Reading is core.decode's (json_spec).
local cjson = require "cjson"
local json = require "dpg.json"

describe("dpg.json.encode", function()
  local cases = { -- name, value, text
    { "writes whole floats without a fraction", { n = 4.0 }, '{"n":4}' },
    { "keeps all digits of a whole number", 123456789012345, "123456789012345" },
    { "keeps all digits of a fraction", 0.1, "0.1" },
    { "keeps a number that needs 17 digits", 1 / 3, "0.33333333333333331" },
    { "writes no minus before zero", -0.0, "0" },
    { "writes an empty table as an object", {}, "{}" },
    { "writes a marked empty table as an array", json.array {}, "[]" },
    { "writes a sequence as an array", { 1, "a", true }, '[1,"a",true]' },
    { "writes null", { a = json.null }, '{"a":null}' },
    { "takes lua-cjson's null", { a = cjson.null }, '{"a":null}' },
    { "sorts keys, so that equal tables are equal bytes", { b = 1, a = 2, c = { e = 1, d = 2 } },
      '{"a":2,"b":1,"c":{"d":2,"e":1}}' },
    { "escapes quotes, line ends and control characters", 'a"b\n\0\1', '"a\\"b\\n\\u0000\\u0001"' },
    { "leaves UTF-8 as it is", "Zürich", '"Zürich"' },
  }
  for _, case in ipairs(cases) do
    it(case[1], function() assert.equal(case[3], json.encode(case[2])) end)
  end

  local loop = {}
  loop.self = loop
  local refused = { -- name, value, what is said
    { "refuses a function", { f = print }, "a function" },
    { "refuses NaN", { 0 / 0 }, "number" },
    { "refuses infinity", { math.huge }, "number" },
    { "refuses a table within itself", loop, "within itself" },
    { "refuses an array with a name", { 1, x = 2 }, "key" },
    { "refuses a key that is no text", { [true] = 1 }, "key" },
    { "refuses an array with a hole", { 1, [3] = 3 }, "key" },
  }
  for _, case in ipairs(refused) do
    it(case[1], function()
      local text, problem = json.encode(case[2])
      assert.is_nil(text)
      assert.truthy(problem:find(case[3], 1, true), problem)
    end)
  end

  it("leaves the program's own cjson settings alone", function()
    assert.equal("3.1415926535898", cjson.encode(math.pi))
  end)

  it("reads back what it wrote", function()
    local value = { a = { 1, 2.5, { b = json.array {} } }, s = "x", t = true, n = json.null }
    assert.same(value, json.decode(json.encode(value)))
  end)
end)
