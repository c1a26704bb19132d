-- The endpoints, one row each: method, path, scope, the fields of query and body with their checks, and what the
-- answer is. What is checked here is checked before anything is sent. Values in, values out; dpg.session does the
-- calling.
local errors = require "dpg.errors"
local url = require "dpg.url"
local wire = require "dpg.wire"

local M = {}

-- --- checks: value -> what goes on the wire | nil, "type" or "value", what was expected ----------------------------
-- A wrong type is a programmer's slip and raises; a value that the API would refuse is nil, err of kind "usage",
-- unsent.

local function length(text) -- in characters of UTF-8, as DPG counts
  local _, n = text:gsub("[^\128-\191]", "")
  return n
end

local function text(max, min)
  return function(value)
    if type(value) ~= "string" then return nil, "type", "a string" end
    if (min and #value < min) or value:find("%z") then return nil, "value", "must be text" end
    if max and length(value) > max then return nil, "value", "must be at most " .. max .. " characters" end
    return value
  end
end

local function whole(min, max)
  return function(value)
    if type(value) ~= "number" then return nil, "type", "a whole number" end
    if value ~= math.floor(value) or value < min or value > max then
      return nil, "value", string.format("must be a whole number from %d to %d", min, max)
    end
    return value
  end
end

local function flag(value)
  if type(value) ~= "boolean" then return nil, "type", "a boolean" end
  return value
end

local function choice(...)
  local all = { ... }
  return function(value)
    if type(value) ~= type(all[1]) then return nil, "type", "a " .. type(all[1]) end
    for _, one in ipairs(all) do
      if value == one then return one end
    end
    local names = {}
    for i, one in ipairs(all) do names[i] = tostring(one) end
    return nil, "value", "must be one of " .. table.concat(names, ", ")
  end
end

-- Any parseable date as text, or Unix seconds (os.time()).
local function date(value)
  if type(value) == "number" then
    if not (value > -6e10 and value < 3e11) then return nil, "value", "must be Unix seconds" end
    return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(value))
  end
  if type(value) ~= "string" then return nil, "type", "a date as text or in Unix seconds" end
  if not value:find("%S") then return nil, "value", "must be a date" end
  return value
end

-- One text, or several, which all must match.
local function texts(value)
  if type(value) == "string" then return value end
  if type(value) ~= "table" then return nil, "type", "a string or an array of strings" end
  for _, one in ipairs(value) do
    if type(one) ~= "string" then return nil, "type", "a string or an array of strings" end
  end
  if #value == 0 then return nil, "value", "must hold at least one text" end
  return value
end

-- "west,south,east,north", or the four numbers.
local function bbox(value)
  if type(value) == "string" then return value end
  if type(value) ~= "table" then return nil, "type", "four numbers, or a string" end
  for i = 1, 4 do
    if type(value[i]) ~= "number" then return nil, "value", "must be four numbers: west, south, east, north" end
  end
  return string.format("%.10g,%.10g,%.10g,%.10g", value[1], value[2], value[3], value[4])
end

-- --- rows ----------------------------------------------------------------------------------------------------------

local PAGING = { limit = whole(1, 200), offset = whole(0, 1e9) }

local function paged(fields)
  for name, check in pairs(PAGING) do fields[name] = check end
  return fields
end

local IMAGE_FILTERS = {
  query = text(), keyword = texts, namespace = text(), rating = whole(0, 5), min_rating = whole(0, 5),
  exif_property = text(), exif_value = text(), created_at_from = date, created_at_to = date, updated_at_from = date,
  updated_at_to = date, creation_date_from = date, creation_date_to = date, has_video = flag, has_geo = flag,
  bbox = bbox,
}

local function filters(more)
  local fields = {}
  for name, check in pairs(IMAGE_FILTERS) do fields[name] = check end
  for name, check in pairs(more or {}) do fields[name] = check end
  return fields
end

local READ = "api.images.read"

-- `result`: "object", "list" (an array), "page" (an array and the paging headers) or "operation".
M.me = { method = "GET", path = "/me", result = "object" }

M.images = {
  list = { method = "GET", path = "/images", scope = READ, query = paged(filters()), result = "page" },
  get = { method = "GET", path = "/images/{public_uuid}", scope = READ, result = "object" },
  versions = { method = "GET", path = "/images/{public_uuid}/versions", scope = READ, result = "list" },
  facets = { method = "GET", path = wire.FACETS_PATH, scope = READ, query = filters(), result = "object" },
  update = {
    method = "PATCH", path = "/images/{public_uuid}", scope = "api.images.write", result = "operation",
    body = { title = text(191), description = text(), creation_date = date, rotation = choice(0, 90, 180, 270) },
  },
}

M.keywords = {
  list = { method = "GET", path = "/keywords", scope = READ, query = paged { namespace = text(), query = text() },
    result = "page" },
  namespaces = { method = "GET", path = "/keywords/namespaces", scope = READ, query = paged {}, result = "page" },
}

M.metadata_profiles = {
  list = { method = "GET", path = "/metadata_profiles", scope = READ, query = paged {}, result = "page" },
}

M.sets = {
  list = { method = "GET", path = "/sets", scope = READ, query = paged { parent_public_uuid = text(nil, 1) },
    result = "page" },
  tree = { method = "GET", path = "/sets/tree", scope = READ, result = "list" },
  get = { method = "GET", path = "/sets/{public_uuid}", scope = READ, result = "object" },
  images = { method = "GET", path = "/sets/{public_uuid}/images", scope = READ, query = paged {}, result = "page" },
}

M.operations = {
  get = { method = "GET", path = "/operations/{uuid}", result = "operation" },
}

-- Endpoints that are called by session:request alone: known for their scopes, which a 403 names.
M.others = {
  { method = "DELETE", path = "/images/{public_uuid}", scope = "api.images.delete" },
  { method = "POST", path = "/images/{public_uuid}/keywords", scope = "api.keywords.write" },
  { method = "DELETE", path = "/images/{public_uuid}/keywords", scope = "api.keywords.write" },
  { method = "POST", path = "/keywords/rename", scope = "api.keywords.write" },
  { method = "PUT", path = "/images/{public_uuid}/metadata", scope = "api.metadata.write" },
  { method = "PUT", path = "/images/{public_uuid}/rating", scope = "api.ratings.write" },
  { method = "PUT", path = "/images/{public_uuid}/crop", scope = "api.metadata.write" },
  { method = "DELETE", path = "/images/{public_uuid}/crop", scope = "api.metadata.write" },
  { method = "PUT", path = "/images/{public_uuid}/alt_text", scope = "api.metadata.write" },
  { method = "POST", path = "/images/{public_uuid}/credits", scope = "api.metadata.write" },
  { method = "DELETE", path = "/images/{public_uuid}/credits", scope = "api.metadata.write" },
  { method = "POST", path = "/images/{public_uuid}/extract_metadata", scope = "api.metadata.write" },
  { method = "POST", path = "/sets", scope = "api.sets.write" },
  { method = "PATCH", path = "/sets/reorder", scope = "api.sets.write" },
  { method = "PATCH", path = "/sets/{public_uuid}", scope = "api.sets.write" },
  { method = "POST", path = "/sets/{public_uuid}/images", scope = "api.sets.write" },
  { method = "DELETE", path = "/sets/{public_uuid}/images", scope = "api.sets.write" },
  { method = "PATCH", path = "/sets/{public_uuid}/order", scope = "api.sets.write" },
  { method = "PATCH", path = "/sets/{public_uuid}/visibility", scope = "api.sets.write" },
  { method = "GET", path = "/sets/{public_uuid}/snapshots", scope = READ },
  { method = "POST", path = "/sets/{public_uuid}/restore", scope = "api.sets.write" },
  { method = "POST", path = "/uploads", scope = "api.upload" },
  { method = "POST", path = "/downloads", scope = "api.download" },
  { method = "POST", path = "/archives", scope = "api.download" },
  { method = "GET", path = "/archives", scope = "api.download" },
}

-- --- using them ----------------------------------------------------------------------------------------------------

local function sorted(t)
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  return names
end

---The names of a row's query fields, as a set.
---@param row table
---@return table<string, boolean>
function M.names(row)
  local names = {}
  for name in pairs(row.query or {}) do names[name] = true end
  return names
end

---The path of a row, its {names} filled in from `values`, in order. Raises at what is no name at all.
---@param where string  for the message: "images:get"
---@param row table
---@param values string[]
---@return string? path
---@return dpg.Error? err
function M.path(where, row, values)
  local named, i, err = {}, 0, nil
  for name in row.path:gmatch("{([%w_]+)}") do
    i = i + 1
    local value = values[i]
    if type(value) ~= "string" then
      local has_one = type(value) == "table" and type(value[name]) == "string"
      errors.raise("%s: a %s (a string) expected, got %s%s", where, name,
        value == nil and "nothing" or "a " .. type(value), has_one and ": give its field " .. name or "")
    end
    if not url.is_segment(value) then
      err = err or errors.usage("invalid_value", string.format("%s: %s can't be %s", where, name,
        value == "" and "empty" or value), { field = name })
    end
    named[name] = value
  end
  if err then return nil, err end
  return url.path(row.path, named)
end

---Checks `values` against the fields of a row. Raises at a wrong type; unknown names are the caller's business.
---@param where string
---@param fields table<string, function>
---@param values table
---@return table? checked  a new table, as it goes on the wire
---@return dpg.Error? err  kind "usage", code "invalid_value", with `field`
function M.check(where, fields, values)
  local checked = {}
  for _, name in ipairs(sorted(fields)) do
    if values[name] ~= nil then
      local value, problem, expected = fields[name](values[name])
      if problem == "type" then
        errors.raise("%s: '%s': %s expected, got a %s", where, name, expected, type(values[name]))
      elseif problem then
        return nil, errors.usage("invalid_value", string.format("%s: %s %s", where, name, expected), { field = name })
      end
      checked[name] = value
    end
  end
  return checked
end

---Checks a body's fields; raises at an unknown one, and wants at least one.
---@param where string
---@param row table
---@param values table
---@return table? checked
---@return dpg.Error? err
function M.check_body(where, row, values)
  if type(values) ~= "table" then errors.raise("%s: a table of fields expected, got %s", where, type(values)) end
  for name in pairs(values) do
    if not row.body[name] then
      errors.raise("%s: field '%s' is unknown; here are: %s (options come in a table of their own, behind the fields)",
        where, tostring(name), table.concat(sorted(row.body), ", "))
    end
  end
  if next(values) == nil then
    return nil, errors.usage("nothing_to_do", string.format("%s: no field is given; there are: %s", where,
      table.concat(sorted(row.body), ", ")))
  end
  return M.check(where, row.body, values)
end

local function matches(template, path)
  local pattern = template:gsub("[%-%.]", "%%%0"):gsub("{[%w_]+}", "[^/]+")
  return path:match("^" .. pattern .. "$") ~= nil
end

local function find_in(rows, method, path)
  local found
  for _, name in ipairs(rows[1] and {} or sorted(rows)) do
    local row = rows[name]
    if row.method == method and (row.path == path or (not found and matches(row.path, path))) then found = row end
  end
  for _, row in ipairs(rows) do
    if row.method == method and (row.path == path or (not found and matches(row.path, path))) then found = row end
  end
  return found
end

---The scope that a raw request needs, if it is known.
---@param method string
---@param path string
---@return string?
function M.scope(method, path)
  for _, group in ipairs { M.images, M.keywords, M.metadata_profiles, M.sets, M.operations, M.others } do
    local row = find_in(group, method, path)
    if row then return row.scope end
  end
end

return M
