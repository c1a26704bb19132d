-- A small HTTP proxy in a process of its own, for specs: CONNECT to any name leads to one port of this machine, so that
-- names can be used that exist nowhere. It asks for a login, refuses or dies as it is told, and keeps every byte that
-- clients send, so that a spec sees what a proxy sees.
local process = require "support.process"

local M = {}

M.USER, M.PASSWORD = "desk", "s3cret-of-the-proxy"

-- The base64 of "desk:s3cret-of-the-proxy".
M.BASIC = "ZGVzazpzM2NyZXQtb2YtdGhlLXByb3h5"

-- In the folder: `port` (where CONNECT leads to), `mode` (see set), `dropped` (connections up to that one end with the
-- next byte from the server), and for each connection N.connect (the request's head) and N.up (what came after it).
-- What came is kept before it goes on.
local script = [==[
  local folder, basic = ...
  local socket = require "socket"

  local function read(name)
    local file = assert(io.open(folder .. "/" .. name, "rb"))
    local text = file:read "*a"
    file:close()
    return text
  end

  local function keep(name, bytes)
    local file = assert(io.open(folder .. "/" .. name, "ab"))
    file:write(bytes)
    file:close()
  end

  local listener = assert(socket.bind("127.0.0.1", 0, 128))
  print((select(2, listener:getsockname())))

  local tasks, count = {}, 0 -- tasks by the socket that each waits for

  local function some(from)
    while true do
      from:settimeout(0)
      local data, err, partial = from:receive(65536)
      data = data or partial
      if data ~= "" then return data end
      if err ~= "timeout" then return nil end
      coroutine.yield(from)
    end
  end

  local function send(to, bytes)
    to:settimeout(10)
    return to:send(bytes)
  end

  local function end_both(a, b)
    a:close()
    if b then b:close() end
  end

  local answers = {
    [403] = "Forbidden", [407] = "Proxy Authentication Required", [502] = "Bad Gateway", [503] = "Service Unavailable",
  }

  local function refuse(client, status, extra)
    send(client, ("HTTP/1.1 %d %s\r\n%sContent-Length: 5\r\nConnection: close\r\n\r\nno no"):format(status,
      answers[status], extra or ""))
    client:close()
  end

  local modes = {}

  function modes.close(client) client:close() end
  function modes.silent(client) some(client) client:close() end -- until the client has had enough
  function modes.refuse(client, status) refuse(client, status) end
  function modes.cut(client)
    send(client, "HTTP/1.1 200 Connection established\r\n\r\n")
    client:close()
  end
  function modes.garbage(client)
    send(client, "\22\3\1\0\5\255\254\0 no HTTP\r\n\0\1\2\3\r\n\r\n")
    client:close()
  end
  function modes.endless(client)
    send(client, "HTTP/1.1 200 Connection established\r\n")
    for _ = 1, 100000 do
      if not send(client, "X-More: and more and more and more and more and more\r\n") then break end
    end
    client:close()
  end
  function modes.echo(client, _, head) -- says the client's own login again
    local login = head:match "[Pp]roxy%-[Aa]uthorization: ([^\r\n]*)" or ""
    send(client, ("HTTP/1.1 403 %s\r\nX-Login: %s\r\nContent-Length: %d\r\n\r\n%s"):format(login, login, #login, login))
    client:close()
  end

  -- From one side to the other, until either has ended; `most` bytes from the server at most.
  local function relay(client, server, number, most)
    tasks[server] = coroutine.create(function()
      local data = some(server)
      while data do
        if number <= tonumber(read "dropped") then break end
        if most then
          data = data:sub(1, most)
          most = most - #data
        end
        if not send(client, data) or most == 0 then break end
        data = some(server)
      end
      tasks[client] = nil
      end_both(client, server)
    end)
    coroutine.resume(tasks[server])
    local data = some(client)
    while data do
      keep(number .. ".up", data)
      if not send(server, data) then break end
      data = some(client)
    end
    tasks[server] = nil
    end_both(client, server)
  end

  local function serve(client)
    local head = ""
    repeat
      local data = some(client)
      if not data then return client:close() end
      head = head .. data
    until head:find("\r\n\r\n", 1, true)
    local after = select(2, head:find("\r\n\r\n", 1, true))
    local early = head:sub(after + 1)
    head = head:sub(1, after)
    count = count + 1
    local number = count
    keep(number .. ".connect", head)
    keep(number .. ".up", early)
    local mode, argument = read("mode"):match "^(%a+) ?(%d*)"
    argument = tonumber(argument)
    if modes[mode] then return modes[mode](client, argument, head) end
    if not head:find("\r\nProxy-Authorization: Basic " .. basic .. "\r\n", 1, true) and mode ~= "open" then
      return refuse(client, 407, 'Proxy-Authenticate: Basic realm="a spec"\r\n')
    end
    if not head:find "^CONNECT [^ ]+ HTTP/1%.1\r\n" then return refuse(client, 403) end
    local server = socket.connect("127.0.0.1", tonumber(read "port"))
    if not server then return refuse(client, 502) end
    send(client, "HTTP/1.1 200 Connection established\r\n\r\n")
    if early ~= "" then send(server, early) end
    relay(client, server, number, mode == "down" and argument or nil)
  end

  -- A task's end, or the socket that it waits for.
  local function go_on(waited_for)
    local task = tasks[waited_for]
    if not task then return end
    local ok, next_one = coroutine.resume(task)
    if not ok then error(next_one) end
    if coroutine.status(task) == "dead" then tasks[waited_for] = nil end
  end

  while true do
    local waiting = { listener }
    for one in pairs(tasks) do waiting[#waiting + 1] = one end
    for _, ready in ipairs(socket.select(waiting)) do
      if ready == listener then
        local client = listener:accept()
        tasks[client] = coroutine.create(function() serve(client) end)
        go_on(client)
      else
        go_on(ready)
      end
    end
  end
]==]

---@class spec.Proxy
---@field port integer
---@field folder string
local Proxy = {}
Proxy.__index = Proxy

---Starts a proxy that wants M.USER and M.PASSWORD.
---@param port integer  where all that goes through it is led to
---@return spec.Proxy
function M.start(port)
  local self = setmetatable({ folder = process.folder(), _forgotten = 0 }, Proxy)
  self:lead_to(port)
  self:set "usual"
  process.write_file(self.folder .. "/dropped", "0")
  self._child = process.start(script, self.folder, M.BASIC)
  self.port = assert(tonumber(self._child:read()), "the proxy did not start")
  return self
end

---@param login? string  "user:password" (the right ones); "" for none
---@return string url
function Proxy:url(login)
  login = login or M.USER .. ":" .. M.PASSWORD
  return ("http://%s127.0.0.1:%d"):format(login ~= "" and login .. "@" or "", self.port)
end

---What it does with connections from now on: "usual", "open" (wants no login), "close", "silent", "cut" (200, and then
---closes), "garbage", "endless" (headers), "echo" (403, with the client's login), "refuse 403" (407, 502, 503),
---"down 500" (usual, but closes when 500 bytes have gone to the client).
---@param mode string
function Proxy:set(mode)
  process.write_file(self.folder .. "/mode", mode)
end

---@param port integer
function Proxy:lead_to(port)
  process.write_file(self.folder .. "/port", tostring(port))
end

-- All connections so far that said something.
local function all(self)
  local list = {}
  while true do
    local n = #list + 1
    local head = process.read_file(self.folder .. "/" .. n .. ".connect")
    if not head then return list end
    list[n] = { head = head, up = process.read_file(self.folder .. "/" .. n .. ".up") or "" }
  end
end

---What came since the last forget(), each connection by itself.
---@return { head: string, up: string }[]
function Proxy:seen()
  local list = {}
  for n, one in ipairs(all(self)) do
    if n > self._forgotten then list[#list + 1] = one end
  end
  return list
end

function Proxy:forget()
  self._forgotten = #all(self)
end

---Lets each tunnel that there is die with the next byte that the server sends.
function Proxy:drop()
  process.write_file(self.folder .. "/dropped", tostring(#all(self)))
end

function Proxy:stop()
  self._child:stop()
end

return M
