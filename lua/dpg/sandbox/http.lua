-- HTTP/1.1 for the server's side of a connection (RFC 9112): reads requests one after the other, so that pipelined
-- ones wait their turn, and writes answers as one string. It knows nothing of the API. `stream` is a connection of
-- server.lua.

local dates = require "dpg.sandbox.dates"

local M = {}

local MAX_HEAD_BYTES = 64 * 1024
local MAX_BODY_BYTES = 8 * 1024 * 1024

local reasons = {
  [200] = "OK", [201] = "Created", [202] = "Accepted", [204] = "No Content", [301] = "Moved Permanently",
  [302] = "Found", [304] = "Not Modified", [307] = "Temporary Redirect", [400] = "Bad Request", [401] = "Unauthorized",
  [403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed",
  [409] = "Conflict", [413] = "Content Too Large",
  [429] = "Too Many Requests", [431] = "Request Header Fields Too Large", [500] = "Internal Server Error",
  [502] = "Bad Gateway", [503] = "Service Unavailable", [504] = "Gateway Timeout",
}

---@class dpg.sandbox.Request
---@field method string
---@field target string  as sent
---@field path string  decoded, without the query
---@field query_string string
---@field query table<string, string[]>
---@field headers table<string, string>  by lower-case name; repeated ones joined by ", "
---@field body string
---@field keep_alive boolean

---@param text string
---@return string
function M.unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

---@param text string
---@return table<string, string[]>
function M.parse_query(text)
  local query = {}
  for pair in text:gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    name, value = M.unescape((name:gsub("+", " "))), M.unescape((value:gsub("+", " ")))
    query[name] = query[name] or {}
    table.insert(query[name], value)
  end
  return query
end

-- Reads on until `buffer` holds `pattern` from `from` on; returns where it starts and ends.
local function read_until(stream, pattern, from, limit, refusal)
  while true do
    local first, last = stream.buffer:find(pattern, from)
    if first then return first, last end
    if #stream.buffer - from > limit then return nil, refusal end
    local data, err = stream:receive()
    if not data then return nil, nil, err end
    stream.buffer = stream.buffer .. data
  end
end

local function take(stream, count)
  local parts, have = { stream.buffer }, #stream.buffer
  while have < count do
    local data, err = stream:receive()
    if not data then return nil, err end
    parts[#parts + 1] = data
    have = have + #data
  end
  local all = table.concat(parts)
  stream.buffer = all:sub(count + 1)
  return all:sub(1, count)
end

local function parse_headers(text)
  local headers = {}
  for line in text:gmatch "([^\r\n]+)" do
    local name, value = line:match "^([^%s:]+):[ \t]*(.-)[ \t]*$"
    if not name then return nil end
    name = name:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  return headers
end

local function wants_keep_alive(version, headers)
  local connection = (headers.connection or ""):lower()
  if version == "1.0" then return connection:find("keep-alive", 1, true) ~= nil end
  return not connection:find("close", 1, true)
end

local function read_chunked(stream)
  local parts, total = {}, 0
  while true do
    local first, last, err = read_until(stream, "\r?\n", 1, 256, 400)
    if not first then return nil, last, err end
    local size = tonumber(stream.buffer:sub(1, first - 1):match "^%x+" or "", 16)
    if not size then return nil, 400 end
    stream.buffer = stream.buffer:sub(last + 1)
    total = total + size
    if total > MAX_BODY_BYTES then return nil, 413 end
    local chunk = take(stream, size + 2)
    if not chunk then return nil end
    if size == 0 then return table.concat(parts) end
    parts[#parts + 1] = chunk:sub(1, size)
  end
end

local function read_body(stream, headers)
  local chunked = headers["transfer-encoding"]
  local length = headers["content-length"]
  if not chunked and not length then return "" end
  if length and not length:find "^%d+$" then return nil, 400 end
  if length and tonumber(length) > MAX_BODY_BYTES then return nil, 413 end
  if (headers.expect or ""):lower() == "100-continue" and stream.buffer == "" then
    stream:send "HTTP/1.1 100 Continue\r\n\r\n"
  end
  if chunked then return read_chunked(stream) end
  return take(stream, tonumber(length))
end

---Reads the next request.
---@param stream table
---@return dpg.sandbox.Request? request  nil at the end of the connection, or with a status where the request is no HTTP
---@return integer? status
function M.read_request(stream)
  while stream.buffer:find "^\r?\n" do
    stream.buffer = stream.buffer:gsub("^\r?\n", "", 1)
  end
  local first, last = read_until(stream, "\r?\n\r?\n", 1, MAX_HEAD_BYTES, 431)
  if not first then return nil, last end
  local head = stream.buffer:sub(1, first - 1)
  stream.buffer = stream.buffer:sub(last + 1)
  local method, target, version, after = head:match "^(%u+) (%S+) HTTP/(1%.[01])()"
  local headers = method and parse_headers(head:sub(after))
  if not headers then return nil, 400 end
  local body, status = read_body(stream, headers)
  if not body then return nil, status end
  local origin_form = target:gsub("^https?://[^/?]*", "") -- section 3.2.2 wants the absolute form understood, too
  local path, query_string = origin_form:match "^([^?]*)%??(.*)$"
  return {
    method = method, target = target, path = M.unescape(path), headers = headers, body = body,
    query_string = query_string, query = M.parse_query(query_string), keep_alive = wants_keep_alive(version, headers),
  }
end

local function add_header(lines, name, value)
  if type(value) == "table" then
    for _, each in ipairs(value) do add_header(lines, name, each) end
  else
    lines[#lines + 1] = name .. ": " .. tostring(value)
  end
end

---@class dpg.sandbox.Response
---@field status integer
---@field headers table<string, string|string[]>  a list is sent as repeated headers
---@field body string
---@field no_body? boolean  the length is told, the body not sent: an answer to HEAD

---@param response dpg.sandbox.Response
---@param keep_alive boolean
---@param now number  Unix seconds, for the Date header
---@return string bytes
function M.format(response, keep_alive, now)
  local lines = { ("HTTP/1.1 %d %s"):format(response.status, reasons[response.status] or "Unknown") }
  if not response.headers.Date then add_header(lines, "Date", dates.http(now)) end
  for name, value in pairs(response.headers) do
    add_header(lines, name, value)
  end
  if response.status ~= 304 and response.status ~= 204 and not response.headers["Content-Length"] then
    add_header(lines, "Content-Length", #response.body)
  end
  add_header(lines, "Connection", keep_alive and "keep-alive" or "close")
  lines[#lines + 1] = "\r\n"
  return table.concat(lines, "\r\n") .. ((response.no_body or response.status == 304) and "" or response.body)
end

return M
