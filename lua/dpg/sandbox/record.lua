-- What the sandbox saw: every request in the order of arrival, so that a test can ask how often something was sent.
-- No token and no body is kept, only their digests.

local hash = require "dpg.sandbox.hash"
local json = require "dpg.sandbox.json"

local M = {}

local MAX_KEPT = 100000 -- then the older half goes

local Record = {}
Record.__index = Record
Record.__name = "dpg.sandbox.record"

---@return table record  `authorized` counts, server by server, the requests with an Authorization header
function M.new()
  return setmetatable({ list = {}, dropped = 0, authorized = {} }, Record)
end

---A path as tests and faults name it: without /v1.
---@param path string
---@return string
function M.short_path(path)
  return path:match "^/v1(/.*)$" or path
end

local MAX_NAMES = 1000
local names, named = {}, 0 -- digests are slow on Lua 5.1, and most requests come with the same few tokens

local function token_name(token)
  local name = names[token]
  if name then return name end
  if named >= MAX_NAMES then
    names, named = {}, 0
  end
  name = hash.token_id(token)
  names[token], named = name, named + 1
  return name
end

local function safe_headers(headers)
  local copy = {}
  for name, value in pairs(headers) do
    copy[name] = value
  end
  local scheme, token = (copy.authorization or ""):match "^(%a+) +(.*)$"
  if copy.authorization then copy.authorization = scheme and scheme .. " " .. token_name(token) or "unreadable" end
  return copy
end

local function refresh_id(request)
  if request.path ~= "/v1/auth/token" then return nil end
  local body = json.decode_object(request.body)
  local token = body and body.refresh_token
  return type(token) == "string" and hash.token_id(token) or nil
end

function Record:_make_room()
  if #self.list < MAX_KEPT then return end
  local kept = {}
  for index = MAX_KEPT / 2 + 1, #self.list do
    kept[#kept + 1] = self.list[index]
  end
  self.dropped = self.dropped + #self.list - #kept
  self.list = kept
end

---Notes a request that has been read. Its status, and how many bytes were received and sent, are filled in when it has
---been answered.
---@param server string  "api", "processor" or "cdn"
---@param request dpg.sandbox.Request
---@param connection integer  its number
---@param reused boolean  whether it isn't the first on its connection
---@param at number
---@return table entry
function Record:add(server, request, connection, reused, at)
  self:_make_room()
  if request.headers.authorization then self.authorized[server] = (self.authorized[server] or 0) + 1 end
  local entry = {
    server = server, method = request.method, path = M.short_path(request.path), query = request.query_string, at = at,
    headers = safe_headers(request.headers), body_length = #request.body, connection = connection, reused = reused,
    body_digest = #request.body > 0 and hash.checksum(request.body) or nil, refresh_token = refresh_id(request),
  }
  self.list[#self.list + 1] = entry
  return entry
end

---Whether a path is meant by a filter: the path itself, or a Lua pattern for the whole of it.
---@param path string
---@param wanted string?
---@return boolean
function M.path_matches(path, wanted)
  if not wanted or path == wanted then return true end
  local ok, found = pcall(string.find, path, "^" .. wanted .. "$")
  return ok and found ~= nil
end

local filter_fields = { "server", "method", "status", "connection", "refresh_token", "reused" } -- and `path`

local function matches(entry, filter)
  for _, name in ipairs(filter_fields) do
    if filter[name] ~= nil and entry[name] ~= filter[name] then return false end
  end
  return M.path_matches(entry.path, filter.path)
end

---@param filter table
---@return string? problem  names a field that no request has
function M.filter_problem(filter)
  local known = { path = true }
  for _, name in ipairs(filter_fields) do
    known[name] = true
  end
  for name in pairs(filter) do
    if not known[name] then return "requests can't be told apart by '" .. tostring(name) .. "'" end
  end
  return nil
end

---@param filter table  server, path (itself or a Lua pattern), method, status, connection, refresh_token (digest),
---reused
---@return table[] entries
function Record:find(filter)
  local found = {}
  for _, entry in ipairs(self.list) do
    if matches(entry, filter) then found[#found + 1] = entry end
  end
  return found
end

---A count that can be asked again and again while requests come in, and looks only at those that are new.
---@param filter table
---@return fun(): integer
function Record:counter(filter)
  local looked_at, count = 0, 0
  return function()
    local total = self.dropped + #self.list
    local anew = total < looked_at or filter.status ~= nil -- after a reset; and a status comes later than its request
    if anew then
      looked_at, count = 0, 0
    end
    for index = math.max(looked_at - self.dropped, 0) + 1, #self.list do
      if matches(self.list[index], filter) then count = count + 1 end
    end
    looked_at = total
    return count
  end
end

---@param filter table
---@return integer
function Record:count(filter)
  return self:counter(filter)()
end

function Record:reset()
  self.list, self.dropped = {}, 0
end

return M
