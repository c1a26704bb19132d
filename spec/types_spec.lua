-- types/ says what there is: compared with the tables that the code goes by.
local annotations = require "support.annotations"
local boxes = require "support.box"
local compat = require "dpg.compat"
local dpg = require "dpg"
local process = require "support.process"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

local function registered(path)
  local names = {}
  for name in read(path):gmatch '{"([%l_]+)",%s*[%l_]+}' do names[name] = true end
  return names
end

local function documented(text, pattern)
  local names = {}
  for name in text:gmatch(pattern) do names[name] = true end
  return names
end

describe("types/core.lua", function()
  local text = read "types/core.lua"

  it("names every function of dpg.core, and no other", function()
    local names = {}
    for name, value in pairs(require "dpg.core") do
      if type(value) == "function" then names[name] = true end
    end
    assert.same(names, documented(text, "function core%.([%l_]+)"))
  end)

  for _, class in ipairs { "engine", "credential", "wake" } do
    it("names every method of an " .. class .. ", and no other", function()
      assert.same(registered("csrc/binding/" .. class .. ".c"), documented(text, "function " .. class .. ":([%l_]+)"))
    end)
  end
end)

describe("types/dpg.lua", function()
  local paths = { "types/dpg.lua" }
  local files = assert(io.popen "find lua/dpg -name '*.lua' ! -path '*/sandbox*' ! -path '*/cli/*' | LC_ALL=C sort")
  for path in files:lines() do paths[#paths + 1] = path end
  files:close()
  local written = annotations.read(paths)

  local function names_of(set, into)
    into = into or {}
    for name in pairs(set) do into[name] = true end
    return into
  end

  local function fields(name)
    local all = {}
    for member in pairs(annotations.members(written, name)) do
      if not member:find "^_" then all[member] = true end
    end
    return all
  end

  -- --- options: the library itself says which it takes, when it is given another ----------------------------------

  local function argument(name, kind, method)
    if name == "method" then return method end
    if name == "path" then return "/me" end
    if kind:find "^string" then return "0192f3e4-0000-7000-8000-000000000001" end
    if kind:find "^function" or kind:find "^fun" then return function() end end
    return (kind:find "integer" or kind:find "%d") and 1 or {}
  end

  local function taken(fn, one, self, method)
    local given = { self }
    for i, param in ipairs(one.doc.params) do
      given[#given + 1] = i == #one.doc.params and { no_such_option = 1 } or argument(param.name, param.type, method)
    end
    local fine, problem = pcall(fn, compat.unpack(given))
    local here = not fine and tostring(problem):match "no_such_option.-; here are: (.*)$"
    assert(here, "is not refused: an option that there is not: " .. tostring(problem))
    local names = {}
    for name in here:gmatch "[%w_]+" do names[name] = true end
    return names
  end

  local function check_options(where, fn, one, self)
    local last = one and one.doc.params[#one.doc.params]
    local class = last and last.type:match "^(dpg%.[%w]+)$"
    if not class or class == "dpg.RedisOptions" then return end
    it("has in " .. class .. " what " .. where .. " takes, and nothing else", function()
      local all = taken(fn, one, self, "GET")
      -- it is the method that says which
      if where == "session:request" then names_of(taken(fn, one, self, "POST"), all) end
      assert.same(all, fields(class))
    end)
  end

  local gallery = dpg.assert(dpg.service { token = "t", base_url = "http://127.0.0.1:9/v1" })
  local function check_class(where, object)
    local class = getmetatable(object)
    for name, fn in pairs(class.__index) do
      if type(fn) == "function" and not name:find "^_" then
        check_options(where .. ":" .. name, fn, written.classes[class.__name].methods[name], object)
      end
    end
  end
  check_class("session", gallery)
  for name in pairs(written.classes["dpg.Session"].fields) do
    if name ~= "prepare" then check_class("session." .. name, gallery[name]) end
  end
  for name, fn in pairs(dpg) do
    if type(fn) == "function" then
      local info = debug.getinfo(fn, "S")
      check_options("dpg." .. name, fn, written.functions[info.source:match "lua/dpg/.*$" .. ":" .. info.linedefined])
    end
  end

  it("has every resource of a session, and no other", function()
    local there = {}
    for name, value in pairs(gallery) do
      if type(value) == "table" and not name:find "^_" then there[name] = true end
    end
    for name in pairs(written.classes["dpg.Session"].fields) do assert.truthy(gallery[name], name) end
    for name in pairs(there) do assert.truthy(written.classes["dpg.Session"].fields[name], name) end
  end)

  -- --- bodies: the catalog's rows -----------------------------------------------------------------------------------

  local catalog = require "dpg.catalog"
  local bodies = {
    ["dpg.Retry"] = { attempts = 1, base = 1, cap = 1, budget = 1 },
    ["dpg.ImageFields"] = catalog.images.update.body, ["dpg.ImageMetadata"] = catalog.images.set_metadata.body,
    ["dpg.Crop"] = catalog.images.set_crop.body, ["dpg.Credit"] = catalog.images.add_credit.body,
    ["dpg.KeywordRename"] = catalog.keywords.rename.body, ["dpg.NewSet"] = catalog.sets.create.body,
    ["dpg.SetFields"] = catalog.sets.update.body, ["dpg.Visibility"] = catalog.sets.set_visibility.body,
    ["dpg.NewArchive"] = catalog.archives.create.body, ["dpg.UploadFields"] = catalog.uploads.send.body,
    ["dpg.TransferOptions"] = require("dpg.transfer").OPTIONS,
  }
  for class, body in pairs(bodies) do
    it("has in " .. class .. " what is sent, and nothing else", function()
      assert.same(names_of(body), fields(class))
    end)
  end

  it("has the writes that can be prepared, and no others", function()
    local prepared = {}
    for _, name in ipairs { "images", "keywords", "sets", "archives" } do
      prepared[name] = require("dpg.resources." .. name)
    end
    assert.same(names_of(require("dpg.batch").prepare(prepared)), fields "dpg.Prepare")
  end)

  for name, class in pairs(require("dpg.objects").new({}, {})) do
    it("has every method of an object, " .. name, function()
      local there = fields(class.__name)
      for method in pairs(class.__index) do assert.is_true(there[method], name .. ":" .. method) end
    end)
  end

  it("knows the codes of doc/errors.md, and no others", function()
    local of_page, is_table = {}, false
    for line in io.lines "doc/errors.md" do
      if line:find "^| code" then is_table = true elseif not line:find "^|" then is_table = false end
      if is_table then
        for code in line:match "^|(.-)|":gmatch "`([%w_]+)`" do of_page[code] = true end
      end
    end
    local of_types = {}
    for code in written.aliases["dpg.ErrorCode"]:gmatch '"([%w_]+)"' do of_types[code] = true end
    assert.same(of_page, of_types)
  end)

  -- --- results: what really comes -----------------------------------------------------------------------------------

  -- All that the class says is always there is there, and nothing is there that it does not say.
  local function check_result(class, value, open)
    local members = annotations.members(written, class)
    for name, one in pairs(members) do
      if one.field and not one.field.optional and not one.field.type:find "^fun" then
        assert.is_not_nil(value[name], class .. "." .. name .. " is not there")
      end
    end
    if open then return end -- whatever else the server says
    for name in pairs(value) do
      if type(name) == "string" and not name:find "^_" then
        assert.truthy(members[name], class .. "." .. name .. " is not written down")
      end
    end
  end

  describe("fits what comes (#heavy):", function()
    local box, session, seen

    setup(function()
      box = boxes.start()
      seen = {}
      session = dpg.assert(dpg.service { token = box.token, base_url = box.base_url,
        on_event = function(name, event) seen[name] = event end })
    end)
    teardown(function() box:stop() end)

    it("a page, an image, an answer, an Operation", function()
      check_result("dpg.Me", session:me(), true)
      local page, answer = session.images:list { limit = 2 }
      check_result("dpg.Page", page)
      check_result("dpg.Answer", answer)
      local image = session.images:get(page.items[1].public_uuid)
      check_result("dpg.Image", image, true)
      local operation
      operation, answer = image:update { title = "Here" }
      check_result("dpg.Operation", operation, true)
      check_result("dpg.Answer", answer)
      check_result("dpg.Set", session.sets:list().items[1], true)
      check_result("dpg.DownloadLink", session.downloads:url(page.items[1].public_uuid), true)
    end)

    it("errors of the API, of arguments and of the network", function()
      local _, refused = session.images:get "0192f3e4-0000-7000-8000-000000000001"
      local _, unsent = session.images:get "none"
      local nobody = dpg.assert(dpg.service { token = "t", base_url = "http://127.0.0.1:9/v1", retry = false })
      local _, unheard = nobody:me()
      for _, err in ipairs { refused, unsent, unheard } do
        check_result("dpg.Error", err)
        assert.truthy(written.aliases["dpg.ErrorKind"]:find('"' .. err.kind .. '"', 1, true))
      end
    end)

    it("events", function()
      for name, event in pairs(seen) do
        check_result("dpg.Event", event)
        assert.truthy(written.aliases["dpg.EventName"]:find('"' .. name .. '"', 1, true), name)
      end
      assert.truthy(seen.response)
    end)

    it("batches and files", function()
      local image = session.images:list({ limit = 1 }).items[1]
      local write = dpg.assert(session.prepare.images:set_rating(image.public_uuid, 3))
      check_result("dpg.Write", write)
      local report = dpg.assert(session.operations:batch_all { write })
      check_result("dpg.BatchReport", report)
      check_result("dpg.BatchItem", report.items[1])
      local folder = process.folder()
      local saved = dpg.assert(session.downloads:save_many({ image }, folder))
      check_result("dpg.SaveReport", saved)
      check_result("dpg.FileResult", saved.files[1])
      local sent = dpg.assert(session.uploads:send_many { saved.files[1].path })
      check_result("dpg.SendReport", sent)
      check_result("dpg.FileResult", sent.files[1])
      local _, answer = session.downloads:read(image.public_uuid)
      check_result("dpg.DownloadAnswer", answer)
    end)
  end)
end)
