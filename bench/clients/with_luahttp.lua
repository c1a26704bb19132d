-- lua-http on connections that are kept (its request object, which is easier to use, opens one for each call): one for
-- each of those that are at work at once, or one for all over HTTP/2.
local cjson = require "cjson"
local cqueues = require "cqueues"
local client = require "http.client"
local headers = require "http.headers"
local tls = require "http.tls"
local openssl_store = require "openssl.x509.store"
local version = require "http.version"

local store = openssl_store.new()
store:add(arg[1])
local context = tls.new_client_context()
context:setStore(store)

local PATIENCE_S = 5 -- 64 bodies at once over HTTP/2 were seen to come to a halt

local kept = {}
local function connection(host, port, protocol, nth)
  if protocol == "h2" then nth = 1 end
  local key = table.concat({ host, port, protocol, nth }, " ")
  kept[key] = kept[key] or assert(client.connect({
    host = host, port = port, tls = protocol ~= "plain", ctx = protocol ~= "plain" and context or nil,
    version = protocol == "h2" and 2 or 1.1,
  }, 10))
  return kept[key]
end

local function call(from, path, authority, scheme, what)
  local head = headers.new()
  head:append(":method", "GET")
  head:append(":authority", authority)
  head:append(":path", path)
  head:append(":scheme", scheme)
  head:append("authorization", "Bearer dpg_api_live_bench")
  head:append("accept", "application/json")
  local stream = assert(from:new_stream())
  assert(stream:write_headers(head, true))
  assert(assert(stream:get_headers()):get ":status" == "200")
  local body = assert(stream:get_body_as_string())
  stream:shutdown()
  if what == "decoded" then cjson.decode(body) end
end

require "serve"(("%s %s"):format(version.name, version.version), function(count, at_once, protocol, what, url)
  if what == "fields" then return false end
  local scheme, authority, path = url:match "^(%a+)://([^/]+)(.*)$"
  local host, port = authority:match "^(.*):(%d+)$"
  local queue, left = cqueues.new(), count
  if protocol == "h2" then queue:wrap(connection, host, tonumber(port), protocol, 1) end
  assert(queue:loop(PATIENCE_S))
  for nth = 1, at_once do
    queue:wrap(function()
      local from = connection(host, tonumber(port), protocol, nth)
      while left > 0 do
        left = left - 1
        call(from, path, authority, scheme, what)
      end
    end)
  end
  assert(queue:loop(PATIENCE_S))
  if queue:empty() then return end
  kept = {}
  return "stuck"
end)
