-- Files by hand, for specs of the sandbox: requests to its processor and its CDN, over the connections of raw_http.

local http = require "spec.support.raw_http"

local M = {}

---Connects to the origin of a URL of the sandbox.
---@param box dpg.sandbox.Box
---@param url string
---@return table client
---@return string path  with the query
function M.connect(box, url)
  local port, path = url:match "^https?://127%.0%.0%.1:(%d+)(.*)$"
  return http.connect { port = tonumber(port), ca_file = box.ca_file }, path
end

---@param method string
---@param path string
---@param headers? table<string, string>
---@param body? string
---@return string text
function M.request_text(method, path, headers, body)
  local lines = { ("%s %s HTTP/1.1"):format(method, path), "Host: 127.0.0.1" }
  for name, value in pairs(headers or {}) do
    lines[#lines + 1] = name .. ": " .. value
  end
  if body then lines[#lines + 1] = "Content-Length: " .. #body end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

---@param box dpg.sandbox.Box
---@param url string
---@param headers? table<string, string>
---@param method? string
---@return table? response
---@return string? err
---@return string? partial  what had come of the body
function M.get(box, url, headers, method)
  local client, path = M.connect(box, url)
  client:send(M.request_text(method or "GET", path, headers))
  local response, err, partial = http.read_response(client, method)
  client:close()
  return response, err, partial
end

M.BOUNDARY = "a-boundary"

---The body of an upload: the fields in any order, then the file.
---@param fields table<string, string>
---@param file_field string
---@param bytes string
---@return string
function M.multipart(fields, file_field, bytes)
  local parts = {}
  local function add(disposition, value)
    parts[#parts + 1] = ("--%s\r\nContent-Disposition: form-data; %s\r\n\r\n"):format(M.BOUNDARY, disposition)
    parts[#parts + 1] = value .. "\r\n"
  end
  for name, value in pairs(fields) do
    add(('name="%s"'):format(name), value)
  end
  add(('name="%s"; filename="photo.jpg"\r\nContent-Type: image/jpeg'):format(file_field), bytes)
  return table.concat(parts) .. "--" .. M.BOUNDARY .. "--\r\n"
end

M.form_headers = { ["Content-Type"] = "multipart/form-data; boundary=" .. M.BOUNDARY }

---@param box dpg.sandbox.Box
---@param url string
---@param body string
---@param headers? table<string, string>
---@return table? response
---@return string? err
function M.post(box, url, body, headers)
  local client, path = M.connect(box, url)
  local all = {}
  for name, value in pairs(M.form_headers) do all[name] = value end
  for name, value in pairs(headers or {}) do all[name] = value end
  client:send(M.request_text("POST", path, all, body))
  local response, err = http.read_response(client)
  client:close()
  return response, err
end

return M
