-- Misbehaviour on demand. A fault names the requests it applies to and what goes wrong with them; this file keeps the
-- faults, picks the one that is due, and acts it out on the connection. What the fields mean is said once, at `fields`.

local answers = require "dpg.sandbox.answers"
local http = require "dpg.sandbox.http"
local random = require "dpg.sandbox.random"
local record = require "dpg.sandbox.record"

local M = {}

local TRUNCATED_BY = 64
local GARBAGE = "\22\3\1\0\5\255\254\0garbage, not HTTP\r\n\0\1\2\3"
local PAGE = "<!doctype html><html><head><title>Gateway</title></head><body><h1>Back soon</h1></body></html>\n"

local function is(kind)
  return function(value) return type(value) == kind end
end
local function is_count(value) return type(value) == "number" and value >= 1 end
local function is_size(value) return type(value) == "number" and value >= 0 end
local function is_rate(value) return type(value) == "number" and value > 0 end
local function is_chance(value) return type(value) == "number" and value > 0 and value <= 1 end
local function is_headers(value) return type(value) == "string" or type(value) == "table" end

local fields = { -- name -> check
  server = is "string", -- "api" (where none is said), "processor" or "cdn"
  path = is "string", -- without /v1: itself, or a Lua pattern for the whole of it
  method = is "string",
  nth = is_count, -- the first of the matching requests from now on that it applies to (1)
  times = function(value) return value == "always" or is_count(value) end, -- how many in a row (1)
  chance = is_chance, -- of those, it strikes this share at random
  seed = is "number", -- of that randomness (1)
  work = is "boolean", -- whether the API does what was asked, where the kind leaves a choice

  delay = is "number", -- seconds between the work and its answer
  delay_work = is "number", -- seconds before the work
  hold = is "boolean", -- as delay, until release
  hold_work = is "boolean", -- as delay_work, until release

  no_continue = is "boolean", -- no 100 Continue for a client that waits for one
  read_rate = is_rate, -- takes the request's body at so many bytes a second, which makes back pressure
  cut_body = is_size, -- closes when so many bytes of the request's body have come, without the work
  early = is "boolean", -- answers before the request's body has come, then closes; with status and the like

  drop = is "string", -- closes the connection "before" the work, "after" it, or with "half" of the answer sent
  reset = is "boolean", -- RST instead of an answer
  close_reused = is "boolean", -- on a connection that has been used before: closes it without the work or an answer
  cut = is_size, -- closes when so many bytes of the answer's body have been sent; with `reset` by an RST
  stall = is "boolean", -- with `cut`: falls silent there until release, and closes then
  send_rate = is_rate, -- sends the answer's body at so many bytes a second
  close_idle = is "boolean", -- answers as usual with keep-alive, then closes
  truncate = is "boolean", -- tells a longer Content-Length than it sends, then closes
  garbage = is "boolean", -- bytes that are no HTTP
  raw = is "string", -- these bytes, then closes

  status = is "number", -- answers so without doing the work (work = true: does it, then answers so)
  code = is "string", -- the code in the error's body
  html = is "boolean", -- 200 with a page of HTML
  retry_after = is_headers, -- 429 (or `status`) with this header; a list sends it several times
  body = is "string", -- instead of the answer's own
  headers = is "table", -- over the answer's own; false leaves one out
  redirect = is "string", -- 302 (or `status`) with this Location

  ignore_range = is "boolean", -- the CDN alone: answers 200 with the whole file
  expired = is "boolean", -- the CDN alone: answers as for a link that has expired
  change_file = is "boolean", -- the CDN alone: before it answers, the file becomes another one of the same size
}

local drops = { before = true, after = true, half = true }
local servers = { api = true, processor = true, cdn = true }

local Faults = {}
Faults.__index = Faults
Faults.__name = "dpg.sandbox.faults"

---@return table faults
function M.new()
  return setmetatable({ list = {}, releases = 0 }, Faults)
end

---@param fault table
---@return string? problem
function M.problem(fault)
  for name, value in pairs(fault) do
    if not fields[name] then return "unknown field '" .. tostring(name) .. "' in a fault" end
    if not fields[name](value) then return "a fault's '" .. name .. "' can't be " .. tostring(value) end
  end
  if fault.server and not servers[fault.server] then return "a fault's 'server' is 'api', 'processor' or 'cdn'" end
  if fault.drop and not drops[fault.drop] then return "a fault's 'drop' is 'before', 'after' or 'half'" end
  return nil
end

---@param fault table
function Faults:add(fault)
  fault.seen, fault.nth, fault.times = 0, fault.nth or 1, fault.times or 1
  fault.server = fault.server or "api"
  fault.dice = fault.chance and random.dice(fault.seed or 1)
  table.insert(self.list, fault)
end

function Faults:clear()
  self.list = {}
  self:release()
end

---Lets go whatever is held.
function Faults:release()
  self.releases = self.releases + 1
end

local function concerns(fault, server, request, reused)
  if fault.server ~= server then return false end
  if fault.method and fault.method ~= request.method then return false end
  if fault.close_reused and not reused then return false end
  return record.path_matches(record.short_path(request.path), fault.path)
end

local CHANCES = 1000000

local function is_due(fault)
  if fault.seen < fault.nth or fault.times ~= "always" and fault.seen >= fault.nth + fault.times then return false end
  return not fault.dice or fault.dice.number(CHANCES) <= fault.chance * CHANCES
end

---The fault for this request, where one is due. Every fault counts every request that concerns it.
---@param server string
---@param request dpg.sandbox.Request
---@param reused boolean
---@return table? fault
function Faults:match(server, request, reused)
  local chosen
  for _, fault in ipairs(self.list) do
    if concerns(fault, server, request, reused) then
      fault.seen = fault.seen + 1
      chosen = chosen or is_due(fault) and fault or nil
    end
  end
  return chosen
end

local function answers_itself(fault)
  return fault.status or fault.html or fault.retry_after or fault.redirect
end

local function does_work(fault)
  if fault.drop == "before" or fault.close_reused or fault.early then return false end
  if fault.drop then return true end
  if fault.work ~= nil then return fault.work end
  if fault.cut then return true end
  return not (fault.reset or fault.garbage or fault.raw or answers_itself(fault))
end

local codes = {
  [400] = "validation", [401] = "unauthorized", [403] = "forbidden", [404] = "not_found",
  [409] = "idempotency_key_conflict", [413] = "payload_too_large", [429] = "rate_limited",
}

local function made_up(fault)
  local status = fault.status or fault.html and 200 or fault.redirect and 302 or 429
  if fault.html then
    return { status = status, headers = { ["Content-Type"] = "text/html; charset=utf-8" }, body = PAGE }
  end
  if status < 400 then return answers.text(status, fault.body or "") end
  return answers.refusal({ status = status, code = fault.code or codes[status] or "server_error" }, "req-fault")
end

local function set_header(headers, name, value)
  for existing in pairs(headers) do
    if existing:lower() == name:lower() then headers[existing] = nil end
  end
  headers[name] = value or nil
end

local function altered(response, fault)
  if fault.body then
    response.body, response.content, response.length = fault.body, nil, nil
  end
  if fault.redirect then response.headers.Location = fault.redirect end
  if fault.retry_after then response.headers["Retry-After"] = fault.retry_after end
  for name, value in pairs(fault.headers or {}) do
    set_header(response.headers, name, value)
  end
  return response
end

local function send_half(connection, response, now)
  if response.content then
    http.send(connection, response, true, now, { cut = math.floor(response.length / 2) })
    return
  end
  local bytes = http.format(response, true, now)
  connection:send(bytes:sub(1, math.floor(#bytes / 2)))
end

-- kind -> what is sent before the connection ends
local endings = {
  { "cut", function(connection, response, fault, now)
    http.send(connection, response, true, now, { cut = fault.cut, rate = fault.send_rate })
    if fault.reset then connection:reset() end
  end },
  { "reset", function(connection) connection:reset() end },
  { "close_reused", function() end },
  { "garbage", function(connection) connection:send(GARBAGE) end },
  { "raw", function(connection, _, fault) connection:send(fault.raw) end },
  { "drop", function(connection, response, fault, now)
    if fault.drop == "half" then send_half(connection, response, now) end
  end },
  { "truncate", function(connection, response, _, now)
    response.headers["Content-Length"] = string.format("%d", (response.length or #response.body) + TRUNCATED_BY)
    http.send(connection, response, true, now)
  end },
  { "close_idle", function(connection, response, _, now) http.send(connection, response, true, now) end },
}

---The reader of a body as a fault has it: slow, or at its end too early.
---@param connection table
---@param fault table
---@param read fun(): string?, string?, integer?
---@return fun(): string?, string?, integer?
function M.reader(connection, fault, read)
  local rate, left = fault.read_rate, fault.cut_body
  if not rate and not left then return read end
  return function()
    if left and left <= 0 then return nil, "cut" end
    local piece, err, status = read()
    if not piece then return nil, err, status end
    if rate then connection:sleep(#piece / rate) end
    if left then left = left - #piece end
    return piece
  end
end

local function pause(self, connection, seconds, hold)
  if seconds then connection:sleep(seconds) end
  local releases = self.releases
  if hold then
    connection:sleep(math.huge, function() return self.releases ~= releases end)
  end
end

---Acts a fault out on one request.
---@param connection table
---@param fault table
---@param entry table  of the record: its status is set to what is answered
---@param work fun(): dpg.sandbox.Response
---@param now fun(): number
---@return dpg.sandbox.Response? response  to be sent as usual; nil: the connection ends here
function Faults:act(connection, fault, entry, work, now)
  pause(self, connection, fault.delay_work, fault.hold_work)
  local worked = does_work(fault) and work() or nil
  pause(self, connection, fault.delay, fault.hold)
  local response = (answers_itself(fault) or not worked) and made_up(fault) or worked
  response = altered(response, fault)
  for _, ending in ipairs(endings) do
    if fault[ending[1]] then
      entry.fault = ending[1]
      ending[2](connection, response, fault, now())
      pause(self, connection, nil, fault.stall)
      return nil
    end
  end
  return response
end

return M
