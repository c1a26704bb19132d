-- Checks the pure parts of the sandbox: authenticator codes and digests against their RFCs, dates, JSON, forms, the
-- bytes of blobs, the pictures.

local blob = require "dpg.sandbox.blob"
local content = require "dpg.sandbox.content"
local dates = require "dpg.sandbox.dates"
local hash = require "dpg.sandbox.hash"
local jpeg = require "dpg.sandbox.jpeg"
local json = require "dpg.sandbox.json"
local multipart = require "dpg.sandbox.multipart"
local process = require "spec.support.process"
local random = require "dpg.sandbox.random"
local scene = require "dpg.sandbox.scene"
local totp = require "dpg.sandbox.totp"

describe("dpg.sandbox, its parts", function()
  it("computes the authenticator codes of RFC 6238, appendix B", function()
    local vectors = {
      { 59, "94287082" }, { 1111111109, "07081804" }, { 1111111111, "14050471" }, { 1234567890, "89005924" },
      { 2000000000, "69279037" }, { 20000000000, "65353130" },
    }
    for _, vector in ipairs(vectors) do
      assert.equal(vector[2], totp.code("12345678901234567890", vector[1], 8))
    end
  end)

  it("computes SHA-1 across block boundaries and HMAC with a long key", function()
    assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", hash.hex(hash.sha1 "abc"))
    assert.equal("da39a3ee5e6b4b0d3255bfef95601890afd80709", hash.hex(hash.sha1 ""))
    assert.equal("c1c8bbdc22796e28c0e15163d20899b65621d65a", hash.hex(hash.sha1(("a"):rep(55))))
    assert.equal("c2db330f6083854c99d4b5bfb6e8f29f201be699", hash.hex(hash.sha1(("a"):rep(56))))
    assert.equal("0098ba824b5c16427bd7a1122a5a442a25ec644d", hash.hex(hash.sha1(("a"):rep(64))))
    assert.equal("291e9a6c66994949b57ba5e650361e98fc36b1ba", hash.hex(hash.sha1(("a"):rep(1000))))
    local text = "Test Using Larger Than Block-Size Key - Hash Key First" -- RFC 2202
    local long_key = hash.hmac_sha1(("\170"):rep(80), text)
    assert.equal("aa4ae5e15272d00e95705637ce8a3b55ed402112", hash.hex(long_key))
  end)

  it("brings Base32 there and back", function()
    assert.equal("MZXW6YTBOI", totp.to_base32 "foobar")
    assert.equal("foobar", totp.from_base32 "mzxw 6ytb oi======")
  end)

  local readable = {
    { "2025-09-14T18:30:00Z", 1757874600 }, { "2025-09-14T20:30:00+02:00", 1757874600 },
    { "2025-09-14 18:30:00.5Z", 1757874600 }, { "2025:09:14 18:30:00", 1757874600 },
    { "Sun, 14 Sep 2025 18:30:00 GMT", 1757874600 }, { "14 September 2025", 1757808000 },
    { "Sep 14, 2025", 1757808000 }, { "2025/9/14", 1757808000 }, { "1969-12-31", -86400 }, { "2024-02-29", 1709164800 },
  }
  for _, case in ipairs(readable) do
    it("reads the date " .. case[1], function() assert.equal(case[2], (dates.parse(case[1]))) end)
  end

  for _, text in ipairs { "yesterday", "2025-13-01", "2025-01-40", "2025-01-01T25:00:00Z", "", "14 Foo 2025" } do
    it("reads no date in '" .. text .. "'", function() assert.is_nil((dates.parse(text))) end)
  end

  it("writes empty lists as [], whole numbers without a fraction, and null", function()
    local text = json.encode { a = json.array {}, b = 3 * 1.0, c = json.null, d = 0.5, e = {} }
    assert.equal('{"a":[],"b":3,"c":null,"d":0.5,"e":{}}', text)
  end)

  it("computes CRC-32, in pieces too", function()
    local sum = hash.crc32()
    sum.add "1234"
    sum.add "56789"
    assert.equal(0xcbf43926, sum.value())
    assert.equal(0, hash.crc32().value())
  end)

  describe("a blob", function()
    it("has the same bytes whichever way it is read", function()
      local dice, whole = random.dice(11), blob.bytes(3, 0, 200000)
      assert.equal(200000, #whole)
      for _ = 1, 200 do
        local offset = dice.number(200000) - 1
        local count = dice.number(200000 - offset)
        assert.is_true(blob.bytes(3, offset, count) == whole:sub(offset + 1, offset + count))
      end
      assert.equal("", blob.bytes(3, 5, 0))
    end)

    it("differs from others, and each of its blocks from the next", function()
      assert.not_equal(blob.bytes(1, 32, 1000), blob.bytes(2, 32, 1000))
      assert.not_equal(blob.bytes(1, 32, 1000), blob.bytes(1, 65536 + 32, 1000))
      assert.equal(1, blob.seed_of(blob.bytes(1, 0, 40)))
      assert.equal(9999999999, blob.seed_of(blob.bytes(9999999999, 0, 40)))
      assert.is_nil(blob.seed_of(blob.bytes(1, 1, 40)))
    end)
  end)

  describe("a spool", function()
    local size = 9 * 1024 * 1024

    local function spooled(pieces)
      local spool = content.spool(process.folder() .. "/spool")
      for _, piece in ipairs(pieces) do spool:write(piece) end
      return spool:finish()
    end

    local function is_made_of(file, pieces)
      return file.read(0, file.size) == table.concat(pieces)
    end

    local cases = { -- what, the pieces, where they go
      { "keeps small files in memory", { "a", "", "bc" }, "bytes" },
      { "recognises a blob", { blob.bytes(4, 0, 100), blob.bytes(4, 100, size) }, "blob" },
      { "puts large files on disk", { ("z"):rep(size), "end" }, "file" },
      { "does not take for a blob what only begins like one", { blob.bytes(4, 0, size), "x", "y" }, "file" },
      { "does not take for a blob what was one in memory only", { blob.bytes(4, 0, 5000), ("q"):rep(size) }, "file" },
    }
    for _, case in ipairs(cases) do
      it(case[1], function()
        local file = spooled(case[2])
        assert.same({ case[3], true }, { file.kind, is_made_of(file, case[2]) })
      end)
    end
  end)

  describe("a form", function()
    -- Reads a body that comes in pieces of so many bytes: name, filename, type and value of each part.
    local function parse(body, boundary, size)
      local position, parts = 1, {}
      local function read()
        if position > #body then return nil end
        local piece = body:sub(position, position + size - 1)
        position = position + size
        return piece
      end
      local ok, problem = multipart.read(read, boundary, function(part)
        local bytes = {}
        parts[#parts + 1] = part
        return function(piece) bytes[#bytes + 1] = piece end, function() part.value = table.concat(bytes) end
      end)
      return ok and parts, problem
    end

    local body = "preamble\r\n--b1\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--b\r\n"
      .. "\r\n--b1\r\ncontent-disposition: form-data; filename=\"x \\\"y\\\".jpg\"; name=file\r\n"
      .. "Content-Type: image/jpeg\r\n\r\n\r\n--b1\r\n\r\n\0\255\r\n--b1--\r\nepilogue"

    it("is read alike in pieces of every size", function()
      for size = 1, #body do
        local parts = parse(body, "b1", size)
        assert.same({ "a", "one\r\n--b\r\n" }, { parts[1].name, parts[1].value })
        assert.same({ "file", 'x "y".jpg', "image/jpeg", "" },
          { parts[2].name, parts[2].filename, parts[2].content_type, parts[2].value })
        assert.same({ 3, "\0\255" }, { #parts, parts[3].value })
      end
    end)

    it("is malformed where it ends too early", function()
      local last = body:find("--\r\nepilogue", 1, true)
      for length = 1, last, 3 do
        local _, problem = parse(body:sub(1, length), "b1", 7)
        assert.equal("malformed", problem)
      end
    end)

    it("has its boundary in the Content-Type", function()
      assert.same({ "a b", "x", nil, nil }, {
        multipart.boundary 'multipart/form-data; charset=utf-8; boundary="a b"',
        multipart.boundary "Multipart/Form-Data;Boundary=x", multipart.boundary "multipart/mixed; boundary=x",
      })
      assert.is_nil(multipart.boundary(nil))
    end)
  end)

  describe("a picture", function()
    local has_decoder = process.shell "command -v djpeg" ~= ""

    for _, size in ipairs { { 160, 107 }, { 107, 160 }, { 33, 17 }, { 1, 1 }, { 640, 427 } } do
      it(("of %d x %d is a JPEG file"):format(size[1], size[2]), function()
        local file = content.drawn(size[1], size[1], size[2], 60000)
        local bytes = file.read(0, file.size)
        assert.same({ 60000, size[1], size[2] }, { #bytes, jpeg.dimensions(bytes) })
        assert.equal("\255\217", bytes:sub(-2))
        if not has_decoder then return end
        local path = process.folder() .. "/picture.jpg"
        process.write_file(path, bytes)
        local decoded = process.shell("djpeg -strict -ppm " .. path .. " | head -c 20 | head -n 2")
        assert.equal(("P6\n%d %d"):format(size[1], size[2]), decoded)
      end)
    end

    it("fits into what the library says of it, whatever it shows", function()
      for seed = 1, 40 do
        assert.is_true(#jpeg.encode(160, 107, scene.new(seed, 160, 107)) < 9000 - 4)
        if seed < 10 then assert.is_true(#jpeg.encode(427, 640, scene.new(seed, 427, 640)) < 60000 - 4) end
      end
    end)

    it("has no dimensions where it is none", function()
      for _, text in ipairs { "", "\255\216", "GIF89a", "\255\216\255\224\0\16", ("x"):rep(100) } do
        assert.is_nil((jpeg.dimensions(text)))
      end
    end)
  end)
end)
