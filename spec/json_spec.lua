-- core.decode: how JSON text becomes Lua values, on every Lua. What text is JSON is tested in test/test_json.c.

local cjson = require "cjson"
local core = require "dpg.core"

-- Writes a value so that it can be compared: types show, and keys are sorted.
local function show(value)
  if value == core.null then return "null" end
  if type(value) ~= "table" then
    return type(value) == "string" and string.format("%q", value) or tostring(value)
  end
  local parts, keys = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, key in ipairs(keys) do parts[i] = tostring(key) .. "=" .. show(value[key]) end
  return (getmetatable(value) == core.array_mt and "array" or "") .. "{" .. table.concat(parts, ",") .. "}"
end

describe("core.decode", function()
  local cases = { -- text, shown
    { "null", "null" },
    { "true", "true" },
    { "false", "false" },
    { '"a"', '"a"' },
    { "12", "12" },
    { "-7", "-7" },
    { "0.5", "0.5" },
    { "{}", "{}" },
    { "[]", "array{}" },
    { "[[],{}]", "{1=array{},2={}}" },
    { "[1,2,3]", "{1=1,2=2,3=3}" },
    { "[null,1]", "{1=null,2=1}" },
    { '{"a":null}', "{a=null}" },
    { '{"a":{"b":[true,{"c":[]}]}}', "{a={b={1=true,2={c=array{}}}}}" },
    { '{"a":1,"b":2,"a":3}', "{a=3,b=2}" },
    { '{"a":[1],"a":{}}', "{a={}}" },
    { '{"\\u0061":1}', "{a=1}" },
    { '{"":1}', "{=1}" },
    { '{"1":2}', "{1=2}" },
    { ' [ 1 , { "a" : [ ] } ] ', "{1=1,2={a=array{}}}" },
  }
  for _, case in ipairs(cases) do
    it("reads " .. case[1], function() assert.equal(case[2], show(core.decode(case[1]))) end)
  end

  it("returns one value, and three for bad text", function()
    assert.equal(1, select("#", core.decode("[1]")))
    assert.equal(3, select("#", core.decode("[1")))
  end)

  it("says what is wrong, and at which byte as string.sub counts", function()
    local value, problem, at = core.decode('{"a":nul}')
    assert.is_nil(value)
    assert.equal("a value is expected here", problem)
    assert.equal(6, at)
    assert.equal(1, select(3, core.decode("")))
  end)

  it("keeps an element null in its place, as cjson.null", function()
    local t = core.decode("[null,null,7,null]")
    assert.equal(4, #t)
    assert.equal(cjson.null, t[1])
    assert.equal(core.null, t[4])
  end)

  it("puts what the caller likes for null, false too", function()
    local marker = {}
    assert.equal(marker, core.decode("[null]", marker)[1])
    assert.equal(marker, core.decode("null", marker))
    assert.is_false(core.decode('{"a":{"b":null}}', false).a.b)
    assert.equal(core.null, core.decode("null", nil))
  end)

  it("makes whole numbers integers where Lua has them, the others floats", function()
    local t = core.decode("[900,-1,0,9007199254740993,1.0,1e3,-0,9223372036854775807,9223372036854775808]")
    local math_type = rawget(math, "type")
    if math_type then
      local kinds = { "integer", "integer", "integer", "integer", "float", "float", "float", "integer", "float" }
      for i, kind in ipairs(kinds) do assert.equal(kind, math_type(t[i])) end
      assert.equal("9007199254740993", tostring(t[4]))
      assert.equal("9223372036854775807", tostring(t[8]))
    else
      assert.equal(9007199254740992, t[4])
      assert.equal(2 ^ 63, t[8])
    end
    assert.equal("900", tostring(t[1]))
    assert.equal(-math.huge, 1 / t[7])
    assert.equal(2 ^ 63, t[9])
  end)

  it("tells an empty array from an empty object, each time by the same metatable", function()
    local a, b = core.decode("[]"), core.decode('{"x":[]}').x
    assert.equal(core.array_mt, getmetatable(a))
    assert.equal(core.array_mt, getmetatable(b))
    assert.not_equal(a, b)
    assert.equal("dpg.array", core.array_mt.__name)
    assert.is_nil(getmetatable(core.decode("{}")))
    assert.is_nil(getmetatable(core.decode("[1]")))
  end)

  it("unescapes short and long strings, with NULs and UTF-8 in them", function()
    assert.equal("a\0b", core.decode('"a\\u0000b"'))
    assert.equal('"\\/\b\f\n\r\t', core.decode([["\"\\\/\b\f\n\r\t"]]))
    assert.equal("\195\169\226\130\172\240\159\152\128", core.decode('"\\u00e9\\u20ac\\ud83d\\ude00"'))
    for _, n in ipairs { 40, 41, 42, 43, 84, 85, 86, 255, 256, 257, 5000, 100000 } do
      assert.equal(string.rep("\n", n), core.decode('"' .. string.rep("\\u000a", n) .. '"'))
      assert.equal(string.rep("x", n) .. '"', core.decode('"' .. string.rep("x", n) .. '\\""'))
    end
    local t = core.decode('["' .. string.rep("\\n", 1000) .. '","' .. string.rep("\\t", 500) .. '"]')
    assert.equal(string.rep("\n", 1000), t[1])
    assert.equal(string.rep("\t", 500), t[2])
  end)

  it("nests 128 deep, arrays and objects, and no deeper", function()
    for _, kind in ipairs { { "[", "", "]" }, { '{"a":', "1", "}" }, { '[{"a":', "[]", "}]" } } do
      local n = 128 / #kind[3]
      if kind[2] == "[]" then n = 63 end
      local value = assert(core.decode(string.rep(kind[1], n) .. kind[2] .. string.rep(kind[3], n)))
      local depth = 0
      while type(value) == "table" do
        value = value[1] or value.a
        depth = depth + 1
      end
      assert.equal(kind[2] == "[]" and 127 or 128, depth)
    end
    assert.is_nil((core.decode(string.rep("[", 129) .. string.rep("]", 129))))
  end)

  it("reads wide arrays and objects", function()
    local list, members = {}, {}
    for i = 1, 20000 do
      list[i] = tostring(i)
      members[i] = string.format('"k%d":%d', i, i)
    end
    local t = core.decode("[" .. table.concat(list, ",") .. "]")
    assert.equal(20000, #t)
    assert.equal(20000, t[20000])
    local o = core.decode("{" .. table.concat(members, ",") .. "}")
    assert.equal(12345, o.k12345)
  end)

  it("raises for what is no text", function()
    assert.has_error(function() core.decode() end)
    assert.has_error(function() core.decode({}) end)
    assert.has_error(function() core.decode(nil, false) end)
  end)

  it("works in a coroutine", function()
    local co = coroutine.wrap(function() return core.decode('{"a":[1,2]}').a[2] end)
    assert.equal(2, co())
  end)

  it("keeps no memory, whether the text was good or bad", function()
    local good = "[" .. string.rep('{"a":"\\n' .. string.rep("x", 300) .. '"},', 200) .. "1]"
    local bad = good:sub(1, -2)
    local function many()
      for _ = 1, 200 do
        assert(core.decode(good))
        assert(not core.decode(bad))
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    many()
    local before = many()
    assert.is_true(many() < before + 50)
  end)

  it("builds whole tables while the collector runs at its hardest", function()
    local pause, step = collectgarbage("setpause", 0), collectgarbage("setstepmul", 1000)
    for i = 1, 200 do
      local text = '[{"a":"x@","b":[@,{"c":"\\u0041@"}],"d":[]},[[@]]]'
      local t = core.decode((text:gsub("@", tostring(i))))
      assert.equal("x" .. i, t[1].a)
      assert.equal("A" .. i, t[1].b[2].c)
      assert.equal(core.array_mt, getmetatable(t[1].d))
      assert.equal(i, t[2][1][1])
    end
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", step)
  end)
end)

-- Random documents, read by lua-cjson too. Its texts stay within what both read alike.
describe("core.decode beside lua-cjson", function()
  local seed = tonumber(os.getenv("DPG_SEED") or "") or os.time() % 100000
  math.randomseed(seed)
  local random = math.random

  local strings = {
    "a", "key", "", "\\n", "\\u00e9", "\195\169", "\\ud83d\\ude00", "\\\\", "/", '\\"', "x y", "\\u0000", "0",
  }
  local function text_string()
    local parts = {}
    for i = 1, random(0, 12) do parts[i] = strings[random(#strings)] end
    return '"' .. table.concat(parts) .. '"'
  end

  local function blank()
    return random(6) == 1 and ({ " ", "\n", "\t", "\r\n  " })[random(4)] or ""
  end

  local function text_number()
    local kind = random(5)
    if kind == 1 then return tostring(random(0, 9)) end
    if kind == 2 then return "-" .. random(1, 2147483) .. "." .. random(0, 99999) end
    if kind == 3 then
      return random(9) .. "." .. random(0, 99) .. "e" .. ({ "", "+", "-" })[random(3)] .. random(0, 300)
    end
    if kind == 4 then return random(1, 99999) .. string.format("%09d", random(0, 999999999)) end
    return "0." .. string.rep("0", random(0, 30)) .. random(1, 999999)
  end

  local text_value
  local function text_list(depth, open, close, member)
    local parts = {}
    for i = 1, random(0, 6) do
      local name = member and text_string() .. blank() .. ":" or ""
      parts[i] = blank() .. name .. blank() .. text_value(depth + 1) .. blank()
    end
    return open .. blank() .. table.concat(parts, ",") .. close
  end

  function text_value(depth)
    local kind = random(depth > 6 and 5 or 8)
    if kind == 1 then return "null" end
    if kind == 2 then return random(2) == 1 and "true" or "false" end
    if kind == 3 then return text_number() end
    if kind <= 5 then return text_string() end
    if kind == 6 then return text_list(depth, "[", "]") end
    return text_list(depth, "{", "}", true)
  end

  local function same(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then return a == b end
    for key, value in pairs(a) do
      if not same(value, b[key]) then return false end
    end
    for key in pairs(b) do
      if a[key] == nil then return false end
    end
    return true
  end

  local function blame(i, text, what)
    error(string.format("seed %d, document %d %s:\n%s", seed, i, what, text), 0)
  end

  it("gives the same values for 3000 random documents (seed " .. seed .. ")", function()
    for i = 1, 3000 do
      local text = text_value(0)
      local value, problem, at = core.decode(text)
      if value == nil then blame(i, text, problem .. " at " .. at) end
      local theirs = cjson.decode("[" .. text .. "]")[1] -- it reads scalars inside of arrays only in some versions
      if not same(value, theirs) then blame(i, text, "differs") end
    end
  end)

  it("refuses 3000 documents with a byte gone, unless they are whole without it (seed " .. seed .. ")", function()
    local strict = cjson.new()
    strict.decode_invalid_numbers(false)
    for i = 1, 3000 do
      local text = text_value(0)
      local at = random(#text)
      text = text:sub(1, at - 1) .. text:sub(at + 1)
      local value = core.decode(text)
      if value ~= nil then -- stricter than lua-cjson in each point, so what we take it takes too
        local ok, theirs = pcall(strict.decode, "[" .. text .. "]")
        if not ok or not same(value, theirs[1]) then blame(i, text, "differs") end
      end
    end
  end)
end)
