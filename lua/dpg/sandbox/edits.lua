-- Writes to one image (contract sections 4 and 5): its fields, rating, metadata, crop, alternative text, credits, what
-- is embedded in its file, and its end. Each checks its request and returns the plan of an Operation.

local answers = require "dpg.sandbox.answers"
local fields = require "dpg.sandbox.fields"
local images = require "dpg.sandbox.images"
local json = require "dpg.sandbox.json"
local keywords = require "dpg.sandbox.keywords"

local M = {}

local MAX_TITLE = 191

local function plan(context, image, kind, message, apply)
  return {
    type = kind, image_public_uuids = { image.public_uuid }, message = message,
    apply = function(now)
      apply(now)
      context.library:changed(image, now)
    end,
  }
end

-- The plan of a write whose fields are the image's own.
local function plan_fields(context, image, kind, message, given)
  return plan(context, image, kind, message, function()
    for name, value in pairs(given) do
      image[name] = value
    end
  end)
end

local editable = {
  title = fields.text(MAX_TITLE), description = fields.or_null(fields.text()), creation_date = fields.date,
  rotation = fields.one_of { 0, 90, 180, 270 },
}

---PATCH /images/{public_uuid}
---@return dpg.sandbox.Plan
function M.update(context)
  local image = images.find(context)
  return plan_fields(context, image, "update", "Updated successfully.", fields.read(context, editable))
end

---DELETE /images/{public_uuid}
---@return dpg.sandbox.Plan
function M.delete(context)
  local image = images.find(context)
  fields.read(context, {})
  return {
    type = "delete", image_public_uuids = { image.public_uuid }, message = "Deleted.",
    apply = function(now) context.library:remove_image(image, now) end,
  }
end

---PUT /images/{public_uuid}/rating
---@return dpg.sandbox.Plan
function M.set_rating(context)
  local image = images.find(context)
  local given = fields.read(context, { rating = fields.whole(0, 5) }, { "rating" })
  return plan_fields(context, image, "rating", "Rated.", given)
end

---PUT /images/{public_uuid}/alt_text
---@return dpg.sandbox.Plan
function M.set_alt_text(context)
  local image = images.find(context)
  local given = fields.read(context, { alt_text = fields.or_null(fields.text()) }, { "alt_text" })
  return plan_fields(context, image, "alt_text", "Alternative text set.", given)
end

local text_or_null, flag_or_null = fields.or_null(fields.text()), fields.or_null(fields.boolean)

local iptc = { copyright_marked = flag_or_null, date_created = fields.or_null(fields.date) } -- an assumption, the list
for _, name in ipairs {
  "creator", "creator_job_title", "copyright_notice", "copyright_url", "credit_line", "source", "headline", "caption",
  "caption_writer", "instructions", "usage_terms", "city", "state", "country", "country_code", "sub_location",
  "job_id", "intellectual_genre", "subject_code", "scene",
} do
  iptc[name] = text_or_null
end

---PUT /images/{public_uuid}/metadata: the fields that are sent are set; null clears one.
---@return dpg.sandbox.Plan
function M.set_metadata(context)
  local image, given = images.find(context), fields.read_some(context, iptc)
  return plan(context, image, "metadata", "Metadata set.", function()
    for name, value in pairs(given) do
      image.metadata[name] = value
    end
  end)
end

local function aspect_ratio(value, field)
  local across, down = (type(value) == "string" and value or ""):match "^([1-9]%d*):([1-9]%d*)$"
  if not across or not down then answers.invalid(field, field .. ' must be like "16:9"') end
  return value
end

local crop_fields = {
  aspect_ratio = aspect_ratio, x = fields.whole(0), y = fields.whole(0), width = fields.whole(1),
  height = fields.whole(1),
}

local function other_crops(image, ratio)
  local list = json.array {}
  for _, crop in ipairs(image.crops) do
    if ratio and crop.aspect_ratio ~= ratio then list[#list + 1] = crop end
  end
  return list
end

---PUT /images/{public_uuid}/crop: one for each aspect ratio.
---@return dpg.sandbox.Plan
function M.set_crop(context)
  local image = images.find(context)
  local crop = fields.read(context, crop_fields, { "aspect_ratio", "x", "y", "width", "height" })
  if crop.x + crop.width > image.width then answers.invalid("width", "the crop is wider than the image") end
  if crop.y + crop.height > image.height then answers.invalid("height", "the crop is higher than the image") end
  return plan(context, image, "crop", "Crop set.", function()
    image.crops = other_crops(image, crop.aspect_ratio)
    table.insert(image.crops, crop)
  end)
end

---DELETE /images/{public_uuid}/crop: the one of an aspect_ratio, or all.
---@return dpg.sandbox.Plan
function M.clear_crop(context)
  local image = images.find(context)
  local given = fields.read(context, { aspect_ratio = aspect_ratio })
  return plan(context, image, "crop", "Crop cleared.", function()
    image.crops = other_crops(image, given.aspect_ratio)
  end)
end

local credit_fields = { role = fields.name(), name = fields.name() }

local function read_credit(context)
  return fields.read(context, credit_fields, { "role", "name" })
end

local function find_credit(image, wanted)
  for index, credit in ipairs(image.credits) do
    if credit.role == wanted.role and credit.name == wanted.name then return index end
  end
  return nil
end

---POST /images/{public_uuid}/credits
---@return dpg.sandbox.Plan
function M.add_credit(context)
  local image, credit = images.find(context), read_credit(context)
  return plan(context, image, "credits", "Credited.", function()
    if not find_credit(image, credit) then table.insert(image.credits, credit) end
  end)
end

---DELETE /images/{public_uuid}/credits
---@return dpg.sandbox.Plan
function M.remove_credit(context)
  local image, credit = images.find(context), read_credit(context)
  if not find_credit(image, credit) then answers.reject(404, "credit_not_found", nil, "name") end
  return plan(context, image, "credits", "Credit removed.", function()
    local index = find_credit(image, credit)
    if index then table.remove(image.credits, index) end
  end)
end

---POST /images/{public_uuid}/extract_metadata: caption, keywords and date of the file become the image's own.
---@return dpg.sandbox.Plan
function M.extract_metadata(context)
  local image = images.find(context)
  fields.read(context, {})
  return plan(context, image, "extract_metadata", "Metadata extracted.", function()
    local embedded = context.library.embedded[image]
    if not embedded then return end
    image.description, image.creation_date = embedded.caption, embedded.date
    keywords.add_to(image, embedded.keywords)
  end)
end

return M
