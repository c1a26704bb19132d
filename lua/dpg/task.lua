-- Tasks: functions that run beside each other and can be waited for, the same in every host. dpg.run, dpg.spawn,
-- task:await(). A task belongs to the group of the dpg.run that it was spawned in. How its coroutine runs and waits is
-- the host's business (dpg.host).
local compat = require "dpg.compat"
local errors = require "dpg.errors"
local hosts = require "dpg.host"
local methods = require "dpg.methods"

local M = {}

---@class dpg.Task
---@field failure? any  what its function raised
---@field traceback? string  of that
local Task = {}
Task.__index = Task
Task.__name = "dpg.Task"

-- The tasks of one dpg.run: it is over when all of them are.
local Group = {}
Group.__index = Group

function Task:__tostring()
  return "dpg.Task (" .. self._state .. ")"
end

---Has its function raised?
---@return boolean
function Task:has_failed()
  return self._state == "failed"
end

local STATES = { [true] = "done", [false] = "failed" }

---Told by the host.
function Task:_ended(ok, ...)
  self._state = STATES[ok] or "cancelled"
  if ok then
    self._results = compat.pack(...)
  elseif ok == false then
    self.failure, self.traceback = ...
  end
  local waiters = self._waiters
  self._waiters = {}
  self._is_awaited = #waiters > 0
  for _, signal in ipairs(waiters) do
    signal.done = true
    if signal.waiter then signal.waiter:wake(signal) end
  end
  local inner = self._inner
  if inner then inner:stop() end
  if self._group then
    self._group:_ended(self)
  elseif ok == false and not self._is_awaited then
    self._host:lost(self)
  end
end

local function deliver(task)
  task._is_awaited = true
  if task._state == "failed" then errors.throw(task.failure) end
  if task._state == "cancelled" then
    return nil, errors.new { kind = "cancelled", code = "cancelled", message = "the task was cancelled" }
  end
  return compat.unpack(task._results, 1, task._results.n)
end

---Waits for the task's end and returns what its function returned. An error raised in it is raised here again, as
---it was; its traceback is in `task.traceback`.
---@return any ...
function Task:await()
  if self._state ~= "running" then return deliver(self) end
  local host, err = hosts.prepare()
  if not host then errors.throw(err) end
  if host:running() == self then errors.raise("a task can't wait for itself") end
  local signal = { done = false, tasks = { [self] = true } }
  self._waiters[#self._waiters + 1] = signal
  local ok
  ok, err = host:wait(signal)
  if not ok then errors.throw(err) end
  return deliver(self)
end

methods(Task, "task")

-- --- groups --------------------------------------------------------------------------------------------------------

local function new_task(host, group)
  local task = setmetatable({ _host = host, _group = group, _state = "running", _waiters = {} }, Task)
  if group then
    group._tasks[task] = true
    group._unfinished = group._unfinished + 1
  end
  return task
end

local function new_group(host)
  local tasks = {}
  local group = setmetatable({
    _host = host, _tasks = tasks, _unfinished = 0, _failed = {}, signal = { done = false, tasks = tasks },
  }, Group)
  group._main = new_task(host, group)
  return group
end

function Group:_ended(task)
  self._tasks[task] = nil
  self._unfinished = self._unfinished - 1
  if task._state == "failed" then
    self._failed[#self._failed + 1] = task
    if task == self._main then self:stop() end
  end
  local signal = self.signal
  if self._unfinished > 0 or signal.done then return end
  signal.done = true
  if signal.waiter then signal.waiter:wake(signal) end
  local unheard = self._over and self:_unheard()
  if unheard then self._over(unheard) end
end

---Ends all that are left: their calls are cancelled, and they do not go on.
function Group:stop()
  local tasks = {}
  for task in pairs(self._tasks) do tasks[#tasks + 1] = task end
  for _, task in ipairs(tasks) do self._host:stop(task) end
end

-- The first task whose failure nobody has heard of by await.
function Group:_unheard()
  for _, task in ipairs(self._failed) do
    if not task._is_awaited then return task end
  end
end

---Raises what a failed task raised; to a text its own traceback is added, since the stack of who raises says nothing.
---@param failed dpg.Task
function M.raise_of(failed)
  local problem = failed.failure
  if type(problem) == "string" and failed.traceback then
    problem = problem .. "\n" .. failed.traceback:gsub("^stack traceback:", "traceback of the task:")
  end
  errors.throw(problem)
end

---Runs `fn` as a task, and the tasks that it spawns, until all have ended. Within a task it is waited for, as any call.
---@param fn function
---@param ... any  its arguments
---@return any ...  what `fn` returned
function M.run(fn, ...)
  if type(fn) ~= "function" then errors.raise("dpg.run: a function expected, got %s", type(fn)) end
  local host, err = hosts.prepare()
  if not host then errors.throw(err) end
  local group, me = new_group(host), host:running()
  if me then me._inner = group end
  host:start(group._main, fn, ...)
  local ok
  ok, err = host:wait(group.signal)
  if me then me._inner = nil end
  if not ok then
    group:stop()
    errors.throw(err)
  end
  local failed = group._main._state == "failed" and group._main or group:_unheard()
  if failed then M.raise_of(failed) end
  return deliver(group._main)
end

---Starts `fn` as a task that nobody has to wait for.
---@param host table
---@param over fun(failed: dpg.Task)  called at the end of it and of what it has spawned, if one has failed of which
---  nobody has heard
---@return dpg.Task
function M.root(host, over, fn, ...)
  local group = new_group(host)
  group._over = over
  host:start(group._main, fn, ...)
  return group._main
end

---Starts `fn` as a task beside the running one.
---@param fn function
---@param ... any  its arguments
---@return dpg.Task
function M.spawn(fn, ...)
  if type(fn) ~= "function" then errors.raise("dpg.spawn: a function expected, got %s", type(fn)) end
  local host = hosts.current()
  local me = host:running()
  local group = me and me._group
  if not group and not host.lost then
    errors.raise("dpg.spawn starts a task beside another: within dpg.run(function() … end), or a task of a loop")
  end
  local task = new_task(host, group)
  host:start(task, fn, ...)
  return task
end

return M
