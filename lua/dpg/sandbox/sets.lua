-- What is read under /sets (contract section 6). Writes are in arrange.lua.

local answers = require "dpg.sandbox.answers"
local dates = require "dpg.sandbox.dates"
local images = require "dpg.sandbox.images"
local json = require "dpg.sandbox.json"

local M = {}

---@param context table
---@return table set
function M.find(context)
  return context.library.set[context.params[1]] or answers.reject(404, "set_not_found")
end

local function as_json(set)
  local lead = set.lead or set.images[1]
  return {
    public_uuid = set.public_uuid, name = set.name, type = set.type, colour = set.colour, description = set.description,
    parent_public_uuid = set.parent and set.parent.public_uuid or json.null, image_count = #set.images,
    children_count = #set.children, created_at = set.created_at, updated_at = set.updated_at,
    lead_image_public_uuid = lead and lead.public_uuid or json.null,
  }
end

---GET /sets: the top level, or the children of ?parent_public_uuid.
function M.list(context)
  local id = context.query.parent_public_uuid and context.query.parent_public_uuid[1]
  local parent = id and (context.library.set[id] or answers.reject(404, "set_not_found"))
  local page, headers = answers.page(context.query, parent and parent.children or context.library.roots)
  for index, set in ipairs(page) do
    page[index] = as_json(set)
  end
  return 200, page, headers
end

local function branch(set)
  local node = as_json(set)
  node.children = json.array {}
  for index, child in ipairs(set.children) do
    node.children[index] = branch(child)
  end
  return node
end

---GET /sets/tree
function M.tree(context)
  local roots = json.array {}
  for index, set in ipairs(context.library.roots) do
    roots[index] = branch(set)
  end
  return 200, roots
end

---GET /sets/{public_uuid}
function M.get(context)
  return 200, as_json(M.find(context))
end

-- An image as its set shows it: with `hidden`, and when it comes out.
local function in_set(context, set, image)
  local whole = context.library:brief(image, context.numbers_as_strings).text
  local due = set.due[image]
  return json.raw(whole:sub(1, -2) .. ',"hidden":' .. tostring(set.hidden[image] or false) .. ',"activation_time":'
    .. json.encode(due and dates.iso(due) or json.null) .. "}")
end

---GET /sets/{public_uuid}/images, in gallery order; hidden ones are there and say so.
function M.images(context)
  local set = M.find(context)
  local page, headers = answers.page(context.query, set.images)
  for index, image in ipairs(page) do
    page[index] = in_set(context, set, image)
  end
  return 200, page, headers
end

---GET /sets/{public_uuid}/snapshots, newest first
function M.snapshots(context)
  local set, list = M.find(context), {}
  for index = #set.snapshots, 1, -1 do
    local snapshot = set.snapshots[index]
    list[#list + 1] = {
      uuid = snapshot.uuid, created_at = snapshot.created_at, reason = snapshot.reason,
      image_count = #snapshot.images, image_public_uuids = images.uuids(snapshot.images),
    }
  end
  local page, headers = answers.page(context.query, list)
  return 200, page, headers
end

return M
