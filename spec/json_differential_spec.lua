-- core.decode beside lua-cjson: every difference between the two is listed here with its reason, and there is no other.
-- First texts of each kind, then pages from a fixed seed, whole and damaged.
local cjson = require "cjson"
local core = require "dpg.core"
local process = require "support.process"
local random = require "dpg.sandbox.random"

-- A number of ours may be an integer where theirs is a float: they differ beyond 2^53, and both are meant (see below).
local function same(a, b)
  if type(a) ~= type(b) then return false end
  if type(a) == "number" then
    return (a == b or a + 0.0 == b) and (a ~= 0 or 1 / a == 1 / b)
  end
  if type(a) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function theirs(text)
  local ok, value = pcall(cjson.decode, text)
  if ok then return value end
end

-- --- what lua-cjson takes and we refuse, and why ---------------------------------------------------------------------

local JSON_HAS_NONE = "JSON has no such number (RFC 8259 section 6); what it was meant to be is a guess"
local NO_HEX = "JSON has no hexadecimal numbers"
local NO_CONTROLS = "controls in strings must be escaped (section 7): a bare one is a sign of damage"
local NO_UTF8 = "texts are UTF-8 (section 8.1), and what is not would go on into files, URLs and databases"
local AT_NUL = "they stop at a NUL and never look at what follows: an answer that was cut, or has another behind it"
local DEPTH = "depth is bounded by 128: no answer of the API is deeper, and who reads it has a stack, too"

local BY_SENTENCE = { -- the sentence, -> reason, or a function that tells from the text
  ["a string is not UTF-8"] = NO_UTF8,
  ["a control character in a string must be escaped"] = NO_CONTROLS,
  ["a number starts with a zero too many"] = JSON_HAS_NONE,
  ["a number has no digits behind its point"] = JSON_HAS_NONE,
  ["nested too deeply"] = DEPTH,
  ["a number has no digits"] = function(text, at)
    local rest = text:sub(at):lower()
    return (rest:find "^nan" or rest:find "^inf" or rest:find "^%.%d") and JSON_HAS_NONE
  end,
  ["a value is expected here"] = function(text, at)
    local rest = text:sub(at):lower()
    return (rest:find "^[+-]?nan" or rest:find "^[+-]?inf" or rest:find "^%+[%d.]") and JSON_HAS_NONE
  end,
  ["a comma or ] is expected here"] = function(text, at) return text:sub(at - 1):find "^0[xX]" and NO_HEX end,
  ["a comma or } is expected here"] = function(text, at) return text:sub(at - 1):find "^0[xX]" and NO_HEX end,
  ["something follows the value"] = function(text, at)
    return text:sub(at, at) == "\0" and AT_NUL or text:sub(at - 1):find "^0[xX]" and NO_HEX
  end,
}

-- Why we refuse what they take; nil: for no reason that is listed.
local function reason(text, problem, at)
  local known = BY_SENTENCE[problem]
  if type(known) == "function" then return known(text, at) or nil end
  return known
end

-- How the two stand to each other: "same", "both refuse", a reason why we alone refuse, or "differ: …".
local function verdict(text)
  local ours, problem, at = core.decode(text)
  local other = theirs(text)
  if ours == nil and other == nil then return "both refuse" end
  if ours == nil then return reason(text, problem,
    at) or "differ: we alone refuse: " .. problem .. " at byte " .. at end
  if other == nil then return "differ: they alone refuse" end
  return same(ours, other) and "same" or "differ: other values"
end

describe("core.decode and lua-cjson, text by text:", function()
  local deep = string.rep
  local cases = {
    { "same", {
      "null", "true", "false", "7", '"a"', "[]", "{}", "[[],{}]", " [1] ", "\n\t\r[1]\n ", "[null]", '{"a":null}',
      '{"":1}',
      '{"a":1,"a":2}', '{"a":{"a":{}},"b":[{}]}', "[0]", "[-0]", "[-0.0]", "[0.1]", "[1.0]", "[1e2]", "[1E+2]",
      "[1e-2]",
      "[1E400]", "[-1e400]", "[1e-400]", "[9007199254740993]", "[9223372036854775808]",
      "[123456789012345678901234567890]",
      "[0.1000000000000000055511151231257827021181583404541015625]", "[5e-324]", "[1.7976931348623157e308]",
      '["\\"\\\\\\/\\b\\f\\n\\r\\t"]', '["\\u0000"]', '{"a\\u0000b":1}', '["\\u00e9\\u20AC"]', '["\\uD83D\\uDE00"]',
      '["\240\159\152\128\195\169"]', '["\127"]', deep("[", 128) .. deep("]", 128),
      '["' .. deep("x", 5000) .. '"]', '["' .. deep("\\n", 5000) .. '"]',
    } },
    { "both refuse", {
      "", "  ", "nul", "truex", "nil", "[TRUE]", "[Null]", "[undefined]", "[", "]", "{", "}", "[1", "[1}", '{"a":[}',
      "[,]",
      "[1,]", "[true,]", "[1,,2]", "[1 2]", "[1]]", "[1],", "[1]x", "1 2", '{"a"}', '{"a":}', '{"a":1,}', "{,}",
      "{a:1}",
      "{'a':1}", "{1:2}", '{"a":1 "b":2}', '{"a";1}', '{"a":1}}', "{null:1}", '{"a" "b"}', '{"a"::1}', "[:]",
      "[-]", "[.5]", "[1e]", "[1e+]", "[1.e]", "[1e1.5]", "[1.5.5]", "[1..5]", "[--1]", "[- 1]", "[1-]", "[1 000]",
      "[1_000]",
      '["a', '["a\\"]', '["\\', '["\\a"]', '["\\x41"]', '["\\U0041"]', '["\\u"]', '["\\u12"]', '["\\u00G0"]', "['a']",
      '["\\uD800"]', '["\\uDC00"]', '["\\uD800\\uD800"]', '["\\uDE00\\uD83D"]', '["\\uD800x"]', '["\\uD800\\n"]',
      '["a\0b"]', "\0[1]", "[\0]", "[\0001,\0]", "[1]\12", "\12[1]", "[\11]", "[\160]", "\239\187\191[]",
      "[\239\187\191]",
      "\255\254[\0]\0", "[1]//x", "/**/[1]", "#[1]", "[1]/**/", deep("[", 100000), deep('{"a":', 100000),
      deep("[", 1001) .. deep("]", 1001),
    } },
    { JSON_HAS_NONE, {
      "[NaN]", "[nan]", "[-NaN]", "NaN", "[Infinity]", "[-Infinity]", "[inf]", "[-inf]", "[+1]", "[01]", "[-01]",
      "[00]", "[007.5]",
      "[1.]", "[1.e2]", "[-.5]", "[-1.]", '{"a":01}', '{"a":+1}',
    } },
    { NO_HEX, { "[0x10]", "[-0x1]", "[0xA]", "[0x1p3]", '{"a":0x10}', "0x10" } },
    { NO_CONTROLS, { '["a\tb"]', '["a\nb"]', '["\1"]', '["\31"]', '{"a\tb":1}' } },
    { NO_UTF8, {
      '["\255"]', '["\195"]', '["\195("]', '["\128"]', '["\192\128"]', '["\224\128\128"]', '["\237\160\128"]',
      '["\240\128\128\128"]', '["\244\144\128\128"]', '["\245\128\128\128"]', '["\226\130"]', '{"\255":1}',
    } },
    { AT_NUL, { "[1]\0", "[1]\0junk", "[1]\0[2]", '{"a":1} \0' } },
    { DEPTH, { deep("[", 129) .. deep("]", 129), deep('{"a":', 129) .. "1" .. deep("}", 129), deep("[",
      1000) .. deep("]", 1000) } },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      for _, text in ipairs(case[2]) do
        if verdict(text) ~= case[1] then
          error(string.format("%q: %s", text:sub(1, 60), verdict(text)), 0)
        end
      end
    end)
  end
end)

describe("core.decode beside lua-cjson, taken by both:", function()
  local math_type = rawget(math, "type")

  it("whole numbers are integers where Lua has them; theirs are floats, which print as 5.0 and lose digits", function()
    local ours, other = core.decode "[5,-3,9007199254740993,9223372036854775807]",
      cjson.decode "[5,-3,9007199254740993]"
    if math_type then
      assert.equal("5 -3 9007199254740993 9223372036854775807", table.concat(ours, " "))
      assert.equal("float", math_type(other[1]))
      assert.not_equal(ours[3], other[3])
    else
      assert.equal("5 -3", ours[1] .. " " .. ours[2])
      assert.equal(other[3], ours[3])
    end
  end)

  it("numbers with a point or an exponent are floats for both", function()
    for _, text in ipairs { "[1.0]", "[1e2]", "[-0]", "[9223372036854775808]" } do
      local ours, other = core.decode(text)[1], cjson.decode(text)[1]
      assert.equal(other, ours)
      if math_type then assert.equal("float", math_type(ours)) end
    end
  end)

  it("an empty array can be told from an empty object; theirs can't", function()
    assert.equal(core.array_mt, getmetatable(core.decode "[]"))
    assert.is_nil(getmetatable(core.decode "{}"))
    assert.is_nil(getmetatable(cjson.decode "[]"))
  end)

  it("null is the same", function() assert.equal(cjson.decode("[null]")[1], core.decode("[null]")[1]) end)

  it("bad text is nil, a sentence and a place; theirs raises", function()
    assert.same({ nil, "a value is expected here", 6 }, { core.decode "[1,2,]" })
    assert.is_false(pcall(cjson.decode, "[1,2,]"))
  end)
end)

-- --- pages -----------------------------------------------------------------------------------------------------------

local SEED = 20250914

-- Pages as a server writes them, more or less: lists of objects that mostly have the same names in the same order.
local function new_press(seed)
  local dice = random.dice(seed)
  local NAMES = { "public_uuid", "title", "a", "b", "url", "versions", "geo", "", "name", "names", "nam", "width",
    "a_name_of_more_than_eight", "a_name_of_more_than_ate", "\195\169t\195\169", "\\u0061", "with\\nescape",
    "keywords" }
  local TEXTS = { "", "x", "image/jpeg", "2025-09-14T21:40:00Z", "caf\195\169", "\\u00e9\\ud83d\\ude00", "\\\\\\/",
    '\\"quoted\\"',
    "Marina Vale, encore at the Main Stage", "https:\\/\\/cdn.example.com\\/x", "\240\159\152\128", "\226\130\172 5" }
  local press = {}

  local function blank() return dice.chance(4) and dice.pick { " ", "\n", "\t", "\r\n  " } or "" end

  local function number()
    return dice.pick { function() return tostring(dice.number(100000) - 1) end,
      function() return "-" .. dice.number(999) end,
      function() return string.format("%d.%05d", dice.number(180) - 1, dice.number(100000) - 1) end,
      function() return string.format("-0.%d", dice.number(1000)) end,
      function() return string.format("%d.5e%d", dice.number(9), dice.number(40) - 20) end,
      function() return string.format("%d%09d%06d", dice.number(99999), dice.number(999999999),
        dice.number(999999)) end }()
  end

  local function name(depth)
    return { text = '"' .. dice.pick(NAMES) .. '"', value = press.template(depth + 1) }
  end

  -- A function that writes one value of a kind.
  function press.template(depth)
    local kind = dice.number(depth > 4 and 5 or 9)
    if kind == 1 then return function() return dice.pick { "null", "true", "false" } end end
    if kind == 2 then return number end
    if kind <= 5 then return function() return '"' .. dice.pick(TEXTS) .. dice.pick(TEXTS) .. '"' end end
    if kind <= 7 then
      local element = press.template(depth + 1)
      return function()
        local parts = {}
        for i = 1, dice.number(5) - 1 do parts[i] = blank() .. element() .. blank() end
        return "[" .. blank() .. table.concat(parts, ",") .. "]"
      end
    end
    local members = {}
    for i = 1, dice.number(8) do members[i] = name(depth) end
    return function()
      local parts = {}
      for _, member in ipairs(members) do
        if dice.chance(3) then parts[#parts + 1] = blank() .. name(depth).text .. ":0" end
        if not dice.chance(6) then
          parts[#parts + 1] = blank() .. member.text .. blank() .. ":" .. blank() .. member.value() .. blank()
        end
      end
      if #parts > 1 and dice.chance(5) then parts[1], parts[#parts] = parts[#parts], parts[1] end
      return "{" .. blank() .. table.concat(parts, ",") .. "}"
    end
  end

  function press.page()
    local element, parts = press.template(1), {}
    for i = 1, dice.number(12) do parts[i] = element() end
    return "[" .. table.concat(parts, ",") .. "]"
  end

  local DAMAGE = { "\0", "\1", "\t", " ", '"', "\\", "\\u", "/", ",", ":", "[", "]", "{", "}", "0", "1", "-", "+",
    ".", "e", "x", "0x",
    "nan", "inf", "\128", "\195", "\255", "\237\160\128", "null", "//", "'", "\\ud800", "\239\187\191" }
  function press.damaged(text)
    if dice.chance(5) then return text .. dice.pick(DAMAGE) end
    for _ = 1, dice.number(2) do
      local at = dice.number(#text)
      local kind = dice.number(3)
      local put = kind == 1 and "" or dice.pick(DAMAGE)
      text = text:sub(1, at - 1) .. put .. text:sub(kind == 3 and at or at + 1)
    end
    return text
  end

  return press
end

local function check(i, text, wanted)
  local found = verdict(text)
  if found:find "^differ" or (wanted and found ~= wanted) then
    error(string.format("page %d: %s\n%q", i, found, text), 0)
  end
  return found
end

describe("core.decode beside lua-cjson, page by page:", function()
  local part = process.is_heavy and 1 or 3

  it("the same values for 1500 pages #heavy", function()
    local press = new_press(SEED)
    for i = 1, 1500 / part do check(i, press.page(), "same") end
  end)

  it("no difference but the listed ones for 6000 damaged pages, and each of those comes up #heavy", function()
    local press, counts, page = new_press(SEED + 1), {}, nil
    for i = 1, 6000 / part do
      if i % 4 == 1 then page = press.page() end
      local found = check(i, press.damaged(page))
      counts[found] = (counts[found] or 0) + 1
    end
    for _, kind in ipairs { "same", "both refuse", JSON_HAS_NONE, NO_HEX, NO_CONTROLS, NO_UTF8, AT_NUL } do
      assert.is_true((counts[kind] or 0) > 0, kind)
    end
  end)
end)
