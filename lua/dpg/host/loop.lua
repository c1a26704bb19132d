-- dpg.loop(): tasks for programs that have a loop of their own, a game's or an event loop's. The program calls step(),
-- from its frame or when fd() is readable; it never blocks, since the engines run in threads of their own. To the tasks
-- inside, the loop's scheduler is the host (dpg.host).
local compat = require "dpg.compat"
local config = require "dpg.config"
local core = require "dpg.core"
local errors = require "dpg.errors"
local hubs = require "dpg.hub"
local listeners = require "dpg.listeners"
local methods = require "dpg.methods"
local scheduler = require "dpg.scheduler"
local task = require "dpg.task"

local M = {}

local BUDGET_S = 0.00025

-- All of this Lua state: they share what wakes them.
local loops = setmetatable({}, { __mode = "k" })

---@class dpg.Loop
local Loop = {}
Loop.__index = Loop
Loop.__name = "dpg.Loop"

local OPTIONS = { on_error = config.is "function" }

---A loop for the tasks of a program that has a loop of its own. From now on the engines of this Lua state have threads.
---@param options? dpg.LoopOptions
---@return dpg.Loop? loop
---@return dpg.Error? err  the system has no more threads or descriptors
function M.new(options)
  options = config.check("dpg.loop", options, OPTIONS)
  local wake, err = hubs.thread "fd"
  if not wake then return nil, err end
  local tasks = scheduler.new(function() wake:raise() end)
  local self = setmetatable({
    _tasks = tasks, _wake = wake, _process = core.process(), _on_error = options.on_error, _failed = {},
    -- who drops a loop without close(): what its tasks wait for is let go
    _guard = compat.on_collect(function() tasks.is_closed = true end),
  }, Loop)
  loops[self] = true
  return self
end

function Loop:__tostring()
  local state = self._tasks.is_closed and "closed" or self._tasks:unfinished() .. " tasks"
  return "dpg.Loop (" .. state .. ")"
end

local function check(loop, where)
  if loop._tasks.is_closed then errors.raise("%s: this loop is closed: dpg.loop() makes another", where) end
  if loop._process ~= core.process() then
    errors.raise("%s: this loop belongs to the process that made it: after fork make a new one by dpg.loop()", where)
  end
end

---Starts `fn` as a task: it runs in the steps to come. What it spawns by dpg.spawn belongs to it: when it raises, those
---are ended.
---@param fn function
---@param ... any  its arguments
---@return dpg.Task
function Loop:spawn(fn, ...)
  check(self, "loop:spawn")
  if type(fn) ~= "function" then errors.raise("loop:spawn: a function expected, got %s", type(fn)) end
  local failed = self._failed
  return task.root(self._tasks, function(one) failed[#failed + 1] = one end, fn, ...)
end

-- Is there something to do for a loop, without anything having come?
local function is_due()
  for loop in pairs(loops) do
    if loop._tasks:ready() > 0 or #loop._failed > 0 then return true end
  end
  return false
end

-- Each that can go on, in turn, until the time is up; at least one.
local function go_on(tasks, ends_at)
  tasks:next_round()
  while tasks:can_resume() do
    tasks:resume_one()
    if core.now() >= ends_at then return end
  end
end

local function work(self, ends_at)
  self._wake:lower()
  local is_drained = hubs.pump_all(self._tasks, ends_at)
  go_on(self._tasks, ends_at)
  return is_drained
end

---Hands out what has come, and lets tasks go on that can. Never blocks; ends after `budget`, or after the one task that
---is running then.
---@param budget? number  seconds (0.00025)
---@return integer unfinished  how many tasks have not ended
function Loop:step(budget)
  local ends_at = core.now() + (budget or BUDGET_S)
  local tasks = self._tasks
  if tasks.is_closed then return 0 end
  check(self, "loop:step")
  if scheduler.current() or listeners.is_telling() then
    errors.raise("loop:step can't be called within a task, nor by on_event: call it in the program's own loop")
  end
  local ok, is_drained = pcall(work, self, ends_at)
  if not ok then -- Ctrl-C, between two instructions of ours: as in dpg.run the tasks end
    scheduler.interrupted()
    listeners.interrupted()
    tasks:stop_all()
    error(is_drained, 0)
  end
  local failed = table.remove(self._failed, 1)
  if not is_drained or is_due() then self._wake:raise() end
  if failed then
    if not self._on_error then task.raise_of(failed) end
    self._on_error(failed.failure, failed.traceback)
  end
  return tasks:unfinished()
end

---A descriptor for the program's event loop: readable while there is something for step() to do. Only to be watched,
---neither read nor closed. It is one and the same for all loops of this Lua state.
---@return integer
function Loop:fd()
  check(self, "loop:fd")
  return self._wake:fd()
end

---Ends all tasks that are left: their calls are cancelled, and they do not go on. Twice is fine.
function Loop:close()
  local tasks = self._tasks
  if tasks.is_closed then return end
  tasks.is_closed, loops[self] = true, nil
  if self._process == core.process() then tasks:stop_all() end
end

methods(Loop, "loop")

return M
