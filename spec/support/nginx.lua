-- A real nginx before a sandbox, for specs: TLS with a certificate of an authority made here, HTTP/2 and HTTP/1.1 on
-- ports of their own. What reaches the sandbox tells by X-Connection, X-Protocol and X-Worker how it came to nginx. It
-- lives in a temporary folder, and ends with stop(), with the suite, or when this process dies.
local at_end = require "support.at_end"
local free_ports = require "support.ports"
local process = require "support.process"
local socket = require "socket"

local M = {}

---The names that the certificate is for. 0.0.0.0 leads to this machine, but is no loopback address; gallery.test leads
---nowhere, but through a proxy.
M.NAMES = { "127.0.0.1", "localhost", "0.0.0.0", "gallery.test" }

local quote = process.quote

-- --- certificates --------------------------------------------------------------------------------------------------

local certificate_config = [[
[req]
distinguished_name = dn
prompt = no
[dn]
CN = a spec
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = %s
]]

local certificate_script = [[cd %s && umask 077 && set -e
new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256'
openssl req -x509 -config make.cnf -extensions ca $new -days 2 -keyout ca.key -out ca.pem
openssl req -new -config make.cnf $new -keyout key.pem -out server.csr
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial 0x%s -days 2 -sha256 -extfile make.cnf \
  -extensions server -out cert.pem]]

---Makes ca.pem, and cert.pem with key.pem signed by it.
---@param folder string
---@param address? string  another name of it
local function make_certificate(folder, address)
  local names = { M.NAMES[1], M.NAMES[2], M.NAMES[3], M.NAMES[4], address }
  for i, name in ipairs(names) do names[i] = (name:find "^[%d.]+$" and "IP:" or "DNS:") .. name end
  process.write_file(folder .. "/make.cnf", certificate_config:format(table.concat(names, ", ")))
  local serial = ("%x"):format(math.floor(socket.gettime() * 1000))
  local said = process.shell("{ (" .. certificate_script:format(quote(folder), serial) .. ") && echo made; }")
  assert(said:find "made$", "openssl made no certificate: " .. said)
end

---An authority that has signed nothing that is used here.
---@return string ca_file
function M.other_authority()
  local folder = process.folder()
  make_certificate(folder)
  return folder .. "/ca.pem"
end

-- --- the configuration ---------------------------------------------------------------------------------------------

local config = [[
%s
worker_processes 1;
worker_shutdown_timeout 20s;
pid nginx.pid;
error_log error.log info;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  ssl_certificate cert.pem; ssl_certificate_key key.pem;
  gzip_types application/json; gzip_min_length 1; gzip_proxied any;
  proxy_http_version 1.1;
  proxy_next_upstream off;
  proxy_set_header Connection "";
  proxy_set_header X-Connection $connection;
  proxy_set_header X-Protocol $server_protocol;
  proxy_set_header X-Worker $pid;
  server { listen %s:%d; return 200 "$pid"; }
%s
}
]]

local server = [[
  server {
    listen %s:%d ssl%s;
    %s
    location / { proxy_pass %s; }
    location /files/ {
      alias %s/files/;
      types { } default_type application/json;
      include files.conf;
    }
  }
]]

-- --- one nginx -----------------------------------------------------------------------------------------------------

---@class spec.Nginx
---@field folder string
---@field address string  where it listens (127.0.0.1)
---@field ca_file string
---@field ports table<string, integer>  of each server, by its name
local Nginx = {}
Nginx.__index = Nginx

local function program()
  local found = process.shell "PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nginx"
  assert(found ~= "", "nginx is not installed: ./dev test installs it (Debian: nginx-light)")
  return found
end

-- Starts what `write(ports)` has written to nginx.conf; the last port is of a server that says which worker serves it.
local function launch(self, count, write)
  local said
  self._command = self._through .. program() .. " -p " .. quote(self.folder) .. " -c nginx.conf -e error.log"
  for _ = 1, 5 do
    local ports = free_ports(count + 1)
    self._status_port = ports[count + 1]
    write(ports)
    said = process.shell("{ " .. self._command .. " && echo started; }")
    if said:find "started$" then break end
  end
  assert(said:find "started$", "nginx did not start: " .. said)
  self:worker() -- answers once it is there, and its pid file with it
  self.pid = tonumber(process.read_file(self.folder .. "/nginx.pid"))
  self._guard = process.guard("", ("kill %d 2>/dev/null"):format(self.pid))
  at_end.add(self, Nginx.stop)
  return self
end

local function user()
  return process.shell "id -u" == "0" and "user root;" or ""
end

-- Written first: the servers' names and directives; then where each listens.
local function write_config(self, servers, names, ports, upstream)
  local blocks = {}
  for i, name in ipairs(names) do
    local directives = servers[name]
    blocks[i] = server:format(self.address, ports[i], directives.http2 == false and "" or " http2",
      table.concat(directives, " "), upstream, self.folder)
    self.ports[name] = ports[i]
  end
  process.write_file(self.folder .. "/nginx.conf", config:format(user(), self.address, self._status_port,
    table.concat(blocks)))
end

---Starts nginx before a box that speaks plain HTTP.
---@param box dpg.sandbox.Box
---@param servers table<string, table>  by name: a list of directives; `http2 = false` for HTTP/1.1 alone
---@param address? string  of ours, where to listen
---@return spec.Nginx
function M.start(box, servers, address)
  local names = {}
  for name in pairs(servers) do names[#names + 1] = name end
  local self = setmetatable({ folder = process.folder(), ports = {} }, Nginx)
  self.address, self._through = address or "127.0.0.1", ""
  self.ca_file = self.folder .. "/ca.pem"
  make_certificate(self.folder, address)
  process.shell("mkdir " .. quote(self.folder .. "/files"))
  process.write_file(self.folder .. "/files.conf", 'add_header Content-Encoding gzip always;\n')
  local upstream = box.base_url:match "^(http://[^/]+)/"
  return launch(self, #names, function(ports) write_config(self, servers, names, ports, upstream) end)
end

---@param name string  one of its servers
---@param host? string  one of M.NAMES (where it listens)
---@param path? string  before /v1
---@return string base_url
function Nginx:url(name, host, path)
  return ("https://%s:%d%s/v1"):format(host or self.address, self.ports[name], path or "")
end

---The process that serves new connections now.
---@return integer pid
function Nginx:worker()
  local client = assert(socket.connect(self.address, self._status_port))
  client:settimeout(10)
  client:send "GET / HTTP/1.0\r\n\r\n"
  local answer = assert(client:receive "*a")
  client:close()
  return assert(tonumber(answer:match "\r\n\r\n(%d+)$"), answer)
end

---Replaces its worker by a new one, as an administrator does: the old one says GOAWAY and finishes what it has.
function Nginx:reload()
  os.execute("kill -HUP " .. self.pid)
end

---Ends its worker at once, with all connections; another one takes its place.
function Nginx:kill_worker()
  os.execute("kill -KILL " .. self:worker())
end

---Keeps a file that every server answers GET /files/v1/<name> with, as `Content-Encoding: gzip`.
---@param name string
---@param command string  for the shell, which prints the file
function Nginx:file(name, command)
  local path = self.folder .. "/files/v1"
  local said = process.shell(("mkdir -p %s && { %s; } >%s"):format(quote(path), command, quote(path .. "/" .. name)))
  assert(said == "", said)
end

-- --- one whose workers run dpg --------------------------------------------------------------------------------------

local lua_config = [[
load_module %s/ndk_http_module.so;
load_module %s/ngx_http_lua_module.so;
%s
worker_processes %d;
worker_shutdown_timeout 20s;
pid nginx.pid;
error_log error.log notice;
%s
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  lua_package_path "%s";
  lua_package_cpath "%s";
  init_by_lua_block { %s }
  %s
  server { listen %s:%d; return 200 "$pid"; }
  server {
    listen %s:%d reuseport;
%s
  }
%s
}
]]

local tls_server = [[
  server {
    listen 127.0.0.1:%d ssl;
    ssl_certificate cert.pem; ssl_certificate_key key.pem;
    %s
  }
]]

local module_folders = { "/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules" }

local function module_folder()
  for _, folder in ipairs(module_folders) do
    if process.read_file(folder .. "/ngx_http_lua_module.so") then return folder end
  end
end

-- The module for LuaJIT, whichever Lua runs the suite.
local function luajit_cpath()
  local build = os.getenv "BUILD"
  if build then return build .. "/luajit/?.so;" .. package.cpath end
  return (package.cpath:gsub("/lua5%.%d/%?%.so", "/luajit/?.so"))
end

local function absolute(path)
  local here = process.shell "pwd"
  return (path:gsub("[^;]+", function(one) return one:find "^[/;]" and one or here .. "/" .. one end))
end

---Why nginx can't run dpg here; nil: it can.
---@return string? reason
function M.why_no_lua()
  if not module_folder() then
    return "nginx's Lua module is not installed: ./dev test installs it (Debian: libnginx-mod-http-lua)"
  end
  for path in luajit_cpath():gmatch "[^;]+" do
    if process.read_file((path:gsub("%?", "dpg/core"))) then return nil end
  end
  return "dpg is not built for LuaJIT, which nginx has: make LUA=luajit"
end

---Starts nginx with dpg in its workers: `nginx:get(path)` asks it.
---@param options { server: string, tls?: string, init?: string, http?: string, main?: string, workers?: integer,
---  machine?: spec.Machine, through?: string }  directives (`tls`: of a server for HTTPS), and Lua for init_by_lua; on
---  another machine; words for the shell that start it
---@return spec.Nginx
function M.start_lua(options)
  local self = setmetatable({ folder = process.folder(), ports = {}, workers = options.workers or 1 }, Nginx)
  local machine = options.machine
  self.address = machine and machine.address or "127.0.0.1"
  self._through = (machine and machine.through .. " " or "") .. (options.through and options.through .. " " or "")
  local folder = module_folder()
  if options.tls then make_certificate(self.folder) end
  return launch(self, 2, function(ports)
    self.ports.lua, self.ports.tls = ports[1], ports[2]
    process.write_file(self.folder .. "/nginx.conf", lua_config:format(folder, folder, user(), self.workers,
      options.main or "", absolute(package.path), absolute(luajit_cpath()), options.init or "", options.http or "",
      self.address, self._status_port, self.address, ports[1], options.server,
      options.tls and tls_server:format(ports[2], options.tls) or ""))
  end)
end

---Opens a connection to the server whose workers run dpg.
---@return table client
function Nginx:connect()
  local client = assert(socket.connect(self.address, self.ports.lua))
  client:settimeout(30)
  return client
end

---Asks it, on a connection of its own.
---@param path string
---@param headers? table<string, string>
---@param client? table  the connection
---@return table client  for read
function Nginx:ask(path, headers, client)
  client = client or self:connect()
  local lines = { "GET " .. path .. " HTTP/1.0", "Host: 127.0.0.1" }
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  client:send(table.concat(lines, "\r\n") .. "\r\n\r\n")
  return client
end

---Reads what it answers.
---@param client table
---@return integer? status  nil: it hung up
---@return string|nil body_or_err
---@return table<string, string>? headers
function M.read(client)
  local answer, err, partial = client:receive "*a"
  client:close()
  answer = answer or partial
  local head, body = answer:match "^(.-)\r\n\r\n(.*)$"
  if not head then return nil, err or "it hung up" end
  local found = {}
  for name, value in head:gmatch "\r\n([^:\r\n]+): ([^\r\n]*)" do found[name:lower()] = value end
  return tonumber(head:match "^HTTP/%S+ (%d+)"), body, found
end

---Asks it, and reads what it answers.
---@return integer? status
---@return string|nil body_or_err
---@return table<string, string>? headers
function Nginx:get(path, headers, client)
  return M.read(self:ask(path, headers, client))
end

---The workers that there are, and those that are on their way out.
---@return integer[] pids
function Nginx:pids()
  local list = {}
  -- ps hangs with a sanitizer in it
  for pid in process.shell("LD_PRELOAD= ps -o pid= --ppid " .. self.pid):gmatch "%d+" do
    list[#list + 1] = tonumber(pid)
  end
  return list
end

---What nginx and its workers have logged.
---@return string
function Nginx:log()
  return process.read_file(self.folder .. "/error.log") or ""
end

---Blocks until `is_so()`; raises after so many seconds.
---@generic T
---@param is_so fun(): T?
---@param seconds? number  20
---@return T
function M.wait_for(is_so, seconds)
  local deadline = socket.gettime() + (seconds or 20)
  while true do
    local found = is_so()
    if found then return found end
    assert(socket.gettime() < deadline, "waited in vain")
    socket.sleep(0.01)
  end
end

---Ends it as an administrator does who lets the workers finish, and waits for that.
---@return string log  all of it
function Nginx:quit()
  os.execute("kill -QUIT " .. self.pid)
  M.wait_for(function() return not process.read_file(self.folder .. "/nginx.pid") end)
  self:stop()
  return self:log()
end

---Stops it, and waits until it has removed its pid file, which is the last that it does.
function Nginx:stop()
  if not at_end.remove(self) then return end
  self._guard:close() -- waits for the kill
  process.shell("while [ -e " .. quote(self.folder .. "/nginx.pid") .. " ]; do sleep 0.02; done")
end

return M
