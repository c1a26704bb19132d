-- A real redis-server for specs: on a free port and a unix socket, in a temporary folder, with or without a password,
-- on disk (AOF) unless told otherwise. It can be killed and started again where it was. It ends with stop(), with the
-- suite, or when this process dies. And connections to it.
local at_end = require "support.at_end"
local compat = require "dpg.compat"
local free_ports = require "support.ports"
local new_client = require "support.redis_client"
local process = require "support.process"
local socket = require "socket"

local M = {}

---lua-redis. Debian has it for 5.1 to 5.3; its text runs on 5.4 as it is, and is found there from here on, also by the
---programs that a spec starts.
---@return table? library  nil: it is not installed
function M.library()
  local is_here, library = pcall(require, "redis")
  if not is_here and loadfile "/usr/share/lua/5.3/redis.lua" then
    package.path = package.path .. ";/usr/share/lua/5.3/?.lua"
    is_here, library = pcall(require, "redis")
  end
  return is_here and library or nil
end

-- --- a client ------------------------------------------------------------------------------------------------------

---@param where { port?: integer, path?: string, password?: string, timeout?: number }
---@return spec.RedisClient? client
---@return string? err
function M.connect(where)
  local sock, ok, err
  if where.path then
    local unix = require "socket.unix"
    sock = type(unix) == "table" and (unix.stream or unix.tcp)() or unix()
    sock:settimeout(where.timeout or 10)
    ok, err = sock:connect(where.path)
  else
    sock = socket.tcp()
    sock:settimeout(where.timeout or 10)
    ok, err = sock:connect("127.0.0.1", where.port)
  end
  if not ok then
    sock:close()
    return nil, err
  end
  local client = new_client(sock)
  if where.password then
    ok, err = client:call("AUTH", where.password)
    if not ok then
      client:close()
      return nil, err
    end
  end
  return client
end

-- --- a server ------------------------------------------------------------------------------------------------------

---@class spec.Redis
---@field port integer
---@field path string  of its unix socket
---@field folder string
---@field password? string
local Redis = {}
Redis.__index = Redis

---@return string? why  there can be no server here; nil: there can
function M.is_missing()
  if process.shell "PATH=$PATH:/usr/sbin command -v redis-server" ~= "" then return nil end
  return "redis-server is not installed: ./dev test installs it"
end

local server = [[PATH=$PATH:/usr/sbin
redis-server %s/redis.conf >%s/log 2>&1 </dev/null & echo $! >%s/pid]]

---Connects, as its password says; so `redis.connect` can be a store's `connect`.
---@return spec.RedisClient? client
---@return string? err
function Redis:connect()
  return M.connect { path = self.path, password = self.password }
end

---Sends one command on a connection of its own.
function Redis:call(...)
  local client = assert(self:connect())
  local reply, err = client:call(...)
  client:close()
  return reply, err
end

-- Waits until it answers a PING, which it does when it has read its data. False: it has ended (the port was taken).
local function is_ready(self)
  while true do
    local client = self:connect()
    local reply = client and client:call "PING"
    if client then client:close() end
    if reply == "PONG" then return true end
    local pid = process.read_file(self.folder .. "/pid")
    if pid and pid ~= "" and process.shell("kill -0 " .. pid:match "%d+" .. " && echo there") ~= "there" then
      return false
    end
    socket.sleep(0.005)
  end
end

---Starts it, or starts it again with the data that it has kept.
function Redis:start()
  for _ = 1, 5 do
    if not self.port then self.port = free_ports(1)[1] end
    local config = { "port " .. self.port, "bind 127.0.0.1", "unixsocket " .. self.path, "dir " .. self.folder,
      'save ""', "appendonly " .. (self.is_kept and "yes" or "no"), "appendfsync always", "daemonize no" }
    if self.password then config[#config + 1] = "requirepass " .. self.password end
    for _, line in ipairs(self.more) do config[#config + 1] = line end
    process.write_file(self.folder .. "/redis.conf", table.concat(config, "\n") .. "\n")
    os.remove(self.folder .. "/pid")
    os.remove(self.path)
    at_end.add(self, Redis.kill)
    local f = self.folder
    self._guard = process.guard(server:format(f, f, f), "kill -9 $! 2>/dev/null; wait")
    if is_ready(self) then return end
    self:kill()
    self.port = nil
  end
  error("redis-server did not start: " .. (process.read_file(self.folder .. "/log") or ""))
end

---Sends it a signal: "STOP", "CONT".
function Redis:signal(name)
  os.execute("kill -" .. name .. " " .. process.read_file(self.folder .. "/pid"):match "%d+")
end

---Kills it at once, as a crash does; start() starts it again.
function Redis:kill()
  if not at_end.remove(self) then return end
  self._guard:close() -- kills it, and waits for its end
end

Redis.stop = Redis.kill

---@param options? { password?: string, is_kept?: boolean, [integer]: string }  lines of redis.conf; kept on disk (true)
---@return spec.Redis
function M.start(options)
  options = options or {}
  local folder = process.folder()
  local self = setmetatable({
    folder = folder, path = folder .. "/redis.sock", password = options.password, is_kept = options.is_kept ~= false,
    more = { compat.unpack(options) },
  }, Redis)
  self:start()
  return self
end

return M
