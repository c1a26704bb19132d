-- One account's photo library: images and sets by id, and the JSON of each image, kept so that a page of 200 costs a
-- concat. Every change goes through changed(), which moves `revision`: whatever was cached under an older one is stale.

local dates = require "dpg.sandbox.dates"
local json = require "dpg.sandbox.json"
local seed = require "dpg.sandbox.seed"

local M = {}

local Library = {}
Library.__index = Library
Library.__name = "dpg.sandbox.library"

local function index_by_uuid(list)
  local index = {}
  for _, item in ipairs(list) do
    index[item.public_uuid] = item
  end
  return index
end

---@param account table
---@param count integer  images
---@param number integer  seeds it: the same number makes the same library
---@return table library
function M.new(account, count, number)
  local images = seed.images(account, count, number)
  local sets = seed.sets(images, number + 1)
  return setmetatable({
    images = images, sets = sets, image = index_by_uuid(images), set = index_by_uuid(sets),
    profiles = seed.metadata_profiles(number + 2), revision = 1, _whole = {}, _brief = {}, _search = {},
  }, Library)
end

---Notes that an image was changed.
---@param image table
---@param now number
function Library:changed(image, now)
  image.updated_at = dates.iso(now)
  self.revision = self.revision + 1
  self._whole[image], self._brief[image], self._search[image] = nil, nil, nil
end

---Forgets all kept JSON: its form has changed.
function Library:reshape()
  self.revision = self.revision + 1
  self._whole, self._brief = {}, {}
end

local brief_fields = {
  "public_uuid", "title", "description", "filename", "width", "height", "rotation", "rating", "has_video", "keywords",
  "creation_date", "created_at", "updated_at", "geo", "alt_text",
}

local function brief(image)
  local copy = {}
  for _, name in ipairs(brief_fields) do
    copy[name] = image[name]
  end
  copy.thumbnail = image.versions[1]
  return copy
end

---An image with everything, as JSON that json.encode() puts in as it is.
---@param image table
---@param numbers_as_strings boolean
---@return table raw
function Library:whole(image, numbers_as_strings)
  local kept = self._whole[image] or json.raw(json.encode(image, numbers_as_strings))
  self._whole[image] = kept
  return kept
end

---An image as lists show it.
---@param image table
---@param numbers_as_strings boolean
---@return table raw
function Library:brief(image, numbers_as_strings)
  local kept = self._brief[image] or json.raw(json.encode(brief(image), numbers_as_strings))
  self._brief[image] = kept
  return kept
end

---Title, description and keywords in lower case, words only, for the full text search: " a b c ".
---@param image table
---@return string
function Library:search_text(image)
  local kept = self._search[image]
  if kept then return kept end
  local parts = { image.title, image.filename }
  if image.description ~= json.null then parts[3] = image.description end
  for _, keyword in ipairs(image.keywords) do
    parts[#parts + 1] = keyword.value
  end
  kept = " " .. table.concat(parts, " "):lower():gsub("[^%w\128-\255]+", " ") .. " "
  self._search[image] = kept
  return kept
end

return M
