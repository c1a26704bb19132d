-- doc/errors.md has a row for each code that an error of ours can bear, and for no other. The codes are read out of the
-- sources: what is passed for a parameter called `code`, what `code =` is set to, and the tables that name them.
local process = require "support.process"

if process.name ~= "lua5.4" or (os.getenv "CHECKER" or "") ~= "" then return end -- it reads texts, alike on every Lua

local CODE = '"([a-z]+[a-z_]*)"'

-- Without comments, which speak of codes, too.
local function code_of(path)
  local text = process.read_file(path)
  if path:find "%.lua$" then return (text:gsub("%-%-[^\n]*", "")) end
  return (text:gsub("/%*.-%*/", ""))
end

local function sources(folder, pattern)
  local list = {}
  for path in process.shell("find " .. folder .. " -name '" .. pattern .. "'"):gmatch "[^\n]+" do
    if not path:find "sandbox" and not path:find "/cli/" then list[#list + 1] = path end
  end
  return list
end

-- The arguments of a call or a definition, split at its own commas.
local function arguments(list)
  local found, depth, from, in_string, at = {}, 0, 2, false, 2
  while at < #list do
    local c = list:sub(at, at)
    if in_string then
      if c == "\\" then at = at + 1 elseif c == '"' then in_string = false end
    elseif c == '"' then in_string = true
    elseif c:find "[%(%[{]" then depth = depth + 1
    elseif c:find "[%)%]}]" then depth = depth - 1
    elseif c == "," and depth == 0 then
      found[#found + 1] = list:sub(from, at - 1)
      from = at + 1
    end
    at = at + 1
  end
  found[#found + 1] = list:sub(from, #list - 1)
  return found
end

local function literals(text, found, where)
  for code in text:gmatch(CODE) do found[code] = where end
end

-- Each call and definition in a text: its name and its list, those within others as well.
local function lists(text)
  local at = 1
  return function()
    local from, opening, name = text:find("([%w_]+)%s*%(", at)
    if not from then return nil end
    at = opening + 1
    return name, text:match("^%b()", opening) or "()"
  end
end

-- They take an event's code, and that of an authenticator.
local NO_ERROR = { dpg_cred_say = true, answer = true }

-- Where a function takes a code: its name, and which argument. A file's own go before those of another.
local function takers(texts, parameter)
  local found, own = {}, {}
  for path, text in pairs(texts) do
    own[path] = {}
    for name, list in lists(text) do
      for i, one in ipairs(arguments(list)) do
        if one:find(parameter) and not NO_ERROR[name] then found[name], own[path][name] = i, i end
      end
    end
  end
  return found, own
end

local function passed(texts, parameter, found)
  local functions, own = takers(texts, parameter)
  for path, text in pairs(texts) do
    for name, list in lists(text) do
      local nth = own[path][name] or functions[name]
      local given = nth and arguments(list)[nth]
      if given then literals(given, found, path) end
    end
  end
end

local function codes()
  local c, lua, found = {}, {}, {}
  for _, pattern in ipairs { "*.c", "*.h" } do
    for _, path in ipairs(sources("csrc", pattern)) do c[path] = code_of(path) end
  end
  for _, path in ipairs(sources("lua/dpg", "*.lua")) do lua[path] = code_of(path) end

  passed(c, "^%s*const char %*code%s*$", found)
  for path, text in pairs(c) do
    for code in text:gmatch("%[DPG_OS_[%u_]+%] =%s*{" .. CODE) do found[code] = path end
    for code in text:gmatch("{DPG_KIND_%u+, %a+, " .. CODE) do found[code] = path end
  end

  passed(lua, "^%s*code%s*$", found)
  for path, text in pairs(lua) do
    for value in text:gmatch "[^%w_.]code = ([^,\n]+)" do literals(value, found, path) end
    for value in text:gmatch "err%.code = ([^\n]+)" do literals(value, found, path) end
  end
  for _, texts in ipairs { c, lua } do
    for path, text in pairs(texts) do
      for code in text:gmatch '"(store_[a-z_]+)"' do found[code] = path end
    end
  end
  local errors = lua["lua/dpg/errors.lua"]
  for code in errors:gmatch("%[%d+%] = " .. CODE) do found[code] = "lua/dpg/errors.lua" end
  for code in errors:match "function ours.-\nend":gmatch("return " .. CODE .. ",") do
    found[code] = "lua/dpg/errors.lua"
  end
  assert(errors:find '"http_" .. status', 1, true)
  found["http_…"] = "lua/dpg/errors.lua"
  return found
end

-- Those of the page: in the first column of a table whose head begins with "code".
local function documented()
  local found, is_codes = {}, false
  for line in process.read_file("doc/errors.md"):gmatch "[^\n]+" do
    if line:find "^| code" then is_codes = true elseif not line:find "^|" then is_codes = false end
    if is_codes then
      for code in line:match "^|(.-)|":gmatch "`([%w_…]+)`" do found[code] = line end
    end
  end
  return found
end

describe("doc/errors.md", function()
  local of_sources, of_page = codes(), documented()

  it("has a row for each code of ours", function()
    local missing = {}
    for code, where in pairs(of_sources) do
      if not of_page[code] then missing[#missing + 1] = code .. " (" .. where .. ")" end
    end
    table.sort(missing)
    assert.equal("", table.concat(missing, "\n"))
  end)

  it("has none that no source knows", function()
    local theirs = {}
    local text = process.read_file "doc/errors.md"
    -- DPG's own: the sandbox answers with them
    local sandbox = ""
    for path in process.shell "ls lua/dpg/sandbox/*.lua":gmatch "%S+" do
      sandbox = sandbox .. process.read_file(path)
    end
    for code in text:match "\n## What DPG says\n(.-)\nAn answer that":gmatch "\n| `([%w_]+)`" do
      assert.is_truthy(sandbox:find('"' .. code .. '"', 1, true), code)
      theirs[code] = true
    end
    for code in pairs(of_page) do assert.is_truthy(of_sources[code] or theirs[code], code .. " is nobody's") end
  end)

  it("says for each what it means and what to do", function()
    for code, line in pairs(of_page) do
      local _, meaning, advice = line:match "^|(.-)|(.-)|(.-)|%s*$"
      assert.is_true(advice ~= nil and #meaning > 8 and #advice > 8, code)
    end
  end)
end)
