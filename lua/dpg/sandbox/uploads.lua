-- Tickets for uploads (contract section 7): POST /uploads answers where a file is to be sent, with which fields. The
-- file itself goes to the processor (processor.lua), which asks here what a ticket is worth.

local dates = require "dpg.sandbox.dates"
local fields = require "dpg.sandbox.fields"
local hash = require "dpg.sandbox.hash"
local json = require "dpg.sandbox.json"
local jpeg = require "dpg.sandbox.jpeg"
local keywords = require "dpg.sandbox.keywords"
local random = require "dpg.sandbox.random"
local seed = require "dpg.sandbox.seed"

local M = {}

local MAX_TITLE = 191
local HEAD_BYTES = 65536 -- in which a JPEG file tells its dimensions

local Uploads = {}
Uploads.__index = Uploads
Uploads.__name = "dpg.sandbox.uploads"

---@param settings table
---@param now fun(): number
---@return table uploads
function M.new(settings, now)
  return setmetatable({ settings = settings, now = now, list = {}, by_uuid = {}, url = "", secret = random.hex(16) },
    Uploads)
end

local rows = {
  filename = fields.name(), title = fields.text(MAX_TITLE), description = fields.or_null(fields.text()),
  keywords = keywords.list_check, creation_date = fields.date, set_public_uuid = fields.set,
  read_metadata = fields.boolean,
}

-- What is to be sent along, exactly so: among it an empty value, a line break, and whatever the title holds.
local function signed_fields(uploads, ticket)
  local given = ticket.given
  local signed = {
    transaction = ticket.uuid, expires = string.format("%d", math.ceil(ticket.expires_at)), acl = "",
    policy = "filename " .. hash.checksum(given.filename) .. "\r\nfile 0..", ["x-title"] = given.title or "",
  }
  signed.signature = hash.checksum(uploads.secret .. json.encode(signed))
  return signed
end

---POST /uploads
---@return fun(): integer, table answer
function M.create(context)
  local uploads = context.api.uploads
  local ticket = {
    uuid = random.uuid(), given = fields.read(context, rows, { "filename" }), library = context.library,
    expires_at = uploads.now() + uploads.settings.ticket_life, file_field = uploads.settings.file_field,
    state = "issued", attempts = 0,
  }
  ticket.fields = signed_fields(uploads, ticket)
  uploads.by_uuid[ticket.uuid] = ticket
  table.insert(uploads.list, ticket)
  local answer = {
    upload_url = uploads.url .. "/upload/" .. ticket.uuid, file_field = ticket.file_field, fields = ticket.fields,
    transaction_uuid = ticket.uuid,
  }
  return function() return 200, answer end
end

---What keeps a ticket from being used.
---@param ticket table?
---@return integer? status
---@return string? code
function Uploads:problem(ticket)
  if not ticket then return 404, "ticket_not_found" end
  if ticket.state == "used" then return 409, "ticket_used" end
  if self.now() >= ticket.expires_at then return 403, "ticket_expired" end
  return nil
end

local function dimensions(file)
  local width, height = jpeg.dimensions(file.read(0, math.min(file.size, HEAD_BYTES)))
  return width or 1600, height or 1067
end

---Puts a file into a library as a new image.
---@param library table
---@param file dpg.sandbox.Content
---@param given table  what the fields of POST /uploads say, checked
---@param now number
---@param content_type? string
---@return table image
function M.add_image(library, file, given, now, content_type)
  local width, height = dimensions(file)
  local image = {
    public_uuid = random.uuid(), title = given.title or given.filename, description = given.description or json.null,
    filename = given.filename, width = width, height = height, bytes = file.size, rotation = 0, rating = 0,
    alt_text = json.null, has_video = false, keywords = json.array(seed.keyword_objects(given.keywords or {})),
    creation_date = given.creation_date or dates.iso(now), created_at = dates.iso(now), updated_at = dates.iso(now),
    metadata = { exif = {} }, geo = json.null, set_public_uuids = json.array {}, crops = json.array {},
    credits = json.array {},
  }
  image.versions = seed.versions(library.cdn_url, library.account, image, content_type or "application/octet-stream")
  library:add_image(image, file)
  local set = given.set_public_uuid
  if set and library.set[set.public_uuid] then
    library:add_to_set(set, { image })
    library:set_changed(set, now)
  end
  return image
end

---Uses a ticket up: the file becomes an image.
---@param ticket table
---@param file dpg.sandbox.Content
---@param content_type? string
---@return table image
function Uploads:take(ticket, file, content_type)
  local image = M.add_image(ticket.library, file, ticket.given, self.now(), content_type)
  ticket.state, ticket.image, ticket.file = "used", image, file
  return image
end

---What became of each ticket, oldest first.
---@return table[]
function Uploads:history()
  local list = {}
  for index, ticket in ipairs(self.list) do
    list[index] = {
      transaction_uuid = ticket.uuid, state = ticket.state, attempts = ticket.attempts,
      filename = ticket.given.filename, image_public_uuid = ticket.image and ticket.image.public_uuid,
      bytes = ticket.file and ticket.file.size, kind = ticket.file and ticket.file.kind,
    }
  end
  return list
end

return M
