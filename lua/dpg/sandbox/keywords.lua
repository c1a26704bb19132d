-- The endpoints under /keywords, and those of an image's keywords (contract section 5). A keyword is stored as one
-- text, "axis:value" or a bare value, and handed back split.

local answers = require "dpg.sandbox.answers"
local fields = require "dpg.sandbox.fields"
local images = require "dpg.sandbox.images"
local json = require "dpg.sandbox.json"
local seed = require "dpg.sandbox.seed"
local tally = require "dpg.sandbox.tally"

local M = {}

local MAX_AT_ONCE = 200

local function split(full)
  local namespace, value = seed.split_keyword(full)
  return { namespace = namespace or json.null, value = value }
end

local function index_of(image, wanted)
  for index, keyword in ipairs(image.keywords) do
    if keyword.namespace == wanted.namespace and keyword.value == wanted.value then return index end
  end
  return nil
end

---Adds keywords that an image has not got yet.
---@param image table
---@param full_forms string[]
function M.add_to(image, full_forms)
  for _, full in ipairs(full_forms) do
    local keyword = split(full)
    if not index_of(image, keyword) then table.insert(image.keywords, keyword) end
  end
end

local function keyword_text(value, field)
  if type(value) ~= "string" or not value:find "%S" then answers.invalid(field, field .. " must hold text") end
  return value
end

---The check of a list of keywords.
M.list_check = fields.list(keyword_text, MAX_AT_ONCE)

---POST /images/{public_uuid}/keywords
---@return dpg.sandbox.Plan
function M.add(context)
  local image = images.find(context)
  local given = fields.read(context, { keywords = M.list_check }, { "keywords" })
  return {
    type = "keywords", image_public_uuids = { image.public_uuid }, message = "Keywords added.",
    apply = function(now)
      M.add_to(image, given.keywords)
      context.library:changed(image, now)
    end,
  }
end

---DELETE /images/{public_uuid}/keywords: by the full form, or by the bare value and its namespace.
---@return dpg.sandbox.Plan
function M.remove(context)
  local image = images.find(context)
  local rows = { keyword = keyword_text, namespace = fields.or_null(fields.text()) }
  local given = fields.read(context, rows, { "keyword" })
  local wanted = split(given.keyword)
  if given.namespace and given.namespace ~= json.null and given.namespace ~= "" then
    wanted = { namespace = given.namespace, value = given.keyword }
  end
  if not index_of(image, wanted) then answers.reject(404, "keyword_not_found", nil, "keyword") end
  return {
    type = "keywords", image_public_uuids = { image.public_uuid }, message = "Keyword removed.",
    apply = function(now)
      local index = index_of(image, wanted)
      if index then table.remove(image.keywords, index) end
      context.library:changed(image, now)
    end,
  }
end

local function rename_in(image, from, to)
  local index = index_of(image, from)
  if not index then return false end
  if index_of(image, to) then
    table.remove(image.keywords, index)
  else
    image.keywords[index] = { namespace = to.namespace, value = to.value }
  end
  return true
end

---POST /keywords/rename: across a batch of images; those without the keyword stay as they are.
---@return dpg.sandbox.Plan
function M.rename(context)
  local rows = { from = keyword_text, to = keyword_text, image_public_uuids = fields.list(fields.image) }
  local given = fields.read(context, rows, { "from", "to", "image_public_uuids" })
  local from, to = split(given.from), split(given.to)
  return {
    type = "keywords", image_public_uuids = images.uuids(given.image_public_uuids), message = "Keyword renamed.",
    apply = function(now)
      for _, image in ipairs(given.image_public_uuids) do
        if rename_in(image, from, to) then context.library:changed(image, now) end
      end
    end,
  }
end

---GET /keywords
function M.list(context)
  local namespace, list = context.query.namespace and context.query.namespace[1], {}
  for _, row in ipairs(tally.keywords(context.library.images)) do
    if not namespace or row.namespace == namespace then list[#list + 1] = row end
  end
  local page, headers = answers.page(context.query, list)
  return 200, page, headers
end

---GET /keywords/namespaces: each axis, how many keywords it has and how often they are used.
function M.namespaces(context)
  local counts, uses = tally.new(), {}
  for _, row in ipairs(tally.keywords(context.library.images)) do
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

return M
