-- Putting URLs together: every byte that isn't plainly a letter of a path segment or a value is percent-encoded, so
-- a name can't escape from its place. Pure.
local compat = require "dpg.compat"
local wire = require "dpg.wire"

local M = {}

local function escape(c)
  return string.format("%%%02X", c:byte())
end

---@param text string
---@return string
function M.encode(text)
  if not text:find "[^a-z0-9A-Z%-%._~]" then return text end -- the most, and at half the price
  return (text:gsub("[^a-z0-9A-Z%-%._~]", escape))
end

local function value_text(value)
  if type(value) == "number" then return compat.number_text(value) end
  return tostring(value)
end

---The query of a URL, sorted by name, with its "?"; "" when there is nothing in it.
---@param fields? table<string, string|number|boolean|table>
---@return string
function M.query(fields)
  if not fields then return "" end
  local names, parts = {}, {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = fields[name]
    local several = type(value) == "table" and value or { value }
    if wire.LIST_IN_QUERY == "repeat" then
      for _, one in ipairs(several) do parts[#parts + 1] = M.encode(name) .. "=" .. M.encode(value_text(one)) end
    else
      local texts = {}
      for i, one in ipairs(several) do texts[i] = value_text(one) end
      parts[#parts + 1] = M.encode(name) .. "=" .. M.encode(table.concat(texts, ","))
    end
  end
  return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

-- A path's template in parts: text, name, text, name … text. There are as many as the catalog has rows.
local templates = {}

---@param template string
---@return string[]
function M.parts(template)
  local parts = templates[template]
  if parts then return parts end
  local from
  parts, from = {}, 1
  for at, name, after in template:gmatch "(){([%w_]+)}()" do
    parts[#parts + 1] = template:sub(from, at - 1)
    parts[#parts + 1] = name
    from = after
  end
  parts[#parts + 1] = template:sub(from)
  templates[template] = parts
  return parts
end

---A path from its template: `/images/{public_uuid}` and the names' values, each as one segment.
---@param template string
---@param values? table<string, string>  nil where it has no names
---@return string
function M.path(template, values)
  local parts = M.parts(template)
  local path = parts[1]
  for i = 2, #parts, 2 do path = path .. M.encode(values[parts[i]]) .. parts[i + 1] end
  return path
end

-- Which segments would climb: curl and servers resolve these also when encoded.
local function climbs(segment)
  segment = segment:gsub("%%2[eE]", ".")
  return segment == "." or segment == ".."
end

---Can this stand as a segment of a path?
---@param segment string
---@return boolean
function M.is_segment(segment)
  return segment ~= "" and not climbs(segment)
end

---Is this a path for session:request: from the base URL's end, without query, with nothing that climbs?
---@param path string
---@return boolean
function M.is_path(path)
  if path:sub(1, 1) ~= "/" or path:find("[%c%s?#\\]") or path:find("//", 1, true) then return false end
  for segment in path:gmatch("[^/]+") do
    if climbs(segment) then return false end
  end
  return true
end

local LOOPBACK = { ["localhost"] = true, ["[::1]"] = true }

-- The scheme of a URL that may be used, in lower case; else what is wrong.
local function safe_scheme(scheme, authority)
  scheme = scheme:lower()
  local host, rest = authority:match("^(%[[^%]]+%])(.*)$")
  if not host then host, rest = authority:match("^([^:]*)(.*)$") end
  host = host:lower()
  local port = tonumber(rest:match("^:(%d+)$"))
  if host == "" or (rest ~= "" and not port) or (port and (port < 1 or port > 65535)) then
    return nil, "its host is no name or address with a port of 1 to 65535 behind it"
  end
  if scheme == "http" then
    if not (LOOPBACK[host] or host:match("^127%.%d+%.%d+%.%d+$")) then
      return nil, "plain http goes to this machine only (127.0.0.1, [::1], localhost): use https"
    end
  elseif scheme ~= "https" then
    return nil, "its scheme is neither https nor http"
  end
  return scheme
end

---Reads a link to another host, which says nothing of what stands in it.
---@param text string
---@return string? host  with its port: "cdn.example.com:8443"
---@return string? problem
function M.foreign(text)
  local scheme, authority = text:match("^([A-Za-z]+)://([^/?#]+)")
  if not scheme or authority:find("[@\\]") or text:find("[%c%s]") then return nil, "it is no absolute URL" end
  local ok, problem = safe_scheme(scheme, authority)
  if not ok then return nil, problem end
  return authority:lower()
end

---Reads a base URL: https, or plain http to this very machine; its path ends in /v and a number.
---@param text string
---@return string? base_url  without a slash at the end
---@return string origin_or_problem  "https://host:port", or what is wrong
function M.base(text)
  local scheme, authority, path = text:match("^([A-Za-z]+)://([^/?#]+)(.*)$")
  if not scheme or authority:find("[%c%s@\\]") or path:find("[%c%s?#\\]") then
    return nil, "it is no absolute URL like https://api.digitalphotogallery.com/v1"
  end
  local problem
  scheme, problem = safe_scheme(scheme, authority)
  if not scheme then return nil, problem end
  path = path:gsub("/+$", "")
  if not path:match("/v%d+$") then return nil, "its path must end in the version, as in /v1" end
  return scheme .. "://" .. authority .. path, scheme .. "://" .. authority:lower()
end

return M
