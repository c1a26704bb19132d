-- A call whose bytes pass through Lua, or whose progress is followed: it is waited for again and again, until it has
-- ended. dpg.call starts it; dpg.hub tells it what the engine says. Whoever drops one without close() leaves it to the
-- collector: the hub holds it weakly, and cancels a call that nobody holds.
local compat = require "dpg.compat"
local hosts = require "dpg.host"

local M = {}

-- So many bytes go through without a wait; then the others go first.
local TURN_BYTES = 128 * 1024

-- on_progress is called at most 20 times a second.
local TICK_S = 0.05

---@class dpg.Stream
---@field hub dpg.Hub
---@field id integer
---@field on_event? function
---@field host? string  of a call that goes to another origin than the session's: events show it instead of the path
---@field is_closed boolean
local Stream = {}
Stream.__index = Stream
Stream.__name = "dpg.Stream"

---Made before its call is started, since the collector may run a finaliser meanwhile that turns the engine: then
---stream:begun(id) follows, with nothing in between.
---@param hub dpg.Hub
---@param more { on_event?: function, host?: string, ticks?: boolean }
---@return dpg.Stream
function M.new(hub, more)
  local self = setmetatable({
    hub = hub, on_event = more.on_event, host = more.host, is_closed = false,
    _ticks = more.ticks, _notes = {}, _moved = 0,
  }, Stream)
  return self
end

---@param id integer
---@return dpg.Stream
function Stream:begun(id)
  local hub = self.hub
  self.id, hub.streams[id] = id, self
  self._guard = compat.on_collect(function() hub.lost[#hub.lost + 1] = id end)
  return self
end

-- Told by the hub: "want", "data", or "done" with the id of the call or of the tick's timer.
function Stream:_note(kind, id)
  if kind == "done" and id ~= self.id then
    self.hub.engine:take(id)
    self.hub.streams[id] = nil
    if id ~= self._timer then return end
    self._timer, kind = nil, "tick"
  end
  self._notes[kind] = true
  self:_wake()
end

-- Whoever waits goes on.
function Stream:_wake()
  local signal = self._signal
  if not signal then return end
  signal.done = true
  if signal.waiter then signal.waiter:wake(signal) end
end

-- The engine itself has failed.
function Stream:_fail(err)
  self._failure = err
  self:_note("done", self.id)
end

local ORDER = { "want", "data", "tick" }

function Stream:_pending()
  for _, kind in ipairs(ORDER) do
    if self._notes[kind] then
      self._notes[kind] = nil
      return kind
    end
  end
  if self._notes.done then return "done" end
end

function Stream:_start_timer()
  if not self._ticks or self._timer then return end
  local id = self.hub.engine:start { timer = TICK_S }
  if not id then return end
  self._timer = id
  self.hub.streams[id] = self
end

---Waits until there is something to do.
---@return "want"|"data"|"tick"|"done"|nil what  "want": it takes bytes; "data": it has some, or a head; "tick": a
---  twentieth of a second has passed; "done": take() it
---@return dpg.Error? err  waiting is not possible here; the call is cancelled
function Stream:wait()
  while true do
    local what = self:_pending()
    if what then return what end
    self:_start_timer()
    local signal = { hub = self.hub, stream = self, done = false }
    self._signal, self._moved = signal, 0
    local host, err = hosts.prepare()
    local ok = host
    if host then ok, err = host:wait(signal) end
    self._signal = nil
    if not ok then
      self:close()
      return nil, err
    end
    if self.is_closed then return nil end
  end
end

-- A transfer that is faster than the program never waits; nobody else must starve by that.
function Stream:_pause(n)
  self._moved = self._moved + n
  if self._moved < TURN_BYTES then return end
  self._moved = 0
  local host = hosts.prepare()
  if host then host:wait { done = true } end
end

---@param bytes string
---@return integer? taken  how many of them; nil: the call has ended
---@return table? err
function Stream:feed(bytes)
  local taken, err = self.hub.engine:feed(self.id, bytes)
  if taken then self:_pause(taken) end
  return taken, err
end

---@param most integer
---@return "bytes"|"later"|"end"|nil state  end: all have been read, or the call failed: it is done, or soon will be
---@return string|table|nil bytes_or_err
function Stream:read(most)
  local state, bytes = self.hub.engine:read(self.id, most)
  if state == "bytes" then self:_pause(#bytes) end
  return state, bytes
end

---The status and headers of a good answer, once they are here.
---@return integer? status
---@return table<string, string>? headers
function Stream:head()
  return self.hub.engine:head(self.id)
end

---Bytes of the bodies: of the attempt under way, or of the last one.
---@return integer? sent
---@return integer? to_send
---@return integer? received
---@return integer? to_receive
function Stream:progress()
  if self.is_closed then return nil end
  return self.hub.engine:progress(self.id)
end

local function release(self)
  local hub = self.hub
  self.is_closed = true
  hub.streams[self.id] = nil
  local timer = self._timer
  self._timer = nil
  if timer and hub.engine:is_mine() then
    hub.streams[timer] = nil
    hub.engine:cancel(timer)
    hub.engine:abandon(timer)
  end
end

---What a call that has ended came to; once.
---@param as? table  how it is handed out (engine:take)
---@return integer? status
---@return table headers_or_err
---@return string? body
---@return table? info
---@return any value
function Stream:take(as)
  if self._failure then
    self:close()
    return nil, self._failure
  end
  local status, headers, body, info, value = self.hub.engine:take(self.id, as)
  release(self)
  return status, headers, body, info, value
end

---Cancels the call, if it has not been taken; another task that waits for it goes on, with nothing. Twice is fine.
function Stream:close()
  if self.is_closed then return end
  release(self)
  self:_wake()
  local engine = self.hub.engine
  if engine:is_mine() then
    engine:cancel(self.id)
    engine:abandon(self.id)
  end
end

return M
