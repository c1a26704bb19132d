-- HTTP/1.1 for the server's side of a connection (RFC 9112): reads requests one after the other, so that pipelined
-- ones wait their turn, their bodies whole or piece by piece, and writes answers, small ones as one string, large ones
-- piece by piece. It knows nothing of the API. `stream` is a connection of server.lua.

local dates = require "dpg.sandbox.dates"

local M = {}

local MAX_HEAD_BYTES = 64 * 1024
local MAX_BODY_BYTES = 8 * 1024 * 1024
local PIECE_BYTES = 64 * 1024

local reasons = {
  [200] = "OK", [201] = "Created", [202] = "Accepted", [204] = "No Content", [206] = "Partial Content",
  [301] = "Moved Permanently", [302] = "Found", [303] = "See Other", [304] = "Not Modified",
  [307] = "Temporary Redirect", [308] = "Permanent Redirect", [400] = "Bad Request", [401] = "Unauthorized",
  [403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed", [408] = "Request Timeout",
  [409] = "Conflict", [410] = "Gone", [412] = "Precondition Failed", [413] = "Content Too Large",
  [415] = "Unsupported Media Type", [416] = "Range Not Satisfiable", [417] = "Expectation Failed",
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

-- What the buffer holds, or else the next that comes, at most `limit` bytes of it.
local function next_bytes(stream, limit)
  if stream.buffer == "" then
    local data, err = stream:receive()
    if not data then return nil, err end
    stream.buffer = data
  end
  local piece = stream.buffer
  if #piece > limit then piece = piece:sub(1, limit) end
  stream.buffer = stream.buffer:sub(#piece + 1)
  return piece
end

local function sized_reader(stream, left)
  return function()
    if left == 0 then return nil end
    local piece, err = next_bytes(stream, left)
    if not piece then return nil, err end
    left = left - #piece
    return piece
  end
end

local function chunked_reader(stream)
  local left, ended = 0, false
  local function next_size()
    local first, last, err = read_until(stream, "\r?\n", 1, 256, 400)
    if not first then return nil, err or "no chunk", last end
    local size = tonumber(stream.buffer:sub(1, first - 1):match "^%x+" or "", 16)
    if not size then return nil, "no chunk", 400 end
    stream.buffer = stream.buffer:sub(last + 1)
    return size
  end
  local function skip_line()
    local first, last, err = read_until(stream, "\r?\n", 1, MAX_HEAD_BYTES, 400)
    if not first then return nil, err or "no end of a chunk", last end
    local line = stream.buffer:sub(1, first - 1)
    stream.buffer = stream.buffer:sub(last + 1)
    return line
  end
  local function finish()
    ended = true
    while true do -- trailers
      local line, err, status = skip_line()
      if not line then return nil, err, status end
      if line == "" then return nil end
    end
  end
  return function()
    if ended then return nil end
    if left == 0 then
      local size, err, status = next_size()
      if not size then return nil, err, status end
      if size == 0 then return finish() end
      left = size
    end
    local piece, err = next_bytes(stream, left)
    if not piece then return nil, err end
    left = left - #piece
    if left > 0 then return piece end
    local line, problem, status = skip_line()
    if not line then return nil, problem, status end
    return piece
  end
end

---Makes the reader of a request's body: each call gives the next piece, which is never empty; nil at the end, or nil,
---what went wrong, and a status where the fault is the client's.
---@param stream table
---@param request dpg.sandbox.Request
---@param no_continue? boolean  leaves a client that wants a 100 Continue without it
---@return fun(): string?, string?, integer?
function M.body_reader(stream, request, no_continue)
  local headers = request.headers
  local length = headers["content-length"]
  local read
  if headers["transfer-encoding"] then
    read = chunked_reader(stream)
  elseif length and not length:find "^%d+$" then
    return function() return nil, "no length", 400 end
  else
    read = sized_reader(stream, tonumber(length or 0))
  end
  local asks = (headers.expect or ""):lower() == "100-continue" and not no_continue
  if not asks or length == "0" then return read end
  return function()
    if asks and stream.buffer == "" then stream:send "HTTP/1.1 100 Continue\r\n\r\n" end
    asks = false
    return read()
  end
end

---Reads a body to its end.
---@param request dpg.sandbox.Request
---@param read fun(): string?, string?, integer?
---@return string? body
---@return integer? status  where the body is too large or no HTTP; neither: the connection has ended
function M.whole_body(request, read)
  if (tonumber(request.headers["content-length"]) or 0) > MAX_BODY_BYTES then return nil, 413 end
  local parts, total = {}, 0
  while true do
    local piece, err, status = read()
    if not piece then
      if err then return nil, status end
      return table.concat(parts)
    end
    total = total + #piece
    if total > MAX_BODY_BYTES then return nil, 413 end
    parts[#parts + 1] = piece
  end
end

---Reads the next request as far as its body.
---@param stream table
---@return dpg.sandbox.Request? request  nil at the end of the connection, or with a status where the request is no HTTP
---@return integer? status
function M.read_head(stream)
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
  local origin_form = target:gsub("^https?://[^/?]*", "") -- section 3.2.2 wants the absolute form understood, too
  local path, query_string = origin_form:match "^([^?]*)%??(.*)$"
  return {
    method = method, target = target, path = M.unescape(path), headers = headers, body = "",
    query_string = query_string, query = M.parse_query(query_string), keep_alive = wants_keep_alive(version, headers),
  }
end

---Reads the next request.
---@param stream table
---@return dpg.sandbox.Request? request  as read_head
---@return integer? status
function M.read_request(stream)
  local request, status = M.read_head(stream)
  if not request then return nil, status end
  request.body, status = M.whole_body(request, M.body_reader(stream, request))
  if not request.body then return nil, status end
  return request
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
---@field content? dpg.sandbox.Content  instead of a body: its bytes from `first` (0) on, `length` of them
---@field first? integer
---@field length? integer
---@field no_body? boolean  the length is told, the body not sent: an answer to HEAD

local function has_no_body(response)
  return response.no_body or response.status == 304 or response.status == 204
end

local function format_head(response, keep_alive, now)
  local lines = { ("HTTP/1.1 %d %s"):format(response.status, reasons[response.status] or "Unknown") }
  if not response.headers.Date then add_header(lines, "Date", dates.http(now)) end
  for name, value in pairs(response.headers) do
    add_header(lines, name, value)
  end
  if response.status ~= 304 and response.status ~= 204 and not response.headers["Content-Length"] then
    add_header(lines, "Content-Length", string.format("%d", response.length or #response.body))
  end
  add_header(lines, "Connection", keep_alive and "keep-alive" or "close")
  lines[#lines + 1] = "\r\n"
  return table.concat(lines, "\r\n")
end

---@param response dpg.sandbox.Response  with a body
---@param keep_alive boolean
---@param now number  Unix seconds, for the Date header
---@return string bytes
function M.format(response, keep_alive, now)
  return format_head(response, keep_alive, now) .. (has_no_body(response) and "" or response.body)
end

local function piece_of(response, offset, count)
  local content = response.content
  if content then return content.read((response.first or 0) + offset, count) end
  return response.body:sub(offset + 1, offset + count)
end

---Sends an answer.
---@param stream table
---@param response dpg.sandbox.Response
---@param keep_alive boolean
---@param now number
---@param pace? { rate?: number, cut?: integer }  bytes a second; after how many bytes of the body it ends
---@return boolean? sent  nil: the connection has ended, or the body was cut
function M.send(stream, response, keep_alive, now, pace)
  if not response.content and not pace then return stream:send(M.format(response, keep_alive, now)) end
  if not stream:send(format_head(response, keep_alive, now)) then return nil end
  if has_no_body(response) then return true end
  local rate = pace and pace.rate
  local length = response.length or #response.body
  local last = math.min(length, pace and pace.cut or length)
  local most = rate and math.max(1, math.min(PIECE_BYTES, math.ceil(rate / 10))) or PIECE_BYTES
  local offset = 0
  while offset < last do
    local count = math.min(most, last - offset)
    if rate then stream:sleep(count / rate) else stream:rest() end
    if not stream:send(piece_of(response, offset, count)) then return nil end
    offset = offset + count
  end
  return not (pace and pace.cut) or nil
end

return M
