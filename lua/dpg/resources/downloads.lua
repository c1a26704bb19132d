-- session.downloads: files on their way from DPG. Contract: section 8. How one is fetched is dpg.download's.
local catalog = require "dpg.catalog"
local compat = require "dpg.compat"
local config = require "dpg.config"
local disk = require "dpg.disk"
local download = require "dpg.download"
local errors = require "dpg.errors"
local filename = require "dpg.filename"
local many = require "dpg.many"
local methods = require "dpg.methods"
local transfer = require "dpg.transfer"
local wire = require "dpg.wire"

local M = {}

---@class dpg.Downloads
local Downloads = {}
Downloads.__index = Downloads
Downloads.__name = "dpg.Downloads"

---@param session dpg.Session
---@return dpg.Downloads
function M.new(session)
  return setmetatable({ _session = session }, Downloads)
end

---A link to an image's file, good for a while. Needs api.download. Fetch it without our bearer token: it leads to
---another host.
---@param public_uuid string
---@param options? dpg.LinkOptions  `version`; without: the largest that is served
---@return dpg.DownloadLink? link  `url`, `filename`, `access`, `expires_at` (Unix seconds)
---@return dpg.Answer|dpg.Error answer_or_err
function Downloads:url(public_uuid, options)
  return self._session:_call("downloads:url", catalog.downloads.url, {}, { image_public_uuid = public_uuid }, options)
end

local VERSION = { version = config.text }
local MOST, MAX_BYTES = { max_response_bytes = config.CALL.max_response_bytes }, 64 * 1024 * 1024
local OVERWRITE = { overwrite = config.is "boolean" }

-- A function that asks for the link to an image's file.
local function asking(self, public_uuid, version)
  return function(options)
    options.version = version
    local value, answer = self:url(public_uuid, options)
    if value == nil then return nil, answer end
    local link = wire.file_link(value)
    if link then return link end
    return nil, errors.from_response(answer.status, nil, { method = "POST", path = catalog.downloads.url.path,
      request_id = answer.request_id, problem = "it holds no link" })
  end
end

local function identity(public_uuid, version)
  return "image " .. public_uuid .. (version and " " .. version or "")
end

---Downloads an image's file. It grows as `.part` beside its target, and goes on there after a cut, within this call and
---in a later one; it gets its name once it is whole and on the disk. Needs api.download.
---@param public_uuid string
---@param target string  a path; or a folder, where it gets the name that the server gives it, made safe
---@param options? dpg.DownloadOptions  `version` (else the largest), `overwrite` (false: a file that is there is an
---  error), `on_progress(received, total)`, `timeout` (seconds without a byte, 60), `deadline` (none)
---@return string? path
---@return dpg.DownloadAnswer|dpg.Error answer_or_err  kind "usage", code "exists"; kind "storage": the disk …
function Downloads:save(public_uuid, target, options)
  options = config.check("downloads:save", options, transfer.OPTIONS, VERSION, OVERWRITE)
  config.check_call_retry("downloads:save", options)
  if type(public_uuid) ~= "string" then
    errors.raise("downloads:save: an image's public_uuid expected, got %s", type(public_uuid))
  end
  if config.text(target) then errors.raise("downloads:save: a path or a folder expected, got %s", type(target)) end
  return download.save(self._session, identity(public_uuid, options.version), asking(self, public_uuid,
    options.version), target, options, public_uuid)
end

---An image's file as a string: for what has no folders (a game's memory, a cache). Needs api.download.
---@param public_uuid string
---@param options? dpg.DownloadReadOptions  `version`, `max_response_bytes` (64 MiB), and those of chunks
---@return string? bytes
---@return dpg.DownloadAnswer|dpg.Error answer_or_err  kind "protocol", code "response_too_large"
function Downloads:read(public_uuid, options)
  options = config.check("downloads:read", options, transfer.OPTIONS, VERSION, MOST)
  config.check_call_retry("downloads:read", options)
  if type(public_uuid) ~= "string" then
    errors.raise("downloads:read: an image's public_uuid expected, got %s", type(public_uuid))
  end
  local most = options.max_response_bytes or self._session._config.max_response_bytes or MAX_BYTES
  return download.read(self._session, asking(self, public_uuid, options.version), options, most)
end

---An image's file, piece by piece: pulled, so that no more is fetched than is used. Raises errors in a `for`, as
---io.lines does; `it:next()` returns them, and goes on behind the last bytes when it is asked again.
---@param public_uuid string
---@param options? dpg.ChunkOptions  `version`, `window` (bytes that may wait, 1 MiB), and those of save
---@return dpg.Chunks
function Downloads:chunks(public_uuid, options)
  options = config.check("downloads:chunks", options, transfer.OPTIONS, VERSION, { window = config.whole })
  config.check_call_retry("downloads:chunks", options)
  if type(public_uuid) ~= "string" then
    errors.raise("downloads:chunks: an image's public_uuid expected, got %s", type(public_uuid))
  end
  return compat.for_values(download.chunks(self._session, asking(self, public_uuid, options.version), options))
end

-- --- many ----------------------------------------------------------------------------------------------------------

local MANY = { path = config.is "function" }

local function read_item(item, i)
  local public_uuid = type(item) == "table" and item.public_uuid or item
  if type(public_uuid) ~= "string" then
    errors.raise("downloads:save_many: item %d: a public_uuid or an image expected, got %s", i, type(public_uuid))
  end
  return { file = public_uuid, item = item }
end

-- Is what the journal says to be done still there?
local function recall(entry, what)
  if not entry or entry.step ~= "done" or entry.what ~= what or type(entry.path) ~= "string" then return nil end
  local file = disk.open(entry.path, "rb")
  if not file then return nil end
  local size = file:seek("end")
  file:close()
  return size == entry.size and { status = "already", path = entry.path } or nil
end

-- Names that others of this run have: two images may well be called IMG_0001.jpg.
local function chooser(taken, item)
  return function(folder, name)
    for n = 1, math.huge do
      local path = folder .. "/" .. filename.numbered(name, n)
      local owner = taken[path:lower()]
      if not owner or owner == item.file then
        taken[path:lower()] = item.file
        return path
      end
    end
  end
end

local function save_one(self, item, book, target, options, taken)
  local what = identity(item.file, options.version)
  local result = recall(book and book.entries[item.file], what)
  if result then return result end
  local own = { overwrite = options.overwrite, choose = chooser(taken, item) }
  for name in pairs(transfer.OPTIONS) do own[name] = options[name] end
  own.on_progress = options.on_progress and function(done, total) options.on_progress(done, total, item.file) end
  local path, answer = download.save(self._session, what, asking(self, item.file, options.version),
    options.path and options.path(item.item) or target, own, item.file)
  if not path then return { status = answer.code == "exists" and "exists" or "failed", error = answer } end
  result = { status = "saved", path = path, answer = answer }
  if book then
    local _, err = book:write(item.file, { step = "done", what = what, path = path, size = answer.length })
    result.journal_error = err
  end
  return result
end

---Downloads many images into a folder, a few at a time, within dpg.run or outside of it. Two that bear the same name
---are numbered. With a journal, a run that was killed goes on where it was.
---@param list (string|dpg.Image)[]  public_uuids, or images
---@param folder string
---@param options? dpg.SaveManyOptions  `version`, `overwrite`, `concurrency` (4), `journal` (a path),
---  `on_file(result)`, `on_progress(received, total, public_uuid)`, `path(item)`: a path for one, instead
---@return dpg.SaveReport? report  `files`, and how many were `saved`, `already` there by the journal, `failed`, or not
---  saved since a file of that name `exists`
---@return dpg.Error? err  the journal can't be used, or an image stands in the list twice
function Downloads:save_many(list, folder, options)
  options = config.check("downloads:save_many", options, many.OPTIONS, MANY, VERSION, OVERWRITE, transfer.OPTIONS)
  config.check_call_retry("downloads:save_many", options)
  if type(list) ~= "table" then errors.raise("downloads:save_many: a list expected, got %s", type(list)) end
  if config.text(folder) then errors.raise("downloads:save_many: a folder expected, got %s", type(folder)) end
  local items, taken = {}, {}
  for i, item in ipairs(list) do items[i] = read_item(item, i) end
  local target = folder:gsub("[/\\]*$", "") .. "/"
  local report, err = many.run("downloads", items, options, function(item, book)
    for file, entry in pairs(book and not taken[book] and book.entries or {}) do
      if type(entry.path) == "string" then taken[entry.path:lower()] = file end
    end
    if book then taken[book] = true end
    return save_one(self, item, book, target, options, taken)
  end)
  if not report then return nil, err end
  for _, name in ipairs { "saved", "already", "failed", "exists" } do report[name] = report[name] or 0 end
  return report
end

methods(Downloads, "downloads")

return M
