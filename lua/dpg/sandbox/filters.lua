-- The filters of GET /images and GET /facets (contract section 4): each row turns a query parameter into a test, and
-- they stack. A value that can't be read is a 400 that names its field.

local answers = require "dpg.sandbox.answers"
local dates = require "dpg.sandbox.dates"
local json = require "dpg.sandbox.json"
local seed = require "dpg.sandbox.seed"

local M = {}

local DAY_S = 86400

local function plain(text)
  return (text:lower():gsub("[^%w\128-\255]+", " "):gsub("^ ", ""):gsub(" $", ""))
end

-- `+must -not "a phrase" wild*`: every + word is there, no - word is, and of the others, where no + is given, one is.
local function parse_terms(text)
  local terms = { must = {}, forbidden = {}, any = {} }
  local lists = { ["+"] = terms.must, ["-"] = terms.forbidden, [""] = terms.any }
  local position = 1
  while true do
    local sign, after = text:match("^%s*([+-]?)()", position)
    local words, next_position = text:match('^"([^"]*)"()', after)
    local wild = false
    if not words then
      words, next_position = text:match("^([^%s\"]+)()", after)
      if not words then return terms end
      wild = words:sub(-1) == "*"
    end
    words = plain(words)
    if words ~= "" then table.insert(lists[sign], " " .. words .. (wild and "" or " ")) end
    position = next_position
  end
end

local function holds(text, term)
  return text:find(term, 1, true) ~= nil
end

local function holds_all(text, list)
  for _, term in ipairs(list) do
    if not holds(text, term) then return false end
  end
  return true
end

local function holds_one(text, list)
  for _, term in ipairs(list) do
    if holds(text, term) then return true end
  end
  return false
end

local function full_text(value)
  local terms = parse_terms(value)
  local optional = #terms.must > 0 or #terms.any == 0
  return function(image, library)
    local text = library:search_text(image)
    if not holds_all(text, terms.must) or holds_one(text, terms.forbidden) then return false end
    return optional or holds_one(text, terms.any)
  end
end

local function has_keyword(image, namespace, value)
  for _, keyword in ipairs(image.keywords) do
    local same_namespace = not namespace or keyword.namespace == namespace
    if same_namespace and (not value or keyword.value:lower() == value) then return true end
  end
  return false
end

-- `keyword` is a full form, or a bare value that `namespace` may narrow.
local function keyword(value, query)
  local namespace, bare = seed.split_keyword(value)
  namespace = namespace or query.namespace and query.namespace[1]
  bare = bare:lower()
  return function(image) return has_keyword(image, namespace, bare) end
end

local function in_namespace(value)
  return function(image) return has_keyword(image, value) end
end

local function rating_of(value, field)
  local number = value:find "^[0-5]$" and tonumber(value)
  if not number then answers.invalid(field, field .. " must be from 0 to 5") end
  return number
end

local function rating(value)
  local number = rating_of(value, "rating")
  return function(image) return image.rating == number end
end

local function min_rating(value)
  local number = rating_of(value, "min_rating")
  return function(image) return image.rating >= number end
end

local function exif_property(value, query)
  local wanted = query.exif_value and query.exif_value[1]:lower()
  return function(image)
    local found = image.metadata.exif[value]
    if found == nil then return false end
    return not wanted or (type(found) == "number" and json.encode(found) or found):lower() == wanted
  end
end

local function exif_value(value, query)
  if query.exif_property then return function() return true end end
  local wanted = value:lower()
  return function(image)
    for _, found in pairs(image.metadata.exif) do
      if tostring(found):lower() == wanted then return true end
    end
    return false
  end
end

local function date_of(value, field)
  local time, whole_day = dates.parse(value)
  if not time then answers.invalid(field, field .. " must be a date") end
  return time, whole_day
end

local function from(field)
  return function(value)
    local time = date_of(value, field .. "_from")
    return function(image) return dates.parse(image[field]) >= time end
  end
end

-- "to" a day means to its end.
local function to(field)
  return function(value)
    local time, whole_day = date_of(value, field .. "_to")
    if whole_day then time = time + DAY_S - 1 end
    return function(image) return dates.parse(image[field]) <= time end
  end
end

local booleans = { ["true"] = true, ["1"] = true, ["false"] = false, ["0"] = false }

local function flag(field, read)
  return function(value)
    local wanted = booleans[value]
    if wanted == nil then answers.invalid(field, field .. " must be true or false") end
    return function(image) return read(image) == wanted end
  end
end

-- west,south,east,north in degrees (the order is an assumption, as in GeoJSON, RFC 7946 section 5).
local function bbox(value)
  local box = {}
  for part in (value .. ","):gmatch "([^,]*)," do
    box[#box + 1] = tonumber(part) or answers.invalid("bbox", "bbox must be west,south,east,north")
  end
  if #box ~= 4 or box[2] > box[4] then answers.invalid("bbox", "bbox must be west,south,east,north") end
  local function within_longitude(longitude)
    if box[1] <= box[3] then return longitude >= box[1] and longitude <= box[3] end
    return longitude >= box[1] or longitude <= box[3] -- across the date line
  end
  return function(image)
    local geo = image.geo
    return geo ~= json.null and within_longitude(geo.longitude) and geo.latitude >= box[2] and geo.latitude <= box[4]
  end
end

local rows = {
  query = full_text, keyword = keyword, namespace = in_namespace, rating = rating, min_rating = min_rating,
  exif_property = exif_property, exif_value = exif_value, bbox = bbox,
  created_at_from = from "created_at", created_at_to = to "created_at",
  updated_at_from = from "updated_at", updated_at_to = to "updated_at",
  creation_date_from = from "creation_date", creation_date_to = to "creation_date",
  has_video = flag("has_video", function(image) return image.has_video end),
  has_geo = flag("has_geo", function(image) return image.geo ~= json.null end),
}

local function tests_for(query)
  local tests = {}
  for name, values in pairs(query) do
    for _, value in ipairs(rows[name] and values or {}) do
      tests[#tests + 1] = rows[name](value, query)
    end
  end
  return tests
end

local function passes(image, library, tests)
  for _, test in ipairs(tests) do
    if not test(image, library) then return false end
  end
  return true
end

---The library's images that pass every filter, newest first.
---@param library table
---@param query table<string, string[]>
---@return table[] images
function M.apply(library, query)
  local tests, found = tests_for(query), {}
  for _, image in ipairs(library.images) do
    if passes(image, library, tests) then found[#found + 1] = image end
  end
  return found
end

return M
