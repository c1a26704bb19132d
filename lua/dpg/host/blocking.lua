-- The host of plain scripts: it waits by turning engines, in slices so short that Ctrl-C is heard. The tasks of dpg.run
-- go on meanwhile. dpg.host asks for it where no other host is.
local compat = require "dpg.compat"
local errors = require "dpg.errors"
local listeners = require "dpg.listeners"
local scheduler = require "dpg.scheduler"

local M = {}

-- Lua hears a signal between two instructions only, so no turn of the engine takes longer than this.
local SLICE_MS = 100
-- With calls on several engines (sessions with different ca_file, proxy …) each gets short turns.
local SHARED_SLICE_MS = 5

local tasks = scheduler.new()

function M.prepare()
  return true
end

function M.start(_, ...)
  tasks:start(...)
end

-- A store's ask is done at once, and not among the tasks: until it is answered nothing else may run.
function M.serve(_, task, fn, ...)
  local results = compat.pack(pcall(fn, ...))
  task:_ended(compat.unpack(results, 1, results.n))
  local problem = results[2]
  if not results[1] and type(problem) == "string" and problem:find "interrupted!$" then error(problem, 0) end
end

function M.stop(_, task)
  tasks:stop(task)
end

-- Who waits outside of tasks is none.
function M.running() end

-- The one engine that somebody waits for, as it is nearly always; nil: there are several, or none.
local function only_one(own)
  local hub = next(tasks.hubs)
  if hub == nil then return own end
  if next(tasks.hubs, hub) == nil and (own == nil or own == hub) then return hub end
end

-- Turns the engines that somebody waits for; false: there is none.
local function turn(own)
  local one = only_one(own)
  if one then
    one:turn(tasks:ready() > 0 and 0 or SLICE_MS, M)
    return true
  end
  local hubs = { own }
  for hub in pairs(tasks.hubs) do
    if hub ~= own then hubs[#hubs + 1] = hub end
  end
  for _, hub in ipairs(hubs) do hub:turn(tasks:ready() > 0 and 0 or SHARED_SLICE_MS, M) end
  return #hubs > 0
end

local function wait(signal)
  local hub = signal.hub
  while hub and not signal.done and tasks:unfinished() == 0 do hub:turn(SLICE_MS, M) end
  while not signal.done do
    tasks:next_round()
    for _ = 1, tasks:ready() do
      tasks:resume_one()
      if signal.done then return end
    end
    if not turn(hub) and tasks:ready() == 0 and not signal.done then
      error(errors.usage("deadlock", string.format("no task can go on: %d of them wait for each other",
        tasks:unfinished())), 0)
    end
  end
end

-- A finaliser may make a call meanwhile, in this same coroutine: that is none which nobody waits for any more.
local function block(signal)
  signal.is_blocking = true
  wait(signal)
  signal.is_blocking = nil
end

---Waits until the signal is done.
---@param signal table
---@return boolean? ok
---@return dpg.Error? err
function M.wait(_, signal)
  if not signal.hub and tasks:unfinished() == 0 and not signal.done then
    return nil, errors.usage("cannot_wait_here",
      "a task can be waited for in a task only: within dpg.run(function() … end), or a task of the same loop")
  end
  -- no yield in here, so pcall is fine: an interrupt (Ctrl-C raises an error) must leave neither call nor tasks behind
  local ok, problem = pcall(block, signal)
  if not ok then
    scheduler.interrupted()
    listeners.interrupted()
    tasks:stop_all()
    if signal.hub then signal.hub:drop(signal) end
    error(problem, 0)
  end
  return true
end

return M
