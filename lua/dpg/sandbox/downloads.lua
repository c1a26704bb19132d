-- Links to files (contract section 8): POST /downloads answers with one that runs out; archives of many originals are
-- made by an Operation and listed. The files behind them are served by cdn.lua.

local answers = require "dpg.sandbox.answers"
local content = require "dpg.sandbox.content"
local dates = require "dpg.sandbox.dates"
local fields = require "dpg.sandbox.fields"
local hash = require "dpg.sandbox.hash"
local images = require "dpg.sandbox.images"
local random = require "dpg.sandbox.random"
local zip = require "dpg.sandbox.zip"

local M = {}

local ARCHIVE_LIFE_S = 7 * 86400

---The signature of a path until a time.
---@param library table
---@param path string
---@param expires string
---@return string
function M.signature(library, path, expires)
  return hash.checksum(library.secret .. path .. "\n" .. expires)
end

local function signed_url(library, path, expires_at)
  local expires = string.format("%d", expires_at)
  return ("%s%s?expires=%s&signature=%s"):format(library.cdn_url, path, expires, M.signature(library, path, expires))
end

local function find_version(image, name)
  for _, version in ipairs(image.versions) do
    if version.version == name then return version end
  end
  answers.reject(404, "version_not_found", "there is no version " .. name, "version")
end

---The path of a version on the CDN.
---@param library table
---@param image table
---@param version string
---@return string
function M.path(library, image, version)
  return ("/%s/%s/%s"):format(library.account.unique_id, image.public_uuid, version)
end

---The name that a version has as a file.
---@param image table
---@param version string
---@return string
function M.filename(image, version)
  if version == "original" then return image.filename end
  return ("%s-%s.jpg"):format(image.filename:gsub("%.%w+$", ""), version)
end

local function picture_seed(image)
  return tonumber(image.public_uuid:gsub("%X", ""):sub(1, 7), 16)
end

---The file behind a version.
---@param library table
---@param image table
---@param version table
---@return dpg.sandbox.Content
function M.file(library, image, version)
  local original = version.version == "original"
  if original and library.files[image] then return library.files[image] end
  local kept = library.pictures[version]
  if not kept then
    kept = content.drawn(picture_seed(image), version.width, version.height, version.bytes)
    library.pictures[version] = kept
  end
  return kept
end

---POST /downloads
function M.create(context)
  local given = fields.read(context, { image_public_uuid = fields.image, version = fields.name() },
    { "image_public_uuid" })
  local image = given.image_public_uuid
  local version = find_version(image, given.version or "original")
  local expires_at = math.floor(context.api.now() + context.api.settings.link_life)
  return 200, {
    url = signed_url(context.library, M.path(context.library, image, version.version), expires_at),
    filename = M.filename(image, version.version), access = "signed", expires_at = expires_at,
  }
end

local function archive_json(archive)
  return {
    uuid = archive.uuid, filename = archive.filename, url = archive.url, bytes = archive.file.size,
    image_count = #archive.images, created_at = archive.created_at, expires_at = archive.expires_at,
  }
end

local function members_of(library, chosen)
  local members, there = {}, {}
  for _, image in ipairs(chosen) do
    if library.image[image.public_uuid] then
      there[#there + 1] = image
      members[#members + 1] = {
        name = image.filename, file = M.file(library, image, find_version(image, "original")),
      }
    end
  end
  return members, there
end

local function zip_name(filename)
  return filename:lower():find "%.zip$" and filename or filename .. ".zip"
end

local rows = {
  image_public_uuids = fields.list(fields.image), version_profile_uuid = fields.or_null(fields.name()),
  filename = fields.name(),
}

---POST /archives
---@return dpg.sandbox.Plan
function M.create_archive(context)
  local library, given = context.library, fields.read(context, rows, { "image_public_uuids" })
  local archive = { uuid = random.uuid(), filename = zip_name(given.filename or "archive.zip") }
  local plan = {
    type = "archive", image_public_uuids = images.uuids(given.image_public_uuids), message = "The archive is ready.",
  }
  function plan.apply(now)
    local members
    members, archive.images = members_of(library, given.image_public_uuids)
    archive.file = zip.content(members)
    archive.created_at, archive.expires_at = dates.iso(now), math.floor(now + ARCHIVE_LIFE_S)
    archive.url = signed_url(library, ("/%s/archives/%s"):format(library.account.unique_id, archive.uuid),
      archive.expires_at)
    table.insert(library.archives, 1, archive)
    library.archive[archive.uuid] = archive
    plan.result = { archive = archive_json(archive) }
  end
  return plan
end

---GET /archives: those that are ready and have not expired, newest first.
function M.archives(context)
  local now, list = context.api.now(), {}
  for _, archive in ipairs(context.library.archives) do
    if archive.expires_at > now then list[#list + 1] = archive_json(archive) end
  end
  local page, headers = answers.page(context.query, list)
  return 200, page, headers
end

return M
