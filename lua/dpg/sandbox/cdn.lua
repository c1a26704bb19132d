-- The CDN, on a port of its own: serves the files of all libraries by GET and HEAD, with ranges (RFC 9110 section 14),
-- ETags and links that run out (contract section 8). It wants no token and notes when one comes.

local content = require "dpg.sandbox.content"
local dates = require "dpg.sandbox.dates"
local downloads = require "dpg.sandbox.downloads"

local M = {}

local function plain(status, text, headers)
  headers = headers or {}
  headers["Content-Type"] = "text/plain; charset=utf-8"
  return { status = status, headers = headers, body = text .. "\n" }
end

-- A link's own signature and expiry, where it has them.
local function link_problem(sandbox, library, request)
  local expires = request.query.expires and request.query.expires[1]
  local signature = request.query.signature and request.query.signature[1]
  if not expires and not signature then return nil end
  if signature ~= downloads.signature(library, request.path, expires or "") then return "the signature is wrong" end
  if sandbox.clock.now() >= tonumber(expires) then return "the link has expired" end
  return nil
end

local function library_of(sandbox, unique_id)
  for _, account in ipairs(sandbox.api.accounts) do
    if account.unique_id == unique_id then return sandbox.api:library(account) end
  end
  return nil
end

---Makes the original of an image another file of the same size.
---@param library table
---@param image table
function M.change_file(library, image)
  local old = library.files[image]
  library.changes = (library.changes or 0) + 1
  library.files[image] = content.blob(library.changes, old and old.size or image.bytes)
end

-- file, its type and name, when it was changed; nil where there is none.
local function find_version(library, image, name, fault)
  for _, version in ipairs(image.versions) do
    if version.version == name then
      if fault.change_file and name == "original" then M.change_file(library, image) end
      return {
        file = downloads.file(library, image, version), content_type = version.content_type,
        filename = downloads.filename(image, name), modified = dates.parse(image.created_at),
      }
    end
  end
  return nil
end

local function find_archive(library, uuid, now)
  local archive = library.archive[uuid]
  if not archive or archive.expires_at <= now then return nil end
  return {
    file = archive.file, content_type = "application/zip", filename = archive.filename,
    modified = dates.parse(archive.created_at),
  }
end

local function find(sandbox, library, path, fault)
  local middle, last = path:match "^/[^/]+/([^/]+)/([^/]+)$"
  if not middle then return nil end
  if middle == "archives" then return find_archive(library, last, sandbox.clock.now()) end
  local image = library.image[middle]
  return image and find_version(library, image, last, fault)
end

-- The one range that is asked for: from and to, both from 0; false where it can't be satisfied; nil where there is
-- none, or one that is not understood, which is as good as none.
local function parse_range(text, size)
  local first, last = (text or ""):match "^bytes=%s*(%d*)%-(%d*)%s*$"
  if not first or first == "" and last == "" then return nil end
  if first == "" then
    local count = math.min(tonumber(last), size)
    if count == 0 then return false end
    return size - count, size - 1
  end
  local from, to = tonumber(first), math.min(tonumber(last) or math.huge, size - 1)
  if last ~= "" and tonumber(last) < from then return nil end
  if from >= size then return false end
  return from, to
end

-- If-Range: a range only where the file is still that one, by its ETag or by its date (section 13.1.5).
local function range_still_good(request, found)
  local condition = request.headers["if-range"]
  return not condition or condition == found.file.etag or condition == dates.http(found.modified)
end

-- A name in Content-Disposition (RFC 6266): plain where it can be, and in full beside it.
local function disposition(filename)
  local ascii = filename:gsub('[%c"\\\128-\255]', "_")
  local full = filename:gsub("[^%w%.%-_~]", function(char) return ("%%%02X"):format(char:byte()) end)
  return ("attachment; filename=\"%s\"; filename*=UTF-8''%s"):format(ascii, full)
end

local function whole_number(value)
  return string.format("%d", value)
end

local function serve(request, exchange, found)
  local file, fault = found.file, exchange.fault
  local headers = {
    ["Content-Type"] = found.content_type, ["Accept-Ranges"] = "bytes", ETag = file.etag,
    ["Last-Modified"] = dates.http(found.modified), ["Content-Disposition"] = disposition(found.filename),
    ["Cache-Control"] = "private",
  }
  local known = request.headers["if-none-match"]
  if known and (known == "*" or known:find(file.etag, 1, true)) then
    return { status = 304, headers = headers, body = "" }
  end
  local expected = request.headers["if-match"]
  if expected and expected ~= "*" and not expected:find(file.etag, 1, true) then
    return plain(412, "the file is another one")
  end
  local from, to
  if request.method == "GET" and not fault.ignore_range and range_still_good(request, found) then
    from, to = parse_range(request.headers.range, file.size)
  end
  if from == false then
    return plain(416, "there is no such range", { ["Content-Range"] = "bytes */" .. whole_number(file.size) })
  end
  if from then
    headers["Content-Range"] = ("bytes %s-%s/%s"):format(whole_number(from), whole_number(to), whole_number(file.size))
  end
  return {
    status = from and 206 or 200, headers = headers, body = "", content = file, first = from or 0,
    length = from and to - from + 1 or file.size, no_body = request.method == "HEAD",
  }
end

local function answer(sandbox, request, exchange)
  if request.method ~= "GET" and request.method ~= "HEAD" then
    return plain(405, "only GET and HEAD", { Allow = "GET, HEAD" })
  end
  local library = library_of(sandbox, request.path:match "^/([^/]+)/")
  if not library then return plain(404, "there is no such file") end
  local problem = exchange.fault.expired and "the link has expired" or link_problem(sandbox, library, request)
  if problem then return plain(403, problem) end
  local found = find(sandbox, library, request.path, exchange.fault)
  if not found then return plain(404, "there is no such file") end
  local response = serve(request, exchange, found)
  if response.content and found.file.prepare and not response.no_body then
    found.file.prepare(function() exchange.connection:rest() end)
  end
  return response
end

---@param sandbox table  api, clock
---@return dpg.sandbox.Site
function M.site(sandbox)
  return {
    name = "cdn",
    answer = function(request, exchange)
      local response = answer(sandbox, request, exchange)
      response.no_body = request.method == "HEAD"
      return response
    end,
  }
end

return M
