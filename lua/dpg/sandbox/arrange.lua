-- Writes to sets (contract section 6): making and editing them, which images they hold, in what order, hidden or not.
-- Whatever rearranges a set keeps a snapshot of it first, to which it can be restored. Each function checks its request
-- and returns the plan of an Operation.

local answers = require "dpg.sandbox.answers"
local dates = require "dpg.sandbox.dates"
local fields = require "dpg.sandbox.fields"
local images = require "dpg.sandbox.images"
local json = require "dpg.sandbox.json"
local random = require "dpg.sandbox.random"
local sets = require "dpg.sandbox.sets"

local M = {}

local colours = { "red", "orange", "yellow", "green", "blue", "purple" } -- an assumption, like the types
local types = { "gallery", "folder" }

local colour_or_null = fields.or_null(fields.one_of(colours))
local text_or_null, set_or_null = fields.or_null(fields.text()), fields.or_null(fields.set)

local function copy(list)
  local copied = {}
  for key, value in pairs(list) do
    copied[key] = value
  end
  return copied
end

local function snapshot(set, reason, now)
  table.insert(set.snapshots, {
    uuid = random.uuid(), created_at = dates.iso(now), reason = reason, images = copy(set.images),
    children = copy(set.children), hidden = copy(set.hidden), due = copy(set.due), lead = set.lead,
  })
end

-- The plan of a write to a set, which `rearranges` it or not.
local function plan(context, set, kind, about, message, apply, rearranges)
  return {
    type = kind, image_public_uuids = images.uuids(about or {}), set_public_uuid = set.public_uuid, message = message,
    apply = function(now)
      if rearranges then snapshot(set, kind, now) end
      apply(now)
      context.library:set_changed(set, now)
    end,
  }
end

local creatable = {
  name = fields.name(), parent_public_uuid = set_or_null, colour = colour_or_null, description = text_or_null,
  type = fields.one_of(types),
}

---POST /sets
---@return dpg.sandbox.Plan
function M.create(context)
  local given = fields.read(context, creatable, { "name" })
  local set = {
    public_uuid = random.uuid(), name = given.name, type = given.type or types[1], colour = given.colour or colours[5],
    description = given.description or json.null, children = {}, images = {}, hidden = {}, due = {}, snapshots = {},
  }
  local parent = given.parent_public_uuid
  return plan(context, set, "set_create", nil, "Set created.", function(now)
    set.created_at = dates.iso(now)
    context.library:add_set(set, parent ~= json.null and parent or nil)
  end)
end

local editable = {
  name = fields.name(), colour = colour_or_null, description = text_or_null, parent_public_uuid = set_or_null,
  lead_image_public_uuid = fields.or_null(fields.image),
}

local function holds(set, image)
  for _, member in ipairs(set.images) do
    if member == image then return true end
  end
  return false
end

local function check_parent(set, parent)
  while parent do
    if parent == set then answers.invalid("parent_public_uuid", "a set can't be below itself") end
    parent = parent.parent
  end
end

---PATCH /sets/{public_uuid}
---@return dpg.sandbox.Plan
function M.update(context)
  local set = sets.find(context)
  local given = fields.read_some(context, editable)
  local lead, parent = given.lead_image_public_uuid, given.parent_public_uuid
  if parent and parent ~= json.null then check_parent(set, parent) end
  if lead and lead ~= json.null and not holds(set, lead) then
    answers.invalid("lead_image_public_uuid", "the lead image must be in the set")
  end
  return plan(context, set, "set_update", nil, "Set updated.", function()
    for _, name in ipairs { "name", "colour", "description" } do
      if given[name] ~= nil then set[name] = given[name] end
    end
    if lead then set.lead = lead ~= json.null and lead or nil end
    if parent then context.library:move_set(set, parent ~= json.null and parent or nil) end
  end)
end

local function read_images(context)
  local given = fields.read(context, { image_public_uuids = fields.list(fields.image) }, { "image_public_uuids" })
  return given.image_public_uuids
end

---POST /sets/{public_uuid}/images: at the end; those that are there already stay where they are.
---@return dpg.sandbox.Plan
function M.add_images(context)
  local set, chosen = sets.find(context), read_images(context)
  return plan(context, set, "set_add_images", chosen, "Images added.", function()
    context.library:add_to_set(set, chosen)
  end, true)
end

---DELETE /sets/{public_uuid}/images
---@return dpg.sandbox.Plan
function M.remove_images(context)
  local set, chosen = sets.find(context), read_images(context)
  return plan(context, set, "set_remove_images", chosen, "Images removed.", function()
    context.library:remove_from_set(set, chosen)
  end, true)
end

local function as_keys(list, field)
  local keys = {}
  for _, item in ipairs(list) do
    if keys[item] then answers.invalid(field, field .. " names one of them twice") end
    keys[item] = true
  end
  return keys
end

local function check_members(chosen, members, field, where)
  local inside = as_keys(members, field)
  for _, item in ipairs(chosen) do
    if not inside[item] then answers.invalid(field, ("%s is not %s"):format(item.public_uuid, where)) end
  end
end

-- Those chosen first, in their order, then the others in theirs.
local function reordered(members, chosen)
  local first, inside, list = as_keys(chosen), as_keys(members), {}
  for _, item in ipairs(chosen) do
    if inside[item] then list[#list + 1] = item end -- it may have gone meanwhile
  end
  for _, item in ipairs(members) do
    if not first[item] then list[#list + 1] = item end
  end
  return list
end

---PATCH /sets/{public_uuid}/order: the images named come first, in this order.
---@return dpg.sandbox.Plan
function M.order(context)
  local set, chosen = sets.find(context), read_images(context)
  as_keys(chosen, "image_public_uuids")
  check_members(chosen, set.images, "image_public_uuids", "in this set")
  return plan(context, set, "set_order", chosen, "Images reordered.", function()
    set.images = reordered(set.images, chosen)
  end, true)
end

---PATCH /sets/reorder: sets with one parent; those named come first, in this order.
---@return dpg.sandbox.Plan
function M.reorder(context)
  local field = "set_public_uuids"
  local given = fields.read(context, { [field] = fields.list(fields.set), parent_public_uuid = set_or_null }, { field })
  local chosen, library = given[field], context.library
  local parent = given.parent_public_uuid or chosen[1].parent
  if parent == json.null then parent = nil end
  as_keys(chosen, field)
  check_members(chosen, parent and parent.children or library.roots, field, "among these sets")
  return {
    type = "set_reorder", image_public_uuids = {}, message = "Sets reordered.",
    set_public_uuid = parent and parent.public_uuid,
    apply = function(now)
      if parent then
        snapshot(parent, "set_reorder", now)
        parent.children = reordered(parent.children, chosen)
      else
        library.roots = reordered(library.roots, chosen)
      end
      library:set_changed(parent or chosen[1], now)
    end,
  }
end

local function future(value, field)
  local time = dates.parse(value)
  if not time then answers.invalid(field, field .. " must be a date") end
  return time
end

local visibility_fields = {
  image_public_uuids = fields.list(fields.image), hidden = fields.boolean, activation_time = fields.or_null(future),
}

---PATCH /sets/{public_uuid}/visibility: hides images or shows them; with an activation_time those that are hidden come
---out at that moment.
---@return dpg.sandbox.Plan
function M.set_visibility(context)
  local set = sets.find(context)
  local given = fields.read(context, visibility_fields, { "image_public_uuids" })
  local hidden, due = given.hidden, given.activation_time
  if due == json.null then due = nil end
  if hidden == nil and not due then answers.invalid("hidden", "hidden or activation_time is required") end
  check_members(given.image_public_uuids, set.images, "image_public_uuids", "in this set")
  return plan(context, set, "set_visibility", given.image_public_uuids, "Visibility set.", function(now)
    for _, image in ipairs(given.image_public_uuids) do
      if hidden or not due then set.hidden[image] = hidden or nil end
      set.due[image] = set.hidden[image] and due or nil
    end
    context.library:settle(now)
  end)
end

local function find_snapshot(set, uuid)
  if not uuid then return set.snapshots[#set.snapshots] end
  for _, kept in ipairs(set.snapshots) do
    if kept.uuid == uuid then return kept end
  end
  return nil
end

---POST /sets/{public_uuid}/restore: to a snapshot, or to the newest. What it was before is snapshotted, too.
---@return dpg.sandbox.Plan
function M.restore(context)
  local set = sets.find(context)
  local given = fields.read(context, { snapshot_uuid = fields.text() })
  local kept = find_snapshot(set, given.snapshot_uuid)
    or answers.reject(404, "snapshot_not_found", nil, "snapshot_uuid")
  return plan(context, set, "set_restore", kept.images, "Restored.", function(now)
    local library = context.library
    library:remove_from_set(set, copy(set.images))
    library:add_to_set(set, kept.images)
    set.hidden, set.due, set.lead = copy(kept.hidden), copy(kept.due), kept.lead
    set.children = reordered(set.children, kept.children)
    library:settle(now)
  end, true)
end

return M
