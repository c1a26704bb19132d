-- Which host waits for the running coroutine, and what a host is. A host is how a program waits: it knows coroutines
-- and engines, and nothing of calls, results or tasks' ends. Nothing but this file names one; dpg.call, dpg.stream and
-- dpg.task ask for the current one, each time anew, so the same text runs in all of them.
--
--   host:prepare() -> true | nil, err   May the running coroutine wait here? Asked before anything is started; a host
--                                       that has to make something ready (threads, a pump) does it now.
--   host:wait(signal) -> true | nil, err
--                                       Returns once `signal.done`. A signal is a table that one coroutine waits for:
--                                       a call's entry or a stream's signal, with the `hub` that will tell its end, or
--                                       tasks' ends, with `tasks`, whose keys they are. Who sets `done` then calls
--                                       `waiter:wake(signal)` of the signal, if there is a `waiter`: an object of the
--                                       host's, put there before it waits. `waiter:is_blocked_on(signal)` says whether
--                                       it still does (its coroutine may be gone; the hub then drops the call).
--   host:start(task, fn, ...)           Runs fn(...) beside everything, in a coroutine that may wait here. At its end,
--                                       in whatever coroutine, it calls, once, and it never raises:
--                                       task:_ended(true, …) with what fn returned, task:_ended(false, problem,
--                                       traceback) if it raised, or task:_ended(nil) if it was stopped.
--   host:stop(task)                     Its fn does not go on any more: what it waits for is dropped (hub:drop).
--   host:running() -> task | nil        The one whose fn is running now.
--   host:lost(task)                     A task of dpg.spawn that no dpg.run waits for has failed, and nobody awaits it:
--                                       `task.failure`, `task.traceback`. Says so where people will see it.
--
-- Who pumps a hub (hub:pump, hub:turn) passes itself, since what a store in Lua is asked is served by its start().
local blocking = require "dpg.host.blocking"
local errors = require "dpg.errors"
local listeners = require "dpg.listeners"
local scheduler = require "dpg.scheduler"
-- nginx's Lua module has loaded a module of this name
local nginx = package.loaded.ngx and require "dpg.host.ngx"

local M = {}

---The host of the running coroutine: of the task that is being resumed, else the program's own.
---@return table host
function M.current()
  return scheduler.current() or nginx or blocking
end

---The current host, if the running coroutine may wait.
---@return table? host
---@return dpg.Error? err
function M.prepare()
  if listeners.is_telling() then
    return nil, errors.usage("inside_on_event",
      "a call can't be made inside on_event: note what is to be done, do it later")
  end
  local host = scheduler.current() or nginx or blocking
  local ok, err = host:prepare()
  if not ok then return nil, err end
  return host
end

return M
