-- A small client of Redis, a `call` object as dpg.store.redis takes it, over any connected socket: LuaSocket's, or a
-- cosocket of nginx.

---@class spec.RedisClient
local Client = {}
Client.__index = Client

-- One reply. An error in it is false and its text; a broken connection nil and why.
local function read(sock)
  local line, err = sock:receive "*l"
  if not line then return nil, err end
  local kind, rest = line:sub(1, 1), line:sub(2)
  if kind == "+" then return rest end
  if kind == "-" then return false, rest end
  if kind == ":" then return tonumber(rest) end
  local n = tonumber(rest)
  if kind == "$" then
    if n < 0 then return false end
    local bytes, problem = sock:receive(n + 2)
    if not bytes then return nil, problem end
    return bytes:sub(1, -3)
  end
  local list = {}
  for i = 1, n do
    local problem
    list[i], problem = read(sock)
    if list[i] == nil then return nil, problem end
  end
  return list
end

---@return any reply  nil, err: the connection is broken; false, err: Redis refuses
---@return string? err
function Client:call(...)
  local words = { "*" .. select("#", ...) .. "\r\n" }
  for i = 1, select("#", ...) do
    local word = tostring((select(i, ...)))
    words[#words + 1] = "$" .. #word .. "\r\n" .. word .. "\r\n"
  end
  local ok, err = self.sock:send(table.concat(words))
  if not ok then return nil, err end
  return read(self.sock)
end

function Client:close()
  self.sock:close()
end

---@param sock table  connected
---@return spec.RedisClient
return function(sock)
  return setmetatable({ sock = sock }, Client)
end
