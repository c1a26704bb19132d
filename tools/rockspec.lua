-- Writes what can be told from the tree into the rockspecs, or, for `make check`, says where they differ from it:
-- every Lua module under lua/ is in the list of exactly one rock, and each rock has, beside its rockspec for a checkout
-- (scm), one for the release that csrc/core/dpg.h names, which differs by version and source alone.
--
--   lua tools/rockspec.lua [--write]
--
-- Rockspecs of earlier releases stay as they are. Run from the top of the tree.

package.path = "tools/?.lua;" .. package.path

local made = require "made"

-- Which rock a Lua file belongs to: the first whose pattern fits.
local ROCKS = {
  { name = "dpg-sandbox", path = "rockspecs/dpg-sandbox-scm-1.rockspec", owns = "^lua/dpg/sandbox" },
  { name = "dpg-cli", path = "rockspecs/dpg-cli-scm-1.rockspec", owns = "^lua/dpg/cli" },
  { name = "dpg", path = "dpg-scm-1.rockspec", owns = "^lua/" },
}

local RELEASE_SOURCE = [[

source = {
  url = "%s", -- what `make dist` makes; it has no public address yet, and comes along in the source rock
  dir = "%s",
}
]]

local function lua_files()
  local list = {}
  for path in assert(io.popen "find lua -name '*.lua'"):lines() do list[#list + 1] = path end
  table.sort(list)
  return list
end

local function module_name(path)
  return (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

local function owner_of(path)
  for _, rock in ipairs(ROCKS) do
    if path:find(rock.owns) then return rock end
  end
end

-- The text with the part that a pattern finds (between two captures) replaced; it must be there once.
local function replaced(text, pattern, new, what)
  local head, tail
  local count = select(2, text:gsub(pattern, function(before, after) head, tail = before, after end))
  if count ~= 1 then error(("%s: %d places to write to"):format(what, count), 0) end
  local from, to = text:find(pattern)
  return text:sub(1, from - 1) .. head .. new .. tail .. text:sub(to + 1)
end

local version = assert(made.read "csrc/core/dpg.h"):match '#define DPG_VERSION "([^"]+)"'
local wanted = {} -- path -> what the file should hold

for _, path in ipairs(lua_files()) do
  local rock = owner_of(path)
  rock.modules = rock.modules or {}
  table.insert(rock.modules, ('  ["%s"] = "%s",\n'):format(module_name(path), path))
end

-- What an editor reads comes along where it looks for the sources, too.
table.insert(ROCKS[3].modules, '  ["dpg.types"] = "types/dpg.lua",\n')

for _, rock in ipairs(ROCKS) do
  local text = made.read(rock.path)
  if rock.modules and not text then error(rock.path .. " is not there, but " .. rock.modules[1] .. " is", 0) end
  if text then
    text = replaced(text, "(\nlocal modules = {\n).-(}\n)", table.concat(rock.modules or {}), rock.path)
    wanted[rock.path] = text
    local top = "dpg-" .. version
    text = replaced(text, '(\nversion = ")scm%-1(")', version .. "-1", rock.path)
    text = replaced(text, "(\n)\nsource = %b{}\n(\n)", RELEASE_SOURCE:format(top .. ".tar.gz", top), rock.path)
    wanted[("rockspecs/%s-%s-1.rockspec"):format(rock.name, version)] = text
  end
end

made.keep(wanted, "the tree")
