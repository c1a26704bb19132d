-- The endpoints under /images, /facets, /keywords and /metadata_profiles (contract sections 4 and 5).

local answers = require "dpg.sandbox.answers"
local dates = require "dpg.sandbox.dates"
local filters = require "dpg.sandbox.filters"
local json = require "dpg.sandbox.json"

local M = {}

local MAX_TITLE = 191

---@param context table
---@param id? string  the path's, where none is given
---@return table image
function M.find(context, id)
  return context.library.image[id or context.params[1]] or answers.reject(404, "image_not_found")
end

---A page of images, as lists show them.
---@param context table
---@param images table[]
---@return integer status
---@return table page
---@return table headers
function M.page(context, images)
  local page, headers = answers.page(context.query, images)
  for index, image in ipairs(page) do
    page[index] = context.library:brief(image, context.numbers_as_strings)
  end
  return 200, page, headers
end

---GET /images
function M.list(context)
  return M.page(context, filters.apply(context.library, context.query))
end

---GET /images/{public_uuid}
function M.get(context)
  return 200, context.library:whole(M.find(context), context.numbers_as_strings)
end

---GET /images/{public_uuid}/versions
function M.versions(context)
  return 200, M.find(context).versions
end

local function characters(text)
  local _, count = text:gsub("[^\128-\191]", "")
  return count
end

local checks = { -- field -> the value to keep; raises where it is refused
  title = function(value)
    if type(value) ~= "string" then answers.invalid("title", "title must be text") end
    if characters(value) > MAX_TITLE then answers.invalid("title", "title must be at most 191 characters") end
    return value
  end,
  description = function(value)
    local allowed = type(value) == "string" or value == json.null
    if not allowed then answers.invalid("description", "description must be text") end
    return value
  end,
  creation_date = function(value)
    local time = dates.parse(value)
    if not time then answers.invalid("creation_date", "creation_date must be a date") end
    return dates.iso(time)
  end,
  rotation = function(value)
    local allowed = type(value) == "number" and value % 90 == 0 and value >= 0 and value < 360
    if not allowed then answers.invalid("rotation", "rotation must be 0, 90, 180 or 270") end
    return value
  end,
}

---PATCH /images/{public_uuid}
---@return dpg.sandbox.Plan
function M.update(context)
  local image, changes = M.find(context), {}
  for field, value in pairs(context.body) do
    if not checks[field] then answers.invalid(field, field .. " can't be edited") end
    changes[field] = checks[field](value)
  end
  return {
    type = "update", image_public_uuids = { image.public_uuid }, message = "Updated successfully.",
    apply = function(now)
      for field, value in pairs(changes) do
        image[field] = value
      end
      context.library:changed(image, now)
    end,
  }
end

-- Counts values into a sorted list: most frequent first, then by name.
local function tally()
  local counts, list = {}, json.array {}
  local self = {}
  function self.add(value, fields)
    if not counts[value] then
      fields = fields or { value = value }
      fields.count = 0
      counts[value] = fields
      list[#list + 1] = fields
    end
    counts[value].count = counts[value].count + 1
  end
  function self.sorted()
    local function name(row) return row.keyword or row.namespace or tostring(row.value) end
    table.sort(list, function(a, b)
      if a.count ~= b.count then return a.count > b.count end
      return name(a) < name(b)
    end)
    return list
  end
  return self
end

local function full_form(keyword)
  return keyword.namespace ~= json.null and keyword.namespace .. ":" .. keyword.value or keyword.value
end

local function keyword_tally(images)
  local counts = tally()
  for _, image in ipairs(images) do
    for _, keyword in ipairs(image.keywords) do
      local full = full_form(keyword)
      counts.add(full, { keyword = full, namespace = keyword.namespace, value = keyword.value })
    end
  end
  return counts.sorted()
end

local facet_of = { -- facet -> its value in an image
  ratings = function(image) return image.rating end,
  cameras = function(image) return image.metadata.exif.Model end,
  lenses = function(image) return image.metadata.exif.LensModel end,
  creators = function(image) return image.metadata.creator end,
  years = function(image) return image.creation_date:sub(1, 4) end,
}

---GET /facets: counts over the images that the same filters as GET /images let through.
function M.facets(context)
  local images = filters.apply(context.library, context.query)
  local facets = { total = #images, keywords = keyword_tally(images) }
  for name, read in pairs(facet_of) do
    local counts = tally()
    for _, image in ipairs(images) do
      counts.add(read(image))
    end
    facets[name] = counts.sorted()
  end
  return 200, facets
end

---GET /keywords
function M.keywords(context)
  local namespace, list = context.query.namespace and context.query.namespace[1], {}
  for _, row in ipairs(keyword_tally(context.library.images)) do
    if not namespace or row.namespace == namespace then list[#list + 1] = row end
  end
  local page, headers = answers.page(context.query, list)
  return 200, page, headers
end

---GET /keywords/namespaces: each axis, how many keywords it has and how often they are used.
function M.namespaces(context)
  local counts, uses = tally(), {}
  for _, row in ipairs(keyword_tally(context.library.images)) do
    if row.namespace ~= json.null then
      counts.add(row.namespace, { namespace = row.namespace })
      uses[row.namespace] = (uses[row.namespace] or 0) + row.count
    end
  end
  local list = json.array {}
  for index, row in ipairs(counts.sorted()) do
    list[index] = { namespace = row.namespace, keywords = row.count, count = uses[row.namespace] }
  end
  local page, headers = answers.page(context.query, list)
  return 200, page, headers
end

---GET /metadata_profiles
function M.metadata_profiles(context)
  local page, headers = answers.page(context.query, context.library.profiles)
  return 200, page, headers
end

return M
