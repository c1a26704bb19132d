-- dpg.url: nothing escapes from its place in a URL.
local url = require "dpg.url"

describe("dpg.url.query", function()
  local cases = { -- name, fields, query
    { "is empty without fields", {}, "" },
    { "sorts by name", { b = 1, a = 2 }, "?a=2&b=1" },
    { "writes whole floats without a fraction", { limit = 200.0 }, "?limit=200" },
    { "writes booleans as words", { has_geo = true, has_video = false }, "?has_geo=true&has_video=false" },
    { "repeats a field with several values", { keyword = { "a", "b" } }, "?keyword=a&keyword=b" },
    { "encodes every reserved byte", { q = "a b&c=d+e%f/g?h#i\"ü\r\n" },
      "?q=a%20b%26c%3Dd%2Be%25f%2Fg%3Fh%23i%22%C3%BC%0D%0A" },
    { "encodes names too", { ["a&b"] = "c" }, "?a%26b=c" },
    { "encodes NUL", { q = "a\0b" }, "?q=a%00b" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function() assert.equal(case[3], url.query(case[2])) end)
  end
end)

describe("dpg.url.path", function()
  it("keeps a value within its segment", function()
    assert.equal("/images/a%2Fb%3Fc%23d/versions", url.path("/images/{id}/versions", { id = "a/b?c#d" }))
  end)

  for _, segment in ipairs { "", ".", "..", "%2e", "%2E%2e", ".%2E" } do
    it("takes no segment that climbs: " .. string.format("%q", segment), function()
      assert.is_false(url.is_segment(segment))
    end)
  end

  local bad_paths = {
    "images", "", "/a?b", "/a#b", "/a b", "/../x", "/a/..", "/a/%2e%2e/b", "//host/x", "/a\\b", "/a\nb",
  }
  for _, path in ipairs(bad_paths) do
    it("takes no raw path such as " .. string.format("%q", path), function() assert.is_false(url.is_path(path)) end)
  end

  for _, path in ipairs { "/facets", "/images/a.b", "/images/%20", "/a..b" } do
    it("takes the raw path " .. path, function() assert.is_true(url.is_path(path)) end)
  end
end)

describe("dpg.url.base", function()
  local good = {
    { "https://api.example.com/v1", "https://api.example.com/v1", "https://api.example.com" },
    { "https://api.example.com/v1/", "https://api.example.com/v1", "https://api.example.com" },
    { "HTTPS://api.example.com/dpg/v2", "https://api.example.com/dpg/v2", "https://api.example.com" },
    { "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080" },
    { "http://localhost/v1", "http://localhost/v1", "http://localhost" },
    { "http://[::1]:80/v1", "http://[::1]:80/v1", "http://[::1]:80" },
    { "http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1", "http://127.0.0.1:1" },
    { "https://a.example:65535/v1", "https://a.example:65535/v1", "https://a.example:65535" },
  }
  for _, case in ipairs(good) do
    it("takes " .. case[1], function() assert.same({ case[2], case[3] }, { url.base(case[1]) }) end)
  end

  local bad = {
    { "http://api.example.com/v1", "plain http" }, { "http://localhost.evil.com/v1", "plain http" },
    { "http://127.0.0.1.evil.com/v1", "plain http" }, { "https://api.example.com", "version" },
    { "https://api.example.com/v1?x=1", "absolute" }, { "https://me:pw@api.example.com/v1", "absolute" },
    { "ftp://api.example.com/v1", "scheme" }, { "api.example.com/v1", "absolute" }, { "https:///v1", "absolute" },
    { "https://a b/v1", "absolute" }, { "https://api.example.com:x/v1", "port" },
    { "https://api.example.com:0/v1", "port" }, { "https://api.example.com:65536/v1", "port" },
    { "https://api.example.com:99999/v1", "port" }, { "http://::1/v1", "host" }, { "https://:80/v1", "host" },
    { "http://[::1]x/v1", "port" },
  }
  for _, case in ipairs(bad) do
    it("refuses " .. case[1], function()
      local base, problem = url.base(case[1])
      assert.is_nil(base)
      assert.truthy(problem:find(case[2], 1, true), problem)
    end)
  end
end)

describe("dpg.url.foreign", function()
  it("gives the host of a link, whatever its path says", function()
    assert.equal("cdn.example.com:8443", (url.foreign "HTTPS://CDN.example.com:8443/a//b/../c?d=e@f\\g"))
    assert.equal("127.0.0.1:80", (url.foreign "http://127.0.0.1:80"))
  end)

  local bad = {
    { "/a/b", "absolute" }, { "https:///a", "absolute" }, { "https://me@cdn.example.com/a", "absolute" },
    { "https://cdn.example.com\\@evil.com/", "absolute" }, { "https://cdn.example.com/a b", "absolute" },
    { "https://cdn.example.com/a\r\nb", "absolute" }, { "http://cdn.example.com/a", "plain http" },
    { "file://host/etc/passwd", "scheme" }, { "https://cdn.example.com:0/", "port" }, { "", "absolute" },
  }
  for _, case in ipairs(bad) do
    it(("refuses %q"):format(case[1]), function()
      local host, problem = url.foreign(case[1])
      assert.is_nil(host)
      assert.truthy(problem:find(case[2], 1, true), problem)
    end)
  end
end)
