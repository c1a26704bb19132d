-- Files on their way from DPG: whole under their names or not at all, gone on with after a cut, never out of their
-- folder.
local boxes = require "support.box"
local client = require "support.client"
local core = require "dpg.core"
local dpg = require "dpg"
local process = require "support.process"
local sandbox = require "dpg.sandbox"

describe("downloads", function()
  local box, gallery, folder, events

  setup(function() box = boxes.start() end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function()
    box:reset_seen()
    folder = process.folder()
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

  local seed = 100
  local function blob(size, filename)
    seed = seed + 1
    local added = box:add_blob { size = size, seed = seed, filename = filename }
    return added.public_uuid, function(from, count) return sandbox.blob_bytes(added.seed, from or 0, count or size) end
  end

  local function sha256(path) return process.shell("sha256sum <'" .. path .. "'"):match "^%x+" end
  local function links() return box:count { path = "/downloads" } end
  local function gets() return box:count { server = "cdn" } end
  local function listing() return process.shell("ls -A '" .. folder .. "'") end

  describe("save", function()
    it("puts the file into a folder, under the name that the server gives", function()
      local uuid, bytes = blob(200000, "Main Stage.jpg")
      local path, answer = gallery.downloads:save(uuid, folder)
      assert.equal(folder .. "/Main Stage.jpg", path)
      assert.equal(bytes(), process.read_file(path))
      assert.equal(200000, answer.length)
      assert.equal("Main Stage.jpg", answer.filename)
      assert.truthy(answer.etag)
      assert.equal("Main Stage.jpg", listing())
    end)

    it("puts it into a folder that is named with a slash at its end", function()
      local uuid = blob(10, "a.jpg")
      assert.equal(folder .. "/a.jpg", dpg.assert(gallery.downloads:save(uuid, folder .. "//")))
    end)

    it("puts it under a name of ours", function()
      local uuid, bytes = blob(10)
      assert.equal(folder .. "/mine", dpg.assert(gallery.downloads:save(uuid, folder .. "/mine")))
      assert.equal(bytes(), process.read_file(folder .. "/mine"))
    end)

    it("asks for the version that is wanted", function()
      local image = dpg.assert(gallery.images:list { limit = 1 }).items[1]
      local versions = dpg.assert(gallery.images:versions(image.public_uuid))
      local wanted = versions[#versions]
      local path, answer = dpg.assert(gallery.downloads:save(image.public_uuid, folder, { version = wanted.version }))
      assert.equal(wanted.bytes, answer.length)
      assert.equal(box:sha256(image.public_uuid, wanted.version), sha256(path))
    end)

    it("brings an empty file", function()
      local uuid = blob(0, "empty")
      assert.equal("", process.read_file(dpg.assert(gallery.downloads:save(uuid, folder))))
    end)

    it("tells of progress", function()
      local most = 0
      for _ = 1, 5 do -- who gets no turn while the bytes come is told of all at once
        local uuid = blob(1000000)
        box:fault { server = "cdn", send_rate = 4e6 }
        local told, begun = {}, core.now()
        dpg.assert(gallery.downloads:save(uuid, folder, { on_progress = function(received, total)
          told[#told + 1] = received
          assert.equal(1000000, total)
        end }))
        assert.is_true(#told <= (core.now() - begun) * 20 + 2, tostring(#told))
        for i = 2, #told do assert.is_true(told[i] > told[i - 1]) end
        assert.equal(1000000, told[#told])
        most = math.max(most, #told)
        if most >= 3 then break end
      end
      assert.is_true(most >= 3, tostring(most))
    end)

    it("raises what on_progress raises, and keeps what has come", function()
      local uuid, bytes = blob(8000000, "x.jpg") -- more than sockets take: never whole before it is told
      box:fault { server = "cdn", send_rate = 1e6 }
      local ok, problem = pcall(gallery.downloads.save, gallery.downloads, uuid, folder, {
        on_progress = function(received) if received > 300000 then error("stop", 0) end end,
      })
      assert.is_false(ok)
      assert.equal("stop", problem)
      local _, answer = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.is_true(answer.resumed_from > 300000)
      assert.equal(bytes(), process.read_file(folder .. "/x.jpg"))
    end)

    it("leaves a file that is there alone, unless it is told to replace it", function()
      local uuid, bytes = blob(1000, "x.jpg")
      process.write_file(folder .. "/x.jpg", "mine")
      for _, target in ipairs { folder, folder .. "/x.jpg" } do
        local path, err = gallery.downloads:save(uuid, target)
        assert.is_nil(path)
        assert.equal("usage", err.kind)
        assert.equal("exists", err.code)
      end
      assert.equal("mine", process.read_file(folder .. "/x.jpg"))
      assert.equal(0, gets())
      dpg.assert(gallery.downloads:save(uuid, folder, { overwrite = true }))
      assert.equal(bytes(), process.read_file(folder .. "/x.jpg"))
    end)

    it("lets nobody else write to the same file meanwhile", function()
      local uuid, bytes = blob(300000, "x.jpg")
      box:fault { server = "cdn", hold = true, times = "always" }
      dpg.run(function()
        local ended = 0
        local function save()
          local path, err = gallery.downloads:save(uuid, folder)
          ended = ended + 1
          return path, err
        end
        local first, second = dpg.spawn(save), dpg.spawn(save)
        repeat dpg.assert(gallery:me()) until ended == 1 and gets() == 1
        box:clear_faults()
        local one, err = first:await()
        local two, other = second:await()
        assert.equal(folder .. "/x.jpg", one or two)
        assert.is_nil(one and two)
        assert.equal("busy", (one and other or err).code)
      end)
      assert.equal(bytes(), process.read_file(folder .. "/x.jpg"))
    end)

    it("says what the API says no to", function()
      local path, err = gallery.downloads:save("8d4f1c0e-0000-4000-8000-000000000000", folder)
      assert.is_nil(path)
      assert.equal("image_not_found", err.code)
      local reader = client.service(box, { token = box.tokens.read })
      path, err = reader.downloads:save((blob(10)), folder)
      assert.is_nil(path)
      assert.equal("api.download", err.scope)
    end)

    it("says that the folder is not there", function()
      local path, err = gallery.downloads:save((blob(10)), folder .. "/nowhere/")
      assert.is_nil(path)
      assert.equal("storage", err.kind)
      assert.equal(1, gets())
    end)
  end)

  describe("a hostile filename", function()
    local names = { -- as the server gives it, as the file is called
      { "../../../../tmp/dpg-escaped", "dpg-escaped" },
      { "..\\..\\dpg-escaped", "dpg-escaped" },
      { "/tmp/dpg-escaped", "dpg-escaped" },
      { "..", nil }, { ".", nil }, { "", nil }, { "a/..", nil }, { "   ", nil },
      { ".bashrc", "_.bashrc" }, { "-rf", "_-rf" }, { "CON.jpg", "_CON.jpg" }, { "a\nb\27[2J.jpg", "ab[2J.jpg" },
      { "x.part", "x.part_" }, { "x.part.json", "x.part.json_" },
      { ("n"):rep(1000) .. ".jpg", ("n"):rep(196) .. ".jpg" },
    }
    for _, case in ipairs(names) do
      it(("%q stays in the folder"):format(#case[1] < 40 and case[1] or case[1]:sub(1, 9) .. "…"), function()
        local uuid, bytes = blob(100)
        local link = dpg.assert(gallery.downloads:url(uuid))
        link.filename = case[1]
        box:fault { path = "/downloads", status = 200, body = require("dpg.json").encode(link) }
        local inner = folder .. "/inner"
        process.shell("mkdir '" .. inner .. "'")
        local path = dpg.assert(gallery.downloads:save(uuid, inner))
        assert.equal(inner .. "/" .. (case[2] or uuid), path)
        assert.equal(bytes(), process.read_file(path))
        assert.equal("inner", listing())
        assert.is_nil(process.read_file "/tmp/dpg-escaped")
      end)
    end

    it("that is none is the image's uuid", function()
      local uuid = blob(100)
      local link = dpg.assert(gallery.downloads:url(uuid))
      link.filename = dpg.null
      box:fault { path = "/downloads", status = 200, body = require("dpg.json").encode(link) }
      assert.equal(folder .. "/" .. uuid, (dpg.assert(gallery.downloads:save(uuid, folder))))
    end)
  end)

  for _, case in ipairs {
    { "leads to plain http on another machine", '{"url":"http://example.com/x"}', "unsafe_link" },
    { "leads to a file", '{"url":"file:///etc/passwd"}', "unsafe_link" },
    { "is none", '{"filename":"x"}', "unreadable" },
  } do
    it("don't use a link that " .. case[1], function()
      box:fault { path = "/downloads", status = 200, body = case[2] }
      local path, err = gallery.downloads:save("8d4f1c0e-0000-4000-8000-000000000000", folder)
      assert.is_nil(path)
      assert.equal(case[3], err.code)
    end)
  end

  -- --- cuts --------------------------------------------------------------------------------------------------------

  describe("a cut", function()
    local CUTS, SIZE = 100, 4 * 1024 * 1024

    -- The nth answer from now on is cut behind `cut` bytes of its body.
    local function cut_all(random_seed, count, more)
      math.randomseed(random_seed)
      local sum = 0
      for nth = 1, count do
        local cut = math.random(1, math.floor(1.6 * SIZE / count))
        if sum + cut >= SIZE - 1 then return nth - 1, sum end
        sum = sum + cut
        local fault = { server = "cdn", nth = nth, cut = cut }
        for name, value in pairs(more or {}) do fault[name] = value end
        box:fault(fault)
      end
      return count, sum
    end

    local function check_thrift(cuts, sum, told)
      local seen = box:seen { server = "cdn" }
      assert.equal(cuts + 1, #seen, told)
      local begun = seen[#seen].headers.range
      begun = tonumber(begun and begun:match "^bytes=(%d+)%-$" or 0)
      assert.is_true(sum - begun <= 0.05 * SIZE, told .. (": %d bytes were fetched twice"):format(sum - begun))
      assert.is_true(begun > 0, told)
      for i = 2, #seen do assert.truthy(seen[i].headers["if-range"], told) end
      assert.equal(1, links(), told)
    end

    it("at a hundred places leaves save the same file, and next to nothing is fetched twice", function()
      local random_seed = os.time()
      local told = "seed " .. random_seed
      local uuid, bytes = blob(SIZE, "cut.jpg")
      local cuts, sum = cut_all(random_seed, CUTS)
      local path, answer = gallery.downloads:save(uuid, folder)
      assert.truthy(path, told .. ": " .. tostring(answer))
      assert.is_true(bytes() == process.read_file(path), told)
      check_thrift(cuts, sum, told)
      assert.equal("cut.jpg", listing())
      assert.equal(cuts + 1, answer.attempts)
    end)

    it("at a hundred places leaves chunks the same bytes, and next to nothing is fetched twice", function()
      local random_seed = os.time() + 1
      local told = "seed " .. random_seed
      local uuid, bytes = blob(SIZE)
      local cuts, sum = cut_all(random_seed, CUTS)
      local parts = {}
      for chunk in gallery.downloads:chunks(uuid) do parts[#parts + 1] = chunk end
      assert.is_true(bytes() == table.concat(parts), told)
      check_thrift(cuts, sum, told)
    end)

    it("by a reset, too, leaves the same file", function()
      local random_seed = os.time() + 2
      local uuid, bytes = blob(SIZE)
      cut_all(random_seed, 30, { reset = true })
      local path = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.is_true(bytes() == process.read_file(path), "seed " .. random_seed)
    end)

    it("that brings nothing, again and again, is given up; the next run goes on", function()
      local uuid, bytes = blob(SIZE, "x.jpg")
      box:fault { server = "cdn", cut = 1000000 }
      box:fault { server = "cdn", nth = 2, times = "always", cut = 0 }
      local path, err = gallery.downloads:save(uuid, folder)
      assert.is_nil(path)
      assert.equal("network", err.kind)
      assert.equal(6, gets())
      assert.equal(6, err.attempts)
      box:clear_faults()
      box:reset_seen()
      local _, answer = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.equal(1000000, answer.resumed_from)
      assert.equal("bytes=1000000-", box:seen({ server = "cdn" })[1].headers.range)
      assert.is_true(bytes() == process.read_file(folder .. "/x.jpg"))
      assert.equal("x.jpg", listing())
    end)

    it("is not gone on with without retries", function()
      box:fault { server = "cdn", cut = 1000 }
      assert.is_nil((gallery.downloads:save((blob(SIZE)), folder, { retry = false })))
      assert.equal(1, gets())
    end)

    it("of an answer without an ETag is begun again", function()
      local uuid, bytes = blob(SIZE, "x.jpg")
      box:fault { server = "cdn", cut = 1000000, headers = { ETag = false } }
      local path = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.is_nil(box:seen({ server = "cdn" })[2].headers.range)
      assert.is_true(bytes() == process.read_file(path))
    end)

    it("of an answer with a weak ETag is begun again", function()
      local uuid, bytes = blob(SIZE, "x.jpg")
      box:fault { server = "cdn", cut = 1000000, headers = { ETag = 'W/"1"' } }
      local path = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.is_nil(box:seen({ server = "cdn" })[2].headers.range)
      assert.is_true(bytes() == process.read_file(path))
    end)

    it("after which the file has changed starts over", function()
      local uuid = blob(SIZE, "x.jpg")
      box:fault { server = "cdn", cut = 1000000 }
      box:fault { server = "cdn", nth = 2, change_file = true }
      local path = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.equal(2, gets())
      assert.equal(box:sha256(uuid), sha256(path))
    end)

    it("after which the file has changed, and then a cut that brings nothing, starts over", function()
      local uuid = blob(SIZE, "x.jpg")
      box:fault { server = "cdn", cut = 1000000 }
      box:fault { server = "cdn", nth = 2, change_file = true, cut = 0 }
      local path = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.is_nil(box:seen({ server = "cdn" })[3].headers.range)
      assert.equal(box:sha256(uuid), sha256(path))
    end)

    it("after which the server knows no ranges starts over", function()
      local uuid, bytes = blob(SIZE, "x.jpg")
      box:fault { server = "cdn", cut = 1000000 }
      box:fault { server = "cdn", nth = 2, ignore_range = true }
      local path = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.is_true(bytes() == process.read_file(path))
    end)

    for _, case in ipairs {
      { "another range", { ["Content-Range"] = "bytes 5-4194303/4194304" } },
      { "a range of another length", { ["Content-Range"] = "bytes 1000000-4194303/9999999" } },
      { "an unreadable range", { ["Content-Range"] = "bytes x" } },
      { "no range", { ["Content-Range"] = false } },
    } do
      it("after which the server sends " .. case[1] .. " starts over, and appends nothing of it", function()
        local uuid, bytes = blob(SIZE, "x.jpg")
        box:fault { server = "cdn", cut = 1000000 }
        box:fault { server = "cdn", nth = 2, headers = case[2] }
        local path = dpg.assert(gallery.downloads:save(uuid, folder))
        assert.is_true(bytes() == process.read_file(path))
        assert.is_nil(box:seen({ server = "cdn" })[3].headers.range)
      end)
    end

    it("of which the part has been cut shorter by somebody is gone on with from there", function()
      local uuid, bytes = blob(SIZE, "x.jpg")
      box:fault { server = "cdn", cut = 1000000 }
      assert.is_nil((gallery.downloads:save(uuid, folder, { retry = false })))
      process.write_file(folder .. "/x.jpg.part", bytes(0, 5000))
      local path, answer = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.equal(5000, answer.resumed_from)
      assert.is_true(bytes() == process.read_file(path))
    end)

    it("of which the part is whole, but not under its name, fetches one byte", function()
      local uuid, bytes = blob(SIZE, "x.jpg")
      box:fault { server = "cdn", cut = 1000000 }
      assert.is_nil((gallery.downloads:save(uuid, folder, { retry = false })))
      process.write_file(folder .. "/x.jpg.part", bytes())
      box:reset_seen()
      local path = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.equal("bytes=4194303-", box:seen({ server = "cdn" })[1].headers.range)
      assert.is_true(bytes() == process.read_file(path))
    end)

    for _, case in ipairs {
      { "is garbage", "\0\1\2" },
      { "is another file's", '{"dpg_part":1,"what":"image other","etag":"\\"x\\"","length":4194304}' },
      { "is of another form", '{"dpg_part":9,"what":"image other","etag":"\\"x\\"","length":4194304}' },
      { "has an ETag that is none", '{"dpg_part":1,"what":"image %s","etag":"\\"x\\r\\nX: y\\"","length":4194304}' },
      { "says less than there is", '{"dpg_part":1,"what":"image %s","etag":"\\"x\\"","length":10}' },
    } do
      it("of which the note beside it " .. case[1] .. " starts over", function()
        local uuid, bytes = blob(SIZE, "x.jpg")
        process.write_file(folder .. "/x.jpg.part", bytes(0, 1000):reverse())
        process.write_file(folder .. "/x.jpg.part.json", (case[2]:gsub("%%s", uuid)))
        local path = dpg.assert(gallery.downloads:save(uuid, folder))
        assert.is_nil(box:seen({ server = "cdn" })[1].headers.range)
        assert.is_true(bytes() == process.read_file(path))
        assert.equal("x.jpg", listing())
      end)
    end

    it("of another version is not gone on with", function()
      local image = dpg.assert(gallery.images:list { limit = 1 }).items[1]
      local versions = dpg.assert(gallery.images:versions(image.public_uuid))
      box:fault { server = "cdn", cut = 1000 }
      assert.is_nil((gallery.downloads:save(image.public_uuid, folder .. "/x", { retry = false })))
      box:reset_seen()
      dpg.assert(gallery.downloads:save(image.public_uuid, folder .. "/x", { version = versions[2].version }))
      assert.is_nil(box:seen({ server = "cdn" })[1].headers.range)
    end)

    it("by a kill is gone on with by the next process", function()
      local uuid, bytes = blob(SIZE, "x.jpg")
      box:fault { server = "cdn", send_rate = 4e6, times = "always" }
      local child = process.start([[
        local dpg = require "dpg"
        local gallery = dpg.assert(dpg.service { base_url = arg[1], token = arg[2] })
        gallery.downloads:save(arg[3], arg[4], { on_progress = function(received)
          if received > 1500000 then
            print "enough"
            while true do require "socket".sleep(1) end -- until the kill, however late it comes
          end
        end })
      ]], box.base_url, box.token, uuid, folder)
      child:expect "enough"
      child:stop()
      box:clear_faults()
      local path, answer = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.is_true(answer.resumed_from >= 1000000, tostring(answer.resumed_from))
      assert.is_true(bytes() == process.read_file(path))
      assert.equal("x.jpg", listing())
    end)
  end)

  -- --- links -------------------------------------------------------------------------------------------------------

  describe("a link", function()
    it("that has expired is asked for anew", function()
      local uuid, bytes = blob(100000, "x.jpg")
      box:fault { server = "cdn", expired = true }
      local path = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.is_true(bytes() == process.read_file(path))
      assert.equal(2, links())
    end)

    it("that expires in the middle is asked for anew, and the file gone on with", function()
      local uuid, bytes = blob(4000000, "x.jpg")
      box:fault { server = "cdn", cut = 1000000 }
      box:fault { server = "cdn", nth = 2, expired = true }
      box:fault { server = "cdn", nth = 3, cut = 1000000 }
      box:fault { server = "cdn", nth = 4, expired = true }
      local path = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.is_true(bytes() == process.read_file(path))
      assert.equal(3, links())
      assert.equal("bytes=2000000-", box:seen({ server = "cdn" })[5].headers.range)
    end)

    it("that expires by the clock is asked for anew, by chunks as well", function()
      local uuid, bytes = blob(4000000)
      box:fault { server = "cdn", cut = 1000000 }
      local chunks, parts = gallery.downloads:chunks(uuid), {}
      parts[1] = dpg.assert(chunks:next())
      box:advance(100000)
      for chunk in chunks do parts[#parts + 1] = chunk end
      assert.is_true(bytes() == table.concat(parts))
      assert.equal(2, links())
    end)

    it("that is always refused is asked for three times, and then the refusal is the answer", function()
      box:fault { server = "cdn", expired = true, times = "always" }
      local path, err = gallery.downloads:save((blob(1000)), folder)
      assert.is_nil(path)
      assert.equal("api", err.kind)
      assert.equal(3, links())
    end)

    it("whose server says 401 asks nobody to sign in", function()
      box:fault { server = "cdn", status = 401, times = "always" }
      local _, err = gallery.downloads:save((blob(1000)), folder)
      assert.equal("api", err.kind)
      assert.equal(401, err.status)
    end)

    it("shows in no error and no event", function()
      local uuid = blob(1000, "x.jpg")
      box:fault { server = "cdn", status = 400, times = "always" }
      local _, err = gallery.downloads:save(uuid, folder)
      local shown = { tostring(err) }
      for _, value in pairs(err) do shown[#shown + 1] = tostring(value) end
      for _, event in ipairs(events) do
        for _, value in pairs(event[2]) do shown[#shown + 1] = tostring(value) end
      end
      local all = table.concat(shown, "\n")
      assert.falsy(all:find("signature", 1, true), all)
      assert.falsy(all:find(uuid, 1, true), all)
      assert.truthy(tostring(err):find("GET to 127.0.0.1:", 1, true))
    end)

    it("that redirects is not followed", function()
      box:fault { server = "cdn", redirect = box.base_url .. "/me", times = "always" }
      local _, err = gallery.downloads:save((blob(1000)), folder)
      assert.equal("redirect", err.code)
      assert.equal(0, box:count { path = "/me" })
      assert.equal(1, gets())
    end)
  end)

  describe("a CDN", function()
    it("that is busy is asked again, when it says", function()
      local uuid, bytes = blob(1000, "x.jpg")
      box:fault { server = "cdn", retry_after = "1" }
      local path = dpg.assert(gallery.downloads:save(uuid, folder))
      assert.equal(bytes(), process.read_file(path))
      local seen = box:seen { server = "cdn" }
      assert.is_true(seen[2].at - seen[1].at >= 0.999)
    end)

    for _, status in ipairs { 500, 502, 503, 504 } do
      it("that answers " .. status .. " is asked again", function()
        box:fault { server = "cdn", status = status, times = 2 }
        dpg.assert(gallery.downloads:save((blob(1000)), folder))
        assert.equal(3, gets())
      end)
    end

    it("that stops sending is given up after a while, and asked for the rest", function()
      local uuid, bytes = blob(4000000, "x.jpg")
      box:fault { server = "cdn", cut = 1000000, stall = true }
      local path = dpg.assert(gallery.downloads:save(uuid, folder, { timeout = 1 }))
      assert.is_true(bytes() == process.read_file(path))
      assert.equal(2, gets())
      assert.is_string(box:seen({ server = "cdn" })[2].headers.range)
    end)

    it("is asked by two processes for one path: the second waits for nobody, and spoils nothing", function()
      local uuid = blob(4000000, "x.jpg")
      box:fault { server = "cdn", cut = 1000000, stall = true }
      local child = process.start([[
        local dpg = require "dpg"
        local gallery = dpg.assert(dpg.service { base_url = arg[1], token = arg[2] })
        local is_told
        local path = dpg.assert(gallery.downloads:save(arg[3], arg[4], { on_progress = function()
          if not is_told then print "begun" end
          is_told = true
        end }))
        print(path)
      ]], box.base_url, box.token, uuid, folder)
      child:expect "begun"
      local path, err = gallery.downloads:save(uuid, folder)
      assert.is_nil(path)
      assert.same({ "usage", "busy" }, { err.kind, err.code })
      box:release()
      child:expect(folder .. "/x.jpg")
      assert.equal(0, (child:wait()))
      assert.equal(box:sha256(uuid), sha256(folder .. "/x.jpg"))
    end)

    it("that answers with a web page has sent no file, wherever that was to go", function()
      local page = { server = "cdn", times = "always", headers = { ["Content-Type"] = "text/html; charset=utf-8" } }
      local uuid, bytes = blob(1000, "x.jpg")
      for _, get in ipairs {
        function() return gallery.downloads:save(uuid, folder) end,
        function() return gallery.downloads:read(uuid) end,
        function()
          local chunks = gallery.downloads:chunks(uuid)
          local got, err = chunks:next()
          chunks:close()
          return got, err
        end,
      } do
        box:fault(page)
        local none, err = get()
        assert.is_nil(none)
        assert.same({ "protocol", "unreadable" }, { err.kind, err.code })
        box:clear_faults()
        page.times = 1 -- from now on it comes to its senses
        box:fault(page)
        local got = dpg.assert(get())
        assert.is_true(bytes() == (process.read_file(got) or got))
        os.remove(folder .. "/x.jpg")
        page.times = "always"
      end
      assert.equal("", process.shell("ls " .. folder))
    end)

    it("that stops sending another file than before is asked for the rest of that", function()
      local uuid = blob(4000000, "x.jpg")
      box:fault { server = "cdn", cut = 1000000 }
      box:fault { server = "cdn", nth = 2, change_file = true, cut = 1000000, stall = true }
      local path = dpg.assert(gallery.downloads:save(uuid, folder, { timeout = 1 }))
      local seen = box:seen { server = "cdn" }
      assert.equal(3, #seen)
      assert.is_string(seen[2].headers["if-range"])
      assert.is_string(seen[3].headers["if-range"])
      assert.are_not.equal(seen[2].headers["if-range"], seen[3].headers["if-range"])
      assert.equal(box:sha256(uuid), sha256(path))
    end)

    it("that takes longer than the deadline is not waited for", function()
      box:fault { server = "cdn", send_rate = 1e6, times = "always" }
      local path, err = gallery.downloads:save((blob(4000000)), folder, { deadline = 0.3 })
      assert.is_nil(path)
      assert.equal("timeout", err.kind)
    end)
  end)

  it("keep what has come when the disk is full, and go on once there is room", function()
    local small = folder .. "/small"
    local mounted = process.shell(("mkdir '%s' && mount -t tmpfs -o size=512k none '%s' && echo mounted"):format(small,
      small))
    if mounted ~= "mounted" then return pending "a file system can't be mounted here" end
    local uuid, bytes = blob(1000000, "x.jpg")
    local ok, problem = pcall(function()
      local path, err = gallery.downloads:save(uuid, small)
      assert.is_nil(path)
      assert.equal("storage", err.kind)
      assert.equal("disk_full", err.code)
      assert.equal(1, gets())
      process.shell(("mount -o remount,size=4m '%s'"):format(small))
      local answer
      path, answer = dpg.assert(gallery.downloads:save(uuid, small))
      assert.is_true(answer.resumed_from > 100000)
      assert.is_true(bytes() == process.read_file(path))
    end)
    process.shell("umount '" .. small .. "'")
    assert.is_true(ok, tostring(problem))
  end)

  -- --- chunks ------------------------------------------------------------------------------------------------------

  describe("read", function()
    it("gives the file as a string, and says of what", function()
      local uuid, bytes = blob(300000, "stage.jpg")
      local progress = {}
      local data, answer = gallery.downloads:read(uuid, { on_progress = function(...) progress = { ... } end })
      assert.is_true(bytes() == data)
      assert.same({ 300000, "stage.jpg", 1 }, { answer.length, answer.filename, answer.attempts })
      assert.truthy(answer.etag)
      assert.same({ 300000, 300000 }, progress)
    end)

    it("gives the empty string of an empty file", function()
      assert.equal("", (gallery.downloads:read((blob(0)))))
    end)

    it("goes on after a cut", function()
      local uuid, bytes = blob(3000000)
      box:fault { server = "cdn", cut = 1000000 }
      local data, answer = gallery.downloads:read(uuid)
      assert.is_true(bytes() == data)
      assert.equal(2, answer.attempts)
    end)

    it("goes on where a second cut has left it", function()
      local uuid, bytes = blob(3000000)
      for nth = 1, 2 do box:fault { server = "cdn", nth = nth, cut = 1000000 } end
      assert.is_true(bytes() == dpg.assert(gallery.downloads:read(uuid)))
      assert.equal("bytes=1000000-", box:seen { server = "cdn" }[3].headers.range)
    end)

    it("starts over when the file has changed, or when nothing vouches that it has not", function()
      for _, headers in ipairs { {}, { ETag = 'W/"weak"' } } do
        box:reset_seen()
        local uuid = blob(3000000)
        for nth = 1, 2 do box:fault { server = "cdn", nth = nth, cut = 1000000, headers = headers } end
        box:fault { server = "cdn", nth = 3, change_file = true }
        local data = dpg.assert(gallery.downloads:read(uuid))
        assert.equal(3000000, #data)
        assert.equal(3, gets())
      end
    end)

    it("says at once that there is no such image", function()
      local data, err = gallery.downloads:read "00000000-0000-4000-8000-000000000000"
      assert.is_nil(data)
      assert.equal("image_not_found", err.code)
      assert.equal(1, links())
    end)

    it("says what is larger than max_response_bytes, of the session or of the call, without fetching it", function()
      local uuid = blob(64 * 1024 * 1024)
      local small = client.service(box, { max_response_bytes = 1000 })
      for _, ask in ipairs {
        function() return gallery.downloads:read(uuid, { max_response_bytes = 1000 }) end,
        function() return small.downloads:read(uuid) end,
      } do
        local data, err = ask()
        assert.is_nil(data)
        assert.same({ "protocol", "response_too_large" }, { err.kind, err.code })
      end
      assert.is_true((box:seen { server = "cdn" }[1].sent or 0) < 32 * 1024 * 1024)
    end)
  end)

  describe("chunks", function()
    it("give all bytes, in a for", function()
      local uuid, bytes = blob(3000000)
      local parts = {}
      for chunk in gallery.downloads:chunks(uuid) do parts[#parts + 1] = chunk end
      assert.is_true(bytes() == table.concat(parts))
    end)

    it("give all bytes, one by one, and say of what", function()
      local uuid, bytes = blob(300000, "../x.jpg")
      local chunks = gallery.downloads:chunks(uuid)
      local parts = {}
      while true do
        local chunk, err = chunks:next()
        assert.is_nil(err)
        if not chunk then break end
        parts[#parts + 1] = chunk
      end
      assert.equal(bytes(), table.concat(parts))
      assert.equal(300000, chunks.length)
      assert.equal("../x.jpg", chunks.filename)
      assert.is_nil(chunks:next())
      chunks:close()
      assert.is_nil(chunks:next())
    end)

    it("give nothing of an empty file", function()
      assert.is_nil(gallery.downloads:chunks((blob(0))):next())
    end)

    it("are not gone on with when nothing vouches that the rest is of the same file", function()
      local uuid = blob(3000000)
      box:fault { server = "cdn", cut = 1000000, headers = { ETag = false } }
      local chunks = gallery.downloads:chunks(uuid)
      local bytes, err
      repeat bytes, err = chunks:next() until not bytes
      assert.equal("answer_cut", err.code)
      bytes, err = chunks:next()
      assert.is_nil(bytes)
      assert.equal("file_changed", err.code)
      assert.equal(1, gets())
      chunks:close()
    end)

    it("leave nothing out where an interrupt comes while they are handed over", function()
      local uuid, bytes = blob(3000000)
      local chunks, n = gallery.downloads:chunks(uuid), 0
      local parts = { dpg.assert(chunks:next()) }
      local stream = getmetatable(chunks._stream).__index
      local read = stream.read
      finally(function() stream.read = read end)
      function stream.read(...)
        n = n + 1
        local state, data = read(...)
        if n % 5 == 0 and state == "bytes" then error("interrupted!", 0) end
        return state, data
      end
      local had = #parts[1]
      while had < 3000000 do
        local ok, part = pcall(chunks.next, chunks)
        if ok then
          parts[#parts + 1] = part
          had = had + #part
        end
      end
      assert.is_true(bytes() == table.concat(parts))
      local times = gets()
      assert.is_true(times > 2)
      chunks._stream:close() -- as by an interrupt in its last wait
      assert.same({ nil, nil }, { chunks:next() })
      assert.equal(times, gets())
    end)

    it("fetch no more than is used", function()
      local uuid = blob(64 * 1024 * 1024)
      local chunks = gallery.downloads:chunks(uuid, { window = 65536 })
      dpg.assert(chunks:next())
      gallery:me() -- the engine turns
      gallery:me()
      chunks:close()
      local seen = box:seen { server = "cdn" }[1]
      assert.is_true((seen.sent or 0) < 32 * 1024 * 1024)
    end)

    it("end a call that is closed early, or dropped", function()
      local uuid = blob(16 * 1024 * 1024)
      local chunks = gallery.downloads:chunks(uuid)
      dpg.assert(chunks:next())
      chunks:close()
      chunks:close()
      local function drop() dpg.assert(gallery.downloads:chunks(uuid):next()) end -- no stack of ours holds it any more
      drop()
      collectgarbage()
      collectgarbage()
      gallery:me()
      client.nothing_left()
    end)

    it("end for a task that waits for them when they are closed by another task", function()
      local uuid = blob(100000)
      box:fault { server = "cdn", hold = true }
      dpg.run(function()
        local chunks = gallery.downloads:chunks(uuid)
        local waits = dpg.spawn(function() return chunks:next() end)
        repeat dpg.assert(gallery:me()) until box:count { server = "cdn" } == 1
        chunks:close()
        local bytes, err = waits:await()
        assert.same({ nil, nil }, { bytes, err })
      end)
      client.nothing_left()
    end)

    it("are taken by one task at a time", function()
      local uuid, bytes = blob(100000)
      box:fault { server = "cdn", hold = true }
      dpg.run(function()
        local chunks = gallery.downloads:chunks(uuid)
        local parts = {}
        local waits = dpg.spawn(function()
          local part = chunks:next()
          while part do
            parts[#parts + 1] = part
            part = chunks:next()
          end
        end)
        repeat dpg.assert(gallery:me()) until box:count { server = "cdn" } == 1
        local _, err = chunks:next()
        assert.same({ "usage", "busy" }, { err.kind, err.code })
        box:release()
        waits:await()
        assert.is_true(bytes() == table.concat(parts))
      end)
    end)

    it("can be read while other calls are made", function()
      local uuid, bytes = blob(3000000)
      local parts = {}
      for chunk in gallery.downloads:chunks(uuid) do
        if #parts % 10 == 0 then dpg.assert(gallery:me()) end
        parts[#parts + 1] = chunk
      end
      assert.is_true(bytes() == table.concat(parts))
    end)

    it("are read by several tasks side by side", function()
      dpg.run(function()
        local tasks = {}
        for i = 1, 5 do
          local uuid, bytes = blob(500000 + i)
          tasks[i] = dpg.spawn(function()
            local chunks, parts = gallery.downloads:chunks(uuid, { window = 10000 }), {}
            local chunk, err = chunks:next()
            while chunk do
              parts[#parts + 1] = chunk
              chunk, err = chunks:next()
            end
            assert.is_nil(err)
            assert.is_true(bytes() == table.concat(parts))
          end)
        end
        for _, task in ipairs(tasks) do task:await() end
      end)
    end)

    it("say no in a for, by raising the error object", function()
      local ok, err = pcall(function()
        for _ in gallery.downloads:chunks "8d4f1c0e-0000-4000-8000-000000000000" do error "a chunk of nothing" end
      end)
      assert.is_false(ok)
      assert.equal("image_not_found", err.code)
    end)

    it("go on behind the last bytes when they are asked again after an error", function()
      local uuid, bytes = blob(3000000)
      box:fault { server = "cdn", cut = 1000000 }
      local chunks, parts, failed = gallery.downloads:chunks(uuid, { retry = false }), {}, 0
      while true do
        local chunk, err = chunks:next()
        if err then failed = failed + 1 end
        if failed > 1 or not (chunk or err) then break end
        parts[#parts + 1] = chunk
      end
      assert.equal(1, failed)
      assert.is_true(bytes() == table.concat(parts))
    end)

    it("give no byte of another file behind those of the first", function()
      local uuid = blob(3000000)
      box:fault { server = "cdn", cut = 1000000 }
      box:fault { server = "cdn", nth = 2, change_file = true }
      local chunks, got = gallery.downloads:chunks(uuid), 0
      local chunk, err = chunks:next()
      while chunk do
        got = got + #chunk
        chunk, err = chunks:next()
      end
      assert.equal("file_changed", err.code)
      assert.equal(1000000, got)
    end)

    it("that nobody pulls are timed out, and gone on with when somebody does", function()
      local uuid, bytes = blob(16 * 1024 * 1024)
      local chunks, parts = gallery.downloads:chunks(uuid, { window = 65536, timeout = 0.3 }), {}
      parts[1] = dpg.assert(chunks:next())
      local operation = gallery.images:list { limit = 1 }.items[1]:update { title = "Later" }
      dpg.assert(operation:wait())
      local call = require "dpg.call"
      dpg.assert(call.sleep(gallery._connection, 1))
      while true do
        local chunk, err = chunks:next()
        assert.is_nil(err)
        if not chunk then break end
        parts[#parts + 1] = chunk
      end
      assert.is_true(bytes() == table.concat(parts))
    end)
  end)
end)

describe("archives:save", function()
  local box, gallery, folder

  setup(function()
    box = boxes.start()
    folder = process.folder()
    gallery = client.service(box, { retry = { base = 0.001 } })
  end)
  teardown(function()
    client.nothing_left()
    client.close()
    box:stop()
  end)
  before_each(function() box:clear_faults() end)

  local function make(filename)
    local uuids = { box:add_blob({ size = 1000, seed = 1, filename = "a.jpg" }).public_uuid,
      box:add_blob({ size = 2000, seed = 2, filename = "b.jpg" }).public_uuid }
    return dpg.assert(gallery.archives:create { image_public_uuids = uuids, filename = filename })
  end

  it("brings what an Operation has made", function()
    local operation = make "Press.zip"
    dpg.assert(operation:wait())
    local path = dpg.assert(gallery.archives:save(operation, folder))
    assert.equal(folder .. "/Press.zip", path)
    assert.equal("PK\3\4", process.read_file(path):sub(1, 4))
  end)

  it("brings one of the list", function()
    dpg.assert(make("Listed.zip"):wait())
    local archive = dpg.assert(gallery.archives:list()).items[1]
    local path, answer = dpg.assert(gallery.archives:save(archive, folder .. "/l.zip"))
    assert.equal(archive.bytes, answer.length)
    assert.equal(answer.length, #process.read_file(path))
  end)

  it("looks for a new link when the one that it has is refused", function()
    dpg.assert(make("Again.zip"):wait())
    local archive = dpg.assert(gallery.archives:list()).items[1]
    archive.url = archive.url:gsub("signature=%x%x%x", "signature=000")
    dpg.assert(gallery.archives:save(archive, folder .. "/again.zip"))
  end)

  it("says that an archive is gone", function()
    local path, err = gallery.archives:save({ uuid = "x", url = "http://127.0.0.1:" .. box.port .. "/nothing" },
      folder .. "/g.zip", { retry = false })
    assert.is_nil(path)
    assert.equal("archive_gone", err.code)
  end)

  it("says that an Operation has not ended", function()
    local path, err = gallery.archives:save({ uuid = "x", status = "running" }, folder)
    assert.is_nil(path)
    assert.equal("not_ready", err.code)
  end)
end)
