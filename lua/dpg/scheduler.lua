-- Coroutines that wait: which one is running, which can go on, and what the others wait for. To what it runs, a
-- scheduler is the host (dpg.host says what that is). It turns no engine: dpg.host.blocking and dpg.host.loop own one
-- each, step it, and tell it by the hubs that they pump.
local compat = require "dpg.compat"
local errors = require "dpg.errors"

local M = {}

---@class dpg.Scheduler
---@field hubs table<dpg.Hub, integer>  how many threads wait for calls of which engine
---@field is_closed boolean  it will not be stepped any more
local Scheduler = {}
Scheduler.__index = Scheduler

-- A coroutine, what it does and what it waits for.
local Thread = {}
Thread.__index = Thread

-- The thread that is being resumed now. Part of the Lua state, as coroutines are.
local resuming

local YIELD = {} -- tells our yields from a program's own

---The scheduler whose thread is being resumed, or nil.
---@return dpg.Scheduler?
function M.current()
  return resuming and resuming._scheduler
end

---@param on_ready? fun()  called when a thread can go on, and it was not another of these that saw to that
---@return dpg.Scheduler
function M.new(on_ready)
  return setmetatable({
    hubs = {}, is_closed = false, _on_ready = on_ready, _threads = {}, _unfinished = 0,
    _ready = {}, _first = 1, _last = 0, _rest = {},
  }, Scheduler)
end

-- --- for what runs in it: the host ---------------------------------------------------------------------------------

---@return boolean? ok
---@return dpg.Error? err  kind "usage", code "foreign_coroutine"; kind "cancelled": it has been stopped
function Scheduler.prepare()
  if resuming._is_over then return nil, errors.new { kind = "cancelled", message = "the task was cancelled" } end
  if coroutine.running() == resuming._co then return true end
  return nil, errors.usage("foreign_coroutine", "a call can't wait inside a coroutine of your own within a task: its "
    .. "yield would go to whoever resumes that coroutine; make the call in the task itself, or make the coroutine a "
    .. "task by dpg.spawn")
end

---Yields until `signal` is done; if it is done already, the others go on first. A task of 5.1 can't from within pcall
---and the like: then an error.
---@param signal table
---@return boolean? ok
---@return dpg.Error? err  kind "usage", code "cannot_wait_here"
function Scheduler.wait(_, signal)
  if not compat.can_yield() then
    return nil, errors.usage("cannot_wait_here", "on Lua 5.1 a task can't wait inside pcall, table.sort and other "
      .. "functions written in C; call it directly, and look at its second result, the error")
  end
  local thread = resuming
  signal.waiter, thread._waited = thread, signal
  coroutine.yield(YIELD, signal)
  if not signal.id then thread._waited = nil end
  return true
end

function Scheduler:_push(thread)
  self._last = self._last + 1
  self._ready[self._last] = thread
  if self._on_ready and not (resuming and resuming._scheduler == self) then self._on_ready() end
end

---Starts a thread; it runs when it is stepped.
---@param task { ended: fun(task: any, ok?: boolean, ...: any) }
---@param fn function
---@param ... any  its arguments
function Scheduler:start(task, fn, ...)
  if self.is_closed then return task:_ended(nil) end
  local is_lua, co = pcall(coroutine.create, fn)
  if not is_lua then co = coroutine.create(function(...) return fn(...) end) end -- 5.1 takes no function in C
  local thread = setmetatable({
    _co = co, _scheduler = self, _task = task, _arguments = compat.pack(...),
  }, Thread)
  self._threads[task] = thread
  self._unfinished = self._unfinished + 1
  self:_push(thread)
end

function Scheduler.running()
  return resuming and resuming._task
end

-- What it waits for, or a call that it has not taken: it was stopped, or an interrupt (Ctrl-C) came in between.
local function let_go(thread)
  local waited = thread._waited
  if waited and waited.hub then waited.hub:drop(waited) end
end

function Scheduler:_end(thread, ok, ...)
  thread._is_over = true
  if not ok then let_go(thread) end
  self._threads[thread._task] = nil
  self._unfinished = self._unfinished - 1
  thread._task:_ended(ok, ...)
end

function Scheduler:_unblock(thread)
  local hub = thread._signal.hub
  if hub then
    local n = (self.hubs[hub] or 1) - 1 -- an interrupt may have come before it was counted
    self.hubs[hub] = n > 0 and n or nil
  end
  thread._signal = nil
end

function Scheduler:stop(task)
  local thread = self._threads[task]
  if not thread then return end
  if thread._signal then self:_unblock(thread) end
  self:_end(thread, nil)
end

---Is this thread suspended until `signal` is done?
---@param signal table
---@return boolean
function Thread:is_blocked_on(signal)
  return self._signal == signal and not self._scheduler.is_closed
end

---`signal` is done: if the thread waits for it, it can go on.
---@param signal table
function Thread:wake(signal)
  if self._signal ~= signal then return end
  self._scheduler:_unblock(self)
  self._scheduler:_push(self)
end

-- --- for who owns it -----------------------------------------------------------------------------------------------

-- What became of a thread that was resumed: it waits, has failed, has ended, or lets the others go first.
local function back(self, thread, ...)
  local ok, mark, signal = ...
  resuming = nil
  if thread._is_over then return end
  if mark == YIELD then
    if signal.done then return self:_push(thread) end
    local hub = signal.hub
    thread._signal = signal
    if hub then self.hubs[hub] = (self.hubs[hub] or 0) + 1 end
  elseif not ok then
    self:_end(thread, false, mark, debug and debug.traceback(thread._co))
  elseif coroutine.status(thread._co) == "dead" then
    self:_end(thread, ...)
  else
    self._rest[#self._rest + 1] = thread -- a bare yield: it goes on in the next round
  end
end

local function resume(thread)
  local arguments = thread._arguments
  thread._arguments = nil
  if arguments then return coroutine.resume(thread._co, compat.unpack(arguments, 1, arguments.n)) end
  return coroutine.resume(thread._co)
end

---Those who have yielded for the others' sake can go on again.
function Scheduler:next_round()
  local rest = self._rest
  if not rest[1] then return end
  self._rest = {}
  for _, thread in ipairs(rest) do
    self._last = self._last + 1
    self._ready[self._last] = thread
  end
end

---Is there one that can go on in this round?
---@return boolean
function Scheduler:can_resume()
  return self._first <= self._last
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

---How many can go on, in this round or the next.
---@return integer
function Scheduler:ready()
  return self._last - self._first + 1 + #self._rest
end

---How many have not ended.
---@return integer
function Scheduler:unfinished()
  return self._unfinished
end

---An interrupt (Ctrl-C) came between two instructions of ours: no thread is being resumed any more.
function M.interrupted()
  resuming = nil
end

---Ends all threads that are left.
function Scheduler:stop_all()
  self._ready, self._first, self._last, self._rest = {}, 1, 0, {}
  local tasks = {}
  for task in pairs(self._threads) do tasks[#tasks + 1] = task end
  for _, task in ipairs(tasks) do self:stop(task) end
end

return M
