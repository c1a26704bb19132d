-- session.archives: many images in one file. Contract: section 8. Each method is a row of dpg.catalog.
local catalog = require "dpg.catalog"
local methods = require "dpg.methods"

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

---Walks the archives that are ready.
---@param options? dpg.ListOptions  `limit` is the size of a page (200)
---@return dpg.Iterator
function Archives:each(options)
  return self._session:_each("archives:each", catalog.archives.list, {}, options)
end

methods(Archives, "archives")

return M
