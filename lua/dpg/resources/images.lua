-- session.images: read and edit images. Contract: sections 4 and 5. Each method is a row of dpg.catalog.
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

---Walks all images that the filters let through, page by page, each next one asked for ahead. Raises errors, as
---io.lines does; `it:next()` returns them.
---@param options? dpg.ImageWalkOptions  `limit` is the size of a page (200), `prefetch` (true)
---@return dpg.Iterator
function Images:each(options)
  return self._session:_each("images:each", catalog.images.list, {}, options)
end

---Everything about one image: keywords, rating, metadata, sets, versions with their `url`.
---@param public_uuid string
---@param options? dpg.GetOptions
---@return dpg.Image? image
---@return dpg.Answer|dpg.Error answer_or_err  code "image_not_found", or "not_modified" with if_none_match
function Images:get(public_uuid, options)
  return self._session:_call("images:get", catalog.images.get, { public_uuid }, nil, options)
end

---An image's versions alone. Their URLs come from the account's CDN: never build one.
---@param public_uuid string
---@param options? dpg.GetOptions
---@return table[]? versions
---@return dpg.Answer|dpg.Error answer_or_err
function Images:versions(public_uuid, options)
  return self._session:_call("images:versions", catalog.images.versions, { public_uuid }, nil, options)
end

---What the library can be narrowed by, with counts.
---@param options? dpg.FacetOptions
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

---Deletes an image. Needs api.images.delete.
---@param public_uuid string
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:delete(public_uuid, options)
  return self._session:_call("images:delete", catalog.images.delete, { public_uuid }, nil, options)
end

---Sets an image's rating. Needs api.ratings.write.
---@param public_uuid string
---@param rating 0|1|2|3|4|5
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:set_rating(public_uuid, rating, options)
  return self._session:_call("images:set_rating", catalog.images.set_rating, { public_uuid }, { rating = rating },
    options)
end

---Sets the text that stands for an image where it can't be seen. Needs api.metadata.write.
---@param public_uuid string
---@param alt_text string|userdata  dpg.null empties it
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:set_alt_text(public_uuid, alt_text, options)
  return self._session:_call("images:set_alt_text", catalog.images.set_alt_text, { public_uuid },
    { alt_text = alt_text }, options)
end

---Sets IPTC fields, those that are given. Needs api.metadata.write.
---@param public_uuid string
---@param fields dpg.ImageMetadata  `creator`, `copyright_notice`, `copyright_marked` and whatever else the API knows
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:set_metadata(public_uuid, fields, options)
  return self._session:_call("images:set_metadata", catalog.images.set_metadata, { public_uuid }, fields, options)
end

---Sets the crop for an aspect ratio, in whole pixels. Needs api.metadata.write.
---@param public_uuid string
---@param crop dpg.Crop  `aspect_ratio`, `x`, `y`, `width`, `height`
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:set_crop(public_uuid, crop, options)
  return self._session:_call("images:set_crop", catalog.images.set_crop, { public_uuid }, crop, options)
end

---Clears an image's crops, or that for one aspect ratio. Needs api.metadata.write.
---@param public_uuid string
---@param crop? { aspect_ratio?: string }
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:clear_crop(public_uuid, crop, options)
  return self._session:_call("images:clear_crop", catalog.images.clear_crop, { public_uuid }, crop, options)
end

---Adds up to 200 keywords to an image. Needs api.keywords.write.
---@param public_uuid string
---@param keywords dpg.Keyword[]|dpg.Keyword  `"value"`, `"axis:value"` or `{ namespace =, value = }`
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:add_keywords(public_uuid, keywords, options)
  return self._session:_call("images:add_keywords", catalog.images.add_keywords, { public_uuid },
    { keywords = keywords }, options)
end

---Takes one keyword from an image. Needs api.keywords.write.
---@param public_uuid string
---@param keyword dpg.Keyword
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:remove_keyword(public_uuid, keyword, options)
  return self._session:_call("images:remove_keyword", catalog.images.remove_keyword, { public_uuid },
    { keyword = keyword }, options)
end

---Adds a credit to an image: who did what. Needs api.metadata.write.
---@param public_uuid string
---@param credit dpg.Credit  `role`, `name`
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:add_credit(public_uuid, credit, options)
  return self._session:_call("images:add_credit", catalog.images.add_credit, { public_uuid }, credit, options)
end

---Takes a credit from an image. Needs api.metadata.write.
---@param public_uuid string
---@param credit dpg.Credit  `role`, `name`
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:remove_credit(public_uuid, credit, options)
  return self._session:_call("images:remove_credit", catalog.images.remove_credit, { public_uuid }, credit, options)
end

---Reads the caption, keywords and date that the file holds into the editable fields. Needs api.metadata.write.
---@param public_uuid string
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Images:extract_metadata(public_uuid, options)
  return self._session:_call("images:extract_metadata", catalog.images.extract_metadata, { public_uuid }, nil, options)
end

methods(Images, "images")

return M
