-- Every endpoint the sandbox has: one row each. A row says method, path ({} stands for an id) and one of
--   open = f   no bearer token                          read = f   a GET
--   plan = f   a write that becomes an Operation        ask = f    a POST that changes nothing, without a key
--   once = f   a write with an answer of its own,
-- with the scope that it needs; `cached`: a read that changes only with the library; `bodyless`: no body is as good as
-- an empty object. Functions get the request's context.

local arrange = require "dpg.sandbox.arrange"
local auth = require "dpg.sandbox.auth"
local downloads = require "dpg.sandbox.downloads"
local edits = require "dpg.sandbox.edits"
local images = require "dpg.sandbox.images"
local keywords = require "dpg.sandbox.keywords"
local operations = require "dpg.sandbox.operations"
local sets = require "dpg.sandbox.sets"
local uploads = require "dpg.sandbox.uploads"

local READ, KEYWORDS, METADATA = "api.images.read", "api.keywords.write", "api.metadata.write"
local SETS, DOWNLOAD = "api.sets.write", "api.download"

local rows = {
  { "POST", "/auth/sign_in", open = auth.sign_in },
  { "POST", "/auth/mfa", open = auth.mfa },
  { "POST", "/auth/token", open = auth.token },
  { "GET", "/me", read = auth.me },
  { "GET", "/images", read = images.list, scope = READ, cached = true },
  { "GET", "/images/{}", read = images.get, scope = READ, cached = true },
  { "PATCH", "/images/{}", plan = edits.update, scope = "api.images.write" },
  { "DELETE", "/images/{}", plan = edits.delete, scope = "api.images.delete", bodyless = true },
  { "GET", "/images/{}/versions", read = images.versions, scope = READ, cached = true },
  { "PUT", "/images/{}/rating", plan = edits.set_rating, scope = "api.ratings.write" },
  { "PUT", "/images/{}/crop", plan = edits.set_crop, scope = METADATA },
  { "DELETE", "/images/{}/crop", plan = edits.clear_crop, scope = METADATA, bodyless = true },
  { "PUT", "/images/{}/alt_text", plan = edits.set_alt_text, scope = METADATA },
  { "PUT", "/images/{}/metadata", plan = edits.set_metadata, scope = METADATA },
  { "POST", "/images/{}/credits", plan = edits.add_credit, scope = METADATA },
  { "DELETE", "/images/{}/credits", plan = edits.remove_credit, scope = METADATA },
  { "POST", "/images/{}/extract_metadata", plan = edits.extract_metadata, scope = METADATA, bodyless = true },
  { "POST", "/images/{}/keywords", plan = keywords.add, scope = KEYWORDS },
  { "DELETE", "/images/{}/keywords", plan = keywords.remove, scope = KEYWORDS },
  { "GET", "/facets", read = images.facets, scope = READ, cached = true },
  { "GET", "/keywords", read = keywords.list, scope = READ, cached = true },
  { "GET", "/keywords/namespaces", read = keywords.namespaces, scope = READ, cached = true },
  { "POST", "/keywords/rename", plan = keywords.rename, scope = KEYWORDS },
  { "GET", "/metadata_profiles", read = images.metadata_profiles, scope = READ, cached = true },
  { "GET", "/sets", read = sets.list, scope = READ, cached = true },
  { "POST", "/sets", plan = arrange.create, scope = SETS },
  { "GET", "/sets/tree", read = sets.tree, scope = READ, cached = true },
  { "PATCH", "/sets/reorder", plan = arrange.reorder, scope = SETS },
  { "GET", "/sets/{}", read = sets.get, scope = READ, cached = true },
  { "PATCH", "/sets/{}", plan = arrange.update, scope = SETS },
  { "GET", "/sets/{}/images", read = sets.images, scope = READ, cached = true },
  { "POST", "/sets/{}/images", plan = arrange.add_images, scope = SETS },
  { "DELETE", "/sets/{}/images", plan = arrange.remove_images, scope = SETS },
  { "PATCH", "/sets/{}/order", plan = arrange.order, scope = SETS },
  { "PATCH", "/sets/{}/visibility", plan = arrange.set_visibility, scope = SETS },
  { "GET", "/sets/{}/snapshots", read = sets.snapshots, scope = READ, cached = true },
  { "POST", "/sets/{}/restore", plan = arrange.restore, scope = SETS, bodyless = true },
  { "POST", "/uploads", once = uploads.create, scope = "api.upload" },
  { "POST", "/downloads", ask = downloads.create, scope = DOWNLOAD },
  { "GET", "/archives", read = downloads.archives, scope = DOWNLOAD },
  { "POST", "/archives", plan = downloads.create_archive, scope = DOWNLOAD },
  { "GET", "/operations/{}", read = operations.get },
  { "POST", "/operations/batch", once = operations.batch },
}

local M = {}

local literal, patterns = {}, {}

local function methods_of(rows_by_path, key)
  rows_by_path[key] = rows_by_path[key] or {}
  return rows_by_path[key]
end

for _, row in ipairs(rows) do
  if row[2]:find("{}", 1, true) then
    methods_of(patterns, "^" .. row[2]:gsub("{}", "([^/]+)") .. "$")[row[1]] = row
  else
    methods_of(literal, row[2])[row[1]] = row
  end
end

local function match(path)
  if literal[path] then return literal[path], {} end
  for pattern, methods in pairs(patterns) do
    local id = path:match(pattern)
    if id then return methods, { id } end
  end
  return nil
end

---@param method string
---@param path string  without /v1
---@return table? row  nil: no such path, or, with `allowed`, no such method
---@return string[] params_or_allowed
function M.find(method, path)
  local methods, params = match(path)
  if not methods then return nil end
  local row = methods[method] or method == "HEAD" and methods.GET
  if row then return row, params end
  local allowed = {}
  for name in pairs(methods) do
    allowed[#allowed + 1] = name
  end
  if methods.GET then allowed[#allowed + 1] = "HEAD" end
  table.sort(allowed)
  return nil, allowed
end

return M
