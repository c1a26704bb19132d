-- The endpoints under /sets (contract section 6): what issue after issue adds to them is a row in routes.lua and a
-- function here.

local answers = require "dpg.sandbox.answers"
local images = require "dpg.sandbox.images"
local json = require "dpg.sandbox.json"

local M = {}

local function find(context)
  return context.library.set[context.params[1]] or answers.reject(404, "set_not_found")
end

local function as_json(set)
  return {
    public_uuid = set.public_uuid, name = set.name, type = set.type, colour = set.colour, description = set.description,
    parent_public_uuid = set.parent and set.parent.public_uuid or json.null, image_count = #set.images,
    children_count = #set.children, created_at = set.created_at, updated_at = set.updated_at,
    lead_image_public_uuid = set.images[1] and set.images[1].public_uuid or json.null,
  }
end

local function children_of(library, parent)
  local list = {}
  for _, set in ipairs(library.sets) do
    if set.parent == parent then list[#list + 1] = as_json(set) end
  end
  return list
end

---GET /sets: the top level, or the children of ?parent_public_uuid.
function M.list(context)
  local id = context.query.parent_public_uuid and context.query.parent_public_uuid[1]
  local parent = id and (context.library.set[id] or answers.reject(404, "set_not_found"))
  local page, headers = answers.page(context.query, children_of(context.library, parent))
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
  for _, set in ipairs(context.library.sets) do
    if not set.parent then roots[#roots + 1] = branch(set) end
  end
  return 200, roots
end

---GET /sets/{public_uuid}
function M.get(context)
  return 200, as_json(find(context))
end

---GET /sets/{public_uuid}/images, in gallery order
function M.images(context)
  return images.page(context, find(context).images)
end

return M
