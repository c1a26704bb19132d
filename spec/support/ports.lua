-- Ports that nobody has at this moment, for servers that can't tell which one they took. Another process may take one
-- before it is used: whoever asks tries several times.
local socket = require "socket"

---@param count integer
---@return integer[] ports
return function(count)
  local sockets, ports = {}, {}
  for i = 1, count do
    sockets[i] = assert(socket.bind("127.0.0.1", 0))
    ports[i] = tonumber((select(2, sockets[i]:getsockname())))
  end
  for _, one in ipairs(sockets) do one:close() end
  return ports
end
