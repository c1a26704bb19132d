-- Makes a certificate authority and a server certificate for 127.0.0.1 and localhost with the openssl command (P-256:
-- both together take some 30 ms), in a private folder that its owner removes. The address stands there as a name, too:
-- libcurl on Windows compares addresses with names alone.

local M = {}

local config = [[
[req]
distinguished_name = dn
prompt = no
[dn]
CN = %s
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, DNS:127.0.0.1
]]

local script = [[
umask 077 && cd '%s' &&
openssl req -x509 -config ca.cnf -extensions ca -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
  -sha256 -keyout ca.key -out ca.pem &&
openssl req -new -config server.cnf -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 \
  -keyout server.key -out server.csr &&
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial 0x%s -days 30 -sha256 \
  -extfile server.cnf -extensions server -out server.pem &&
rm -f ca.key server.csr ca.cnf server.cnf
]]

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function run(command)
  local pipe = assert(io.popen("{ " .. command .. "} 2>&1 && echo made"))
  local output = pipe:read "*a"
  pipe:close()
  if not output:find "made\n$" then error("openssl made no certificate: " .. output:gsub("%s+$", ""), 0) end
end

---@param folder string  private, exists
---@param serial string  hex digits
---@return table context  LuaSec's, for the server
---@return string ca_file
function M.make(folder, serial)
  local ok, ssl = pcall(require, "ssl")
  if not ok then error("TLS needs LuaSec (the module 'ssl'), which can't be loaded", 0) end
  write(folder .. "/ca.cnf", config:format "dpg-sandbox CA")
  write(folder .. "/server.cnf", config:format "localhost")
  run(script:format(folder, serial))
  local context, err = ssl.newcontext {
    mode = "server", protocol = "any", key = folder .. "/server.key", certificate = folder .. "/server.pem",
    options = { "all", "no_sslv2", "no_sslv3", "no_tlsv1", "no_tlsv1_1" },
  }
  if not context then error("the certificate can't be loaded: " .. tostring(err), 0) end
  os.remove(folder .. "/server.key")
  return context, folder .. "/ca.pem"
end

return M
