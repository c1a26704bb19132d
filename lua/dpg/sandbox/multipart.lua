-- Reads multipart/form-data (RFC 7578) piece by piece, so that a part of any size passes through a small buffer. The
-- body comes from a reader function; each part goes to a sink that the caller makes for it.

local M = {}

local MAX_HEAD_BYTES = 16 * 1024

---@param content_type string?
---@return string? boundary
function M.boundary(content_type)
  local kind, rest = (content_type or ""):match "^%s*([^;%s]+)%s*(.*)$"
  if not kind or kind:lower() ~= "multipart/form-data" then return nil end
  local boundary = rest:match ';%s*[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]="([^"]+)"'
    or rest:match ";%s*[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]=([^;%s]+)"
  return boundary and #boundary <= 70 and boundary or nil
end

-- A parameter of Content-Disposition: quoted, with a backslash before what it guards, or bare.
local function parameter(text, name)
  local from = text:lower():find("[;%s]" .. name .. "=")
  if not from then return nil end
  local value = text:sub(from + #name + 2)
  if value:sub(1, 1) ~= '"' then return value:match "^[^;%s]*" end
  local parts, position = {}, 2
  while position <= #value do
    local char = value:sub(position, position)
    if char == '"' then break end
    if char == "\\" then
      position = position + 1
      char = value:sub(position, position)
    end
    parts[#parts + 1] = char
    position = position + 1
  end
  return table.concat(parts)
end

local function parse_head(text)
  local head = {}
  for line in (text .. "\r\n"):gmatch "(.-)\r\n" do
    local name, value = line:match "^([^%s:]+):[ \t]*(.-)[ \t]*$"
    if name then head[name:lower()] = value end
  end
  local disposition = head["content-disposition"] or ""
  return {
    name = parameter(disposition, "name"), filename = parameter(disposition, "filename"),
    content_type = head["content-type"],
  }
end

---@class dpg.sandbox.Part
---@field name string?
---@field filename string?
---@field content_type string?

---Reads a whole body.
---@param read fun(): string?, string?  the next piece; nil at the end, or nil and why
---@param boundary string
---@param begin fun(part: dpg.sandbox.Part): fun(bytes: string), fun()  its sink: what takes bytes, and what ends it
---@return boolean? ok
---@return string? problem  "malformed", or what the reader said
function M.read(read, boundary, begin)
  local delimiter = "\r\n--" .. boundary
  local buffer = "\r\n" -- before the first boundary stands no line break
  local ended_by

  local function more()
    local piece, err = read()
    if not piece then
      ended_by = err or "malformed"
      return false
    end
    buffer = buffer .. piece
    return true
  end

  -- Passes what comes before the next boundary on to a sink, and the boundary itself by.
  local function pass(write)
    while true do
      local first, last = buffer:find(delimiter, 1, true)
      if first then
        if first > 1 then write(buffer:sub(1, first - 1)) end
        buffer = buffer:sub(last + 1)
        return true
      end
      local sure = #buffer - #delimiter + 1 -- the rest may be the beginning of one
      if sure > 0 then
        write(buffer:sub(1, sure))
        buffer = buffer:sub(sure + 1)
      end
      if not more() then return false end
    end
  end

  local function read_head()
    while true do
      local first, last = buffer:find("\r\n\r\n", 1, true)
      if first then
        local head = parse_head(buffer:sub(1, first - 1))
        buffer = buffer:sub(last + 1)
        return head
      end
      if #buffer > MAX_HEAD_BYTES then
        ended_by = "malformed"
        return nil
      end
      if not more() then return nil end
    end
  end

  if not pass(function() end) then return nil, ended_by end
  while true do
    while #buffer < 2 do
      if not more() then return nil, ended_by end
    end
    if buffer:sub(1, 2) == "--" then break end
    local head = read_head()
    if not head then return nil, ended_by end
    local write, finish = begin(head)
    if not pass(write) then return nil, ended_by end
    finish()
  end
  local piece, err
  repeat piece, err = read() until not piece -- the epilogue
  if err then return nil, err end
  return true
end

return M
