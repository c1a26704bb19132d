-- The endpoints, one row each: method, path, scope, the fields of query and body with their checks, and what the
-- answer is. What is checked here is checked before anything is sent. doc/api.md is made from these rows
-- (tools/api_doc.lua). Values in, values out; dpg.session does the calling.
local checks = require "dpg.checks"
local errors = require "dpg.errors"
local url = require "dpg.url"
local wire = require "dpg.wire"

local M = {}

local text, whole, nullable = checks.text, checks.whole, checks.nullable
local date, flag, uuid = checks.date, checks.flag, checks.uuid
local needed = text(nil, true) -- text that may not be empty

local PAGING = { limit = whole(1, 200), offset = whole(0, 1e9) }

local function paged(fields)
  for name, check in pairs(PAGING) do fields[name] = check end
  return fields
end

local IMAGE_FILTERS = {
  query = text(), keyword = checks.texts, namespace = text(), rating = whole(0, 5), min_rating = whole(0, 5),
  exif_property = text(), exif_value = text(), created_at_from = date, created_at_to = date, updated_at_from = date,
  updated_at_to = date, creation_date_from = date, creation_date_to = date, has_video = flag, has_geo = flag,
  bbox = checks.bbox,
}

local function filters()
  local fields = {}
  for name, check in pairs(IMAGE_FILTERS) do fields[name] = check end
  return fields
end

local READ, METADATA, SETS = "api.images.read", "api.metadata.write", "api.sets.write"
local KEYWORDS, DOWNLOAD = "api.keywords.write", "api.download"
local IMAGES = { image_public_uuids = checks.uuids "images" }

-- A row: `query` and `body` name their fields; `required` those of the body that must be there; `open` is the check of
-- body fields that have no name here; `optional`: the body may be left out; `one_of`: one of these is wanted;
-- `in_options`: fields of the body that callers give among the options; `shape` makes the wire's body of the fields.
-- `result`: "object", "list" (an array), "page" (an array and the paging headers), "operation", "batch" or "link";
-- `of`: what it holds, "image" or "set".
-- Fields of bodies that the contract marks A are assumed here, and nowhere else.
M.me = { method = "GET", path = "/me", result = "object" }

M.images = {
  list = { method = "GET", path = "/images", scope = READ, query = paged(filters()), result = "page", of = "image" },
  get = { method = "GET", path = "/images/{public_uuid}", scope = READ, result = "object", of = "image" },
  versions = { method = "GET", path = "/images/{public_uuid}/versions", scope = READ, result = "list" },
  facets = { method = "GET", path = wire.FACETS_PATH, scope = READ, query = filters(), result = "object" },
  update = {
    method = "PATCH", path = "/images/{public_uuid}", scope = "api.images.write", result = "operation",
    body = {
      title = text(191), description = nullable(text()), creation_date = date,
      rotation = checks.choice(0, 90, 180, 270),
    },
  },
  delete = {
    method = "DELETE", path = "/images/{public_uuid}", scope = "api.images.delete", result = "operation",
  },
  set_rating = {
    method = "PUT", path = "/images/{public_uuid}/rating", scope = "api.ratings.write", result = "operation",
    body = { rating = whole(0, 5) }, required = { "rating" },
  },
  set_alt_text = {
    method = "PUT", path = "/images/{public_uuid}/alt_text", scope = METADATA, result = "operation",
    body = { alt_text = nullable(text()) }, required = { "alt_text" },
  },
  set_metadata = {
    method = "PUT", path = "/images/{public_uuid}/metadata", scope = METADATA, result = "operation",
    body = { creator = nullable(text()), copyright_notice = nullable(text()), copyright_marked = nullable(flag) },
    open = checks.metadata,
  },
  set_crop = {
    method = "PUT", path = "/images/{public_uuid}/crop", scope = METADATA, result = "operation",
    body = {
      aspect_ratio = needed, x = whole(0, 1e9), y = whole(0, 1e9), width = whole(1, 1e9), height = whole(1, 1e9),
    },
    required = { "aspect_ratio", "x", "y", "width", "height" },
  },
  clear_crop = {
    method = "DELETE", path = "/images/{public_uuid}/crop", scope = METADATA, result = "operation",
    body = { aspect_ratio = needed }, optional = true,
  },
  add_keywords = {
    method = "POST", path = "/images/{public_uuid}/keywords", scope = KEYWORDS, result = "operation",
    body = { keywords = checks.keywords }, required = { "keywords" },
  },
  remove_keyword = {
    method = "DELETE", path = "/images/{public_uuid}/keywords", scope = KEYWORDS, result = "operation",
    body = { keyword = checks.keyword_body }, required = { "keyword" }, shape = wire.remove_keyword_body,
  },
  add_credit = {
    method = "POST", path = "/images/{public_uuid}/credits", scope = METADATA, result = "operation",
    body = { role = needed, name = needed }, required = { "role", "name" },
  },
  remove_credit = {
    method = "DELETE", path = "/images/{public_uuid}/credits", scope = METADATA, result = "operation",
    body = { role = needed, name = needed }, required = { "role", "name" },
  },
  extract_metadata = {
    method = "POST", path = "/images/{public_uuid}/extract_metadata", scope = METADATA, result = "operation",
  },
}

M.keywords = {
  list = { method = "GET", path = "/keywords", scope = READ, query = paged { namespace = text(), query = text() },
    result = "page" },
  namespaces = { method = "GET", path = "/keywords/namespaces", scope = READ, query = paged {}, result = "page" },
  rename = {
    method = "POST", path = "/keywords/rename", scope = KEYWORDS, result = "operation",
    body = { from = checks.keyword, to = checks.keyword, image_public_uuids = IMAGES.image_public_uuids },
    required = { "from", "to", "image_public_uuids" },
  },
}

M.metadata_profiles = {
  list = { method = "GET", path = "/metadata_profiles", scope = READ, query = paged {}, result = "page" },
}

M.sets = {
  list = { method = "GET", path = "/sets", scope = READ, query = paged { parent_public_uuid = uuid }, result = "page",
    of = "set" },
  tree = { method = "GET", path = "/sets/tree", scope = READ, result = "list", of = "set" },
  get = { method = "GET", path = "/sets/{public_uuid}", scope = READ, result = "object", of = "set" },
  images = { method = "GET", path = "/sets/{public_uuid}/images", scope = READ, query = paged {}, result = "page",
    of = "image" },
  create = {
    method = "POST", path = "/sets", scope = SETS, result = "operation",
    body = {
      name = needed, parent_public_uuid = nullable(uuid), colour = nullable(needed), description = nullable(text()),
      type = needed,
    },
    required = { "name" },
  },
  update = {
    method = "PATCH", path = "/sets/{public_uuid}", scope = SETS, result = "operation",
    body = {
      name = needed, colour = nullable(needed), description = nullable(text()),
      lead_image_public_uuid = nullable(uuid), parent_public_uuid = nullable(uuid),
    },
  },
  add_images = {
    method = "POST", path = "/sets/{public_uuid}/images", scope = SETS, result = "operation", body = IMAGES,
    required = { "image_public_uuids" },
  },
  remove_images = {
    method = "DELETE", path = "/sets/{public_uuid}/images", scope = SETS, result = "operation", body = IMAGES,
    required = { "image_public_uuids" },
  },
  order = {
    method = "PATCH", path = "/sets/{public_uuid}/order", scope = SETS, result = "operation", body = IMAGES,
    required = { "image_public_uuids" },
  },
  reorder = {
    method = "PATCH", path = "/sets/reorder", scope = SETS, result = "operation",
    body = { set_public_uuids = checks.uuids "sets" }, required = { "set_public_uuids" },
  },
  set_visibility = {
    method = "PATCH", path = "/sets/{public_uuid}/visibility", scope = SETS, result = "operation",
    body = {
      image_public_uuids = IMAGES.image_public_uuids, hidden = flag, activation_time = nullable(checks.moment),
    },
    required = { "image_public_uuids" }, one_of = { "hidden", "activation_time" },
  },
  snapshots = { method = "GET", path = "/sets/{public_uuid}/snapshots", scope = READ, query = paged {},
    result = "page" },
  restore = {
    method = "POST", path = "/sets/{public_uuid}/restore", scope = SETS, result = "operation",
    body = { snapshot_uuid = uuid }, optional = true,
  },
}

M.operations = {
  get = { method = "GET", path = "/operations/{uuid}", result = "operation" },
  batch = {
    method = "POST", path = "/operations/batch", result = "batch",
    body = { operations = checks.writes }, required = { "operations" },
    shape = wire.batch_body,
  },
}

M.uploads = {
  send = { -- asks for the ticket; the file goes to the processor
    method = "POST", path = "/uploads", scope = "api.upload", result = "object",
    body = {
      filename = needed, title = text(191), description = text(), keywords = checks.keywords, creation_date = date,
      set_public_uuid = uuid, read_metadata = flag,
    },
    required = { "filename" },
  },
}

M.downloads = {
  url = { -- at once, without an Operation
    method = "POST", path = "/downloads", scope = DOWNLOAD, result = "link",
    body = { image_public_uuid = uuid, version = needed }, required = { "image_public_uuid" },
    in_options = { "version" },
  },
}

M.archives = {
  create = {
    method = "POST", path = "/archives", scope = DOWNLOAD, result = "operation",
    body = { image_public_uuids = IMAGES.image_public_uuids, version_profile_uuid = uuid, filename = needed },
    required = { "image_public_uuids" },
  },
  list = { method = "GET", path = "/archives", scope = DOWNLOAD, query = paged {}, result = "page" },
}

-- The groups of rows, each the resource of that name; in the order of the contract.
M.GROUPS = {
  "images", "keywords", "metadata_profiles", "sets", "uploads", "downloads", "archives", "operations",
}

-- --- using them ----------------------------------------------------------------------------------------------------

local function sorted(t)
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- The order in which fields are checked; of a row's it is worked out once.
local orders = setmetatable({}, { __mode = "k" })
local function in_order(fields)
  local names = orders[fields]
  if not names then
    names = sorted(fields)
    orders[fields] = names
  end
  return names
end

---The names of the fields that callers give among the options of a row, as a set.
---@param row table
---@return table<string, boolean>
function M.names(row)
  local names = {}
  for name in pairs(row.query or {}) do names[name] = true end
  for _, name in ipairs(row.in_options or {}) do names[name] = true end
  return names
end

---Can a caller choose which members of the answer become tables (the option `fields`)?
---@param row table
---@return boolean
function M.has_shape(row)
  return row.method == "GET" and row.result ~= "operation" and row ~= M.me
end

local function refusal(where, code, field, message)
  return errors.usage(code, where .. ": " .. message, { field = field })
end

---The path of a row, its {names} filled in from `values`, in order. Raises at what is no name at all.
---@param where string  for the message: "images:get"
---@param row table
---@param values string[]
---@return string? path
---@return dpg.Error? err
function M.path(where, row, values)
  local parts = url.parts(row.path)
  local named, err
  for i = 2, #parts, 2 do
    local name, value = parts[i], values[i / 2]
    if type(value) ~= "string" then
      local has_one = type(value) == "table" and type(value[name]) == "string"
      errors.raise("%s: a %s (a string) expected, got %s%s", where, name,
        value == nil and "nothing" or "a " .. type(value), has_one and ": give its field " .. name or "")
    end
    local read, _, expected = checks.uuid.read(value)
    if not read and not err then
      err = refusal(where, "invalid_value", name, string.format("%s %s, not %s", name, expected, checks.shown(value)))
    end
    named = named or {}
    named[name] = value
  end
  if err then return nil, err end
  return url.path(row.path, named)
end

local function check_one(where, name, check, value)
  local read, problem, expected, given = check.read(value)
  if problem == "type" then
    errors.raise("%s: '%s': %s expected, got %s", where, name, expected,
      type(value) == "userdata" and checks.shown(value) or "a " .. type(value))
  elseif problem then
    local message = string.format("%s %s, not %s", name, expected, given or checks.shown(value))
    return nil, refusal(where, "invalid_value", name, message)
  end
  return read
end

---Checks `values` against the fields of a row. Raises at a wrong type; unknown names are the caller's business.
---@param where string
---@param fields table<string, dpg.Check>
---@param values table
---@param open? dpg.Check  for the values that have no field
---@return table? checked  a new table, as it goes on the wire
---@return dpg.Error? err  kind "usage", code "invalid_value", with `field`
function M.check(where, fields, values, open)
  local checked = {}
  for _, name in ipairs(open and sorted(values) or in_order(fields)) do
    local value = values[name]
    if value ~= nil then
      local read, err = check_one(where, name, fields[name] or open, value)
      if err then return nil, err end
      checked[name] = read
    end
  end
  return checked
end

local function is_field(row, name)
  if row.body[name] then return true end
  return row.open and type(name) == "string" and name:find "^%a[%w_]*$" ~= nil
end

local function has_one_of(row, values)
  for _, name in ipairs(row.one_of or {}) do
    if values[name] ~= nil then return true end
  end
  return row.one_of == nil
end

---Checks a body's fields; raises at an unknown one, and wants at least one and all that are required.
---@param where string
---@param row table
---@param values table
---@return table? checked
---@return dpg.Error? err
function M.check_body(where, row, values)
  if type(values) ~= "table" then errors.raise("%s: a table of fields expected, got %s", where, type(values)) end
  for name in pairs(values) do
    if not is_field(row, name) then
      errors.raise("%s: field '%s' is unknown; here are: %s (options come in a table of their own, behind the fields)",
        where, tostring(name), table.concat(sorted(row.body), ", "))
    end
  end
  local checked, err = M.check(where, row.body, values, row.open)
  if not checked then return nil, err end
  for _, name in ipairs(row.required or {}) do
    if checked[name] == nil then
      return nil, refusal(where, "missing_value", name, string.format("%s is missing (%s)", name, row.body[name].says))
    end
  end
  if next(checked) == nil and not row.optional then
    return nil, refusal(where, "nothing_to_do", nil, "no field is given; there are: "
      .. table.concat(sorted(row.body), ", "))
  end
  if not has_one_of(row, checked) then
    return nil, refusal(where, "nothing_to_do", nil, "none is given of " .. table.concat(row.one_of, ", "))
  end
  return checked
end

---The request of a row, checked: nothing is sent yet.
---@param where string
---@param row table
---@param values string[]  for the names in the path
---@param fields? table  of the body
---@param options? table  with the fields of the query among them
---@return table? request  row, method, path, query, body (a table)
---@return dpg.Error? err
function M.request(where, row, values, fields, options)
  local path, path_err = M.path(where, row, values)
  local err
  local request = { row = row, method = row.method, path = path, query = nil, body = nil, url = nil, as = nil }
  if row.query then
    request.query, err = M.check(where, row.query, options or {})
    if err then return nil, err end
  end
  if row.body and not (row.optional and fields == nil) then
    local checked
    checked, err = M.check_body(where, row, fields)
    if err then return nil, err end
    if next(checked) ~= nil then request.body = row.shape and row.shape(checked) or checked end
  end
  if path_err then return nil, path_err end -- only now: slips elsewhere raise first
  return request
end

-- --- finding one ---------------------------------------------------------------------------------------------------

local function matches(template, path)
  local pattern = template:gsub("[%-%.]", "%%%0"):gsub("{[%w_]+}", "[^/]+")
  return path:match("^" .. pattern .. "$") ~= nil
end

---Calls fn(group, name, row) for every row, in the order of the contract; what it returns, if true, ends the walk.
---@generic T
---@param fn fun(group: string, name: string, row: table): T?
---@return T?
function M.each_row(fn)
  for _, group in ipairs(M.GROUPS) do
    for _, name in ipairs(sorted(M[group])) do
      local found = fn(group, name, M[group][name])
      if found then return found end
    end
  end
end

---The scope that a raw request needs, if it is known.
---@param method string
---@param path string
---@return string?
function M.scope(method, path)
  local function find(is_it)
    return M.each_row(function(_, _, row)
      return row.method == method and is_it(row.path) and row or nil
    end)
  end
  local row = find(function(template) return template == path end)
    or find(function(template) return matches(template, path) end)
  return row and row.scope
end

return M
