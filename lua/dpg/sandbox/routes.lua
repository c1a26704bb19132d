-- Every endpoint the sandbox has: one row each. A row says method, path ({} stands for an id) and one of
--   open = f   no bearer token                          read = f   a GET
--   plan = f   a write that becomes an Operation        many = f   a batch of them,
-- with the scope that it needs and, for reads that change only with the library, `cached`. Functions get the
-- request's context.

local auth = require "dpg.sandbox.auth"
local images = require "dpg.sandbox.images"
local operations = require "dpg.sandbox.operations"
local sets = require "dpg.sandbox.sets"

local READ = "api.images.read"

local rows = {
  { "POST", "/auth/sign_in", open = auth.sign_in },
  { "POST", "/auth/mfa", open = auth.mfa },
  { "POST", "/auth/token", open = auth.token },
  { "GET", "/me", read = auth.me },
  { "GET", "/images", read = images.list, scope = READ, cached = true },
  { "GET", "/images/{}", read = images.get, scope = READ, cached = true },
  { "PATCH", "/images/{}", plan = images.update, scope = "api.images.write" },
  { "GET", "/images/{}/versions", read = images.versions, scope = READ, cached = true },
  { "GET", "/facets", read = images.facets, scope = READ, cached = true },
  { "GET", "/keywords", read = images.keywords, scope = READ, cached = true },
  { "GET", "/keywords/namespaces", read = images.namespaces, scope = READ, cached = true },
  { "GET", "/metadata_profiles", read = images.metadata_profiles, scope = READ, cached = true },
  { "GET", "/sets", read = sets.list, scope = READ, cached = true },
  { "GET", "/sets/tree", read = sets.tree, scope = READ, cached = true },
  { "GET", "/sets/{}", read = sets.get, scope = READ, cached = true },
  { "GET", "/sets/{}/images", read = sets.images, scope = READ, cached = true },
  { "GET", "/operations/{}", read = operations.get },
  { "POST", "/operations/batch", many = operations.batch },
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
