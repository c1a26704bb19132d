-- session.sets: galleries and their order. Contract: section 6. Each method is a row of dpg.catalog.
local catalog = require "dpg.catalog"
local methods = require "dpg.methods"

local M = {}

---@class dpg.Sets
local Sets = {}
Sets.__index = Sets
Sets.__name = "dpg.Sets"

---@param session dpg.Session
---@return dpg.Sets
function M.new(session)
  return setmetatable({ _session = session }, Sets)
end

---One page of sets: the top level, or the children of `parent_public_uuid`. Needs api.images.read.
---@param options? dpg.SetListOptions  `parent_public_uuid`, `limit` (50, at most 200), `offset`
---@return dpg.Page? page
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:list(options)
  return self._session:_call("sets:list", catalog.sets.list, {}, nil, options)
end

---Walks the sets of one level.
---@param options? dpg.SetListOptions  `limit` is the size of a page (200)
---@return dpg.Iterator
function Sets:each(options)
  return self._session:_each("sets:each", catalog.sets.list, {}, options)
end

---All sets at once, each with its `children`.
---@param options? dpg.ReadOptions
---@return table[]? tree
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:tree(options)
  return self._session:_call("sets:tree", catalog.sets.tree, {}, nil, options)
end

---One set.
---@param public_uuid string
---@param options? dpg.ReadOptions
---@return table? set
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:get(public_uuid, options)
  return self._session:_call("sets:get", catalog.sets.get, { public_uuid }, nil, options)
end

---One page of a set's images, in gallery order.
---@param public_uuid string
---@param options? dpg.ListOptions  `limit` (50, at most 200), `offset`
---@return dpg.Page? page
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:images(public_uuid, options)
  return self._session:_call("sets:images", catalog.sets.images, { public_uuid }, nil, options)
end

---Walks a set's images, in gallery order.
---@param public_uuid string
---@param options? dpg.ListOptions  `limit` is the size of a page (200)
---@return dpg.Iterator
function Sets:each_image(public_uuid, options)
  return self._session:_each("sets:each_image", catalog.sets.images, { public_uuid }, options)
end

methods(Sets, "sets")

return M
