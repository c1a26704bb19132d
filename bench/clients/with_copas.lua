-- copas (Debian's 1.2.0) with LuaSocket's http.request: a connection for each call, no TLS.
local copas = require "copas" -- before socket.http, which it changes
local cjson = require "cjson"
local http = require "socket.http"
local ltn12 = require "ltn12"
local socket = require "socket"

local HEADERS = { authorization = "Bearer dpg_api_live_bench", accept = "application/json" }

-- What copas.wrap lacks for socket.http.
local function create()
  local wrapped = copas.wrap(socket.tcp())
  return setmetatable({
    connect = function(_, host, port) return copas.connect(wrapped.socket, host, port) end,
    send = function(_, ...) return wrapped:send(...) end,
    receive = function(_, ...) return copas.receive(wrapped.socket, ...) end,
    settimeout = function() return 1 end,
    close = function() return wrapped.socket:close() end,
  }, {})
end

require "serve"(copas._VERSION, function(count, at_once, protocol, what, url)
  if protocol ~= "plain" or what == "fields" then return false end
  local left, working = count, at_once
  local function work()
    while left > 0 do
      left = left - 1
      local pieces = {}
      local _, status = http.request { url = url, headers = HEADERS, sink = ltn12.sink.table(pieces), create = create }
      assert(status == 200, status)
      local body = table.concat(pieces)
      if what == "decoded" then cjson.decode(body) end
    end
    working = working - 1
  end
  for _ = 1, at_once do copas.addthread(work) end
  while working > 0 do copas.step(1) end
end)
