-- Compares the rockspecs' lists with the tree, for `make check`: every C file of the core and the binding is a source
-- of dpg.core, every Lua module under lua/ is in exactly one rock, and every file that a rock lists is there.
-- `lua tools/rockspec.lua --write` rewrites the lists of dpg-scm-1.rockspec. Run from the top of the tree.

local MAIN = "dpg-scm-1.rockspec"

local function files(command)
  local list = {}
  for name in assert(io.popen(command .. " 2>/dev/null")):lines() do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- A rockspec is Lua that sets globals, and sees none.
local function load_rockspec(path)
  local env = {}
  local chunk
  if rawget(_G, "setfenv") then
    chunk = rawget(_G, "setfenv")(assert(loadfile(path)), env)
  else
    chunk = assert(loadfile(path, "t", env))
  end
  chunk()
  return env
end

local function module_name(path)
  return (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

local c_files = files("find csrc -name '*.c'")
local lua_files = files("find lua -name '*.lua'")
local others = files("find rockspecs -name '*-scm-*.rockspec'")

local problems = {}
local function problem(...)
  problems[#problems + 1] = table.concat({ ... })
end

-- ---- the rocks beside the main one ---------------------------------------------------------------------------------

local owner = {} -- path of a Lua file -> the rockspec that lists it

local function claim(rockspec, build)
  for name, path in pairs(build.install and build.install.bin or {}) do
    if not io.open(path) then
      problem(rockspec, " installs ", path, " as ", name, ", which is not there")
    end
  end
  for name, module in pairs(build.modules or {}) do
    if type(module) == "string" then
      if owner[module] then
        problem(rockspec, " and ", owner[module], " both list ", module)
      end
      owner[module] = rockspec
      if module:match("^lua/") and module_name(module) ~= name then
        problem(rockspec, ": ", module, " is listed as ", name, ", but is ", module_name(module))
      end
      local file = io.open(module)
      if file then
        file:close()
      else
        problem(rockspec, " lists ", module, ", which is not there")
      end
    end
  end
end

for _, path in ipairs(others) do
  claim(path, load_rockspec(path).build)
end

-- ---- --write: put the lists of the tree into the main rockspec ------------------------------------------------------

if arg[1] == "--write" then
  local sources, modules = {}, {}
  for _, path in ipairs(c_files) do
    sources[#sources + 1] = ('        "%s",\n'):format(path)
  end
  for _, path in ipairs(lua_files) do
    if not owner[path] and not path:match("^lua/dpg/sandbox") and not path:match("^lua/dpg/cli") then
      modules[#modules + 1] = ('    ["%s"] = "%s",\n'):format(module_name(path), path)
    end
  end
  local text = read(MAIN)
  text = text:gsub("(sources = {\n).-(\n?      },)", function(head, tail)
    return head .. table.concat(sources) .. tail:gsub("^\n", "")
  end, 1)
  text = text:gsub('\n    %["dpg[%w_.]*"%] = "[^\n]*', "")
  text = text:gsub('(libraries = [^\n]*\n    },\n)', function(head)
    return head .. table.concat(modules)
  end, 1)
  local file = assert(io.open(MAIN, "wb"))
  file:write(text)
  file:close()
  return
end

-- ---- the comparison ------------------------------------------------------------------------------------------------

local build = load_rockspec(MAIN).build
claim(MAIN, build)
for _, path in ipairs(lua_files) do
  if not owner[path] then
    problem(path, " is in no rockspec")
  end
end

local listed = {}
for _, path in ipairs(build.modules["dpg.core"].sources) do
  listed[path] = true
end
for _, path in ipairs(c_files) do
  if not listed[path] then
    problem(MAIN, " does not list ", path)
  end
  listed[path] = nil
end
for path in pairs(listed) do
  problem(MAIN, " lists ", path, ", which is not there")
end

table.sort(problems)
for _, text in ipairs(problems) do
  print(text)
end
if #problems > 0 then
  print("lua tools/rockspec.lua --write  puts the lists of " .. MAIN .. " right")
  os.exit(1)
end
