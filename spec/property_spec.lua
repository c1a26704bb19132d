-- Whatever is encoded into a URL, a header or JSON arrives as it was, or is refused unsent: bytes 1 to 255, UTF-8 of
-- all lengths, line ends, quotes, 64 KiB of it. Random texts come from a seed that a failure names.
local boxes = require "support.box"
local checks = require "dpg.checks"
local client = require "support.client"
local dpg = require "dpg"
local json = require "dpg.json"
local url = require "dpg.url"

local SEED = tonumber(os.getenv "DPG_SEED") or 4711

-- A small generator (Park and Miller), the same on every Lua.
local function dice(seed)
  return function(n)
    seed = seed * 16807 % 2147483647
    return seed % n + 1
  end
end

local PIECES = { -- UTF-8 of one to four bytes, at the edges of each length, and what formats trip over
  "a", "~", "\127", "\194\128", "ü", "\223\191", "\224\160\128", "€", "\237\159\191", "\238\128\128", "\239\191\191",
  "\240\144\128\128", "😀", "\244\143\191\191", "\r\n", "\n", "\r", "\t", "\1", "\27", '"', "'", "\\", "/", "%", "%00",
  "%2F", "..", ":", ";", "&", "=", "?", "#", "+", " ", "<", ">", "{", "}", "\\u0000", "\226\128\168", "\239\187\191",
}

local function random_text(roll, pieces)
  local parts = {}
  for i = 1, pieces do parts[i] = PIECES[roll(#PIECES)] end
  return table.concat(parts)
end

-- Texts that are UTF-8.
local function texts()
  local roll, list = dice(SEED), {}
  for _, piece in ipairs(PIECES) do list[#list + 1] = piece end
  for byte = 1, 127 do list[#list + 1] = string.char(byte) end
  for _ = 1, 40 do list[#list + 1] = random_text(roll, roll(30)) end
  list[#list + 1] = random_text(roll, 35000)
  list[#list + 1] = ("€"):rep(21846) -- 64 KiB
  return list
end

-- Bytes that need not be UTF-8.
local function byte_texts()
  local roll, list = dice(SEED), {}
  for byte = 1, 255 do list[#list + 1] = string.char(byte) end
  for _ = 1, 40 do
    local bytes = {}
    for i = 1, roll(50) do bytes[i] = string.char(roll(255)) end
    list[#list + 1] = table.concat(bytes)
  end
  local all = {}
  for byte = 1, 255 do all[byte] = string.char(byte) end
  list[#list + 1] = table.concat(all):rep(258):sub(1, 65536)
  return list
end

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function said(text)
  return string.format("seed %d: %q", SEED, text:sub(1, 200))
end

describe("in a URL, any text", function()
  it("becomes letters, digits, -._~ and percent signs, and can be read back", function()
    for _, list in ipairs { texts(), byte_texts() } do
      for _, text in ipairs(list) do
        local encoded = url.encode(text)
        assert(not encoded:gsub("%%%x%x", ""):find "[^%w%-%._~]", said(text))
        assert(unescape(encoded) == text, said(text))
      end
    end
  end)

  it("stays in its segment, and in its field of a query", function()
    for _, text in ipairs(byte_texts()) do
      local path = url.path("/images/{public_uuid}/rating", { public_uuid = text })
      local segment = path:match "^/images/([^/?#]+)/rating$"
      assert(segment and unescape(segment) == text, said(text))
      local query = url.query { a = text, b = 1 }
      local value = query:match "^%?a=([^&=?#]*)&b=1$"
      assert(value and unescape(value) == text, said(text))
    end
  end)
end)

describe("in JSON, any text", function()
  it("is read back as it was", function()
    for _, text in ipairs(texts()) do
      local encoded = assert(json.encode { [text] = { text } })
      assert(not encoded:find "%c", said(text))
      local decoded = assert(json.decode(encoded), said(text))
      assert(decoded[text][1] == text, said(text))
    end
  end)

  it("is refused where it is no UTF-8", function()
    for _, text in ipairs(byte_texts()) do
      local fine = checks.text().read(text) ~= nil
      assert(fine == (json.decode('"' .. text:gsub('[%c"\\]', "") .. '"') ~= nil), said(text))
    end
  end)
end)

describe("on the wire, any text", function()
  local box, gallery, uuid

  setup(function()
    box = boxes.start { operation_polls = 0 }
    gallery = client.service(box)
    uuid = dpg.assert(gallery.images:list { limit = 1 }).items[1].public_uuid
  end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function() box:reset_seen() end)

  it("arrives in a description as it was", function()
    for _, text in ipairs(texts()) do
      dpg.assert(gallery.images:update(uuid, { description = text }))
      assert(dpg.assert(gallery.images:get(uuid)).description == text, said(text))
    end
  end)

  it("arrives in a keyword, or is refused", function()
    for _, text in ipairs(texts()) do
      if #text < 1000 then
        local done, err = gallery.images:add_keywords(uuid, { { namespace = "axis", value = text } })
        assert((done ~= nil) == (text:find "%S" ~= nil), said(text))
        assert(done or err.kind == "usage", said(text))
        if done then
          local all = dpg.assert(gallery.images:get(uuid)).keywords
          local last = all[#all]
          assert(last.namespace == "axis" and last.value == text, said(text))
          dpg.assert(gallery.images:remove_keyword(uuid, last))
        end
      end
    end
  end)

  it("arrives in a query, or is refused", function()
    for _, text in ipairs(byte_texts()) do
      if #text < 1000 then
        box:reset_seen()
        local page, err = gallery.images:list { query = text, limit = 1 }
        if page then
          assert(unescape(box:seen {}[1].query) == "limit=1&query=" .. text, said(text))
        else
          assert(err.kind == "usage" and not checks.is_utf8(text) and box:count {} == 0, said(text))
        end
      end
    end
  end)

  it("arrives in a header, or is refused; it never makes a second one", function()
    for _, text in ipairs(byte_texts()) do
      box:reset_seen()
      local ok, value, err = pcall(gallery.request, gallery, "GET", "/keywords",
        { headers = { ["X-Trace"] = text, ["X-After"] = "after" }, query = { limit = 1 } })
      assert(ok, said(text))
      if value then
        local headers = box:seen {}[1].headers
        assert(headers["x-after"] == "after", said(text))
        if not text:find "[\128-\255]" then
          assert((headers["x-trace"] or "") == text:match "^%s*(.-)%s*$", said(text))
        end
      else
        assert(err.kind == "usage" or (err.kind == "api" and err.status >= 400), said(text) .. tostring(err))
      end
      assert(not text:find "[\r\n]" or box:count {} == 0, said(text))
    end
  end)

  it("arrives as an Idempotency-Key, or raises", function()
    for _, text in ipairs(byte_texts()) do
      box:reset_seen()
      local ok, operation = pcall(gallery.images.set_rating, gallery.images, uuid, 3, { idempotency_key = text })
      local fine = text:find "^[\33-\126][\32-\126]*$" ~= nil
      assert(ok == fine, said(text))
      if ok then
        assert(operation, said(text))
        assert(box:seen {}[1].headers["idempotency-key"] == text:match "^(.-)%s*$", said(text))
      else
        assert(box:count {} == 0, said(text))
      end
    end
  end)
end)
