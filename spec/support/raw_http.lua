-- HTTP by hand over LuaSocket, for specs of the sandbox: they look at single bytes and at how connections end, which a
-- client would hide. Answers have status, headers (lower-case names), lines (the headers as sent), body and json.

local json = require "dpg.sandbox.json"
local socket = require "socket"

local M = {}

M.READ_TIMEOUT_S = 10

-- A connection

function M.connect(box)
  local client = socket.tcp()
  client:settimeout(M.READ_TIMEOUT_S)
  assert(client:connect("127.0.0.1", box.port))
  if not box.ca_file then return client end
  local secure = assert(require "ssl".wrap(client, {
    mode = "client", protocol = "any", cafile = box.ca_file, options = "all",
    verify = { "peer", "fail_if_no_peer_cert" },
  }))
  secure:settimeout(M.READ_TIMEOUT_S)
  assert(secure:dohandshake())
  return secure
end

function M.request_text(method, path, options)
  local lines = { ("%s /v1%s HTTP/1.1"):format(method, path), "Host: 127.0.0.1" }
  local body = options.body
  if type(body) == "table" then body = json.encode(body) end
  if options.token then lines[#lines + 1] = "Authorization: Bearer " .. options.token end
  if options.key then lines[#lines + 1] = "Idempotency-Key: " .. options.key end
  for name, value in pairs(options.headers or {}) do
    lines[#lines + 1] = name .. ": " .. value
  end
  if body then lines[#lines + 1] = "Content-Length: " .. #body end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

local function read_headers(client)
  local headers, list = {}, {}
  while true do
    local line = assert(client:receive "*l")
    if line == "" then return headers, list end
    local name, value = line:match "^([^:]+): ?(.*)$"
    headers[name:lower()] = value
    list[#list + 1] = line
  end
end

-- nil, err where the connection ends before an answer.
function M.read_response(client, method)
  local line, err, partial = client:receive "*l"
  if not line then return nil, err, partial end
  local status = tonumber(line:match "^HTTP/1%.1 (%d%d%d)")
  if not status then return nil, "not HTTP", line end
  local response = { status = status }
  response.headers, response.lines = read_headers(client)
  local length = tonumber(response.headers["content-length"] or 0)
  if method ~= "HEAD" and length > 0 then
    response.body, err, partial = client:receive(length)
    if not response.body then return nil, err, partial end
  end
  response.json = response.body and json.decode(response.body)
  return response
end

function M.call(box, method, path, options)
  local client = M.connect(box)
  client:send(M.request_text(method, path, options or {}))
  local response, err, partial = M.read_response(client, method)
  client:close()
  return response, err, partial
end

function M.get(box, path, headers)
  return M.call(box, "GET", path, { token = box.token, headers = headers })
end

-- A person's steps

M.device = { identifier = "spec-1", name = "Spec", platform = "linux" }

function M.sign_in(box, who)
  local person = box.people[who]
  local body = { login = person.login, password = person.password, device = M.device }
  return M.call(box, "POST", "/auth/sign_in", { body = body })
end

function M.exchange(box, refresh_token, account)
  local body = { refresh_token = refresh_token, account_uuid = account.uuid }
  return M.call(box, "POST", "/auth/token", { body = body })
end

function M.refresh_token_of(box, who)
  return M.sign_in(box, who).json.refresh_token
end

return M
