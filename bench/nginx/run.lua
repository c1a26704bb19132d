-- What calls cost an nginx worker: dpg beside lua-resty-http, in one run. The worker's own thread is what everybody
-- else in it waits for, so its CPU is what counts; then how much longer other requests of the same worker take.
--
--   make LUA=luajit
--   LUA_PATH='lua/?.lua;lua/?/init.lua;spec/?.lua;;' LUA_CPATH='build/luajit/?.so;;' \
--     RESTY_HTTP=PATH/TO/lua-resty-http/lib luajit bench/nginx/run.lua
--
-- It needs wrk, nginx with its Lua module, and a checkout of github.com/ledgetech/lua-resty-http (without: dpg alone).
-- The specs' kit tidies up when a suite ends; here at the end of the file.
local at_the_end = {}
package.loaded.busted = { subscribe = function(_, tidy) at_the_end[#at_the_end + 1] = tidy end }

local nginx = require "support.nginx"
local process = require "support.process"
local socket = require "socket"

local SECONDS = tonumber(os.getenv "SECONDS" or 5)
local ROUNDS = tonumber(os.getenv "ROUNDS" or 3)
local AT_ONCE = 64
local TICKS_S = tonumber(process.shell "getconf CLK_TCK")

local why = nginx.why_no_lua()
if why then
  io.stderr:write(why, "\n")
  os.exit(1)
end

local resty = os.getenv "RESTY_HTTP"
if not resty then print "RESTY_HTTP is not set: dpg alone" end

local ME = [['{"account":{"uuid":"a","name":"Fest","unique_id":"f"},"capabilities":["api.images.read"]}']]
local API = [[
    location /v1/me { return 200 ]] .. ME .. [[; }
    location /slow/v1/me { content_by_lua_block {
      ngx.sleep(0.05)
      ngx.print ]] .. ME .. [[
    } }
]]

local upstream = nginx.start_lua {
  http = [[
    keepalive_requests 100000000;
    types { }
    default_type application/json;
  ]],
  server = API, tls = API,
}

local plain = ("http://127.0.0.1:%d"):format(upstream.ports.lua)
local secure = ("https://127.0.0.1:%d"):format(upstream.ports.tls)

local function location(path, base_url)
  local name = path:match "%w+$"
  return ([[
    location /dpg/%s { content_by_lua_block {
      local me, err = sessions.%s:me()
      if not me then ngx.log(ngx.ERR, tostring(err)) return ngx.exit(500) end
      ngx.print(me.account.name)
    } }
    location /resty/%s { content_by_lua_block {
      local answer, err = require "resty.http".new():request_uri("%s/me", {
        headers = { Authorization = "Bearer x", Accept = "application/json" }, keepalive_timeout = 60000,
        keepalive_pool = 128, ssl_server_name = "localhost",
      })
      if not answer then ngx.log(ngx.ERR, err) return ngx.exit(500) end
      ngx.print(cjson.decode(answer.body).account.name)
    } }
  ]]):format(path, name, path, base_url)
end

local server = nginx.start_lua {
  init = ([[
    package.path = package.path .. ";%s/?.lua"
    if not pcall(require, "resty.string") then -- Debian has none; lua-resty-http takes one function of it
      package.preload["resty.string"] = function()
        return { to_hex = function(s) return (s:gsub(".", function(c) return ("%%02x"):format(c:byte()) end)) end }
      end
    end
    cjson = require "cjson"
    dpg = require "dpg"
    local function session(base_url)
      return dpg.assert(dpg.service { token = "x", base_url = base_url, ca_file = "%s/ca.pem", max_connections = %d })
    end
    sessions = { plain = session "%s/v1", secure = session "%s/v1", slow = session "%s/slow/v1" }
  ]]):format(resty or ".", upstream.folder, AT_ONCE, plain, secure, secure),
  http = ([[
    keepalive_requests 100000000;
    lua_ssl_trusted_certificate %s/ca.pem;
    lua_socket_log_errors off;
  ]]):format(upstream.folder),
  server = location("plain", plain .. "/v1") .. location("secure", secure .. "/v1")
    .. location("slow", secure .. "/slow/v1") .. [[
      location /other { return 200 "x"; }
      location /nginx { content_by_lua_block { ngx.print "My Festival" } }
    ]],
}

local worker = server:worker()

-- Seconds of CPU that the worker's own thread has used, and all its threads.
local function cpu()
  local function of(path)
    local text = process.read_file(path):match "%) (.*)"
    local fields = {}
    for field in text:gmatch "%S+" do fields[#fields + 1] = field end
    return (fields[12] + fields[13]) / TICKS_S
  end
  return of(("/proc/%d/task/%d/stat"):format(worker, worker)), of(("/proc/%d/stat"):format(worker))
end

local function wrk(path, seconds, connections)
  return process.shell(("wrk -t 1 -c %d -d %ds --latency http://127.0.0.1:%d%s"):format(connections, seconds,
    server.ports.lua, path))
end

local function median(list)
  table.sort(list)
  return list[math.ceil(#list / 2)]
end

local clients = resty and { "dpg", "resty" } or { "dpg" }

local function location_of(client, what)
  return client == "nginx" and "/nginx" or "/" .. client .. "/" .. what
end

local function measure(what)
  local found = {}
  local entrants = { "nginx", clients[1], clients[2] }
  for _, client in ipairs(entrants) do
    found[client] = { own = {}, all = {}, rate = {} }
    wrk(location_of(client, what), 1, AT_ONCE)
  end
  for _ = 1, ROUNDS do
    for _, client in ipairs(entrants) do
      local own, all = cpu()
      local said = wrk(location_of(client, what), SECONDS, AT_ONCE)
      local own_after, all_after = cpu()
      local requests = tonumber(said:match "(%d+) requests in")
      assert(not said:find "Non%-2xx", server:log():sub(-600))
      local one = found[client]
      one.own[#one.own + 1] = (own_after - own) / requests * 1e6
      one.all[#one.all + 1] = (all_after - all) / requests * 1e6
      one.rate[#one.rate + 1] = requests / SECONDS
    end
  end
  for _, client in ipairs(entrants) do
    local one = found[client]
    one.own, one.all, one.rate = median(one.own), median(one.all), median(one.rate)
    print(("  %-6s %6.1f us of the worker's own thread, %6.1f us of all, %6.0f requests/s"):format(client, one.own,
      one.all, one.rate))
  end
  if resty then
    print(("  ratio  %6.2f %30.2f %16.2f"):format(found.dpg.own / found.resty.own, found.dpg.all / found.resty.all,
      found.dpg.rate / found.resty.rate))
  end
end

print(("A GET at a time for each request, %d at once, over HTTP:"):format(AT_ONCE))
measure "plain"
print "Over HTTPS, on connections that are kept:"
measure "secure"

-- --- what others feel ----------------------------------------------------------------------------------------------

-- The 99th percentile, in microseconds, of requests that have nothing to do with it, one after the other.
local function others(seconds)
  local client = server:connect()
  client:setoption("tcp-nodelay", true)
  local times, ends = {}, socket.gettime() + seconds
  while socket.gettime() < ends do
    local began = socket.gettime()
    client:send "GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
    repeat until client:receive "*l" == ""
    client:receive(1)
    times[#times + 1] = (socket.gettime() - began) * 1e6
    socket.sleep(0.001)
  end
  client:close()
  table.sort(times)
  return times[math.ceil(#times * 0.99)], times[math.ceil(#times * 0.5)]
end

print(("Other requests of the same worker, beside %d that each wait 50 ms for DPG:"):format(AT_ONCE))
local found = { none = { p99 = {}, p50 = {} } }
for _, client in ipairs(clients) do found[client] = { p99 = {}, p50 = {} } end
for _ = 1, ROUNDS do
  for _, client in ipairs { "none", clients[1], clients[2] } do
    local load
    if client ~= "none" then
      load = io.popen(("wrk -t 1 -c %d -d %ds http://127.0.0.1:%d/%s/slow"):format(AT_ONCE, SECONDS + 1,
        server.ports.lua, client))
      socket.sleep(0.5)
    end
    local p99, p50 = others(SECONDS)
    if load then load:close() end
    table.insert(found[client].p99, p99)
    table.insert(found[client].p50, p50)
  end
end
for _, client in ipairs { "none", clients[1], clients[2] } do
  local p99, p50 = median(found[client].p99), median(found[client].p50)
  found[client].median = p99
  print(("  %-6s p50 %6.0f us, p99 %6.0f us (%+.0f %%)"):format(client, p50, p99,
    (p99 / found.none.median - 1) * 100))
end

for _, tidy in ipairs(at_the_end) do tidy() end
