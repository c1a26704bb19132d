-- Debian's Lua-cURL (lua-curl 0.3): the easy interface alone. One handle, reused.
local cjson = require "cjson"
local curl = require "curl"

local CA_FILE = arg[1]
local easy = curl.easy_init()
local pieces
local function on_bytes(bytes)
  pieces[#pieces + 1] = bytes
  return #bytes
end

require "serve"(curl._VERSION or "", function(count, at_once, protocol, what, url)
  if at_once > 1 or protocol == "h2" or what == "fields" then return false end
  easy:setopt(curl.OPT_URL, url)
  easy:setopt(curl.OPT_CAINFO, CA_FILE)
  easy:setopt(curl.OPT_HTTP_VERSION, curl.HTTP_VERSION_1_1)
  easy:setopt(curl.OPT_HTTPHEADER, { "Authorization: Bearer dpg_api_live_bench", "Accept: application/json" })
  easy:setopt(curl.OPT_WRITEFUNCTION, on_bytes)
  for _ = 1, count do
    pieces = {}
    local _, failed, code = easy:perform()
    assert(not failed or failed == 0, code)
    local body = table.concat(pieces)
    assert(#body > 0)
    if what == "decoded" then cjson.decode(body) end
  end
end)
