-- LuaSocket's http.request, and LuaSec's over TLS. They open a connection for each call, and have no other way.
local cjson = require "cjson"
local http = require "socket.http"
local https = require "ssl.https"
local ltn12 = require "ltn12"

local CA_FILE = arg[1]
local HEADERS = { authorization = "Bearer dpg_api_live_bench", accept = "application/json" }

require "serve"(("%s, LuaSec %s"):format(require "socket"._VERSION, require "ssl"._VERSION),
  function(count, at_once, protocol, what, url)
    if at_once > 1 or protocol == "h2" or what == "fields" then return false end
    local request = protocol == "tls" and https.request or http.request
    for _ = 1, count do
      local pieces = {}
      local options = { url = url, headers = HEADERS, sink = ltn12.sink.table(pieces) }
      if protocol == "tls" then options.cafile, options.verify = CA_FILE, "peer" end
      local _, status = request(options)
      assert(status == 200, status)
      local body = table.concat(pieces)
      if what == "decoded" then cjson.decode(body) end
    end
  end)
