-- The host of nginx's workers (OpenResty, or nginx with its Lua module), which dpg.host finds by itself. The engines
-- run on threads; a coroutine waits on a semaphore; and while anybody waits one pump, a light thread in a timer of the
-- worker's, hands out what the engines say. It sleeps on a unix socket that the engines write to.
local errors = require "dpg.errors"
local hubs = require "dpg.hub"
local nginx = require "resty.core.base"
local semaphore = require "ngx.semaphore"

local ngx = package.loaded.ngx

local M = {}

-- What a coroutine may wait in: https://github.com/openresty/lua-nginx-module, "ngx.semaphore" and "cosockets".
local PHASES = {
  rewrite = true, server_rewrite = true, access = true, content = true, timer = true,
  ssl_cert = true, ssl_client_hello = true, ssl_session_fetch = true,
}

-- So often a pump looks whether anybody waits; else it ends, as it would hold a worker back that is to end.
local NUDGE_S = 0.2
-- A byte comes before that; a time-out would be logged.
local FOREVER_MS = 2 ^ 31 - 1
-- Where there is no pump, since nginx has no timer left, whoever waits looks for himself.
local LOOK_S = 0.01
-- A pump that has not begun after so long will not: nginx has dropped its timer (lua_max_running_timers). So long it
-- takes, too, until one is asked for again that could not do its work.
local PATIENCE_S = 1

-- Who has much to do lets others go first for so long: 0 is not cheap in every nginx.
local TURN_S = 0.001

local threaded -- the process whose engines have been handed to threads
local wake -- their one wake-up
local pump -- nil, "asked", "running" or "failed"
local asked_at = 0

-- nginx logs a raised table as "unknown reason"; each is said once, wherever it is raised again.
local said = setmetatable({}, { __mode = "k" })
function errors.on_throw(err)
  if said[err] then return end
  said[err] = true
  ngx.log(ngx.ERR, "dpg: raised: ", tostring(err))
end

-- --- waiters -------------------------------------------------------------------------------------------------------

---@class dpg.ngx.Waiter
---@field semaphore table
---@field signal? table  what it is waiting for
---@field is_looking? boolean  it looks for itself what the engines say
---@field has_looked? boolean
local Waiter = {}
Waiter.__index = Waiter

local waiters = setmetatable({}, { __mode = "k" }) -- all there are: they go with their requests
local spare = {} -- those whose semaphore can be used again

function Waiter:is_blocked_on(signal)
  return self.signal == signal and (self.is_looking or self.semaphore:count() < 0)
end

function Waiter:wake(signal)
  if self.signal == signal then self.semaphore:post(1) end
end

local function new_waiter()
  local waiter = setmetatable({ semaphore = assert(semaphore.new(0)) }, Waiter)
  waiters[waiter] = true
  return waiter
end

-- Is there anybody who waits for a call, or a store at work? If a request has ended meanwhile, its call goes on to its
-- end, as far as the worker does, and its stream is closed.
local function is_anybody_there()
  local found, closed = hubs.is_keeping(), {}
  for waiter in pairs(waiters) do
    local signal = waiter.signal
    if signal and signal.hub and not signal.done then
      if waiter.semaphore:count() < 0 then
        found = true
      elseif signal.stream then
        closed[#closed + 1] = signal
      else
        found = found or not ngx.worker.exiting()
      end
    end
  end
  for _, signal in ipairs(closed) do signal.hub:drop(signal) end
  return found
end

-- --- the pump ------------------------------------------------------------------------------------------------------

local function look()
  local is_heard = wake:lower()
  hubs.pump_all(M)
  return is_heard
end

-- A worker that is to end runs its timers at once, and takes no more of them.
local is_nudged
local function nudge()
  is_nudged = true
  wake:raise()
end

local function serve()
  local socket = ngx.socket.tcp()
  socket:settimeout(FOREVER_MS)
  local ok, err = socket:connect("unix:" .. wake:path())
  is_nudged = true
  while ok do
    -- after connecting, and after each byte: what is said from now on is another byte
    if not look() then
      err = "no descriptor was left for its wake-up"
      break
    end
    if is_nudged then
      if not is_anybody_there() then break end
      is_nudged = not ngx.timer.at(NUDGE_S, nudge)
    end
    ok, err = socket:receiveany(64)
  end
  socket:close()
  return err
end

local function run_pump()
  pump = "running"
  local ok, problem = pcall(serve)
  if ok and not problem then
    pump = nil
  else
    pump, asked_at = "failed", ngx.now()
    ngx.log(ngx.ERR, "dpg: the pump has ended: ", tostring(problem))
  end
end

local function ask_for_pump()
  if pump == "running" or (pump and ngx.now() - asked_at <= PATIENCE_S) then return end
  pump, asked_at = nil, ngx.now()
  if ngx.timer.at(0, run_pump) then pump = "asked" end
end

-- --- the host ------------------------------------------------------------------------------------------------------

---May a coroutine wait in this phase of nginx's?
---@return boolean? ok
---@return dpg.Error? err  kind "usage", code "cannot_wait_here"
function M.prepare()
  local phase = ngx.get_phase()
  if not PHASES[phase] then
    return nil, errors.usage("cannot_wait_here", "a call can't wait in nginx's phase " .. phase
      .. ": make it in ngx.timer.at(0, function() … end), or in access_by_lua, content_by_lua and the like")
  end
  local pid = ngx.worker.pid()
  if threaded ~= pid then
    local err
    wake, err = hubs.thread "socket"
    if not wake then return nil, err end
    threaded = pid
  end
  return true
end

-- A task's light thread (task._thread) by its coroutine; each has the other, so neither may be kept by this.
local threads = setmetatable({}, { __mode = "kv" })

local STOPPED = {} -- raised in a task that does not go on

local function ended(thread, ok, ...)
  if thread.is_over then return end
  thread.is_over = true
  if ok then return thread.task:_ended(true, ...) end
  thread.task:_ended(false, (...), thread.traceback)
end

-- Of a request's light threads only itself can be asked: those of others all seem dead to it.
local function is_aborted(thread, request)
  if not thread or thread.is_over or not thread.handle or thread.request ~= request then return false end
  local status = coroutine.status(thread.handle)
  return status == "zombie" or status == "dead"
end

-- When a function that coroutine.wrap runs in a light thread raises, nginx aborts the thread, past every pcall, and
-- tells its log alone (ngx_lua 0.10.23).
local function end_aborted(tasks)
  local request, found = nginx.get_request(), {}
  for task in pairs(tasks) do
    if is_aborted(task._thread, request) then found[#found + 1] = task._thread end
  end
  for _, thread in ipairs(found) do ended(thread, false, "nginx has aborted the task: its log says why") end
end

local function wait(waiter, signal)
  while not signal.done do
    if signal.hub then ask_for_pump() end
    local alone = signal.hub and pump ~= "running"
    waiter.semaphore:wait(alone and LOOK_S or signal.tasks and PATIENCE_S or 60)
    if signal.tasks and not signal.done then end_aborted(signal.tasks) end
    if alone and pump ~= "running" and not signal.done then
      waiter.is_looking, waiter.has_looked = true, true
      look()
      waiter.is_looking = false
    end
  end
end

---Waits until the signal is done; the worker serves others meanwhile, also where it is done already.
---@param signal table
---@return boolean? ok
---@return dpg.Error? err
function M.wait(_, signal)
  if signal.done then ngx.sleep(TURN_S) end
  local thread = threads[coroutine.running()]
  if thread and thread.is_over then -- it caught what it was stopped by
    if signal.hub then signal.hub:drop(signal) end
    error(STOPPED, 0)
  end
  local waiter = table.remove(spare) or new_waiter()
  waiter.signal, signal.waiter = signal, waiter
  if thread then thread.waiter = waiter end
  wait(waiter, signal)
  waiter.signal = nil
  if thread then thread.waiter = nil end
  if waiter.has_looked then -- it may have woken itself, and nobody took that
    waiters[waiter] = nil
  else
    spare[#spare + 1] = waiter
  end
  if thread and thread.is_over then error(STOPPED, 0) end
  return true
end

local function run(thread, fn, ...)
  threads[coroutine.running()] = thread
  ended(thread, xpcall(fn, function(problem)
    thread.traceback = debug.traceback()
    return problem
  end, ...))
end

---Runs fn as a light thread.
---@param task table
---@param fn function
---@param ... any  its arguments
function M.start(_, task, fn, ...)
  local thread = { task = task, request = nginx.get_request() }
  task._thread = thread
  thread.handle = ngx.thread.spawn(run, thread, fn, ...)
end

---Ends a light thread; where nginx does not let us, it ends when it next waits.
---@param task table
function M.stop(_, task)
  local thread = task._thread
  if not thread or thread.is_over then return end
  thread.is_over = true
  local waiter = thread.waiter
  local signal = waiter and waiter.signal
  if signal and signal.hub then signal.hub:drop(signal) end
  local is_killed = thread.handle and ngx.thread.kill(thread.handle)
  if signal and not is_killed then
    signal.done = true
    waiter:wake(signal)
  end
  task:_ended(nil)
end

---@return table? task
function M.running()
  local thread = threads[coroutine.running()]
  return thread and thread.task
end

---Says in nginx's log that a task has failed of which nobody will hear.
---@param task table
function M.lost(_, task)
  ngx.log(ngx.ERR, "dpg: a task has failed: ", tostring(task.failure), type(task.failure) == "string"
    and "\n" .. tostring(task.traceback) or "")
end

return M
