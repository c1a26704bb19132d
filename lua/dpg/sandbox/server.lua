-- The loop: one thread, one select, one coroutine for each connection, nothing ever blocks (a TLS handshake neither).
-- A listener's handler gets a connection and reads, writes and sleeps on it as if it were alone; handlers yield
-- outside of any pcall, since PUC 5.1 can't yield across one.

local socket = require "socket"

local M = {}

local ACCEPTS_AT_ONCE = 64
local READ_BYTES = 65536
local BACKLOG = 512

local Connection = {}
Connection.__index = Connection
Connection.__name = "dpg.sandbox.connection"
-- `received` and `sent` count bytes, those of TLS not included.

local Server = {}
Server.__index = Server
Server.__name = "dpg.sandbox.server"

-- A list for select() with removal in constant time.
local function new_set()
  local set = { list = {}, index = {} }
  function set.add(item)
    if set.index[item] then return end
    set.list[#set.list + 1] = item
    set.index[item] = #set.list
  end
  function set.remove(item)
    local index = set.index[item]
    if not index then return end
    local last = set.list[#set.list]
    set.list[index], set.index[last] = last, index
    set.list[#set.list], set.index[item] = nil, nil
  end
  return set
end

---@param log fun(line: string)
---@return table server
function M.new(log)
  return setmetatable({
    log = log, readers = new_set(), writers = new_set(), on_ready = {}, sleepers = {}, ticks = {}, stopped = false,
  }, Server)
end

local wants = { timeout = "read", wantread = "read", wantwrite = "write" }

---Some bytes, as many as there are.
---@return string? data
---@return string? err  "closed" and the like
function Connection:receive()
  while true do
    local data, err, partial = self.socket:receive(READ_BYTES)
    data = data or partial
    if data and #data > 0 then
      self.received = self.received + #data
      return data
    end
    if not wants[err] then return nil, err end
    coroutine.yield(wants[err])
  end
end

---@param bytes string
---@return boolean? sent
---@return string? err
function Connection:send(bytes)
  local from = 1
  while from <= #bytes do
    local last, err, partial = self.socket:send(bytes, from)
    if not last then
      self.sent = self.sent + math.max(partial + 1 - from, 0)
      if not wants[err] then return nil, err end
      from = partial + 1
      coroutine.yield(err == "wantread" and "read" or "write")
    else
      self.sent = self.sent + last + 1 - from
      from = last + 1
    end
  end
  return true
end

---Lets others go on, until more can be sent.
function Connection.rest()
  coroutine.yield "write"
end

---Waits; others go on meanwhile.
---@param seconds number  math.huge waits for `ready` alone
---@param ready? fun(): boolean  ends the wait early
function Connection:sleep(seconds, ready)
  self.wake_at = socket.gettime() + seconds
  self.wake_when = ready
  coroutine.yield "sleep"
end

---Ends the connection so that the peer sees a reset (RST), under TLS as well: there the descriptor is closed behind
---OpenSSL's back, which would say goodbye first. The handler has to return at once: the descriptor's number is free.
function Connection:reset()
  if not self.secure then
    self.socket:setoption("linger", { on = true, timeout = 0 })
    return
  end
  local raw = socket.tcp4()
  raw:close()
  raw:setfd(self.socket:getfd())
  raw:setoption("linger", { on = true, timeout = 0 })
  raw:close()
end

function Server:_forget(connection)
  local sock = connection.socket
  self.readers.remove(sock)
  self.writers.remove(sock)
  self.sleepers[connection] = nil
  self.on_ready[sock] = nil
  sock:close()
  local listener = connection.listener
  listener.open = listener.open - 1
  self.readers.add(listener.socket) -- it may have been full
end

local park = {
  read = function(self, connection)
    self.writers.remove(connection.socket)
    self.readers.add(connection.socket)
  end,
  write = function(self, connection)
    self.readers.remove(connection.socket)
    self.writers.add(connection.socket)
  end,
  sleep = function(self, connection)
    self.readers.remove(connection.socket)
    self.writers.remove(connection.socket)
    self.sleepers[connection] = true
  end,
}

function Server:_resume(connection)
  local ok, want = coroutine.resume(connection.task)
  if not ok then self.log("sandbox: " .. tostring(want):gsub("\n.*", "")) end
  if ok and coroutine.status(connection.task) ~= "dead" then
    park[want](self, connection)
  else
    self:_forget(connection)
  end
end

local function handshake(connection, context)
  if not context then return true end
  local ssl = require "ssl"
  local raw = connection.socket
  local secure, err = ssl.wrap(raw, context)
  if not secure then return nil, err end
  connection.socket, connection.secure = secure, true
  connection.server.on_ready[raw] = nil
  connection.server.on_ready[secure] = connection
  secure:settimeout(0)
  while true do
    local ok, problem = secure:dohandshake()
    if ok then return true end
    if not wants[problem] then return nil, problem end
    coroutine.yield(wants[problem])
  end
end

function Server:_begin(listener, client)
  client:settimeout(0)
  client:setoption("tcp-nodelay", true)
  listener.open, listener.accepted = listener.open + 1, listener.accepted + 1
  local connection = setmetatable({
    socket = client, server = self, listener = listener, number = listener.accepted, buffer = "",
    received = 0, sent = 0,
  }, Connection)
  connection.task = coroutine.create(function()
    if handshake(connection, listener.context) then listener.handler(connection) end
  end)
  self.on_ready[client] = connection
  self:_resume(connection)
end

function Server:_accept(listener)
  for _ = 1, ACCEPTS_AT_ONCE do
    if listener.open >= listener.capacity then
      self.readers.remove(listener.socket)
      return
    end
    local client = listener.socket:accept()
    if not client then return end
    self:_begin(listener, client)
  end
end

---@param wanted { port: integer, capacity: integer, context?: table, handler: fun(connection: table) }  port 0 takes a
---free one; what goes beyond the capacity waits; LuaSec's context for TLS
---@return table? listener  its `port`, and how many connections it has `accepted`
---@return string? err
function Server:listen(wanted)
  local bound, err = socket.bind("127.0.0.1", wanted.port, BACKLOG)
  if not bound then return nil, ("can't listen on 127.0.0.1:%d: %s"):format(wanted.port, err) end
  bound:settimeout(0)
  local _, port = bound:getsockname()
  local listener = {
    socket = bound, port = tonumber(port), context = wanted.context, handler = wanted.handler,
    capacity = wanted.capacity, open = 0, accepted = 0,
  }
  self.on_ready[bound] = function() self:_accept(listener) end
  self.readers.add(bound)
  return listener
end

---Calls back when a descriptor can be read (or is at its end).
---@param descriptor integer
---@param callback fun()
function Server:watch(descriptor, callback)
  local watched = { getfd = function() return descriptor end, dirty = function() return false end }
  self.on_ready[watched] = callback
  self.readers.add(watched)
end

---Calls back again and again.
---@param seconds number
---@param callback fun()
function Server:every(seconds, callback)
  table.insert(self.ticks, { seconds = seconds, at = socket.gettime() + seconds, call = callback })
end

local function is_awake(connection, now)
  return now >= connection.wake_at or connection.wake_when ~= nil and connection.wake_when()
end

-- How long select() may wait: 0 while somebody is awake already.
function Server:_patience(now)
  local first = math.huge
  for connection in pairs(self.sleepers) do
    if is_awake(connection, now) then return 0 end
    first = math.min(first, connection.wake_at)
  end
  for _, tick in ipairs(self.ticks) do
    first = math.min(first, tick.at)
  end
  if first == math.huge then return nil end
  return math.max(first - now, 0)
end

function Server:_wake(now)
  local awake = {}
  for connection in pairs(self.sleepers) do
    if is_awake(connection, now) then awake[#awake + 1] = connection end
  end
  for _, connection in ipairs(awake) do
    self.sleepers[connection] = nil
    self:_resume(connection)
  end
  for _, tick in ipairs(self.ticks) do
    if now >= tick.at then
      tick.at = now + tick.seconds
      tick.call()
    end
  end
end

function Server:_serve(sockets)
  for _, sock in ipairs(sockets) do
    local ready = self.on_ready[sock]
    if type(ready) == "function" then
      ready()
    elseif ready then
      self:_resume(ready)
    end
  end
end

---Runs until `stopped` is set.
function Server:run()
  while not self.stopped do
    local readable, writable = socket.select(self.readers.list, self.writers.list, self:_patience(socket.gettime()))
    self:_serve(readable)
    self:_serve(writable)
    self:_wake(socket.gettime())
  end
end

---Closes everything.
function Server:close()
  for sock in pairs(self.on_ready) do
    if sock.close then sock:close() end
  end
end

return M
