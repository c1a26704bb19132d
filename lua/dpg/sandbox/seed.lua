-- Makes a photo library that looks real: festival, concert and landscape pictures with IPTC fields, EXIF, namespaced
-- keywords, places and versions, and a tree of sets. The same seed makes the same library on every Lua. Data only.

local dates = require "dpg.sandbox.dates"
local json = require "dpg.sandbox.json"
local random = require "dpg.sandbox.random"

local M = {}

local NEWEST = dates.parse "2025-09-14T21:40:00Z"

local artists = {
  "Marina Vale", "The Paper Lanterns", "Kofi Asante Trio", "Hollow Pines", "Ada & The Tides", "Brass Parade",
  "Luz Ferreira", "Glasshouse", "Nils Aker", "Velvet Comet",
}
local stages = { "Main Stage", "Lakeside", "Forest Tent", "Boiler Room" }
local photographers = { "Priya Raman", "Tom Ekström", "Inês Duarte", "Callum Reid" }
local places = { -- name, region, latitude, longitude
  { "Harbour Island", "Northlight", 59.3251, 18.0711 }, { "Lofoten", "Nordland", 68.1566, 13.9990 },
  { "Glencoe", "Highland", 56.6826, -5.1023 }, { "Sintra", "Lisboa", 38.7974, -9.3905 },
  { "Plitvice", "Lika", 44.8654, 15.5820 }, { "Isle of Skye", "Highland", 57.2736, -6.2155 },
}
local cameras = { -- make, model, lenses
  { "Canon", "EOS R5", { "RF 24-70mm F2.8 L IS USM", "RF 70-200mm F2.8 L IS USM" } },
  { "Nikon", "Z 8", { "NIKKOR Z 24-120mm f/4 S", "NIKKOR Z 85mm f/1.2 S" } },
  { "SONY", "ILCE-7M4", { "FE 35mm F1.4 GM", "FE 16-35mm F2.8 GM II" } },
  { "FUJIFILM", "X-T5", { "XF 56mm F1.2 R WR", "XF 16-55mm F2.8 R LM WR" } },
}
local moments = { "sunset", "encore", "soundcheck", "crowd", "silhouette", "confetti", "backlight", "portrait" }
local scenes = {
  "sunrise", "waterfall", "ridge line", "long exposure", "northern lights", "low tide", "mist", "first snow",
}
local colours = { "red", "orange", "yellow", "green", "blue", "purple" }

local function capitalised(text)
  return text:sub(1, 1):upper() .. text:sub(2)
end

local function concert(dice)
  local artist, stage, moment = dice.pick(artists), dice.pick(stages), dice.pick(moments)
  return {
    title = ("%s, %s at the %s"):format(artist, moment, stage),
    description = ("%s playing the %s on day %d of the festival."):format(artist, stage, dice.number(3)),
    keywords = { "artist:" .. artist, "stage:" .. stage, moment, "concert", "live music" },
    place = places[1],
  }
end

local function festival(dice)
  local stage, moment = dice.pick(stages), dice.pick(moments)
  return {
    title = ("%s between the %s and the food court"):format(capitalised(moment), stage),
    description = "Festival life away from the music.",
    keywords = { "stage:" .. stage, moment, "festival", "people", "event:Northlight 2025" },
    place = places[1],
  }
end

local function landscape(dice)
  local place, scene = places[dice.number(#places - 1) + 1], dice.pick(scenes)
  return {
    title = ("%s, %s"):format(place[1], scene),
    description = ("%s near %s, %s."):format(capitalised(scene), place[1], place[2]),
    keywords = { "location:" .. place[1], "region:" .. place[2], scene, "landscape", "nature" },
    place = place,
  }
end

local kinds = { concert, concert, festival, landscape }

---"artist:Marina Vale" -> "artist", "Marina Vale"
---@param keyword string
---@return string? namespace
---@return string value
function M.split_keyword(keyword)
  local namespace, value = keyword:match "^([^:]+):(.+)$"
  return namespace, value or keyword
end

local function exif(dice, taken_at)
  local camera = dice.pick(cameras)
  return {
    Make = camera[1], Model = camera[2], LensModel = dice.pick(camera[3]),
    ISO = dice.pick { 100, 200, 400, 1600, 3200, 6400 }, FNumber = dice.pick { 1.2, 1.4, 2.8, 4, 5.6, 8 },
    ExposureTime = dice.pick { "1/60", "1/125", "1/500", "1/1000", "2" },
    FocalLength = dice.pick { 24, 35, 50, 85, 135, 200 }, DateTimeOriginal = dates.iso(taken_at),
  }
end

local function metadata(dice, subject, taken_at)
  local photographer = dice.pick(photographers)
  return {
    creator = photographer, copyright_notice = ("© %s %s"):format(dates.iso(taken_at):sub(1, 4), photographer),
    copyright_marked = true, credit_line = photographer .. " / Northlight", headline = subject.title,
    city = subject.place[1], state = subject.place[2], usage_terms = "Editorial use only", exif = exif(dice, taken_at),
  }
end

-- The longer side of each version and the size of its file, into which the picture fits (see jpeg.lua).
local version_sizes = { { "thumbnail", 160, 9000 }, { "preview", 640, 60000 }, { "large", 1280, 300000 } }

---The versions of an image, smallest first; the original is as large as the image says.
---@param cdn_url string
---@param account table
---@param image table  public_uuid, width, height, bytes
---@param content_type? string  of the original
---@return table[]
function M.versions(cdn_url, account, image, content_type)
  local list = json.array {}
  local base = ("%s/%s/%s/"):format(cdn_url, account.unique_id, image.public_uuid)
  local function add(name, width, height, bytes, kind)
    list[#list + 1] = {
      version = name, width = width, height = height, bytes = bytes, content_type = kind or "image/jpeg",
      url = ("%s%s?v=1"):format(base, name),
    }
  end
  for _, size in ipairs(version_sizes) do
    local scale = size[2] / math.max(image.width, image.height)
    add(size[1], math.max(1, math.floor(image.width * scale)), math.max(1, math.floor(image.height * scale)), size[3])
  end
  add("original", image.width, image.height, image.bytes, content_type)
  return list
end

---@param keywords string[]  full forms
---@return table[]  split
function M.keyword_objects(keywords)
  local list = json.array {}
  for index, keyword in ipairs(keywords) do
    local namespace, value = M.split_keyword(keyword)
    list[index] = { namespace = namespace or json.null, value = value }
  end
  return list
end

local function position(dice, place)
  if dice.chance(35) then return json.null end
  return { latitude = place[3] + dice.number(900) / 100000, longitude = place[4] + dice.number(900) / 100000 }
end

local ORIGINAL = { 1600, 1067 } -- as large as a picture that is drawn in a few tenths of a second

local function image(dice, account, taken_at, number, cdn_url)
  local subject = dice.pick(kinds)(dice)
  local wide = dice.chance(75)
  local made = {
    public_uuid = dice.uuid(), title = subject.title, description = subject.description,
    filename = ("NL25_%04d.jpg"):format(number), width = ORIGINAL[wide and 1 or 2], height = ORIGINAL[wide and 2 or 1],
    bytes = 220000 + math.floor(dice.number(9000000) / 50), rotation = 0,
    rating = dice.pick { 0, 0, 1, 2, 3, 3, 4, 4, 5 },
    alt_text = dice.chance(60) and "Photograph: " .. subject.title or json.null,
    has_video = dice.chance(6), keywords = M.keyword_objects(subject.keywords),
    creation_date = dates.iso(taken_at), created_at = dates.iso(taken_at + 7200),
    updated_at = dates.iso(taken_at + 7200 + dice.number(86400)), metadata = metadata(dice, subject, taken_at),
    geo = position(dice, subject.place), set_public_uuids = json.array {}, crops = json.array {},
    credits = json.array {},
  }
  made.versions = M.versions(cdn_url, account, made)
  return made, { caption = made.description, keywords = subject.keywords, date = made.metadata.exif.DateTimeOriginal }
end

---@param account table
---@param count integer
---@param seed integer
---@param cdn_url string
---@return table[] images  newest first
---@return table<table, table> embedded  what the file of each image says of it
function M.images(account, count, seed, cdn_url)
  local dice, list, embedded, taken_at = random.dice(seed), {}, {}, NEWEST
  for index = 1, count do
    local made, inside = image(dice, account, taken_at, 9000 - index, cdn_url)
    list[index], embedded[made] = made, inside
    taken_at = taken_at - 600 - dice.number(7200)
  end
  return list, embedded
end

local tree = { -- name, type, children
  { "Northlight 2025", "folder", {
    { "Friday", "gallery", {} }, { "Saturday", "gallery", {} }, { "Sunday", "gallery", {} },
    { "Backstage", "gallery", { { "Artists", "gallery", {} }, { "Crew", "gallery", {} } } },
  } },
  { "Landscapes", "folder", { { "North", "gallery", {} }, { "South", "gallery", {} } } },
  { "Press kit", "gallery", {} },
  { "Portfolio", "gallery", {} },
}

-- Deals a handful of images to a gallery, spread over the library.
local function deal(dice, images, set)
  local members, seen = {}, {}
  for _ = 1, math.min(#images, 6 + dice.number(18)) do
    local chosen = dice.pick(images)
    if not seen[chosen] then
      seen[chosen] = true
      members[#members + 1] = chosen
      table.insert(chosen.set_public_uuids, set.public_uuid)
    end
  end
  return members
end

local function add_sets(rows, parent, dice, images, list)
  for position_, row in ipairs(rows) do
    local set = {
      public_uuid = dice.uuid(), name = row[1], type = row[2], colour = dice.pick(colours), position = position_,
      description = row[1] .. ", selected by the picture desk.", parent = parent, children = {}, images = {},
      hidden = {}, due = {}, snapshots = {},
      created_at = dates.iso(NEWEST - dice.number(30) * 86400), updated_at = dates.iso(NEWEST - dice.number(5) * 3600),
    }
    if row[2] == "gallery" then set.images = deal(dice, images, set) end
    list[#list + 1] = set
    if parent then table.insert(parent.children, set) end
    add_sets(row[3], set, dice, images, list)
  end
end

---Twelve sets in a tree; tells the images which sets hold them.
---@param images table[]
---@param seed integer
---@return table[] sets  parents before their children
function M.sets(images, seed)
  local list = {}
  add_sets(tree, nil, random.dice(seed), images, list)
  return list
end

---@param seed integer
---@return table[] profiles
function M.metadata_profiles(seed)
  local dice = random.dice(seed)
  local function profile(name, fields) return { uuid = dice.uuid(), name = name, fields = fields } end
  return {
    profile("Editorial", { copyright_marked = true, usage_terms = "Editorial use only", credit_line = "Northlight" }),
    profile("Press release", { copyright_marked = true, usage_terms = "Free for press use until 2026-12-31" }),
    profile("Archive", { copyright_marked = false, usage_terms = "Internal" }),
  }
end

return M
