-- dpg ls, search, show: looking at images. And what all commands share that take images or sets.
local dpg = require "dpg"
local failure = require "dpg.cli.failure"
local out = require "dpg.cli.out"
local session = require "dpg.cli.session"
local takes = require "dpg.cli.takes"

local M = {}

local UUID = "^" .. ("%x"):rep(8) .. ("%-" .. ("%x"):rep(4)):rep(3) .. "%-" .. ("%x"):rep(12) .. "$"

---@param text string
---@return boolean
function M.is_uuid(text)
  return text:match(UUID) ~= nil
end

---The images of the command line; "-" stands for the first words of the standard input's lines, as `dpg ls` prints
---them.
---@param words string[]
---@return string[] uuids  each once
function M.ids(words)
  local ids, seen = {}, {}
  local function add(id)
    if not M.is_uuid(id) then failure.usage("'%s' is no image's UUID: dpg ls shows them in its first "
      .. "column", out.plain(id)) end
    if not seen[id] then ids[#ids + 1] = id end
    seen[id] = true
  end
  for _, word in ipairs(words) do
    if word == "-" then
      local text = io.stdin:read "*a"
      if not text then failure.usage "the standard input can't be read: give UUIDs, or pipe them in" end
      for line in text:gmatch "[^\n]+" do
        local id = line:match "^%s*([^%s]+)"
        if id then add(id) end
      end
    else
      add(word)
    end
  end
  if #ids == 0 then failure.usage "no images were named: give UUIDs, or - to read them from the standard input" end
  return ids
end

-- Those whose whole path it is, and those that have the name anywhere.
local function walk(sets, before, wanted, by_path, by_name)
  for _, set in ipairs(sets) do
    local one = { set = set, path = before .. set.name }
    if one.path == wanted then by_path[#by_path + 1] = one end
    if set.name == wanted then by_name[#by_name + 1] = one end
    walk(set.children or {}, one.path .. "/", wanted, by_path, by_name)
  end
end

---A set by its UUID, its name, or its path in the tree ("Northlight 2025/Friday").
---@param gallery dpg.Session
---@param name string
---@return string uuid
function M.set(gallery, name)
  if M.is_uuid(name) then return name end
  local by_path, by_name = {}, {}
  walk(dpg.assert(gallery.sets:tree()), "", name, by_path, by_name)
  local found = #by_path > 0 and by_path or by_name
  if #found == 1 then return found[1].set.public_uuid end
  if #found == 0 then failure.raise(failure.FAILED, "there is no set '" .. out.plain(name) .. "': dpg set tree "
    .. "shows them") end
  local paths = {}
  for i, one in ipairs(found) do paths[i] = one.path .. " (" .. one.set.public_uuid .. ")" end
  failure.usage("%d sets are called '%s': say which by its UUID: "
    .. "%s", #found, out.plain(name), table.concat(paths, ", "))
end

-- --- looking -------------------------------------------------------------------------------------------------------

-- option, its name at the API, what it takes, what it is; is it a number of stars?
local FILTERS = {
  { "--namespace", "namespace", "AXIS", "with a keyword of this axis" },
  { "--rating", "rating", "STARS", "with exactly so many stars, 0 to 5", true },
  { "--min-rating", "min_rating", "STARS", "with at least so many stars", true },
  { "--exif-property", "exif_property", "NAME", "of whose camera data the property NAME (Model, LensModel …)" },
  { "--exif-value", "exif_value", "TEXT", "is TEXT" },
  { "--created-from", "created_at_from", "DATE", "came to DPG on this date (2025-06-27) or later" },
  { "--created-to", "created_at_to", "DATE", "came to DPG before" },
  { "--updated-from", "updated_at_from", "DATE", "changed on this date or later" },
  { "--updated-to", "updated_at_to", "DATE", "changed before" },
  { "--taken-from", "creation_date_from", "DATE", "taken on this date or later" },
  { "--taken-to", "creation_date_to", "DATE", "taken before" },
  { "--bbox", "bbox", "W,S,E,N", "taken between these degrees west, south, east and north" },
}

function M.keyword_text(keyword)
  if type(keyword) ~= "table" then return out.plain(keyword) end
  local namespace = keyword.namespace
  local has_axis = namespace ~= nil and namespace ~= dpg.null and namespace ~= ""
  return out.plain((has_axis and namespace .. ":" or "") .. tostring(keyword.value))
end

local function day(text)
  return type(text) == "string" and text:sub(1, 10) or ""
end

---@param images dpg.Image[]
function M.print(images)
  local rows = {}
  for i, image in ipairs(images) do
    rows[i] = { image.public_uuid, day(image.creation_date), image.rating, image.title }
  end
  out.table({ "UUID", "TAKEN", "STARS", "TITLE" }, rows)
end

-- A walk that ends after `limit` items.
local function some(each, limit)
  local count = 0
  return function()
    if count == limit then return nil end
    count = count + 1
    return (each())
  end
end

local ROWS_AT_ONCE = 200 -- printed as they come, so that a pipe need not wait for the last page

---Prints what an iterator of images gives.
function M.list(each, args)
  local limit = not args.all and (args.limit or 50) or math.huge
  local items = some(each, limit)
  if args.json then return out.json_array(items) end
  local rows, count = {}, 0
  for image in items do
    rows[#rows + 1], count = image, count + 1
    if #rows == ROWS_AT_ONCE then
      M.print(rows)
      rows = {}
    end
  end
  M.print(rows)
  if count == limit and each() then out.say("there are more: --limit N, or --all") end
end

local function look(args)
  local filters = {}
  for _, filter in ipairs(FILTERS) do filters[filter[2]] = args[filter[2]] end
  if #args.keyword > 0 then filters.keyword = args.keyword end
  if args.has_video then filters.has_video = true end
  if args.has_geo then filters.has_geo = true end
  if args.query and #args.query > 0 then filters.query = table.concat(args.query, " ") end
  if not args.all and (args.limit or 50) <= 200 then
    filters.limit = args.limit or 50
    if args.json then filters.prefetch = false end -- which does not say whether there are more
  end
  M.list(session.open(args).images:each(filters), args)
end

local function show(args)
  local gallery = session.open(args)
  for _, id in ipairs(M.ids(args.images)) do
    local image = dpg.assert(gallery.images:get(id))
    if args.json then
      out.json(image)
    else
      local keywords, versions = {}, {}
      for i, keyword in ipairs(image.keywords or {}) do keywords[i] = M.keyword_text(keyword) end
      for i, version in ipairs(image.versions or {}) do versions[i] = out.plain(version.version) end
      out.table({ "FIELD", "VALUE" }, {
        { "uuid", image.public_uuid }, { "title", image.title }, { "description", image.description },
        { "file", image.filename }, { "taken", image.creation_date }, { "stars", image.rating },
        { "keywords", table.concat(keywords, ", ") }, { "versions", table.concat(versions, " ") },
        { "alt text", image.alt_text },
      }, true)
    end
  end
end

-----json, --limit, --all, for whatever lists.
function M.add_list_options(command)
  command:flag "--json":description "as a JSON array"
  command:option "-n --limit":argname "N":description "so many at most (50)"
    :convert(takes.whole("--limit", 1, math.huge))
  command:flag "--all":description "all of them"
end

local function add_filters(command)
  takes.keyword(command, "with this keyword: value, or axis:value; several times: with each"):count "*"
  for _, filter in ipairs(FILTERS) do
    local option = command:option(filter[1]):target(filter[2]):argname(filter[3]):description(filter[4])
    if filter[5] then option:convert(takes.whole(filter[1], 0, 5)) end
  end
  command:flag "--has-video":description "with a video"
  command:flag "--has-geo":description "with a place"
  M.add_list_options(command)
  command:action(function(args) args.run = look end)
end

function M.add(parser)
  add_filters(takes.command(parser, "ls", "List images, newest first",
    "On a terminal a table; in a pipe lines with tabs: UUID, day, stars, title. Filters stack.",
    { "dpg ls --min-rating 4 --taken-from 2025-06-27", "dpg ls -k live --all | dpg set add \"Main Stage\" -" }))
  local search = takes.command(parser, "search", "Look for images by words",
    "+must -not \"a phrase\" wild*. Shows what dpg ls shows, and takes its filters.",
    { "dpg search sunset --min-rating 3", "dpg search -- +stage -crowd" })
  takes.argument(search, "query", "WORD", "what to look for; -- before a word that begins with a dash"):args "+"
  add_filters(search)
  local command = takes.command(parser, "show", "Show what is known of images", "Everything with --json.")
  takes.images(command)
  command:flag "--json":description "as JSON, an image a line"
  command:action(function(args) args.run = show end)
end

return M
