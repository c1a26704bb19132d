-- core.decode under attack and in want: memory stays in proportion to the text, and whatever fails leaves nothing.
local core = require "dpg.core"
local process = require "support.process"

local is_checked = (os.getenv "CHECKER" or "") ~= "" -- whose own memory would be measured

local TEXT_BYTES = 300000

local patterns = { -- head, part, tail
  { "", "[", "" }, { "", '{"a":', "" }, { "", '[{"a":', "" }, { "[", "[],", "1]" }, { "[", "{},", "1]" },
  { "[", "[[[[]]]],", "1]" }, { "[", "[0],", "1]" }, { "[", "1,", "1]" }, { "[", "1e9,", "1]" }, { "[", '"",', "1]" },
  { "[", '{"a":1},', "1]" }, { "[", '{"a":{"b":[]}},', "1]" }, { "{", '"a":1,', '"a":1}' }, { "{", '"a":{},',
    '"a":1}' },
}

local function text_of(pattern)
  return pattern[1] .. pattern[2]:rep(math.floor(TEXT_BYTES / #pattern[2])) .. pattern[3]
end

describe("core.decode, 300 KB of", function()
  local script = [[
    local core = require "dpg.core"
    local function kb(name)
      for line in io.lines "/proc/self/status" do
        local value = line:match("^" .. name .. ":%s*(%d+)")
        if value then return tonumber(value) end
      end
    end
    local text = arg[1] .. arg[2]:rep(math.floor(]] .. TEXT_BYTES .. [[ / #arg[2])) .. arg[3]
    collectgarbage() collectgarbage()
    local before, lua = kb "VmRSS", collectgarbage "count"
    collectgarbage "stop"
    core.decode(text)
    print(math.floor(collectgarbage "count" - lua), kb "VmHWM" - before)]]
  local path

  setup(function()
    path = process.folder() .. "/decode.lua"
    process.write_file(path, script)
  end)

  -- A table is 56 to 72 bytes and its place 8 to 16, so three bytes of text, "[],", may cost that much and no more.
  local it_costs = is_checked and function() end or it -- a checker's own memory would count
  it_costs("anything costs at most 40 times as much in tables, 64 times in all", function()
    if not process.read_file "/proc/self/status" then return pending "there is no /proc here" end
    for _, pattern in ipairs(patterns) do
      local said = process.shell(("LUA_CPATH='%s' %s %s '%s' '%s' '%s'"):format(package.cpath, process.lua, path,
        pattern[1], pattern[2], pattern[3]))
      local tables, all = said:match "^(%d+)%s+(%-?%d+)$"
      assert.is_truthy(tables, said)
      assert.is_true(tonumber(tables) * 1024 <= 40 * TEXT_BYTES, pattern[2] .. ": " .. said)
      assert.is_true(tonumber(all) * 1024 <= 64 * TEXT_BYTES, pattern[2] .. ": " .. said)
    end
  end)

  it("any of these is read or refused whole, in a coroutine with little stack, too", function()
    for _, pattern in ipairs(patterns) do
      local text = text_of(pattern)
      local value, problem = coroutine.wrap(function() return core.decode(text) end)()
      if pattern[3] == "" then assert.equal("nested too deeply", problem) else assert.is_table(value) end
    end
  end)
end)

describe("core.decode in want of memory", function()
  if is_checked then return end -- the checker would have to be in the program

  it("raises at each allocation that fails, and leaves nothing", function()
    local program = process.folder() .. "/failing_alloc"
    local name = process.name
    assert.equal("", process.shell(("${CC:-cc} -O1 -Wall -Werror -o %s spec/support/failing_alloc.c "
      .. "$(pkg-config --cflags --libs %s)"):format(program, name)))
    local text = '[{"a":"one","b":[1,2.5,null,true],"c":{"d":{}}},{"a":"two","b":[],"c":{"d":{"e":"caf\\u00e9"}}},'
      .. '{"a":"three","d":[{"b":1,"x":{"y":[1]}},{"b":2,"x":{"y":[]}}],"e":"' .. ("\\n"):rep(400) .. '"}]'
    local said = process.shell(("%s '%s' '%s'"):format(program, package.cpath, text))
    if said:find("takes no allocator", 1, true) then return pending(name .. " takes no allocator") end
    local whole, part = said:match "^(%d+) allocations\n(%d+) allocations$"
    assert.is_truthy(whole, said)
    assert.is_true(tonumber(whole) > 20 and tonumber(part) > 10, said)
  end)
end)
