-- Many files in one go: a few at a time, each reported, and a run that was killed goes on without doing a thing twice.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local process = require "support.process"
local sandbox = require "dpg.sandbox"

local SEND = [[
  local dpg = require "dpg"
  local gallery = dpg.assert(dpg.service { base_url = arg[1], token = arg[2], retry = { base = 0.001 } })
  local list = {}
  for i = 1, tonumber(arg[4]) do list[i] = ("%s/photo %03d.jpg"):format(arg[3], i) end
  print "begun"
  local report = dpg.assert(gallery.uploads:send_many(list, { journal = arg[3] .. "/journal", on_file = function(file)
    print(file.status .. " " .. file.file:match "%d+%.jpg$")
  end }))
  print(("end sent=%d already=%d unknown=%d failed=%d"):format(report.sent, report.already, report.unknown,
    report.failed))
]]

describe("uploads:send_many", function()
  local box, gallery, folder

  setup(function() box = boxes.start() end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function()
    box:reset_seen()
    folder = process.folder()
    gallery = client.service(box, { retry = { base = 0.001, cap = 0.002 } })
  end)
  after_each(function()
    box:clear_faults()
    local ok, left = pcall(client.nothing_left)
    client.close()
    assert.is_true(ok, left)
    assert.equal(0, box:report().authorization_on_processor)
  end)

  local function files(n)
    local list = {}
    for i = 1, n do
      list[i] = ("%s/photo %03d.jpg"):format(folder, i)
      process.write_file(list[i], sandbox.blob_bytes(i, 0, 2000))
    end
    return list
  end

  -- How often each file became an image.
  local function images()
    local times, sum = {}, 0
    for _, upload in ipairs(box:uploads()) do
      if upload.state == "used" then
        times[upload.filename] = (times[upload.filename] or 0) + 1
        sum = sum + 1
      end
    end
    return times, sum
  end

  it("sends a list, a few at a time, and reports each", function()
    local _, before = images()
    local list, heard = files(10), {}
    box:fault { server = "processor", delay = 0.02, times = "always" }
    local report = dpg.assert(gallery.uploads:send_many(list, { concurrency = 3, fields = { title = "All" },
      on_file = function(file) heard[#heard + 1] = file.file end }))
    assert.equal(10, report.sent)
    assert.equal(10, #heard)
    for i, file in ipairs(report.files) do
      assert.equal(list[i], file.file)
      assert.equal("sent", file.status)
      assert.equal("All", file.image.title)
    end
    local _, after = images()
    assert.equal(10, after - before)
  end)

  it("runs within dpg.run as well", function()
    local list = files(5)
    local report = dpg.run(function() return dpg.assert(gallery.uploads:send_many(list)) end)
    assert.equal(5, report.sent)
  end)

  it("takes sources of every kind, with fields of their own", function()
    local path = files(1)[1]
    local read = { "ab", "c" }
    local report = dpg.assert(gallery.uploads:send_many({
      { path = path, fields = { title = "One" } }, { bytes = "xyz", filename = "two.jpg" },
      { reader = function() return table.remove(read, 1) end, size = 3, filename = "three.jpg", id = "third" },
    }, { fields = { title = "Shared" } }))
    assert.equal(3, report.sent)
    assert.equal("One", report.files[1].image.title)
    assert.equal("Shared", report.files[2].image.title)
    assert.equal("third", report.files[3].file)
  end)

  it("goes on after a file that fails", function()
    local list = files(3)
    os.remove(list[2])
    local report = dpg.assert(gallery.uploads:send_many(list))
    assert.equal(2, report.sent)
    assert.equal(1, report.failed)
    assert.equal("file_unreadable", report.files[2].error.code)
  end)

  it("asks nothing more once the token is no good", function()
    local revoked = client.service(box, { token = box.tokens.revoked })
    local report = dpg.assert(revoked.uploads:send_many(files(20), { concurrency = 1 }))
    assert.equal(20, report.failed)
    assert.equal("auth", report.files[20].error.kind)
    assert.equal(1, box:count { path = "/uploads" })
    assert.is_nil(report.files[1].error.message:find("not tried", 1, true))
    local why = "it was not tried, as " .. report.files[1].file .. " had failed: "
    for i = 2, 20 do -- none is told of as if it had been looked at
      assert.equal("not_tried", report.files[i].error.reason)
      assert.equal(report.files[1].error.code, report.files[i].error.code)
      assert.truthy(report.files[i].error.message:find(why, 1, true))
    end
  end)

  it("refuses a list that has a file twice, and sends nothing", function()
    local list = files(1)
    local report, err = gallery.uploads:send_many { list[1], list[1] }
    assert.is_nil(report)
    assert.equal("duplicate_file", err.code)
    assert.equal(0, box:count())
  end)

  it("does nothing with a journal that can't be written", function()
    local report, err = gallery.uploads:send_many(files(1), { journal = folder .. "/nowhere/journal" })
    assert.is_nil(report)
    assert.equal("storage", err.kind)
    assert.equal(0, box:count())
  end)

  it("stops where the journal's disk is full: what can't be written down is not sent", function()
    if not io.open("/dev/full", "w") then return pending "there is no /dev/full here" end
    local journal = require "dpg.journal"
    local open = journal.open
    finally(function() journal.open = open end)
    journal.open = function(path, kind)
      local book = open(path, kind)
      book._file = io.open("/dev/full", "ab")
      book._file:setvbuf "no"
      return book
    end
    local report = dpg.assert(gallery.uploads:send_many(files(5), { journal = folder .. "/journal" }))
    assert.equal(5, report.failed)
    assert.equal("storage", report.files[1].error.kind)
    assert.equal(0, box:count())
  end)

  it("sends what is done never again, and a file that has changed since", function()
    local list = files(5)
    local journal = folder .. "/journal"
    assert.equal(5, dpg.assert(gallery.uploads:send_many(list, { journal = journal })).sent)
    process.write_file(list[2], "another picture")
    os.remove(list[3])
    box:reset_seen()
    local report = dpg.assert(gallery.uploads:send_many(list, { journal = journal }))
    assert.equal(4, report.already)
    assert.equal(1, report.sent)
    assert.equal("sent", report.files[2].status)
    assert.truthy(report.files[1].image_public_uuid)
    assert.equal(1, box:count { path = "/uploads" })
  end)

  it("takes a file that has changed for another one, though it is as large and as old", function()
    local list, journal = files(2), folder .. "/journal"
    list[3] = { bytes = ("a"):rep(100), filename = "three.jpg" }
    box:fault { server = "processor", drop = "after" }
    assert.equal(1, dpg.assert(gallery.uploads:send_many(list, { journal = journal, concurrency = 1 })).unknown)
    for i = 1, 2 do
      local before = folder .. "/before"
      process.shell(("cp -p '%s' %s"):format(list[i], before))
      process.write_file(list[i], sandbox.blob_bytes(i + 10, 0, 2000))
      process.shell(("touch -r %s '%s'"):format(before, list[i]))
    end
    list[3] = { bytes = ("b"):rep(100), filename = "three.jpg" }
    local report = dpg.assert(gallery.uploads:send_many(list, { journal = journal }))
    assert.equal(3, report.sent)
    process.shell(("touch '%s'"):format(list[1])) -- nothing else has changed
    list[3].bytes = ("b"):rep(100)
    assert.equal(3, dpg.assert(gallery.uploads:send_many(list, { journal = journal })).already)
  end)

  it("goes by the size, where a journal of an older version knows no more", function()
    local list, journal = files(2), folder .. "/journal"
    box:fault { server = "processor", drop = "after" }
    dpg.assert(gallery.uploads:send_many(list, { journal = journal, concurrency = 1 }))
    process.write_file(journal, (process.read_file(journal):gsub('"fingerprint":"%x+",?', ""):gsub(",}", "}")))
    box:reset_seen()
    local report = dpg.assert(gallery.uploads:send_many(list, { journal = journal }))
    assert.same({ "unknown", "already" }, { report.files[1].status, report.files[2].status })
    assert.equal(0, box:count())
  end)

  it("tries again what has failed", function()
    local list, journal = files(3), folder .. "/journal"
    box:fault { server = "processor", status = 422 }
    local report = dpg.assert(gallery.uploads:send_many(list, { journal = journal, concurrency = 1 }))
    assert.equal("failed", report.files[1].status)
    report = dpg.assert(gallery.uploads:send_many(list, { journal = journal }))
    assert.equal("sent", report.files[1].status)
    assert.equal(2, report.already)
  end)

  it("reports an unknown outcome, in this run and the next, and sends it again only when it is told to", function()
    local list, journal = files(3), folder .. "/journal"
    box:fault { server = "processor", drop = "after" }
    local report = dpg.assert(gallery.uploads:send_many(list, { journal = journal, concurrency = 1 }))
    assert.equal(1, report.unknown)
    local transaction = report.files[1].transaction_uuid
    assert.equal(transaction, report.files[1].error.transaction_uuid)
    box:reset_seen()
    report = dpg.assert(gallery.uploads:send_many(list, { journal = journal }))
    assert.equal("unknown", report.files[1].status)
    assert.equal("upload_outcome_unknown", report.files[1].error.code)
    assert.equal(transaction, report.files[1].transaction_uuid)
    assert.equal(0, box:count())
    local asked = {}
    report = dpg.assert(gallery.uploads:send_many(list, { journal = journal, resend_unknown = function(item, err)
      asked[#asked + 1] = { item, err.transaction_uuid }
      return false
    end }))
    assert.same({ { list[1], transaction } }, asked)
    assert.equal(1, report.unknown)
    report = dpg.assert(gallery.uploads:send_many(list, { journal = journal, resend_unknown = true }))
    assert.equal(1, report.sent)
    assert.equal(2, report.already)
  end)

  it("knows of a kill between the last byte and the answer", function()
    local list = files(2)
    box:fault { server = "processor", hold = true, times = "always" }
    local child = process.start(SEND, box.base_url, box.token, folder, 2)
    child:expect "begun"
    assert(box:wait_seen({ server = "processor" }, 2))
    child:stop()
    box:clear_faults()
    local report = dpg.assert(gallery.uploads:send_many(list, { journal = folder .. "/journal" }))
    assert.equal(2, report.unknown)
    assert.equal("earlier_run", report.files[1].error.reason)
    assert.truthy(report.files[1].error.transaction_uuid)
  end)

  it("knows that a kill in the middle of a file has left it unsent", function()
    local path = folder .. "/photo 001.jpg"
    process.write_file(path, sandbox.blob_bytes(9, 0, 20000000))
    box:fault { server = "processor", read_rate = 1e6, times = "always" }
    local child = process.start(SEND, box.base_url, box.token, folder, 1)
    child:expect "begun"
    assert(box:wait_seen({ path = "/uploads" }, 1))
    client.nothing_left()
    dpg.assert(gallery:me())
    dpg.assert(require "dpg.call".sleep(gallery._connection, 0.3))
    child:stop()
    box:clear_faults()
    local report = dpg.assert(gallery.uploads:send_many({ path }, { journal = folder .. "/journal" }))
    assert.equal(1, report.sent)
  end)

  it("of 200 files, killed three times at random and started again, leaves 200 images, none twice #heavy", function()
    local N = 200
    local seed = os.time()
    math.randomseed(seed)
    local told = "seed " .. seed
    local before = images()
    local list = files(N)
    box:fault { server = "processor", delay = 0.01, times = "always" }
    for _ = 1, 3 do
      local child = process.start(SEND, box.base_url, box.token, folder, N)
      child:expect "begun"
      local fresh, wanted = 0, math.random(5, 50)
      while fresh < wanted do
        local line = child:read()
        assert.truthy(line, told .. ": the child has ended: " .. child:stderr())
        if line:find "^sent" then fresh = fresh + 1 end
      end
      child:stop()
    end
    local report = dpg.assert(gallery.uploads:send_many(list, { journal = folder .. "/journal" }))
    assert.equal(0, report.failed, told)
    assert.equal(N, report.sent + report.already + report.unknown, told)
    local times = images()
    for i, file in ipairs(report.files) do
      local name = list[i]:match "[^/]+$"
      local n = (times[name] or 0) - (before[name] or 0)
      assert.is_true(n == 1 or (n == 0 and file.status == "unknown"),
        ("%s: %s is there %d times, and said to be %s"):format(told, name, n, file.status))
    end
    -- whoever looks can send the rest
    dpg.assert(gallery.uploads:send_many(list, { journal = folder .. "/journal", resend_unknown = function(path)
      local name = path:match "[^/]+$"
      return (times[name] or 0) == (before[name] or 0)
    end }))
    times = images()
    for _, path in ipairs(list) do
      local name = path:match "[^/]+$"
      assert.equal(1, times[name] - (before[name] or 0), told)
    end
  end)

  it("writes no ticket and no token into its journal", function()
    dpg.assert(gallery.uploads:send_many(files(2), { journal = folder .. "/journal" }))
    local text = process.read_file(folder .. "/journal")
    assert.falsy(text:find("http", 1, true))
    assert.falsy(text:find("signature", 1, true))
    assert.falsy(text:find(box.token, 1, true))
  end)
end)

describe("downloads:save_many", function()
  local box, gallery, folder

  setup(function() box = boxes.start() end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function()
    box:reset_seen()
    folder = process.folder()
    gallery = client.service(box, { retry = { base = 0.001, cap = 0.002 } })
  end)
  after_each(function()
    box:clear_faults()
    local ok, left = pcall(client.nothing_left)
    client.close()
    assert.is_true(ok, left)
  end)

  local function blobs(n, filename)
    local list = {}
    for i = 1, n do
      list[i] = box:add_blob({ size = 10000 + i, seed = i, filename = filename or "b" .. i .. ".jpg" }).public_uuid
    end
    return list
  end

  it("saves a list, and numbers those that bear the same name", function()
    local list = blobs(3, "IMG_0001.jpg")
    local report = dpg.assert(gallery.downloads:save_many(list, folder, { concurrency = 1 }))
    assert.equal(3, report.saved)
    for i, name in ipairs { "IMG_0001.jpg", "IMG_0001 (2).jpg", "IMG_0001 (3).jpg" } do
      assert.equal(folder .. "/" .. name, report.files[i].path)
      assert.equal(sandbox.blob_bytes(i, 0, 10000 + i), process.read_file(report.files[i].path))
    end
  end)

  it("takes images, and paths of the caller's", function()
    local page = dpg.assert(gallery.images:list { limit = 3 })
    local report = dpg.assert(gallery.downloads:save_many(page.items, folder, { version = page.items[1].versions and
      page.items[1].versions[1].version, path = function(image) return folder .. "/" .. image.public_uuid end }))
    assert.equal(3, report.saved)
    assert.equal(folder .. "/" .. page.items[1].public_uuid, report.files[1].path)
  end)

  it("leaves a file alone that is there, and says so", function()
    local list = blobs(2)
    process.write_file(folder .. "/b1.jpg", "mine")
    local report = dpg.assert(gallery.downloads:save_many(list, folder))
    assert.equal(1, report.exists)
    assert.equal(1, report.saved)
    assert.equal("mine", process.read_file(folder .. "/b1.jpg"))
  end)

  it("goes on after one that fails, and where it stopped", function()
    local list, journal = blobs(5), folder .. "/journal"
    box:fault { server = "cdn", status = 400 }
    local report = dpg.assert(gallery.downloads:save_many(list, folder, { journal = journal, concurrency = 1 }))
    assert.equal(1, report.failed)
    assert.equal(4, report.saved)
    box:reset_seen()
    os.remove(report.files[3].path)
    report = dpg.assert(gallery.downloads:save_many(list, folder, { journal = journal }))
    assert.equal(2, report.saved)
    assert.equal(3, report.already)
    assert.equal(2, box:count { server = "cdn" })
  end)
end)
