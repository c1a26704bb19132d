-- Compressed answers, with a real nginx: JSON is decoded, whatever has been compressed wrongly is one clear error, and
-- an answer that swells without end is stopped.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local nginxes = require "support.nginx"
local process = require "support.process"
local raw_http = require "support.raw_http"

describe("an answer", function()
  local box, nginx

  setup(function()
    box = boxes.start()
    nginx = nginxes.start(box, {
      zipped = { "gzip on;" },
      zipped_old = { "gzip on;", http2 = false },
    })
  end)
  teardown(function()
    nginx:stop()
    box:stop()
  end)
  before_each(function() box:reset_seen() end)
  after_each(function()
    box:clear_faults()
    client.nothing_left()
    client.close()
  end)

  local function service(base_url, more)
    local all = { base_url = base_url, ca_file = nginx.ca_file, token = box.token, deadline = 20, retry = false }
    for name, value in pairs(more or {}) do all[name] = value end
    return dpg.assert(dpg.service(all))
  end

  for _, server in ipairs { "zipped", "zipped_old" } do
    describe("that nginx compresses (" .. (server == "zipped" and "HTTP/2" or "HTTP/1.1") .. ")", function()
      it("is decoded", function()
        local page = dpg.assert(service(nginx:url(server)).images:list { limit = 100 })
        local plain = dpg.assert(client.service(box).images:list { limit = 100 })
        assert.equal(100, #page.items)
        for i, image in ipairs(plain.items) do assert.equal(image.title, page.items[i].title) end
        assert.equal(plain.next_offset, page.next_offset)
        assert.truthy(box:seen()[1].headers["accept-encoding"]:find("gzip", 1, true))
      end)

      it("and says no is decoded", function()
        local image, err = service(nginx:url(server)).images:get "00000000-0000-4000-8000-000000000000"
        assert.is_nil(image)
        assert.same({ "api", "image_not_found", 404 }, { err.kind, err.code, err.status })
      end)

      it("has an ETag of its own, which the server knows again", function()
        local gallery = service(nginx:url(server))
        local keywords, answer = dpg.assert(gallery.keywords:list())
        assert.is_table(keywords)
        assert.equal('W/"', answer.etag:sub(1, 3)) -- nginx has made it a weak one
        local again, told = gallery.keywords:list { if_none_match = answer.etag }
        assert.is_nil(again)
        assert.equal(304, told.status)
      end)

      it("comes from the cache when it has not changed", function()
        local gallery = service(nginx:url(server), { cache = dpg.cache.memory {} })
        local first = dpg.assert(gallery.keywords:list())
        local second, answer = dpg.assert(gallery.keywords:list())
        assert.is_true(answer.cached)
        assert.equal(#first.items, #second.items)
      end)

      it("to a write is decoded", function()
        local gallery = service(nginx:url(server))
        local image = dpg.assert(gallery.images:list { limit = 1 }).items[1]
        local operation = dpg.assert(gallery.images:update(image.public_uuid, { title = "x" }))
        assert.equal("succeeded", dpg.assert(operation:wait()).status)
      end)

      it("is measured decoded", function()
        local plain = #raw_http.get(box, "/images?limit=100").body
        local gallery = service(nginx:url(server))
        local page, err = gallery.images:list { limit = 100, max_response_bytes = plain - 1 }
        assert.is_nil(page)
        assert.same({ "protocol", "response_too_large" }, { err.kind, err.code })
        dpg.assert(gallery.images:list { limit = 100, max_response_bytes = plain })
      end)
    end)
  end

  -- --- made by hand: GET /me answers a file that calls itself gzip -------------------------------------------------

  local good = [[printf '{"capabilities":["a"],"account":{"name":"zipped"}}' ]]
  local broken = { -- what, the command that prints it
    { "that is plain", good },
    { "of a few bytes", "printf gz" },
    { "whose checksum is wrong", good .. [[| gzip | { head -c -8; printf 'wrongsum'; }]] },
    { "that is damaged in its middle", good .. [[| gzip | { head -c 20; printf 'damage'; cat; }]] },
    { "that ends too soon", good .. "| gzip | head -c 30" },
    { "that ends in its header", good .. "| gzip | head -c 5" },
    { "that has no byte", ":" },
    { "with something behind it", "{ " .. good .. [[| gzip; printf 'and more'; }]] },
    { "within gzip", good .. "| gzip | gzip" },
    { "of zlib", [[printf '\170\234\253\1']] },
  }
  for _, server in ipairs { "zipped", "zipped_old" } do
    for _, case in ipairs(broken) do
      it("called gzip " .. case[1] .. " is a protocol error, asked for once, and the next call works: " .. server,
        function()
          nginx:file("me", case[2])
          local gallery = service(nginx:url(server, nil, "/files"), { retry = { base = 0.001 } })
          local me, err = gallery:me()
          assert.is_nil(me)
          assert.equal("protocol", err.kind, tostring(err))
          assert.equal(1, err.attempts)
          assert.is_nil(tostring(err):find "[%c]")
          nginx:file("me", good .. "| gzip")
          assert.equal("zipped", dpg.assert(gallery:me()).account.name)
        end)
    end
  end

  it("in a coding that nobody knows is a protocol error", function()
    box:fault { path = "/me", headers = { ["Content-Encoding"] = "rot13" } }
    local me, err = client.service(box):me()
    assert.is_nil(me)
    assert.equal("protocol", err.kind, tostring(err))
  end)

  it("without a body that is called gzip is none the worse", function()
    local cases = { -- raw answer, code
      { "HTTP/1.1 401 Unauthorized\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", "unauthorized" },
      { "HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\n\r\n", "not_modified" },
    }
    for _, case in ipairs(cases) do
      box:fault { path = "/me", raw = case[1] }
      local me, err = client.service(box, { retry = false }):me()
      assert.is_nil(me)
      assert.equal(case[2], err.code, tostring(err))
    end
  end)

  -- --- bombs -------------------------------------------------------------------------------------------------------

  -- The most memory that this process has had since the last start_peak, in KiB; nil where the system can't tell.
  local function start_peak()
    local file = io.open("/proc/self/clear_refs", "w")
    if not file then return end
    file:write "5"
    file:close()
  end
  local function peak()
    local status = process.read_file "/proc/self/status"
    return status and tonumber(status:match "VmHWM:%s*(%d+)")
  end

  local MEGABYTES = 64
  local bombs = { -- what, the command, the limit, how much may be held
    { "of " .. MEGABYTES .. " MB", "head -c " .. MEGABYTES .. "M /dev/zero | gzip -1", 1000000 },
    { "of JSON of " .. MEGABYTES .. " MB", "{ printf '{\"x\":\"'; head -c " .. MEGABYTES ..
      "M /dev/zero | tr '\\0' x; printf '\"}'; } | gzip -1", 1000000 },
    { "without a limit of the caller's (64 MiB then)", "head -c 65M /dev/zero | gzip -1", nil },
  }
  for _, case in ipairs(bombs) do
    it("that swells, " .. case[1] .. ", is stopped at its limit with a clear error", function()
      local what, limit = case[1], case[3]
      nginx:file("me", case[2])
      local gallery = service(nginx:url("zipped", nil, "/files"), { max_response_bytes = limit,
        retry = { base = 0.001 } })
      gallery:me { max_response_bytes = 10 } -- all that is made once is made
      collectgarbage()
      start_peak()
      local before = peak()
      local me, err = gallery:me()
      assert.is_nil(me)
      assert.same({ "protocol", "response_too_large", 1 }, { err.kind, err.code, err.attempts }, tostring(err))
      assert.truthy(tostring(err):find(tostring(limit or 67108864), 1, true), tostring(err))
      if before and limit then
        local grown = peak() - before
        assert.is_true(grown < 16 * 1024, what .. ": " .. grown .. " KiB more")
      end
      nginx:file("me", good .. "| gzip")
      assert.equal("zipped", dpg.assert(gallery:me()).account.name)
    end)
  end
end)
