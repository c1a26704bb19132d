-- Starting calls and waiting for their ends: the only module that does either. It asks the host of the running task
-- how to wait, and gives back what the core said. What an answer means is others' business (dpg.session,
-- dpg.sign_in).
local core = require "dpg.core"
local errors = require "dpg.errors"
local hosts = require "dpg.host"
local stream = require "dpg.stream"

local M = {}

-- What a call needs: the host that will wait for it, and the engine and credential that it is started with.
local function ready(connection, on_event)
  local host, err = hosts.prepare()
  if not host then return nil, err end
  local hub, credential = connection:open()
  if not hub then return nil, credential end
  if on_event then hub:hear() end
  return host, hub, credential
end

-- Waits for the call of this entry and takes what it came to.
local function finish(host, hub, entry, as)
  local ok, err = host:wait(entry)
  if not ok then
    hub:drop(entry)
    return nil, err
  end
  return hub:take(entry, as)
end

-- The parts of a spec that settings say.
local function apply(spec, settings)
  spec.timeout, spec.idle = settings.timeout, settings.idle
  spec.deadline = settings.deadline
  spec.max_response_bytes = settings.max_response_bytes
  local retry = settings.retry or {}
  spec.attempts, spec.base, spec.cap = retry.attempts, retry.base, retry.cap
  return spec
end

---@class dpg.Prepared
---@field spec userdata
---@field on_event? function

---What many calls have in common, put together once.
---@param spec table  for the engine, without what settings say, and without what is said for each call
---@param settings table  timeout, deadline, retry, on_event, max_response_bytes
---@return dpg.Prepared
function M.prepare(spec, settings)
  return { spec = core.spec(apply(spec, settings)), on_event = settings.on_event }
end

local function start(hub, credential, prepared, request)
  return hub.engine:start(prepared.spec, credential, request.url, request.body,
    "Idempotency-Key", request.idempotency_key, "If-None-Match", request.etag)
end

---One HTTP call.
---@param connection dpg.Connection
---@param prepared dpg.Prepared
---@param request table  `url`, `body`, `idempotency_key`, `etag`; `as`: how its answer is handed out (engine:take)
---@return integer? status
---@return table headers_or_err
---@return string? body
---@return table? info
---@return any value  what the body says, as `as` wants it; then there is no body
function M.http(connection, prepared, request)
  local host, hub, credential = ready(connection, prepared.on_event)
  if not host then return nil, hub end
  local entry = hub:expect(prepared.on_event)
  local id, err = start(hub, credential, prepared, request)
  if not id then return nil, err end
  hub:begun(entry, id)
  return finish(host, hub, entry, request.as)
end

---The same, begun before anybody waits for it: stream:take(request.as) says what it came to.
---@param connection dpg.Connection
---@param prepared dpg.Prepared
---@param request table
---@return dpg.Stream? stream
---@return dpg.Error? err
function M.begin(connection, prepared, request)
  local host, hub, credential = ready(connection, prepared.on_event)
  if not host then return nil, hub end
  local one = stream.new(hub, { on_event = prepared.on_event })
  local id, err = start(hub, credential, prepared, request)
  if not id then return nil, err end
  return one:begun(id)
end

---Starts a call whose bytes pass through Lua, or whose progress is followed: the caller waits for it by stream:wait().
---@param connection dpg.Connection
---@param spec table  for the engine, without what settings say
---@param settings table  idle or timeout, deadline, retry, on_event, max_response_bytes
---@param more { host?: string, ticks?: boolean }  `host`: it goes there, to another origin, and bears no token
---@return dpg.Stream? stream
---@return dpg.Error? err
function M.stream(connection, spec, settings, more)
  local host, hub, credential = ready(connection, settings.on_event)
  if not host then return nil, hub end
  if not more.host then spec.credential = credential end
  local one = stream.new(hub, { on_event = settings.on_event, host = more.host, ticks = more.ticks })
  local id, err = hub.engine:start(apply(spec, settings))
  if not id then return nil, err end
  return one:begun(id)
end

---One call that a person's credential makes itself.
---@param connection dpg.Connection
---@param what "load"|"sign_in"|"forget"
---@param spec? table  for sign_in
---@param settings table
---@return integer? status
---@return table headers_or_err
---@return string? body
---@return table? info
function M.credential(connection, what, spec, settings)
  local host, hub, credential = ready(connection, settings.on_event)
  if not host then return nil, hub end
  if spec then spec = apply(spec, settings) else spec = settings.deadline end
  local entry = hub:expect(settings.on_event)
  local id, err = credential[what](credential, spec)
  if not id then return nil, err end
  hub:begun(entry, id)
  return finish(host, hub, entry)
end

---Waits, as calls do: other tasks go on.
---@param connection dpg.Connection
---@param seconds number
---@return boolean? ok
---@return dpg.Error? err
function M.sleep(connection, seconds)
  local host, hub = ready(connection)
  if not host then return nil, hub end
  local entry = hub:expect()
  local id, err = hub.engine:start { timer = seconds }
  if not id then return nil, errors.from_core(err) end
  hub:begun(entry, id)
  local status
  status, err = finish(host, hub, entry)
  if not status then return nil, errors.from_core(err) end
  return true
end

---The clock of the connection's engine, in seconds; only differences mean anything.
---@param connection dpg.Connection
---@return number? now
---@return dpg.Error? err
function M.now(connection)
  local hub, err = connection:open()
  if not hub then return nil, err end
  return hub.engine:now()
end

return M
