-- Tasks: coroutines that wait for calls and for each other. Knows no engine: a task blocks on anything that has
-- `done`, and whoever sets that wakes it. A host (dpg.host.blocking) owns the scheduler and decides when to turn
-- its engines.
local compat = require "dpg.compat"
local errors = require "dpg.errors"
local methods = require "dpg.methods"

local M = {}

---@class dpg.Task
---@field traceback? string  of an error raised in the task
local Task = {}
Task.__index = Task
Task.__name = "dpg.Task"

local Scheduler = {}
Scheduler.__index = Scheduler

-- Which task a coroutine is, and which one is being resumed now. Part of the Lua state, as coroutines are.
local tasks = setmetatable({}, { __mode = "k" })
local resuming

local YIELD = {} -- tells our yields from a program's own

---The task that is running; nil outside of tasks. Inside a coroutine of the program's own that runs within a task (a
---coroutine.wrap, say) waiting would yield to the wrong one: then an error.
---@return dpg.Task?
---@return dpg.Error? err  kind "usage", code "foreign_coroutine"
function M.current()
  local co = coroutine.running()
  local task = co and tasks[co]
  if task and task == resuming then return task end
  if resuming then
    return nil, errors.usage("foreign_coroutine", "a call can't wait inside a coroutine of your own within a task: "
      .. "its yield would go to whoever resumes that coroutine; make the call in the task itself, or make the "
      .. "coroutine a task by dpg.spawn")
  end
  return nil
end

---The scheduler whose task is running, or nil.
function M.scheduler()
  return resuming and resuming._scheduler
end

function Task:__tostring()
  return "dpg.Task (" .. self._state .. ")"
end

---Has its function raised?
---@return boolean
function Task:has_failed()
  return self._state == "failed"
end

local function is_over(task)
  return task._state == "done" or task._state == "failed" or task._state == "cancelled"
end

-- Yields until `thing` (a call's entry, or a task) is done.
local function block(thing)
  coroutine.yield(YIELD, thing)
end

---Waits inside the running task until `entry` is done. A task of 5.1 can't from within pcall and the like: then an
---error.
---@param entry table
---@return boolean? ok
---@return dpg.Error? err  kind "usage", code "cannot_wait_here"
function Task:wait(entry)
  if not compat.can_yield() then
    return nil, errors.usage("cannot_wait_here", "on Lua 5.1 a task can't wait inside pcall, table.sort and other "
      .. "functions written in C; call it directly, and look at its second result, the error")
  end
  entry.task = self
  block(entry)
  return true
end

---Is this task suspended until `thing` is done?
function Task:is_blocked_on(thing)
  return self._blocked_on == thing
end

---`thing` is done: if the task waits for it, it can go on.
function Task:wake(thing)
  if self._blocked_on ~= thing then return end
  self._scheduler:_unblock(self)
end

local function deliver(task)
  task._observed = true
  if task._state == "failed" then error(task._failure, 0) end
  if task._state == "cancelled" then
    return nil, errors.new { kind = "cancelled", code = "cancelled", message = "the task was cancelled" }
  end
  return compat.unpack(task._results, 1, task._results.n)
end

---Waits for the task's end and returns what its function returned. An error raised in it is raised here again, as
---it was; its traceback is in `task.traceback`.
---@return any ...
function Task:await()
  if is_over(self) then return deliver(self) end
  local me, err = M.current()
  if err then error(err, 0) end
  if not me then errors.raise("task:await() waits inside a task of the same dpg.run only") end
  if me._scheduler ~= self._scheduler then errors.raise("this task belongs to another dpg.run") end
  if me == self then errors.raise("a task can't wait for itself") end
  if not compat.can_yield() then errors.raise("on Lua 5.1 task:await() can't wait inside pcall and the like") end
  self._waiters[#self._waiters + 1] = me
  block(self)
  return deliver(self)
end

methods(Task, "task")

-- --- the scheduler -------------------------------------------------------------------------------------------------

---@return table scheduler  hubs: how many tasks wait for calls of which engine
function M.new_scheduler()
  return setmetatable({ hubs = {}, _ready = {}, _tasks = {}, _failed = {}, _unfinished = 0 }, Scheduler)
end

---Starts a task; it runs when the others wait.
---@param fn function
---@param ... any  its arguments
---@return dpg.Task
function Scheduler:spawn(fn, ...)
  local task = setmetatable({
    _co = coroutine.create(fn), _state = "ready", _scheduler = self, _waiters = {}, _arguments = compat.pack(...),
  }, Task)
  tasks[task._co] = task
  self._tasks[task] = true
  self._unfinished = self._unfinished + 1
  self._ready[#self._ready + 1] = task
  return task
end

function Scheduler:_unblock(task)
  local thing = task._blocked_on
  if thing.hub then
    local n = self.hubs[thing.hub] - 1
    self.hubs[thing.hub] = n > 0 and n or nil
  end
  task._blocked_on = nil
  task._state = "ready"
  self._ready[#self._ready + 1] = task
end

function Scheduler:_end(task, state)
  task._state = state
  self._tasks[task] = nil
  self._unfinished = self._unfinished - 1
  for _, waiter in ipairs(task._waiters) do waiter:wake(task) end
  task._waiters = {}
end

local function after(self, task, ok, ...)
  if not ok then
    task._failure = (...)
    task.traceback = debug and debug.traceback(task._co)
    self._failed[#self._failed + 1] = task
    self:_end(task, "failed")
  elseif coroutine.status(task._co) == "dead" then
    task._results = compat.pack(...)
    self:_end(task, "done")
  else
    local mark, thing = ...
    if mark ~= YIELD or thing.done or (thing._state and is_over(thing)) then
      -- a bare coroutine.yield() in a task lets the others go on
      task._state = "ready"
      self._ready[#self._ready + 1] = task
      return
    end
    task._state = "waiting"
    task._blocked_on = thing
    if thing.hub then self.hubs[thing.hub] = (self.hubs[thing.hub] or 0) + 1 end
  end
end

function Scheduler:_resume(task)
  local arguments = task._arguments
  task._arguments = nil
  task._state = "running"
  resuming = task
  if arguments then
    after(self, task, coroutine.resume(task._co, compat.unpack(arguments, 1, arguments.n)))
  else
    after(self, task, coroutine.resume(task._co))
  end
  resuming = nil
end

---Lets every task go on that can, once. `watch` is the task whose failure stops the rest at once.
---@param watch dpg.Task
---@return boolean  false: `watch` has failed
function Scheduler:step(watch)
  local batch = self._ready
  self._ready = {}
  for _, task in ipairs(batch) do
    if not is_over(task) then self:_resume(task) end
    resuming = nil
    if watch._state == "failed" then return false end
  end
  return true
end

---@return boolean
function Scheduler:is_ready()
  return #self._ready > 0
end

---@return integer
function Scheduler:unfinished()
  return self._unfinished
end

---The first task that raised an error of which nobody has heard by await.
---@return dpg.Task?
function Scheduler:unobserved()
  for _, task in ipairs(self._failed) do
    if not task._observed then return task end
  end
end

---Ends all tasks that are left: their calls are cancelled, and they are not resumed any more.
function Scheduler:cancel_all()
  resuming = nil
  for task in pairs(self._tasks) do
    local thing = task._blocked_on
    if thing and thing.hub then thing.hub:drop(thing) end
    task._blocked_on = nil
    task._state = "cancelled"
    task._waiters = {}
  end
  self._tasks, self._ready, self.hubs, self._unfinished = {}, {}, {}, 0
end

return M
