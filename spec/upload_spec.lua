-- Files on their way to DPG: what is sent, to whom, and what is sent again.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local errors = require "dpg.errors"
local process = require "support.process"
local sandbox = require "dpg.sandbox"

describe("uploads:send", function()
  local box, gallery, folder, events

  setup(function()
    box = boxes.start()
    folder = process.folder()
  end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function()
    box:reset_seen()
    events = {}
    gallery = client.service(box, {
      retry = { base = 0.001, cap = 0.002 }, on_event = function(name, event) events[#events + 1] = { name, event } end,
    })
  end)
  after_each(function()
    box:clear_faults()
    local ok, left = pcall(client.nothing_left)
    client.close()
    assert.is_true(ok, left)
    local report = box:report()
    assert.equal(0, report.authorization_on_processor)
    assert.equal(0, report.authorization_on_cdn)
  end)

  local function write(name, bytes)
    process.write_file(folder .. "/" .. name, bytes)
    return folder .. "/" .. name
  end

  -- The bytes that the image is of.
  local function fetch(public_uuid)
    local bytes = {}
    for chunk in gallery.downloads:chunks(public_uuid) do bytes[#bytes + 1] = chunk end
    return table.concat(bytes)
  end

  local function tickets() return box:count { path = "/uploads" } end
  local function forms() return box:count { server = "processor" } end

  local function reader_of(bytes, size)
    local from = 1
    return function()
      local piece = bytes:sub(from, from + size - 1)
      from = from + size
      return piece ~= "" and piece or nil
    end
  end

  local content = sandbox.blob_bytes(11, 0, 300000):reverse()
  local large = content:rep(60) -- more than sockets hold by themselves

  it("sends a path, and gives the image back", function()
    local image, answer = gallery.uploads:send(write("Stage.JPG", content), { title = "Sound check" })
    assert.equal("Sound check", image.title)
    assert.equal("Stage.JPG", image.filename)
    assert.equal(content, fetch(image.public_uuid))
    assert.equal(image.public_uuid, answer.image_public_uuid)
    local sent = box:uploads()
    assert.equal(sent[#sent].transaction_uuid, answer.transaction_uuid)
    assert.equal(1, tickets())
    assert.truthy(box:seen({ path = "/uploads" })[1].headers["idempotency-key"])
  end)

  it("sends bytes", function()
    local image = dpg.assert(gallery.uploads:send { bytes = content, filename = "b.png" })
    assert.equal(content, fetch(image.public_uuid))
  end)

  for _, size in ipairs { 1, 1000, 65536, 100000, 300000, 500000 } do
    it("sends what a reader gives in pieces of " .. size, function()
      local bytes = size == 1 and content:sub(1, 2000) or content
      local source = { reader = reader_of(bytes, size), size = #bytes, filename = "r.jpg" }
      local image = dpg.assert(gallery.uploads:send(source))
      assert.equal(bytes, fetch(image.public_uuid))
    end)
  end

  it("copies from a download to an upload, within a task and outside of one", function()
    local blob = box:add_blob { size = 3000000, seed = 21 }
    local function copy()
      local chunks = gallery.downloads:chunks(blob.public_uuid)
      local image = dpg.assert(gallery.uploads:send {
        reader = function()
          local bytes, err = chunks:next()
          if err then error(err, 0) end
          return bytes
        end, size = blob.size, filename = "copy.jpg",
      })
      assert.equal(sandbox.blob_sha256(21, blob.size), box:sha256(image.public_uuid))
    end
    copy()
    dpg.run(copy)
  end)

  it("sends every field of the ticket as it came, and the file in the part that it names", function()
    box:set { file_field = "the file" }
    local title = "\"quoted\"; name=\"x\"\\ é 日本"
    local image = dpg.assert(gallery.uploads:send(write("f.jpg", content), {
      title = title, keywords = { "city:Oslo" },
    }))
    box:set { file_field = "file" }
    assert.equal(title, image.title)
    assert.equal(content, fetch(image.public_uuid))
  end)

  it("keeps a file's name whatever bytes are in it, and changes no byte of the file", function()
    local all = {}
    for byte = 0, 255 do all[#all + 1] = string.char(byte) end
    local bytes = table.concat(all) .. "\r\n--boundary--\r\n" .. table.concat(all)
    local names = { 'a"b.jpg', "a;b=c.jpg", "ä ö.jpg", "日本.jpg", "a\\b.jpg", "a%22b.jpg", ("x"):rep(4000) .. ".jpg" }
    for _, name in ipairs(names) do
      local image = dpg.assert(gallery.uploads:send { bytes = bytes, filename = name })
      assert.equal(name, image.filename)
      assert.equal(bytes, fetch(image.public_uuid))
    end
  end)

  it("tells of progress, at most 20 times a second, and at the end", function()
    box:fault { server = "processor", read_rate = 4e7 }
    local told, times = {}, 0
    local socket = require "socket"
    local begun = socket.gettime()
    dpg.assert(gallery.uploads:send({ bytes = content:rep(100), filename = "p.jpg" }, nil, {
      on_progress = function(sent, total)
        times = times + 1
        told[#told + 1] = sent
        assert.equal(30000000, total)
      end,
    }))
    local took = socket.gettime() - begun
    for i = 2, #told do assert.is_true(told[i] > told[i - 1]) end
    assert.equal(30000000, told[#told])
    assert.is_true(times >= 3 and times <= took * 20 + 3, times .. " times in " .. took)
  end)

  it("raises what on_progress raises, and leaves no call behind", function()
    local ok, problem = pcall(function()
      gallery.uploads:send({ bytes = content, filename = "p.jpg" }, nil, {
        on_progress = function() error("stop", 0) end,
      })
    end)
    assert.is_false(ok)
    assert.equal("stop", problem)
  end)

  it("takes the image's uuid for enough where the image can't be read", function()
    local writer = client.service(box, { token = box:mint { scopes = { "api.upload" } } })
    local image, answer = writer.uploads:send { bytes = content, filename = "w.jpg" }
    assert.equal(answer.image_public_uuid, image.public_uuid)
    assert.is_nil(image.title)
    assert.equal("forbidden", answer.image_error.code)
    assert.equal(403, answer.image_error.status)
  end)

  it("waits for an image that takes a moment to appear", function()
    box:fault { path = "/images/[^/]+", status = 404, code = "image_not_found", times = 2 }
    local image, answer = gallery.uploads:send({ bytes = content, filename = "w.jpg" }, { title = "Late" })
    assert.equal("Late", image.title)
    assert.is_nil(answer.image_error)
  end)

  describe("before anything is sent", function()
    local cases = { -- name, source, code
      { "refuses a file that is not there", "/nowhere/x.jpg", "file_unreadable" },
      { "refuses a folder", "/tmp", "file_unreadable" },
      { "refuses no bytes at all", { bytes = "", filename = "x.jpg" }, "empty_file" },
      { "refuses a size of nothing", { reader = function() end, size = 0, filename = "x.jpg" }, "empty_file" },
      { "refuses half a byte", { reader = function() end, size = 1.5, filename = "x.jpg" }, "empty_file" },
    }
    for _, case in ipairs(cases) do
      it(case[1], function()
        local image, err = gallery.uploads:send(case[2])
        assert.is_nil(image)
        assert.equal("usage", err.kind)
        assert.equal(case[3], err.code)
        assert.equal(0, box:count())
      end)
    end

    it("refuses a pipe, and does not wait for it", function()
      process.shell("mkfifo " .. folder .. "/pipe.jpg")
      local _, err = gallery.uploads:send(folder .. "/pipe.jpg")
      assert.equal("file_unreadable", err.code)
      assert.truthy(err.message:find("a pipe or a device", 1, true))
    end)

    it("refuses a title of 192 characters", function()
      local _, err = gallery.uploads:send({ bytes = "x", filename = "x.jpg" }, { title = ("é"):rep(192) })
      assert.equal("usage", err.kind)
      assert.equal("title", err.field)
      assert.equal(0, box:count())
    end)

    local slips = { -- name, arguments, what the error says
      { "no source", { nil }, "a path" },
      { "a number", { 7 }, "a path" },
      { "two sources", { { path = "a", bytes = "b" } }, "one of" },
      { "bytes without a name", { { bytes = "b" } }, "filename" },
      { "a reader without a size", { { reader = print, filename = "x" } }, "size" },
      { "an unknown field of the source", { { bytes = "b", filename = "x", name = "y" } }, "'name'" },
      { "an unknown field", { { bytes = "b", filename = "x" }, { titel = "y" } }, "titel" },
      { "an unknown option", { { bytes = "b", filename = "x" }, nil, { progress = print } }, "progress" },
    }
    for _, slip in ipairs(slips) do
      it("raises at " .. slip[1], function()
        local ok, problem = pcall(gallery.uploads.send, gallery.uploads, slip[2][1], slip[2][2], slip[2][3])
        assert.is_false(ok)
        assert.truthy(tostring(problem):find(slip[3], 1, true), tostring(problem))
        assert.equal(0, box:count())
      end)
    end
  end)

  describe("a reader", function()
    local function send(reader, size, more)
      local source = { reader = reader, size = size, filename = "r.jpg" }
      for name, value in pairs(more or {}) do source[name] = value end
      return gallery.uploads:send(source)
    end
    local function made() return box:count { server = "processor", status = 200 } end

    it("that raises ends the upload, with what it raised", function()
      local n = 0
      local image, err = send(function()
        n = n + 1
        if n == 3 then error("the card was pulled", 0) end
        return ("x"):rep(100000)
      end, 1000000)
      assert.is_nil(image)
      assert.equal("reader_failed", err.code)
      assert.truthy(err.message:find("the card was pulled", 1, true))
      assert.equal(0, made())
    end)

    it("that raises an error object gives that", function()
      local own = errors.usage("mine", "my own")
      local _, err = send(function() error(own, 0) end, 10)
      assert.equal(own, err)
    end)

    it("that gives too few bytes sends no broken file", function()
      local _, err = send(reader_of(("x"):rep(99999), 1000), 100000)
      assert.equal("reader_short", err.code)
      assert.equal(0, made())
    end)

    it("that gives too many sends no broken file", function()
      local _, err = send(reader_of(("x"):rep(100001), 1000), 100000)
      assert.equal("reader_long", err.code)
      assert.equal(0, made())
    end)

    it("that gives no strings is told so", function()
      local _, err = send(function() return 7 end, 100000)
      assert.equal("reader_failed", err.code)
    end)

    it("that gives empty strings now and then is waited for", function()
      local n = 0
      local image = dpg.assert(send(function()
        n = n + 1
        return n <= 30 and (n % 3 == 0 and "ab" or "") or nil
      end, 20))
      assert.equal(("ab"):rep(10), fetch(image.public_uuid))
    end)

    it("that can't be rewound is not begun again", function()
      box:fault { server = "processor", cut_body = 200000 }
      local _, err = send(reader_of(large, 50000), #large)
      assert.equal("network", err.kind)
      assert.not_equal("upload_outcome_unknown", err.code)
      assert.equal(1, forms())
    end)

    it("that can be rewound is", function()
      box:fault { server = "processor", cut_body = 200000 }
      local read, rewound = reader_of(large, 50000), 0
      local image = dpg.assert(send(function() return read() end, #large, { rewind = function()
        rewound = rewound + 1
        read = reader_of(large, 50000)
      end }))
      assert.equal(1, rewound)
      assert.equal(#large, #fetch(image.public_uuid))
    end)
  end)

  describe("a ticket", function()
    for _, case in ipairs {
      { "that has expired", { status = 403, code = "ticket_expired" } },
      { "that is refused with 401", { status = 401 } },
      { "that is gone", { status = 410 } },
      { "that is refused by its code", { status = 400, code = "ticket_refused" } },
    } do
      it(case[1] .. " is replaced by a new one, under a new key", function()
        local fault = { server = "processor", times = 1 }
        for name, value in pairs(case[2]) do fault[name] = value end
        box:fault(fault)
        local image = dpg.assert(gallery.uploads:send { bytes = content, filename = "t.jpg" })
        assert.equal(content, fetch(image.public_uuid))
        local asked = box:seen { path = "/uploads" }
        assert.equal(2, #asked)
        assert.not_equal(asked[1].headers["idempotency-key"], asked[2].headers["idempotency-key"])
        assert.equal(1, box:count { server = "processor", status = 200 })
      end)
    end

    it("that really has run out is replaced", function()
      box:set { ticket_life = 0.001 }
      box:fault { server = "processor", times = 1, delay_work = 0.01, status = 403, code = "ticket_expired" }
      box:set { ticket_life = 300 }
      dpg.assert(gallery.uploads:send { bytes = content, filename = "t.jpg" })
      assert.equal(2, tickets())
    end)

    it("that is refused for ever is replaced twice, and then the refusal is the answer", function()
      box:fault { server = "processor", times = "always", status = 403, code = "ticket_expired" }
      local image, err = gallery.uploads:send { bytes = content, filename = "t.jpg" }
      assert.is_nil(image)
      assert.equal("api", err.kind)
      assert.equal("ticket_expired", err.code)
      assert.equal(3, tickets())
      assert.truthy(err.transaction_uuid)
    end)

    it("that is refused is no reason to send a reader's bytes again", function()
      box:fault { server = "processor", status = 403, code = "ticket_expired" }
      local _, err = gallery.uploads:send { reader = reader_of(content, 1000), size = #content, filename = "t.jpg" }
      assert.equal("ticket_expired", err.code)
      assert.equal(1, tickets())
    end)

    it("is asked for under the caller's key", function()
      dpg.assert(gallery.uploads:send({ bytes = content, filename = "t.jpg" }, nil, { idempotency_key = "my-key" }))
      assert.equal("my-key", box:seen({ path = "/uploads" })[1].headers["idempotency-key"])
    end)

    for _, case in ipairs {
      { "leads to plain http on another machine", '"upload_url":"http://example.com/x"', "unsafe_link" },
      { "leads to a file", '"upload_url":"file:///etc/passwd"', "unsafe_link" },
      { "has a login in its URL", '"upload_url":"https://a:b@example.com/x"', "unsafe_link" },
      { "has a line end in its URL", '"upload_url":"https://example.com/\\r\\nX: y"', "unsafe_link" },
      { "has no URL", '"x":1', "unreadable" },
      { "has fields that are none", '"upload_url":"https://127.0.0.1:1/","fields":{"a":{"b":1}}', "unreadable" },
    } do
      it("is not used when it " .. case[1], function()
        box:fault { path = "/uploads", status = 200, body = "{" .. case[2] .. "}" }
        local image, err = gallery.uploads:send { bytes = content, filename = "t.jpg" }
        assert.is_nil(image)
        assert.equal("protocol", err.kind)
        assert.equal(case[3], err.code)
        assert.equal(0, forms())
      end)
    end
  end)

  describe("a file", function()
    for _, status in ipairs { 400, 413, 415, 422 } do
      it("that is refused with " .. status .. " is sent once", function()
        box:fault { server = "processor", status = status, times = "always" }
        local image, err = gallery.uploads:send { bytes = content, filename = "t.jpg" }
        assert.is_nil(image)
        assert.equal("api", err.kind)
        assert.equal(status, err.status)
        assert.equal(1, forms())
        assert.equal(1, tickets())
      end)
    end

    for name, source in pairs {
      ["by the core"] = function() return { bytes = large, filename = "t.jpg" } end,
      ["by a reader"] = function()
        local read = reader_of(large, 70000)
        return { reader = function() return read() end, size = #large, filename = "t.jpg",
          rewind = function() read = reader_of(large, 70000) end }
      end,
    } do
      it("that is cut on its way is sent again, " .. name, function()
        box:fault { server = "processor", cut_body = 500000, times = 2 }
        local image = dpg.assert(gallery.uploads:send(source()))
        assert.equal(#large, #fetch(image.public_uuid))
        assert.equal(3, forms())
        assert.equal(1, tickets())
      end)

      it("that is always cut is given up, with a known outcome, " .. name, function()
        box:fault { server = "processor", cut_body = 500000, times = "always" }
        local _, err = gallery.uploads:send(source(), nil, { retry = { attempts = 3, base = 0.001 } })
        assert.equal("network", err.kind)
        assert.not_equal("upload_outcome_unknown", err.code)
        assert.equal(3, forms())
      end)

      it("is sent once without retries, " .. name, function()
        box:fault { server = "processor", cut_body = 500000, times = "always" }
        assert.is_nil((gallery.uploads:send(source(), nil, { retry = false })))
        assert.equal(1, forms())
      end)

      it("is sent again after a 429, when that says, " .. name, function()
        box:fault { server = "processor", retry_after = "1" }
        dpg.assert(gallery.uploads:send(source()))
        local seen = box:seen { server = "processor" }
        assert.equal(2, #seen)
        assert.is_true(seen[2].at - seen[1].at >= 0.999)
      end)

      for _, case in ipairs {
        { "no answer", { drop = "after" }, "network" },
        { "a reset", { reset = true, work = true }, "network" },
        { "a 500", { status = 500, work = true }, "api" },
        { "a 503", { status = 503, work = true }, "api" },
        { "a page of HTML", { html = true, work = true }, "protocol" },
        { "garbage", { garbage = true, work = true }, "protocol" },
        { "an answer that names no image", { status = 200, body = "{}", work = true }, "protocol" },
        { "a redirect", { redirect = "https://example.com/", work = true }, "protocol" },
        { "a conflict", { status = 409, code = "ticket_used", work = true }, "api" },
      } do
        it("whose outcome " .. case[1] .. " leaves open is not sent again, " .. name, function()
          local fault = { server = "processor", times = "always" }
          for field, value in pairs(case[2]) do fault[field] = value end
          box:fault(fault)
          local image, err = gallery.uploads:send(source())
          assert.is_nil(image)
          assert.equal("upload_outcome_unknown", err.code)
          assert.equal(case[3], err.kind)
          local sent = box:uploads()
          assert.equal(sent[#sent].transaction_uuid, err.transaction_uuid)
          assert.equal("used", sent[#sent].state)
          assert.equal(1, forms())
          assert.equal(1, tickets())
        end)
      end
    end

    it("is not waited for longer than its answer may take", function()
      box:fault { server = "processor", hold = true }
      local _, err = gallery.uploads:send({ bytes = content, filename = "t.jpg" }, nil, { timeout = 0.3 })
      assert.equal("upload_outcome_unknown", err.code)
      assert.equal("timeout", err.kind)
      box:release()
    end)

    it("takes no longer than its deadline", function()
      box:fault { server = "processor", read_rate = 1e6 }
      local _, err = gallery.uploads:send({ bytes = large, filename = "t.jpg" }, nil, { deadline = 0.4 })
      assert.equal("timeout", err.kind)
    end)

    it("that shrinks under our hands is not sent broken", function()
      local path = write("shrinks.jpg", large)
      box:fault { server = "processor", read_rate = 2e7 }
      local done = false
      local _, err = gallery.uploads:send(path, nil, { on_progress = function()
        if not done then process.write_file(path, "short") end
        done = true
      end })
      assert.truthy(err)
      assert.equal(0, box:count { server = "processor", status = 200 })
    end)
  end)

  it("shows no signed URL and no field in errors and events", function()
    box:fault { server = "processor", status = 400, code = "validation", times = "always" }
    local _, err = gallery.uploads:send { bytes = content, filename = "t.jpg" }
    local uploads = box:uploads()
    local ticket = uploads[#uploads].transaction_uuid
    local shown = { tostring(err) }
    for name, value in pairs(err) do
      if name ~= "transaction_uuid" then shown[#shown + 1] = tostring(value) end
    end
    local has_host = false
    for _, event in ipairs(events) do
      for name, value in pairs(event[2]) do
        shown[#shown + 1] = tostring(value)
        has_host = has_host or name == "host"
      end
    end
    local all = table.concat(shown, "\n")
    assert.is_true(has_host)
    assert.falsy(all:find(ticket, 1, true), all)
    assert.falsy(all:find("/upload/", 1, true), all)
    assert.truthy(tostring(err):find("POST to 127.0.0.1:", 1, true))
  end)

  it("follows no redirect, and sends no token along", function()
    box:fault { server = "processor", redirect = box.base_url .. "/me", status = 307, times = "always" }
    local _, err = gallery.uploads:send { bytes = content, filename = "t.jpg" }
    assert.truthy(err)
    assert.equal(0, box:count { path = "/me" })
  end)
end)
