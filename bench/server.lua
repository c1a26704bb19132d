-- An nginx that gives fixed answers, plain and over TLS with HTTP/2, in a folder of its own in memory where there is
-- /dev/shm. Both go when stop() is called, and when this process ends in any way.
local page = dofile "bench/pages.lua"
local socket = require "socket"

local M = {}

local UUID = "be66ea4e-7b1c-4c1e-9d0a-3f2b8a6c1d55"

local ME = '{"account":{"uuid":"acc-1","name":"My Festival","unique_id":"myfest"},"service_token":{"uuid":"tok-1",'
  .. '"name":"bench"},"capabilities":["api.images.read","api.upload","api.download"]}'

local config = [[
%USER%
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid nginx.pid;
error_log error.log;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  ssl_certificate server.pem; ssl_certificate_key server.key;
  keepalive_requests 100000000;
  keepalive_timeout 600;
  sendfile on;
  tcp_nopush on;
  types { }
  default_type application/json;
  client_max_body_size 0;
  server {
    listen 127.0.0.1:%PLAIN%;
    listen 127.0.0.1:%TLS% ssl http2;
    root %FOLDER%/files;
    location = /v1/me {
      return 200 '%ME%';
    }
    location = /v1/images {
      add_header X-Has-More true;
      add_header X-Next-Offset $arg_limit;
      try_files /page$arg_limit.json =404;
    }
    location = /v1/images/%UUID% { return 200 '{"public_uuid":"%UUID%","title":"Sound check"}'; }
    location = /v1/downloads { return 200 '{"url":"$scheme://$http_host/file.bin","filename":"file.bin"}'; }
    location = /v1/uploads {
      return 201 '{"upload_url":"$scheme://$http_host/take","file_field":"file","transaction_uuid":"tx-11111111"}';
    }
    location = /take { # `return` alone would answer before it has read the file
      client_body_buffer_size 300m;
      proxy_http_version 1.1;
      proxy_pass http://127.0.0.1:%PLAIN%/taken;
    }
    location = /taken { return 201 '{"image_public_uuid":"%UUID%"}'; }
    location = /file.bin { }
  }
}
]]

-- An authority, and a certificate of it for 127.0.0.1.
local certificate = [[cd %s && umask 077 && { set -e
new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -subj /CN=bench'
openssl req -x509 $new -days 2 -keyout ca.key -out ca.pem
openssl req $new -keyout server.key -out server.csr
echo 'subjectAltName = IP:127.0.0.1, DNS:localhost' >server.cnf
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial 1 -days 2 -sha256 \
  -extfile server.cnf -out server.pem
} >openssl.log 2>&1]]

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

function M.shell(command)
  local pipe = assert(io.popen(command))
  local said = pipe:read "*a"
  pipe:close()
  return (said:gsub("%s+$", ""))
end

local function free_port()
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  return server, port
end

local function wait_for(port)
  local ends_at = socket.gettime() + 10
  while socket.gettime() < ends_at do
    local client = socket.connect("127.0.0.1", port)
    if client then
      client:close()
      return
    end
    socket.sleep(0.02)
  end
  error("nginx does not answer")
end

---@param file_bytes integer  the size of /file.bin
---@return table server  folder, ca_file, plain and tls: where the API is
function M.start(file_bytes)
  local folder = M.shell "mktemp -d -p /dev/shm 2>/dev/null || mktemp -d"
  os.execute(("mkdir %s/files"):format(folder))
  M.shell(certificate:format(folder))
  for _, limit in ipairs { 50, 200 } do write(("%s/files/page%d.json"):format(folder, limit), page(limit, "brief")) end
  os.execute(("truncate -s %d %s/files/file.bin"):format(file_bytes, folder))
  local one, plain = free_port()
  local other, tls = free_port()
  one:close()
  other:close()
  local values = {
    PLAIN = plain, TLS = tls, FOLDER = folder, UUID = UUID, ME = ME,
    USER = M.shell "id -u" == "0" and "user root;" or "",
  }
  write(folder .. "/nginx.conf", (config:gsub("%%(%u+)%%", values)))
  local pipe = assert(io.popen(([[trap : INT TERM HUP; nginx -p %s -e error.log -c nginx.conf <&- & p=$!; cat >/dev/null
    kill "$p" 2>/dev/null; wait "$p"; rm -rf %s]]):format(folder, folder), "w"))
  wait_for(plain)
  return {
    folder = folder, ca_file = folder .. "/ca.pem", plain = ("http://127.0.0.1:%d/v1"):format(plain),
    tls = ("https://127.0.0.1:%d/v1"):format(tls), stop = function() pipe:close() end,
  }
end

return M
