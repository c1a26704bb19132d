-- What the sandbox's three servers share: one connection, request after request, with what goes wrong on demand and the
-- record of it. A site is one of them: `name`, `answer(request, more)` and, where it reads bodies itself, `streams`.

local faults = require "dpg.sandbox.faults"
local http = require "dpg.sandbox.http"

local M = {}

local NO_FAULT = {}

---@class dpg.sandbox.Exchange
---@field connection table
---@field fault table  the one that is due; empty where there is none
---@field entry table  of the record
---@field read fun(): string?, string?, integer?  the next piece of the body, for a site that streams

---@class dpg.sandbox.Site
---@field name "api"|"processor"|"cdn"
---@field streams? boolean
---@field answer fun(request: dpg.sandbox.Request, exchange: dpg.sandbox.Exchange): dpg.sandbox.Response?

local function refuse(sandbox, connection, status)
  if not status then return end
  connection:send(http.format({ status = status, headers = {}, body = "" }, false, sandbox.clock.now()))
end

local function drain(read)
  local piece
  repeat piece = read() until not piece
end

-- A reader that tells whether it was used. A client that waits for a 100 Continue and gets an answer instead sends no
-- body.
local function watched(request, read)
  local waits = (request.headers.expect or ""):lower() == "100-continue"
  return function()
    waits = false
    return read()
  end, function() return waits end
end

local function add_entry(sandbox, site, request, exchange, reused)
  local entry = sandbox.record:add(site.name, request, exchange.connection.number, reused, sandbox.clock.now())
  exchange.entry = entry
  return entry
end

-- A body's reader that tells the record what has come.
local function counted(exchange, read)
  return function()
    local piece, err, status = read()
    local entry = exchange.entry
    if piece and entry then
      entry.body_length = entry.body_length + #piece
    elseif err == "cut" and entry then
      entry.fault = "cut_body"
    end
    return piece, err, status
  end
end

-- Reads what is to be read before the work; false where the connection ends here.
local function take_in(sandbox, site, request, exchange, reused)
  if site.streams then
    add_entry(sandbox, site, request, exchange, reused)
    exchange.read = counted(exchange, exchange.read)
    return true
  end
  if exchange.fault.early then
    add_entry(sandbox, site, request, exchange, reused)
    return true
  end
  local body, status = http.whole_body(request, exchange.read)
  if not body and not exchange.fault.cut_body then
    refuse(sandbox, exchange.connection, status)
    return false
  end
  request.body = body or ""
  local entry = add_entry(sandbox, site, request, exchange, reused)
  if not body then entry.fault = "cut_body" end
  return body ~= nil
end

local function respond(sandbox, site, request, exchange)
  local function work() return site.answer(request, exchange) end
  local fault = exchange.fault
  if fault == NO_FAULT then return work() end
  local response = sandbox.faults:act(exchange.connection, fault, exchange.entry, work, sandbox.clock.now)
  if exchange.entry.fault == "cut_body" then return nil end
  return response
end

-- One request; true where another may follow on this connection.
local function serve_one(sandbox, site, connection, reused)
  local began, sent_before = connection.received - #connection.buffer, connection.sent
  local request, status = http.read_head(connection)
  if not request then return refuse(sandbox, connection, status) end
  local fault = sandbox.faults:match(site.name, request, reused) or NO_FAULT
  local body, client_waits = watched(request, http.body_reader(connection, request, fault.no_continue))
  local exchange = { connection = connection, fault = fault, read = faults.reader(connection, fault, body) }
  if not take_in(sandbox, site, request, exchange, reused) then return false end
  local entry = exchange.entry
  local response = respond(sandbox, site, request, exchange)
  local bodiless, early = client_waits(), fault.early
  local keep_alive = request.keep_alive and not early and not bodiless
  local sent = false
  if response then
    entry.status = response.status
    if not early and not bodiless then drain(body) end
    local pace = fault.send_rate and { rate = fault.send_rate }
    sent = http.send(connection, response, keep_alive, sandbox.clock.now(), pace)
    if early and not bodiless then drain(body) end
  end
  entry.received = connection.received - #connection.buffer - began
  entry.sent = connection.sent - sent_before
  return sent and keep_alive
end

---Makes the handler of a site's connections.
---@param sandbox table  record, faults, clock
---@param site dpg.sandbox.Site
---@return fun(connection: table)
function M.handler(sandbox, site)
  return function(connection)
    local reused = false
    while serve_one(sandbox, site, connection, reused) do
      reused = true
    end
  end
end

return M
