-- Coroutines that wait: which one is running, which can go on, and what the others wait for. To what it runs, a
-- scheduler is the host (dpg.host says what that is). It turns no engine: dpg.host.blocking and dpg.host.loop own one
-- each, step it, and tell it by the hubs that they pump.
local compat = require "dpg.compat"
local errors = require "dpg.errors"

local M = {}

---@class dpg.Scheduler
---@field hubs table<dpg.Hub, integer>  how many threads wait for calls of which engine
local Scheduler = {}
Scheduler.__index = Scheduler

-- A coroutine, what it does and what it waits for.
local Thread = {}
Thread.__index = Thread

-- Which thread a coroutine is, and which one is being resumed now. Part of the Lua state, as coroutines are.
local threads = setmetatable({}, { __mode = "k" })
local resuming

local YIELD = {} -- tells our yields from a program's own

---The scheduler whose thread is being resumed, or nil.
---@return dpg.Scheduler?
function M.current()
  return resuming and resuming._scheduler
end

---@return dpg.Scheduler
function M.new()
  return setmetatable({ hubs = {}, _threads = {}, _unfinished = 0, _ready = {}, _first = 1, _last = 0 }, Scheduler)
end

-- --- for what runs in it: the host ---------------------------------------------------------------------------------

---@return boolean? ok
---@return dpg.Error? err  kind "usage", code "foreign_coroutine"
function Scheduler.prepare()
  local co = coroutine.running()
  if co and resuming and threads[co] == resuming then return true end
  return nil, errors.usage("foreign_coroutine", "a call can't wait inside a coroutine of your own within a task: its "
    .. "yield would go to whoever resumes that coroutine; make the call in the task itself, or make the coroutine a "
    .. "task by dpg.spawn")
end

---Yields until `signal` is done. A task of 5.1 can't from within pcall and the like: then an error.
---@param signal table
---@return boolean? ok
---@return dpg.Error? err  kind "usage", code "cannot_wait_here"
function Scheduler.wait(_, signal)
  if not compat.can_yield() then
    return nil, errors.usage("cannot_wait_here", "on Lua 5.1 a task can't wait inside pcall, table.sort and other "
      .. "functions written in C; call it directly, and look at its second result, the error")
  end
  signal.waiter = resuming
  coroutine.yield(YIELD, signal)
  return true
end

function Scheduler:_push(thread)
  self._last = self._last + 1
  self._ready[self._last] = thread
end

---Starts a thread; it runs when it is stepped.
---@param task { ended: fun(task: any, ok?: boolean, ...: any) }
---@param fn function
---@param ... any  its arguments
function Scheduler:start(task, fn, ...)
  local thread = setmetatable({
    _co = coroutine.create(fn), _scheduler = self, _task = task, _arguments = compat.pack(...),
  }, Thread)
  threads[thread._co] = thread
  self._threads[task] = thread
  self._unfinished = self._unfinished + 1
  self:_push(thread)
end

function Scheduler.running()
  return resuming and resuming._task
end

function Scheduler:_end(thread, ...)
  thread._is_over = true
  self._threads[thread._task] = nil
  self._unfinished = self._unfinished - 1
  thread._task:ended(...)
end

function Scheduler:_unblock(thread)
  local hub = thread._signal.hub
  if hub then
    local n = self.hubs[hub] - 1
    self.hubs[hub] = n > 0 and n or nil
  end
  thread._signal = nil
end

function Scheduler:stop(task)
  local thread = self._threads[task]
  if not thread then return end
  local signal = thread._signal
  if signal then
    self:_unblock(thread)
    if signal.hub then signal.hub:drop(signal) end
  end
  self:_end(thread, nil)
end

---Is this thread suspended until `signal` is done?
---@param signal table
---@return boolean
function Thread:is_blocked_on(signal)
  return self._signal == signal
end

---`signal` is done: if the thread waits for it, it can go on.
---@param signal table
function Thread:wake(signal)
  if self._signal ~= signal then return end
  self._scheduler:_unblock(self)
  self._scheduler:_push(self)
end

-- --- for who owns it -----------------------------------------------------------------------------------------------

local function after(self, thread, ok, ...)
  if not ok then
    return self:_end(thread, false, (...), debug and debug.traceback(thread._co))
  elseif coroutine.status(thread._co) == "dead" then
    return self:_end(thread, true, ...)
  end
  local mark, signal = ...
  if mark ~= YIELD or signal.done then return self:_push(thread) end -- a bare yield lets the others go on
  thread._signal = signal
  if signal.hub then self.hubs[signal.hub] = (self.hubs[signal.hub] or 0) + 1 end
end

local function resume(thread)
  local arguments = thread._arguments
  thread._arguments = nil
  if arguments then return coroutine.resume(thread._co, compat.unpack(arguments, 1, arguments.n)) end
  return coroutine.resume(thread._co)
end

local function back(self, thread, ...)
  resuming = nil
  if not thread._is_over then after(self, thread, ...) end
end

---Lets one thread go on, the first that can.
function Scheduler:resume_one()
  local first = self._first
  local thread = self._ready[first]
  self._first = first + 1
  self._ready[first] = nil
  if thread._is_over then return end
  resuming = thread
  back(self, thread, resume(thread))
end

---How many can go on now.
---@return integer
function Scheduler:ready()
  return self._last - self._first + 1
end

---How many have not ended.
---@return integer
function Scheduler:unfinished()
  return self._unfinished
end

---An interrupt (Ctrl-C) has left a thread in the middle: none is being resumed any more, and all are stopped.
function Scheduler:stop_all()
  resuming = nil
  self._ready, self._first, self._last = {}, 1, 0
  local tasks = {}
  for task in pairs(self._threads) do tasks[#tasks + 1] = task end
  for _, task in ipairs(tasks) do self:stop(task) end
end

return M
