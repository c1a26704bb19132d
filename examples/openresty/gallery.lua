-- A photographer's gallery behind nginx: one set of the library as a page, originals for those whom nginx lets in.
-- The session is made once, in init_by_lua; each worker keeps what it has read of the set for a minute, and asks with
-- ETags.
local dpg = require "dpg"
local page = require "page"
local semaphore = require "ngx.semaphore"

local M = {}

local KEEP_S = 60 -- a picture that was hidden is gone from the page by then
local READ_S = 30 -- in which the set has to be read
local RETRY_S = 5 -- after which it is tried again
local WIDEST = 2560 -- pixels; what is larger is only for those who may have originals

local gallery, set_uuid, kept

---Called by init_by_lua, before nginx has workers.
function M.configure()
  set_uuid = assert(os.getenv "DPG_SET", "DPG_SET is not set: the public_uuid of the set to show")
  gallery = dpg.assert(dpg.service {
    token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL", ca_file = os.getenv "DPG_CA_FILE",
    cache = dpg.cache.memory { entries = 2000 }, deadline = READ_S,
  })
end

-- --- what is shown -------------------------------------------------------------------------------------------------

local function known(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- Those that a page can use, the narrowest first.
local function versions_of(image)
  local list = {}
  for _, version in ipairs(image.versions) do
    local width = tonumber(version.width)
    if version.version ~= "original" and width and width > 0 and width <= WIDEST and page.address(version.url) then
      list[#list + 1] = { url = version.url, width = width, height = tonumber(version.height) or 0 }
    end
  end
  table.sort(list, function(a, b) return a.width < b.width end)
  return list
end

local function author(image, metadata)
  for _, credit in ipairs(type(image.credits) == "table" and image.credits or {}) do
    if known(credit.name) and tostring(credit.role):lower():find "^photo" then return credit.name end
  end
  return known(metadata.creator) or known(metadata.credit_line) or ""
end

local function camera(exif)
  local list = {}
  local function add(format, value)
    if value and value ~= dpg.null then list[#list + 1] = format:format(tostring(value)) end
  end
  add("%s", exif.Model)
  add("%s mm", exif.FocalLength)
  add("f/%s", exif.FNumber)
  add("%s s", exif.ExposureTime)
  add("ISO %s", exif.ISO)
  return table.concat(list, "  ·  ")
end

local function table_or_empty(value)
  return type(value) == "table" and value or {}
end

local function describe(image, may_download)
  local versions, metadata = versions_of(image), table_or_empty(image.metadata)
  if #versions == 0 then return nil end
  local place = {}
  for _, name in ipairs { "city", "state", "country" } do place[#place + 1] = known(metadata[name]) end
  local title = known(image.title) or known(image.filename) or ""
  return {
    id = image.public_uuid, title = title, alt = known(image.alt_text) or title, about = known(image.description) or "",
    by = author(image, metadata), rights = known(metadata.copyright_notice) or "", place = table.concat(place, ", "),
    camera = camera(table_or_empty(metadata.exif)), versions = versions, may_download = may_download,
    width = tonumber(image.width) or versions[1].width, height = tonumber(image.height) or versions[1].height,
    bytes = tonumber(image.bytes) or 0,
  }
end

-- All that the page needs, asked for side by side: the set, its visible images, and each one's versions and credits.
local function read_set()
  local me = dpg.spawn(function() return gallery:me() end)
  local set = dpg.assert(gallery.sets:get(set_uuid))
  local readers = {}
  for image in gallery.sets:each_image(set_uuid) do
    if image.hidden ~= true then
      readers[#readers + 1] = dpg.spawn(function() return gallery.images:get(image.public_uuid) end)
    end
  end
  local account = dpg.assert(me:await())
  local may_download = gallery:can "api.download"
  local shown = { title = set.name, about = set.description, account = account.account.name, images = {}, lead = 1 }
  for _, reader in ipairs(readers) do
    local image, err = reader:await()
    if not image and err.code ~= "image_not_found" then error(err, 0) end -- deleted a moment ago
    local one = image and describe(image, may_download)
    if one then
      shown.images[#shown.images + 1] = one
      shown.images[one.id] = true
      if one.id == set.lead_image_public_uuid then shown.lead = #shown.images end
    end
  end
  return shown
end

local function read()
  local ok, shown = pcall(dpg.run, read_set)
  if not ok then return nil, shown end
  local html = page.render(shown)
  return { html = html, policy = page.policy(shown.images), images = shown.images, etag = '"' .. ngx.md5(html) .. '"' }
end

-- One request of a worker reads at a time; the others show what was there before, or wait for it.
local gate = semaphore.new(1)

local function current()
  if kept and kept.until_s > ngx.now() then return kept end
  if not gate:wait(kept and 0 or READ_S) then return kept end
  if not kept or kept.until_s <= ngx.now() then
    local fresh, err = read()
    if err then ngx.log(ngx.ERR, "the set can't be read: ", tostring(err)) end
    kept = fresh or kept
    if kept then kept.until_s = ngx.now() + (fresh and KEEP_S or RETRY_S) end
  end
  gate:post()
  return kept
end

-- --- what is served ------------------------------------------------------------------------------------------------

local function refuse(status, message)
  ngx.status = status
  ngx.header["Content-Type"] = "text/plain; charset=utf-8"
  if status == 503 then ngx.header["Retry-After"] = RETRY_S end
  ngx.say(message)
end

---Answers GET / with the page.
function M.page()
  local shown = current()
  if not shown then return refuse(503, "The gallery is closed for a moment. Please come back soon.") end
  ngx.header["Content-Security-Policy"] = shown.policy
  ngx.header["Cache-Control"] = "no-cache"
  ngx.header["ETag"] = shown.etag
  if ngx.var.http_if_none_match == shown.etag then return ngx.exit(304) end
  ngx.header["Content-Type"] = "text/html; charset=utf-8"
  ngx.header["Content-Length"] = #shown.html
  ngx.print(shown.html)
end

-- A name in Content-Disposition (RFC 6266): in full, and one that old programs understand.
local function disposition(name)
  local plain = name:gsub('[^%w%.%-_ ]', "_")
  local full = name:gsub("[^%w%.%-_]", function(char) return ("%%%02X"):format(char:byte()) end)
  return ("attachment; filename=\"%s\"; filename*=UTF-8''%s"):format(plain, full)
end

---Answers GET /original/UUID with the file, as it comes: no more of it is fetched than the reader takes, so that a slow
---one holds back the CDN and not our memory. Who may come here is the location's business; what is not on the page is
---not served.
---@param uuid string
function M.original(uuid)
  local shown = current()
  if not shown or not shown.images[uuid] then return refuse(404, "There is no such picture here.") end
  local chunks = gallery.downloads:chunks(uuid, { version = "original" })
  local bytes, err = chunks:next()
  if err then
    ngx.log(ngx.ERR, "an original can't be had: ", tostring(err))
    return refuse(err.status == 404 and 404 or 502, "The picture can't be had at the moment.")
  end
  ngx.header["Content-Type"] = "application/octet-stream"
  ngx.header["Content-Disposition"] = disposition(chunks.filename or uuid)
  ngx.header["Content-Length"] = chunks.length
  ngx.header["Cache-Control"] = "private, no-store"
  local ok = true
  while bytes and ok do
    ok = ngx.print(bytes) and ngx.flush(true) -- waits for the reader; nothing: he has gone
    if ok then bytes, err = chunks:next() end
  end
  chunks:close()
  if err then
    ngx.log(ngx.ERR, "an original was cut: ", tostring(err))
    return ngx.exit(ngx.ERROR) -- hangs up: a file that looks whole and is not would be worse
  end
end

return M
