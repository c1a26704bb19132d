-- types/ says what there is: compared with the tables that the code goes by.
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
  local catalog = require "dpg.catalog"
  local config = require "dpg.config"
  local many = require "dpg.many"
  local transfer = require "dpg.transfer"
  local classes, current = {}, nil
  for line in read("types/dpg.lua"):gmatch "[^\n]+" do
    local name, bases = line:match "^%-%-%-@class ([%w_.]+):?(.*)$"
    local field = line:match "^%-%-%-@field ([%w_]+)"
    if name then
      current = name
      classes[name] = { bases = bases, fields = {} }
    elseif field then
      classes[current].fields[field] = true
    end
  end

  local function fields(name)
    local all = {}
    for base in classes[name].bases:gmatch "[%w_.]+" do
      for field in pairs(fields(base)) do all[field] = true end
    end
    for field in pairs(classes[name].fields) do all[field] = true end
    return all
  end

  local function names(sets)
    local all = {}
    for _, set in ipairs(sets) do
      for name in pairs(set) do all[name] = true end
    end
    return all
  end

  for name, class in pairs(require("dpg.objects").new({}, {})) do
    it("has every method of an object, " .. name, function()
      local documented_fields = fields(class.__name)
      for method in pairs(class.__index) do assert.is_true(documented_fields[method], name .. ":" .. method) end
    end)
  end

  local prepared = {}
  for _, name in ipairs { "images", "keywords", "sets", "archives" } do
    prepared[name] = require("dpg.resources." .. name)
  end

  local cases = {
    ["dpg.Retry"] = { { attempts = 1, base = 1, cap = 1, budget = 1 } },
    ["dpg.CallOptions"] = { config.CALL },
    ["dpg.ReadOptions"] = { config.CALL, config.READ },
    ["dpg.GetOptions"] = { config.CALL, config.READ, config.SHAPE },
    ["dpg.WriteOptions"] = { config.CALL, config.WRITE },
    ["dpg.RequestOptions"] = { config.CALL, config.READ, config.WRITE, { query = 1, body = 1, headers = 1 } },
    ["dpg.Config"] = { config.SESSION },
    ["dpg.ServiceOptions"] = { config.SESSION, { token = 1 } },
    ["dpg.ImageFilters"] = { config.CALL, config.READ, config.SHAPE, catalog.images.facets.query },
    ["dpg.ImageListOptions"] = { config.CALL, config.READ, config.SHAPE, config.WALK, catalog.images.list.query },
    ["dpg.KeywordListOptions"] = { config.CALL, config.READ, config.SHAPE, config.WALK, catalog.keywords.list.query },
    ["dpg.SetListOptions"] = { config.CALL, config.READ, config.SHAPE, config.WALK, catalog.sets.list.query },
    ["dpg.ListOptions"] = { config.CALL, config.READ, config.SHAPE, config.WALK, catalog.sets.images.query },
    ["dpg.ImageFields"] = { catalog.images.update.body },
    ["dpg.ImageMetadata"] = { catalog.images.set_metadata.body },
    ["dpg.Crop"] = { catalog.images.set_crop.body },
    ["dpg.Credit"] = { catalog.images.add_credit.body },
    ["dpg.KeywordRename"] = { catalog.keywords.rename.body },
    ["dpg.NewSet"] = { catalog.sets.create.body },
    ["dpg.SetFields"] = { catalog.sets.update.body },
    ["dpg.Visibility"] = { catalog.sets.set_visibility.body },
    ["dpg.NewArchive"] = { catalog.archives.create.body },
    ["dpg.LinkOptions"] = { config.CALL, config.WRITE, { version = 1 } },
    ["dpg.TransferOptions"] = { transfer.OPTIONS },
    ["dpg.UploadOptions"] = { transfer.OPTIONS, { idempotency_key = 1 } },
    ["dpg.SaveOptions"] = { transfer.OPTIONS, { overwrite = 1 } },
    ["dpg.DownloadOptions"] = { transfer.OPTIONS, { overwrite = 1, version = 1 } },
    ["dpg.ChunkOptions"] = { transfer.OPTIONS, { version = 1, window = 1 } },
    ["dpg.ManyOptions"] = { transfer.OPTIONS, many.OPTIONS },
    ["dpg.UploadFields"] = { catalog.uploads.send.body },
    ["dpg.BatchAllOptions"] = { config.CALL, config.WRITE, { size = 1, wait = 1 } },
    ["dpg.Prepare"] = { require("dpg.batch").prepare(prepared) },
  }
  for name, sets in pairs(cases) do
    it("has in " .. name .. " what is taken, and nothing else", function()
      assert.same(names(sets), fields(name))
    end)
  end
end)
