-- One account's photo library: images and sets by id, the files behind the images, and the JSON of each image, kept so
-- that a page of 200 costs a concat. Every change moves `revision`: whatever was cached under an older one is stale.

local dates = require "dpg.sandbox.dates"
local json = require "dpg.sandbox.json"
local random = require "dpg.sandbox.random"
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
---@param cdn_url string  where its files are
---@return table library
function M.new(account, count, number, cdn_url)
  local images, embedded = seed.images(account, count, number, cdn_url)
  local sets = seed.sets(images, number + 1)
  local roots = {}
  for _, set in ipairs(sets) do
    if not set.parent then roots[#roots + 1] = set end
  end
  return setmetatable({
    account = account, cdn_url = cdn_url, images = images, image = index_by_uuid(images), roots = roots,
    set = index_by_uuid(sets), embedded = embedded, files = {}, pictures = {}, archives = {}, archive = {},
    secret = random.hex(16), next_due = math.huge,
    profiles = seed.metadata_profiles(number + 2), revision = 1, _whole = {}, _brief = {}, _search = {},
  }, Library)
end

function Library:_forget(image)
  self.revision = self.revision + 1
  self._whole[image], self._brief[image], self._search[image] = nil, nil, nil
end

---Notes that an image was changed.
---@param image table
---@param now number
function Library:changed(image, now)
  image.updated_at = dates.iso(now)
  self:_forget(image)
end

---@param image table
---@param file dpg.sandbox.Content  its original
function Library:add_image(image, file)
  table.insert(self.images, 1, image)
  self.image[image.public_uuid], self.files[image] = image, file
  self.revision = self.revision + 1
end

local function remove_item(list, item)
  for index, candidate in ipairs(list) do
    if candidate == item then
      table.remove(list, index)
      return
    end
  end
end

---Deletes an image, from the sets that hold it, too.
---@param image table
---@param now number
function Library:remove_image(image, now)
  if not self.image[image.public_uuid] then return end
  for _, uuid in ipairs(image.set_public_uuids) do
    local set = self.set[uuid]
    remove_item(set.images, image)
    set.hidden[image], set.due[image] = nil, nil
    if set.lead == image then set.lead = nil end
    self:set_changed(set, now)
  end
  remove_item(self.images, image)
  self.image[image.public_uuid], self.files[image], self.embedded[image] = nil, nil, nil
  self:_forget(image)
end

---Notes that a set was changed.
---@param set table
---@param now? number  nil: it keeps its date
function Library:set_changed(set, now)
  if now then set.updated_at = dates.iso(now) end
  self.revision = self.revision + 1
end

---@param set table
---@param parent table?
function Library:add_set(set, parent)
  self.set[set.public_uuid] = set
  set.parent = parent
  table.insert(parent and parent.children or self.roots, set)
end

---@param set table
---@param parent table?
function Library:move_set(set, parent)
  if set.parent == parent then return end
  remove_item(set.parent and set.parent.children or self.roots, set)
  self:add_set(set, parent)
end

local function as_keys(list)
  local keys = {}
  for _, item in ipairs(list) do
    keys[item] = true
  end
  return keys
end

---Adds images at the end of a set, as far as they exist and aren't in it.
---@param set table
---@param images table[]
function Library:add_to_set(set, images)
  local inside = as_keys(set.images)
  for _, image in ipairs(images) do
    if not inside[image] and self.image[image.public_uuid] then
      inside[image] = true
      table.insert(set.images, image)
      table.insert(image.set_public_uuids, set.public_uuid)
      self:_forget(image)
    end
  end
end

---@param set table
---@param images table[]
function Library:remove_from_set(set, images)
  local leaving, kept = as_keys(images), {}
  for _, image in ipairs(set.images) do
    if leaving[image] then
      remove_item(image.set_public_uuids, set.public_uuid)
      set.hidden[image], set.due[image] = nil, nil
      if set.lead == image then set.lead = nil end
      self:_forget(image)
    else
      kept[#kept + 1] = image
    end
  end
  set.images = kept
end

---Brings out the embargoed images whose time has come.
---@param now number
function Library:settle(now)
  self.next_due = math.huge
  for _, set in pairs(self.set) do
    for image, due in pairs(set.due) do
      if due <= now then
        set.hidden[image], set.due[image] = nil, nil
        self.revision = self.revision + 1
      else
        self.next_due = math.min(self.next_due, due)
      end
    end
  end
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
