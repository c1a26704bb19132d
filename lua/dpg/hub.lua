-- An engine and those who wait for its calls; pumping its queue; the registry of engines. One engine serves all
-- sessions of a Lua state and process, but options that only an engine can have (ca_file, proxy, user_agent,
-- max_connections, http2, retry.budget) choose one of their own. A child made by fork gets new ones. dpg.call and
-- the hosts use it.
local blocking = require "dpg.host.blocking"
local config = require "dpg.config"
local core = require "dpg.core"
local errors = require "dpg.errors"
local listeners = require "dpg.listeners"
local serve = require "dpg.serve"

local M = {}

local HOLD_SLICE_MS = 100
local GRACE_S = 5

---@class dpg.Hub
---@field engine userdata
---@field entries table<integer, table>  calls that somebody waits for, by id
---@field waiting table<any, table>  the same by who waits: a coroutine waits for one call at a time
---@field streams table<integer, dpg.Stream>  calls that pass bytes, and their timers, by id; weak
---@field saving table<string, dpg.Fetch>  downloads under way, by the file that they write to; weak
---@field lost integer[]  calls of streams that were dropped and have been collected
---@field keeps table  its stores that are written in Lua (dpg.serve)
---@field listeners table<function, table<integer, boolean>>  the sessions' on_event, and whose credentials they hear of
---@field is_pumping? boolean  or the last pump was broken off
---@field is_heard? boolean  somebody listens: the engine makes events
local Hub = {}
Hub.__index = Hub
Hub.__name = "dpg.Hub"

-- One Lua state, one set of engines: this is the state that belongs to it, and there is no other in these modules
-- but the coroutines' (dpg.scheduler) and the blocking host's.
local hubs = {}

-- What wakes this state's host when its engines, which then have threads, have something for it; nil: they are stepped.
local wake, wake_type, wake_process

---The engine for these settings in this process, made when it is first asked for.
---@param settings table  a session's config
---@return dpg.Hub?
---@return dpg.Error?
function M.get(settings)
  local options, key = config.engine(settings)
  local hub = hubs[key]
  if hub and hub.engine:is_mine() then return hub end
  local engine, err = core.engine(options)
  if not engine then return nil, errors.from_core(err) end
  if wake and wake_process == core.process() then
    local ok
    ok, err = engine:thread(wake)
    if not ok then return nil, errors.from_core(err) end
  end
  hub = setmetatable({
    engine = engine, entries = {}, waiting = {}, listeners = setmetatable({}, { __mode = "k" }),
    streams = setmetatable({}, { __mode = "v" }), lost = {}, saving = setmetatable({}, { __mode = "v" }),
    keeps = serve.new(),
  }, Hub)
  hubs[key] = hub
  return hub
end

---Hands all engines of this state, and those to come, to threads.
---@param type "fd"|"socket"  what wakes the host
---@return userdata? wake  one for all
---@return dpg.Error? err
function M.thread(type)
  if not wake or wake_process ~= core.process() then
    local err
    wake, err = core.wake(type)
    if not wake then return nil, errors.from_core(err) end
    wake_type, wake_process = type, core.process()
  elseif wake_type ~= type then
    return nil, errors.usage("another_host", "this Lua state's engines wake another host already")
  end
  for _, hub in pairs(hubs) do
    if hub.engine:is_mine() then
      local ok, err = hub.engine:thread(wake)
      if not ok then return nil, errors.from_core(err) end
    end
  end
  return wake
end

---Hands out what all engines have to say, each at least one thing.
---@param host table  the one that pumps
---@param ends_at? number  of core.now(): it stops there
---@return boolean  there is nothing left
function M.pump_all(host, ends_at)
  local is_drained = true
  for _, hub in pairs(hubs) do
    if hub.engine:is_mine() then
      if not hub:pump(host, ends_at) then is_drained = false end
    end
  end
  return is_drained
end

---Is a lock held in a store that is written in Lua, or asked for? Then a refresh token is on its walk, and whoever
---pumps goes on though nobody waits for a call: else it would stand still in the middle.
---@return boolean
function M.is_keeping()
  for _, hub in pairs(hubs) do
    if hub.engine:is_mine() and serve.is_keeping(hub.keeps) then return true end
  end
  return false
end

---Closes all engines: calls end as cancelled, an exchange that has left is finished within `grace` seconds.
---@param grace? number
function M.close_all(grace)
  local all = hubs
  hubs = {}
  for _, hub in pairs(all) do hub:close(grace) end
end

---Closes the engine. What that can't bring to its end alone, since it takes a store that is written in Lua, is done
---before.
---@param grace? number
function Hub:close(grace)
  local engine = self.engine
  grace = grace or GRACE_S
  local ends_at = engine:now() + grace
  local function left() return math.max(ends_at - engine:now(), 0) end
  if next(self.keeps.tables) and engine:is_mine() then
    while left() > 0 and engine:finish(left() * 1000) do self:pump(blocking) end
    self:pump(blocking)
  end
  engine:close(left())
end

---What all engines have in hand, added up.
---@return table<string, integer>
function M.counts()
  local sums = { engines = 0 }
  for _, hub in pairs(hubs) do
    sums.engines = sums.engines + 1
    for name, n in pairs(hub.engine:counts() or {}) do sums[name] = (sums[name] or 0) + n end
  end
  return sums
end

local function copy(fields)
  local t = {}
  for name, value in pairs(fields) do t[name] = value end
  return t
end

function Hub:_event(name, fields)
  local entry = fields.id and (self.entries[fields.id] or self.streams[fields.id])
  if entry then
    -- the path of a signed link may be its secret
    if entry.host then fields.path, fields.host = nil, entry.host end
    if entry.on_event then listeners.tell(entry.on_event, name, fields) end
  elseif not fields.id then
    local all = {}
    for on_event, credentials in pairs(self.listeners) do
      if credentials[fields.credential] then all[#all + 1] = on_event end
    end
    for _, on_event in ipairs(all) do listeners.tell(on_event, name, copy(fields)) end
  end
end

local function finish(entry)
  entry.done = true
  if entry.waiter then entry.waiter:wake(entry) end
end

-- Does nobody wait for it any more: was a yield refused (5.1), or its coroutine ended before it waited (Ctrl-C)?
local function is_left(entry)
  if entry.waiter then return not entry.waiter:is_blocked_on(entry) end
  return type(entry.who) == "thread" and coroutine.status(entry.who) == "dead"
end

function Hub:_done(id)
  local entry = self.entries[id]
  if not entry then
    local stream = self.streams[id]
    if stream then return stream:_note("done", id) end
    self.engine:abandon(id) -- nobody waits: interrupted between start and wait
  elseif entry.done then -- told again: it has not been taken yet
    return
  elseif is_left(entry) then
    self:drop(entry)
  else
    finish(entry)
  end
end

-- The call takes bytes ("want"), or has some to be had ("data").
function Hub:_moves(kind, id)
  local stream = self.streams[id]
  if stream then stream:_note(kind, id) else self:_let_go(id) end
end

---Somebody listens: to be said before what is to be heard is started.
function Hub:hear()
  if self.is_heard then return end
  self.is_heard = true
  self.engine:listen(true)
end

---`on_event` hears of what a credential does beside calls: rotations, the store.
---@param on_event function
---@param credential userdata
function Hub:listen(on_event, credential)
  self:hear()
  local credentials = self.listeners[on_event] or {}
  credentials[credential:info().number] = true
  self.listeners[on_event] = credentials
end

function Hub:_let_go(id)
  self.engine:cancel(id)
  self.engine:abandon(id)
end

---Hands out everything that is in the engine's outbox.
---@param host table  the one that pumps
---@param ends_at? number  of core.now(): it stops there
---@return boolean  there is nothing left
function Hub:pump(host, ends_at)
  local engine = self.engine
  -- taken out one by one: the collector may add to them at any moment
  while #self.lost > 0 do self:_let_go(table.remove(self.lost)) end
  -- an interrupt (Ctrl-C) has come, perhaps before what was told was heard
  if self.is_pumping then engine:tell_again() end
  self.is_pumping = true
  while true do
    local kind, what, fields = engine:next()
    if kind == "done" then
      self:_done(what)
    elseif kind == "event" then
      self:_event(what, fields)
    elseif kind == "store" then
      serve.perform(self, host, what)
    elseif kind then
      self:_moves(kind, what)
    end
    if not kind or (ends_at and core.now() >= ends_at) then
      self.is_pumping = false
      return not kind
    end
  end
end

---Turns the engine for at most `ms`, then pumps. What goes wrong with the engine itself ends everybody's wait.
---@param ms integer
---@param host table  the one that turns
function Hub:turn(ms, host)
  local ok, err = self.engine:wait(ms)
  if not ok then
    for _, entry in pairs(self.entries) do
      if not entry.done then
        entry.failure = copy(err)
        finish(entry)
      end
    end
    local streams = {}
    for id, stream in pairs(self.streams) do
      if id == stream.id then streams[#streams + 1] = stream end
    end
    for _, stream in ipairs(streams) do stream:_fail(copy(err)) end
  end
  self:pump(host)
  if host.serve and self.keeps.at_end then self:_hold(host) end
end

---What was started leaves at once, though nobody waits yet: a stepped engine moves only when it is turned.
function Hub:nudge()
  if not self.engine:is_mine() or self.engine:is_threaded() then return end
  local ok, problem = pcall(self.turn, self, 0, blocking)
  if ok then return end
  listeners.interrupted()
  error(problem, 0)
end

local function settle(hub, host)
  while hub.engine:is_holding() do
    hub.engine:wait(HOLD_SLICE_MS)
    hub:pump(host)
  end
end

-- Goes on, for some seconds at most, while a refresh token is between its mark and its save in a store that is written
-- in Lua: a script that has control back may compute for minutes. Ctrl-C is heard after that; or at once, the second
-- time.
function Hub:_hold(host)
  if not self.engine:is_holding() then return end
  local ok, problem = pcall(settle, self, host)
  if ok then return end
  settle(self, host)
  error(problem, 0)
end

---Makes ready to wait for a call, before it is started: the collector may run a finaliser meanwhile that turns the
---engine. hub:begun(entry, id) follows, with nothing in between.
---@param on_event? function
---@return table entry  `done` when the call has ended
function Hub:expect(on_event)
  local who = coroutine.running() or "main"
  local orphan = self.waiting[who] -- an interrupt (Ctrl-C) came between its end and its taking
  if orphan and not orphan.is_blocking then self:drop(orphan) end
  return { id = 0, hub = self, who = who, done = false, on_event = on_event }
end

---@param entry table
---@param id integer
function Hub:begun(entry, id)
  self.waiting[entry.who] = entry -- first, so that an interrupt in here leaves something for expect() to find
  entry.id = id
  self.entries[id] = entry
end

---The call has ended, and whoever waited goes on: what it came to is handed out, once.
---@param entry table
---@param as? table  how (engine:take)
---@return integer? status
---@return table headers_or_err
---@return string? body
---@return table? info
---@return any value
function Hub:take(entry, as)
  local status, headers, body, info, value
  if entry.failure then
    self:drop(entry)
    headers = entry.failure
  else
    status, headers, body, info, value = self.engine:take(entry.id, as)
  end
  -- last, so that an interrupt in here leaves something for expect() to find
  self.entries[entry.id], self.waiting[entry.who] = nil, nil
  return status, headers, body, info, value
end

---Nobody waits for this call any more: it is cancelled, and frees itself.
---@param entry table
function Hub:drop(entry)
  if entry.stream then return entry.stream:close() end
  self.entries[entry.id] = nil
  if self.waiting[entry.who] == entry then self.waiting[entry.who] = nil end
  entry.done = true
  if self.engine:is_mine() then
    self.engine:cancel(entry.id)
    self.engine:abandon(entry.id)
  end
end

return M
