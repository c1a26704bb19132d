-- What is read under /images, and /facets and /metadata_profiles (contract sections 4 and 5). Writes are in edits.lua.

local answers = require "dpg.sandbox.answers"
local filters = require "dpg.sandbox.filters"
local json = require "dpg.sandbox.json"
local tally = require "dpg.sandbox.tally"

local M = {}

---@param context table
---@param id? string  the path's, where none is given
---@return table image
function M.find(context, id)
  return context.library.image[id or context.params[1]] or answers.reject(404, "image_not_found")
end

---@param images table[]
---@return string[]
function M.uuids(images)
  local list = json.array {}
  for index, image in ipairs(images) do
    list[index] = image.public_uuid
  end
  return list
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
  local facets = { total = #images, keywords = tally.keywords(images) }
  for name, read in pairs(facet_of) do
    local counts = tally.new()
    for _, image in ipairs(images) do
      local value = read(image)
      if value ~= nil and value ~= json.null then counts.add(value) end
    end
    facets[name] = counts.sorted()
  end
  return 200, facets
end

---GET /metadata_profiles
function M.metadata_profiles(context)
  local page, headers = answers.page(context.query, context.library.profiles)
  return 200, page, headers
end

return M
