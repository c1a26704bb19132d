-- session.images: read and edit images. Contract: section 4. Each method is a row of dpg.catalog.
local catalog = require "dpg.catalog"
local methods = require "dpg.methods"

local M = {}

---@class dpg.Images
local Images = {}
Images.__index = Images
Images.__name = "dpg.Images"

---@param session dpg.Session
---@return dpg.Images
function M.new(session)
  return setmetatable({ _session = session }, Images)
end

---One page of images, newest first. Filters stack. Needs api.images.read.
---@param options? dpg.ImageListOptions  filters, `limit` (50, at most 200), `offset`, and a call's options
---@return dpg.Page? page  `items`, `has_more`, `next_offset`
---@return dpg.Answer|dpg.Error answer_or_err
function Images:list(options)
  return self._session:_call("images:list", catalog.images.list, {}, nil, options)
end

---Walks all images that the filters let through, page by page. Raises errors, as io.lines does; `it:next()` returns
---them.
---@param options? dpg.ImageListOptions  `limit` is the size of a page (200)
---@return dpg.Iterator
function Images:each(options)
  return self._session:_each("images:each", catalog.images.list, {}, options)
end

---Everything about one image: keywords, rating, metadata, sets, versions with their `url`.
---@param public_uuid string
---@param options? dpg.ReadOptions
---@return dpg.Image? image
---@return dpg.Answer|dpg.Error answer_or_err  code "image_not_found", or "not_modified" with if_none_match
function Images:get(public_uuid, options)
  return self._session:_call("images:get", catalog.images.get, { public_uuid }, nil, options)
end

---An image's versions alone. Their URLs come from the account's CDN: never build one.
---@param public_uuid string
---@param options? dpg.ReadOptions
---@return table[]? versions
---@return dpg.Answer|dpg.Error answer_or_err
function Images:versions(public_uuid, options)
  return self._session:_call("images:versions", catalog.images.versions, { public_uuid }, nil, options)
end

---What the library can be narrowed by, with counts.
---@param options? dpg.ImageFilters
---@return table? facets
---@return dpg.Answer|dpg.Error answer_or_err
function Images:facets(options)
  return self._session:_call("images:facets", catalog.images.facets, {}, nil, options)
end

---Changes an image's fields. Needs api.images.write.
---@param public_uuid string
---@param fields dpg.ImageFields  `title` (at most 191 characters), `description`, `creation_date`, `rotation`
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation  often succeeded already; `operation:wait()` makes sure
---@return dpg.Answer|dpg.Error answer_or_err
function Images:update(public_uuid, fields, options)
  return self._session:_call("images:update", catalog.images.update, { public_uuid }, fields, options)
end

methods(Images, "images")

return M
