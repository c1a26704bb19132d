-- What an editor makes of it: lua-language-server's own checks and completions, where it is installed. (It is in no
-- package of Debian's; types_spec and documented_spec compare the same files with the running library everywhere.)
local annotations = require "support.annotations"
local dpg = require "dpg"
local json = require "dpg.json"
local language_server = require "support.language_server"
local process = require "support.process"

-- One Lua will do: nothing of it runs in the Lua of this suite.
if process.name ~= "lua5.4" then return end

local command, version = language_server.find()
if not command then
  describe("an editor", function()
    it("shows what there is", function() pending "lua-language-server is not installed" end)
  end)
  return
end

-- A program that calls what there is, by the running library's own word.
local function program()
  local gallery = dpg.assert(dpg.service { token = "t" })
  local lines = {
    'local dpg = require "dpg"', 'local gallery = dpg.assert(dpg.service { token = os.getenv "DPG_TOKEN" })',
  }
  local function all_of(what, object)
    local names = {}
    for name, value in pairs(object) do
      if type(value) == "function" and not name:find "^_" then names[#names + 1] = name end
    end
    table.sort(names)
    for _, name in ipairs(names) do lines[#lines + 1] = "print(" .. what .. "." .. name .. ")" end
  end
  all_of("dpg", dpg)
  all_of("dpg.store", dpg.store)
  all_of("dpg.cache", dpg.cache)
  all_of("gallery", getmetatable(gallery).__index)
  for name, value in pairs(gallery) do
    if type(value) == "table" and not name:find "^_" and name ~= "prepare" then
      all_of("gallery." .. name, getmetatable(value).__index)
    end
  end
  lines[#lines + 1] = 'local image = dpg.assert(gallery.images:get "…")'
  lines[#lines + 1] = "local set = dpg.assert(gallery.sets:list()).items[1]"
  for name, class in pairs(require("dpg.objects").new({}, {})) do
    if name == "image" or name == "set" then all_of(name, class.__index) end
  end
  return lines
end

-- The pages' own programs: the Lua blocks of one share their locals.
local function pages()
  local all = {}
  local list = assert(io.popen "find README.md doc -name '*.md' | LC_ALL=C sort")
  for path in list:lines() do
    local blocks = { 'local dpg = require "dpg"\nlocal gallery = dpg.assert(dpg.service { token = "t" })' }
    for block in ("\n" .. process.read_file(path)):gmatch "\n```lua\n(.-)```" do blocks[#blocks + 1] = block end
    if #blocks > 1 then
      all[#all + 1] = { name = "page_" .. path:gsub("%W", "_") .. ".lua", text = table.concat(blocks, "\n") }
    end
  end
  list:close()
  return all
end

-- Slips that it must see, so that its silence means something.
local SLIPS = {
  { "gallery.images:gett '…'", "undefined-field" },
  { "gallery.image:list()", "undefined-field" },
  { "print(image.titel)", "undefined-field" },
  { "gallery.images:set_rating('…', 'four')", "param-type-mismatch" },
  { "dpg.store.fil 'x'", "undefined-field" },
}

describe("an editor with lua-language-server " .. version:match "%S+", function()
  local folder, problems

  setup(function()
    folder = process.folder()
    local copy = "mkdir -p D/lua && cp -r types examples D && cp -r lua/dpg D/lua && cd D/lua/dpg && rm -rf sandbox cli"
    os.execute((copy:gsub("D", folder)))
    process.write_file(folder .. "/.luarc.json", json.encode {
      ["runtime.path"] = { "lua/?.lua", "lua/?/init.lua" }, ["workspace.checkThirdParty"] = false,
      -- of a value and an error one is there, which it can't know; and each game here has a love.update of its own
      ["diagnostics.disable"] = { "need-check-nil", "duplicate-set-field" },
      ["diagnostics.globals"] = { "ngx", "love", "jit" },
    })
    for _, page in ipairs(pages()) do process.write_file(folder .. "/" .. page.name, page.text) end
    local lines = program()
    process.write_file(folder .. "/fine.lua", table.concat(lines, "\n") .. "\n")
    for _, slip in ipairs(SLIPS) do lines[#lines + 1] = slip[1] end
    process.write_file(folder .. "/slips.lua", table.concat(lines, "\n") .. "\n")
    local check = command .. " --check D --checklevel=Warning --check_format=json --check_out_path=D/problems.json "
      .. "--logpath=D/log --metapath=D/meta >/dev/null 2>&1"
    os.execute((check:gsub("D", folder)))
    local found = assert(json.decode(assert(process.read_file(folder .. "/problems.json"))))
    problems = {}
    for uri, list in pairs(found) do
      local file = uri:sub(select(2, uri:find(folder, 1, true)) + 1):gsub("^[/.]+", "")
      for _, one in ipairs(list) do
        problems[#problems + 1] = { file = file, code = one.code,
          text = ("%s:%d: %s: %s"):format(file, one.range.start.line + 1, one.code, one.message) }
      end
    end
  end)

  local function found(pattern, code)
    local all = {}
    for _, one in ipairs(problems) do
      if one.file:find(pattern) and one.code:find(code or "") then all[#all + 1] = one.text end
    end
    table.sort(all)
    return all
  end

  it("finds nothing wrong in types/", function() assert.same({}, found "^types/") end)
  it("finds nothing wrong in the examples", function() assert.same({}, found "^examples/") end)
  it("finds nothing wrong in our doc comments", function() assert.same({}, found("^lua/", "doc")) end)
  it("finds nothing in the pages that there is not", function()
    assert.same({}, found("^page_", "undefined%-field"))
  end)
  it("knows all that the running library has", function() assert.same({}, found "^fine%.lua") end)

  it("sees slips", function()
    local seen = {}
    for _, one in ipairs(problems) do
      if one.file == "slips.lua" then seen[#seen + 1] = one.code end
    end
    local expected = {}
    for i, slip in ipairs(SLIPS) do expected[i] = slip[2] end
    table.sort(seen)
    table.sort(expected)
    assert.same(expected, seen)
  end)

  describe("completes", function()
    local server
    local head = 'local dpg = require "dpg"\nlocal gallery = dpg.assert(dpg.service { token = "t" })\n'

    setup(function() server = language_server.start(folder) end)
    teardown(function() server:close() end)

    it("the methods of gallery.images", function()
      local names = server:completions("methods.lua", head .. "gallery.images:")
      for name in pairs(getmetatable(require("dpg.resources.images").new {}).__index) do
        if not name:find "^_" then assert.truthy(names[name], name .. " is not offered") end
      end
    end)

    it("the options of gallery.images:list", function()
      local names = server:completions("options.lua", head .. "gallery.images:list { ")
      local wanted = annotations.members(annotations.read { "types/dpg.lua" }, "dpg.ImageListOptions")
      for name in pairs(wanted) do assert.truthy(names[name], name .. " is not offered") end
    end)
  end)
end)
