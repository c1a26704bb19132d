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

---Walks the sets of one level. Raises errors; `it:next()` returns them.
---@param options? dpg.SetWalkOptions  `limit` is the size of a page (200)
---@return dpg.Iterator
function Sets:each(options)
  return self._session:_each("sets:each", catalog.sets.list, {}, options)
end

---All sets at once, each with its `children`.
---@param options? dpg.GetOptions
---@return table[]? tree
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:tree(options)
  return self._session:_call("sets:tree", catalog.sets.tree, {}, nil, options)
end

---One set.
---@param public_uuid string
---@param options? dpg.GetOptions
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

---Walks a set's images, in gallery order. Raises errors; `it:next()` returns them.
---@param public_uuid string
---@param options? dpg.WalkOptions  `limit` is the size of a page (200)
---@return dpg.Iterator
function Sets:each_image(public_uuid, options)
  return self._session:_each("sets:each_image", catalog.sets.images, { public_uuid }, options)
end

---Makes a set. Needs api.sets.write.
---@param fields dpg.NewSet  `name`; `parent_public_uuid`, `colour`, `description`, `type`
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:create(fields, options)
  return self._session:_call("sets:create", catalog.sets.create, {}, fields, options)
end

---Renames or recolours a set, or gives it another lead image or parent. Needs api.sets.write.
---@param public_uuid string
---@param fields dpg.SetFields  `name`, `colour`, `description`, `lead_image_public_uuid`, `parent_public_uuid`
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:update(public_uuid, fields, options)
  return self._session:_call("sets:update", catalog.sets.update, { public_uuid }, fields, options)
end

---Puts images into a set. Needs api.sets.write.
---@param public_uuid string
---@param images dpg.ImageIds  their uuids, or the images themselves
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:add_images(public_uuid, images, options)
  return self._session:_call("sets:add_images", catalog.sets.add_images, { public_uuid },
    { image_public_uuids = images }, options)
end

---Takes images out of a set. Needs api.sets.write.
---@param public_uuid string
---@param images dpg.ImageIds
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:remove_images(public_uuid, images, options)
  return self._session:_call("sets:remove_images", catalog.sets.remove_images, { public_uuid },
    { image_public_uuids = images }, options)
end

---Puts a set's images into this order. Needs api.sets.write.
---@param public_uuid string
---@param images dpg.ImageIds
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:order(public_uuid, images, options)
  return self._session:_call("sets:order", catalog.sets.order, { public_uuid }, { image_public_uuids = images },
    options)
end

---Puts sets into this order. Needs api.sets.write.
---@param sets (string|dpg.Set)[]
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:reorder(sets, options)
  return self._session:_call("sets:reorder", catalog.sets.reorder, {}, { set_public_uuids = sets }, options)
end

---Hides or shows images of a set, or brings embargoed ones out at a moment. Needs api.sets.write.
---@param public_uuid string
---@param fields dpg.Visibility  `image_public_uuids`; `hidden`, `activation_time`
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:set_visibility(public_uuid, fields, options)
  return self._session:_call("sets:set_visibility", catalog.sets.set_visibility, { public_uuid }, fields, options)
end

---One page of a set's snapshots: how it was before each rearrangement.
---@param public_uuid string
---@param options? dpg.ListOptions  `limit` (50, at most 200), `offset`
---@return dpg.Page? page
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:snapshots(public_uuid, options)
  return self._session:_call("sets:snapshots", catalog.sets.snapshots, { public_uuid }, nil, options)
end

---Puts a set back as a snapshot has it. Needs api.sets.write.
---@param public_uuid string
---@param snapshot_uuid? string  from `sets:snapshots`; without: the newest, which undoes the last rearrangement
---@param options? dpg.WriteOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Sets:restore(public_uuid, snapshot_uuid, options)
  return self._session:_call("sets:restore", catalog.sets.restore, { public_uuid }, { snapshot_uuid = snapshot_uuid },
    options)
end

methods(Sets, "sets")

return M
