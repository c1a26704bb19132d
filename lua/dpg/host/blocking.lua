-- The host of plain scripts: it waits by turning the engine, in slices so short that Ctrl-C is heard. dpg.run runs
-- many tasks on it. A host answers one question, how a task waits for its call; dpg.call asks it.
local compat = require "dpg.compat"
local errors = require "dpg.errors"
local task = require "dpg.task"

local M = {}

-- Lua hears a signal between two instructions only, so no turn of the engine takes longer than this.
local SLICE_MS = 100
-- With calls on several engines (sessions with different ca_file, proxy …) each gets short turns.
local SHARED_SLICE_MS = 5

---May the running coroutine wait here? Asked before anything is started.
---@return dpg.Error?
function M.refusal()
  local _, err = task.current()
  return err
end

local function turn_until_done(entry)
  while not entry.done do entry.hub:turn(SLICE_MS) end
end

---Waits until the entry's call has ended.
---@param entry table
---@return boolean? ok
---@return dpg.Error? err
function M.wait(entry)
  local current = task.current()
  if current then return current:wait(entry) end
  -- no yield in here, so pcall is fine: an interrupt (Ctrl-C raises an error) must not leave the call behind
  local ok, problem = pcall(turn_until_done, entry)
  if not ok then
    entry.hub:drop(entry)
    error(problem, 0)
  end
  return true
end

local function turn_engines(scheduler)
  local hubs = {}
  for hub in pairs(scheduler.hubs) do hubs[#hubs + 1] = hub end
  local slice = #hubs == 1 and SLICE_MS or SHARED_SLICE_MS
  for _, hub in ipairs(hubs) do hub:turn(scheduler:is_ready() and 0 or slice) end
  return #hubs > 0
end

local function loop(scheduler, main)
  while scheduler:unfinished() > 0 do
    if not scheduler:step(main) then break end
    if scheduler:unfinished() > 0 and not turn_engines(scheduler) and not scheduler:is_ready() then
      error(errors.usage("deadlock", string.format("no task can go on: %d of them wait for each other",
        scheduler:unfinished())), 0)
    end
  end
end

-- What a failed task raised; to a text its own traceback is added, since the stack of dpg.run says nothing.
local function raise_of(failed)
  local problem = failed._failure
  if type(problem) == "string" and failed.traceback then
    problem = problem .. "\n" .. failed.traceback:gsub("^stack traceback:", "traceback of the task:")
  end
  error(problem, 0)
end

---Runs `fn` as a task, and the tasks that it spawns, until all have ended.
---@param fn function
---@param ... any  its arguments
---@return any ...  what `fn` returned
function M.run(fn, ...)
  if type(fn) ~= "function" then errors.raise("dpg.run: a function expected, got %s", type(fn)) end
  if task.scheduler() or M._scheduler then
    errors.raise("dpg.run can't be called within dpg.run: use dpg.spawn there")
  end
  local scheduler = task.new_scheduler()
  M._scheduler = scheduler
  local main = scheduler:spawn(fn, ...)
  local ok, problem = pcall(loop, scheduler, main)
  M._scheduler = nil
  scheduler:cancel_all()
  if not ok then error(problem, 0) end
  local failed = main._state == "failed" and main or scheduler:unobserved()
  if failed then raise_of(failed) end
  return compat.unpack(main._results, 1, main._results.n)
end

---Starts `fn` as a task beside the running one.
---@param fn function
---@param ... any  its arguments
---@return dpg.Task
function M.spawn(fn, ...)
  if type(fn) ~= "function" then errors.raise("dpg.spawn: a function expected, got %s", type(fn)) end
  local scheduler = task.scheduler()
  if not scheduler then errors.raise("dpg.spawn starts a task within dpg.run(function() … end) only") end
  return scheduler:spawn(fn, ...)
end

return M
