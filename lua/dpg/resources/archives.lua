-- session.archives: many images in one file. Contract: section 8. Each method is a row of dpg.catalog.
local catalog = require "dpg.catalog"
local config = require "dpg.config"
local download = require "dpg.download"
local errors = require "dpg.errors"
local methods = require "dpg.methods"
local transfer = require "dpg.transfer"
local wire = require "dpg.wire"

local M = {}

---@class dpg.Archives
local Archives = {}
Archives.__index = Archives
Archives.__name = "dpg.Archives"

---@param session dpg.Session
---@return dpg.Archives
function M.new(session)
  return setmetatable({ _session = session }, Archives)
end

---Begins an archive of images. Needs api.download. When its Operation has succeeded, `list` has it.
---@param fields dpg.NewArchive  `image_public_uuids`; `version_profile_uuid`, `filename`
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Archives:create(fields, options)
  return self._session:_call("archives:create", catalog.archives.create, {}, fields, options)
end

---One page of the archives that are ready: a link to share, size, how many images, when it expires. Needs api.download.
---@param options? dpg.ListOptions  `limit` (50, at most 200), `offset`
---@return dpg.Page? page
---@return dpg.Answer|dpg.Error answer_or_err
function Archives:list(options)
  return self._session:_call("archives:list", catalog.archives.list, {}, nil, options)
end

---Walks the archives that are ready. Raises errors; `it:next()` returns them.
---@param options? dpg.WalkOptions  `limit` is the size of a page (200)
---@return dpg.Iterator
function Archives:each(options)
  return self._session:_each("archives:each", catalog.archives.list, {}, options)
end

-- A function that gives the archive's link: first the one that it came with, then what the list says.
local function asking(self, archive)
  local first = wire.file_link(archive)
  return function(options)
    local link = first
    first = nil
    if link then return link end
    local each = self:each(options)
    local one, err = each:next()
    while one do
      if one.uuid ~= nil and one.uuid == archive.uuid then return wire.file_link(one) end
      one, err = each:next()
    end
    return nil, err or errors.new { kind = "api", code = "archive_gone",
      message = "the archive is not, or no longer, among those that are ready: archives:list has them, "
        .. "archives:create makes one" }
  end
end

---Downloads an archive, as downloads:save does an image's file: into a `.part` that is gone on with after a cut.
---@param archive table  from `list` or `each`, or the Operation of `create` once it has succeeded
---@param target string  a path; or a folder, where it gets the name that the server gives it, made safe
---@param options? dpg.SaveOptions  `overwrite` (false: a file that is there is an error), `on_progress`, `timeout`
---  (seconds without a byte, 60), `deadline` (none)
---@return string? path
---@return dpg.DownloadAnswer|dpg.Error answer_or_err
function Archives:save(archive, target, options)
  options = config.check("archives:save", options, transfer.OPTIONS, { overwrite = config.is "boolean" })
  config.check_call_retry("archives:save", options)
  if type(archive) ~= "table" then
    errors.raise("archives:save: an archive (of archives:list) expected, got %s", type(archive))
  end
  if config.text(target) then errors.raise("archives:save: a path or a folder expected, got %s", type(target)) end
  local found = wire.archive(archive)
  if not found then
    return nil, errors.usage("not_ready", "archives:save: there is no link in it: wait for the Operation, or look for "
      .. "the archive in archives:list", { field = "archive" })
  end
  return download.save(self._session, "archive " .. tostring(found.uuid or found.filename), asking(self, found), target,
    options, "archive.zip")
end

methods(Archives, "archives")

return M
