-- Checks the pure parts of the sandbox: authenticator codes and digests against their RFCs, dates, JSON.

local dates = require "dpg.sandbox.dates"
local hash = require "dpg.sandbox.hash"
local json = require "dpg.sandbox.json"
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
end)
