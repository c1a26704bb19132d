-- Every public function says what it does, what it takes, what it gives back and how it fails. Public is what `dpg`
-- has, and whatever can be reached from it by the types of arguments, fields and results: so none can be left out by
-- forgetting it.
local annotations = require "support.annotations"
local dpg = require "dpg"

if (os.getenv "CHECKER" or "") ~= "" then return end -- it reads texts: nothing of ours in C runs

local paths = { "types/dpg.lua", "lua/dpg/sandbox.lua" }
local files = assert(io.popen "find lua/dpg -name '*.lua' ! -path '*/sandbox*' ! -path '*/cli/*' | LC_ALL=C sort")
for path in files:lines() do paths[#paths + 1] = path end
files:close()
local found = annotations.read(paths)

-- The function of the sources that a function of the running library is.
local function written(fn)
  local info = debug.getinfo(fn, "S")
  return found.functions[info.source:match "lua/dpg/.*$" .. ":" .. info.linedefined]
end

local function reached()
  local seen, waiting = {}, {}
  local function go(kind)
    for name in annotations.names_in(kind) do
      if not seen[name] then
        seen[name] = true
        waiting[#waiting + 1] = name
      end
    end
  end
  local function go_by(one)
    for _, part in ipairs(one.doc.params) do go(part.type) end
    for _, part in ipairs(one.doc.returns) do go(part.type) end
  end
  local public = {}
  local places = {
    { "dpg.", dpg }, { "dpg.store.", dpg.store }, { "dpg.cache.", dpg.cache },
    { "dpg.sandbox.", require "dpg.sandbox" },
  }
  for _, place in ipairs(places) do
    for name, value in pairs(place[2]) do
      if type(value) == "function" then
        public[place[1] .. name] = written(value) or false
        if public[place[1] .. name] then go_by(public[place[1] .. name]) end
      end
    end
  end
  while #waiting > 0 do
    local name = table.remove(waiting)
    go(found.aliases[name] or "")
    for member, one in pairs(annotations.members(found, name)) do
      if not member:find "^_" then
        if one.field then
          go(one.field.type)
        else
          public[one.owner .. ":" .. member] = one.method
          go_by(one.method)
        end
      end
    end
  end
  return public, seen
end

local public, classes = reached()

local function each_sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  local i = 0
  return function()
    i = i + 1
    return names[i], set[names[i]]
  end
end

-- A number of what? Whole ones have it in their names.
local function is_bare(part)
  return part.type:find "%f[%w]number%f[%W]" and not part.type:find "string" and not part[1]:find "%a %a"
    and not part[1]:find "second"
end

-- What its doc comment leaves open.
local function gaps(one)
  if not one then return { "is not written as `function name(…)` below a comment" } end
  local open, said = {}, {}
  if not table.concat(one.doc.summary, " "):find "%a+ %a+" then open[#open + 1] = "has no summary" end
  for i, param in ipairs(one.doc.params) do
    if param.name ~= one.parameters[i] then open[#open + 1] = "@param " .. param.name .. " is no parameter there" end
    if param.type == "" then open[#open + 1] = "@param " .. param.name .. " has no type" end
    if is_bare(param) then open[#open + 1] = "@param " .. param.name .. " has no unit" end
    said[param.name] = true
  end
  for _, name in ipairs(one.parameters) do
    if not said[name] and name ~= "_" then open[#open + 1] = name .. " has no @param" end
  end
  local body = one.body:gsub("function%b().-%f[%w]end", ""):gsub("return end", "")
  local gives = body:find "%f[%w]return%s+[^%s]" ~= nil
  local fails, kinds = one.body:find "return nil, [^\"]" or one.body:find ":_call%(", ""
  for _, part in ipairs(one.doc.returns) do
    kinds = kinds .. " " .. part.type
    if is_bare(part) then open[#open + 1] = "@return " .. part.type .. " has no unit" end
  end
  if gives and #one.doc.returns == 0 then open[#open + 1] = "has no @return" end
  if fails and not (kinds:find "dpg%.Error" or kinds:find "dpg%.Told") then open[#open + 1] = "says no error" end
  if kinds:find "dpg%.Iterator" and not table.concat(one.doc.summary, " "):find "[Rr]aise" then
    open[#open + 1] = "does not say that it raises"
  end
  return open
end

describe("the public face", function()
  local count = 0
  for name, one in each_sorted(public) do
    count = count + 1
    it("documents " .. name, function()
      assert.same({}, gaps(one), one and one.path .. ":" .. one.line)
    end)
  end

  it("is known: " .. count .. " functions", function() assert.is_true(count > 75) end)

  it("has a shape for each type that it speaks of", function()
    for name in each_sorted(classes) do
      assert.truthy(found.classes[name] or found.aliases[name], name .. " is defined nowhere")
    end
  end)

  it("says of each field what it is, with its type, and the unit of its number", function()
    local silent = {}
    for name in each_sorted(classes) do
      for field, one in each_sorted((found.classes[name] or { fields = {} }).fields) do
        local is_silent = one.type == "" or one[1] == "" or is_bare(one)
        if is_silent and not field:find "^_" then silent[#silent + 1] = name .. "." .. field end
      end
    end
    assert.same({}, silent)
  end)
end)

describe("the face of the core in C", function()
  it("says of each function in dpg.h what it does", function()
    local silent, count, above = {}, 0, false
    for line in io.lines "csrc/core/dpg.h" do
      local name = line:match "^[%a][%w_ %*]-(dpg_[%w_]+)%(" -- a declaration, and no typedef or macro
      if name and not line:find "^typedef" then
        count = count + 1
        if not (above or line:find "/%*") then silent[#silent + 1] = name end
      end
      -- a comment counts for the declarations right below it
      if line:find "%*/%s*$" or (name and above) then above = true elseif not line:find "^%s" then above = false end
    end
    assert.same({}, silent)
    assert.is_true(count > 30, count)
  end)
end)
