-- session.keywords: the vocabulary and its axes. Contract: section 5. Each method is a row of dpg.catalog.
local catalog = require "dpg.catalog"
local methods = require "dpg.methods"

local M = {}

---@class dpg.Keywords
local Keywords = {}
Keywords.__index = Keywords
Keywords.__name = "dpg.Keywords"

---@param session dpg.Session
---@return dpg.Keywords
function M.new(session)
  return setmetatable({ _session = session }, Keywords)
end

---One page of the vocabulary, with counts. Needs api.images.read.
---@param options? dpg.KeywordListOptions  `namespace`, `query`, `limit` (50, at most 200), `offset`
---@return dpg.Page? page
---@return dpg.Answer|dpg.Error answer_or_err
function Keywords:list(options)
  return self._session:_call("keywords:list", catalog.keywords.list, {}, nil, options)
end

---Walks the whole vocabulary. Raises errors; `it:next()` returns them.
---@param options? dpg.KeywordWalkOptions  `limit` is the size of a page (200)
---@return dpg.Iterator
function Keywords:each(options)
  return self._session:_each("keywords:each", catalog.keywords.list, {}, options)
end

---The axes of the vocabulary (`axis:value`), with counts.
---@param options? dpg.ListOptions
---@return dpg.Page? page
---@return dpg.Answer|dpg.Error answer_or_err
function Keywords:namespaces(options)
  return self._session:_call("keywords:namespaces", catalog.keywords.namespaces, {}, nil, options)
end

---Renames a keyword across a batch of images. Needs api.keywords.write.
---@param fields dpg.KeywordRename  `from`, `to`, `image_public_uuids`
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Keywords:rename(fields, options)
  return self._session:_call("keywords:rename", catalog.keywords.rename, {}, fields, options)
end

methods(Keywords, "keywords")

return M
