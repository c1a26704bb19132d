-- Checks how files go in and out of the sandbox: tickets and the processor, links and the CDN, archives, over sockets,
-- with everything that can go wrong on demand.

local boxes = require "spec.support.box"
local content = require "dpg.sandbox.content"
local files = require "spec.support.raw_files"
local http = require "spec.support.raw_http"
local jpeg = require "dpg.sandbox.jpeg"
local process = require "spec.support.process"
local sandbox = require "dpg.sandbox"
local socket = require "socket"

local MIB = 1024 * 1024
local keys = 0

local function post(box, path, body, token)
  keys = keys + 1
  return http.call(box, "POST", path, { token = token or box.token, key = "f" .. keys, body = body })
end

local function ticket_for(box, fields)
  fields = fields or {}
  fields.filename = fields.filename or "photo.jpg"
  return post(box, "/uploads", fields).json
end

local function form(ticket, bytes)
  return files.multipart(ticket.fields, ticket.file_field, bytes)
end

local function link(box, uuid, version)
  return post(box, "/downloads", { image_public_uuid = uuid, version = version }).json
end

local function some_image(box, offset)
  return http.get(box, "/images?limit=1&offset=" .. (offset or 0)).json[1].public_uuid
end

for _, tls in ipairs { false, true } do
  describe("dpg.sandbox, files" .. (tls and " over TLS" or "") .. ",", function()
    local box

    setup(function() box = boxes.start { tls = tls } end)
    teardown(function() box:stop() end)
    before_each(function()
      box:clear_faults()
      box:reset_seen()
    end)

    it("come and go on ports of their own", function()
      local origins = { box.base_url:match "^(.*)/v1$", box.processor_url, box.cdn_url }
      for index, origin in ipairs(origins) do
        assert.truthy(origin:find(tls and "^https://127.0.0.1:%d+$" or "^http://127.0.0.1:%d+$"))
        assert.not_equal(origin, origins[index % 3 + 1])
      end
    end)

    it("are uploaded with a ticket, and come back byte for byte", function()
      local set = http.get(box, "/sets").json[3].public_uuid
      local bytes = "\255\216 not quite a JPEG \r\n--" .. files.BOUNDARY:sub(1, 5) .. "\0\1\2" .. ("x"):rep(100000)
      local ticket = ticket_for(box, {
        filename = "Ünï \"1\".jpg", title = "Sound check", description = "Loud.", keywords = { "artist:Me", "loud" },
        creation_date = "2025-01-02", set_public_uuid = set,
      })
      assert.equal(1, (ticket.upload_url:find(box.processor_url, 1, true)))
      local response = files.post(box, ticket.upload_url, form(ticket, bytes))
      assert.equal(200, response.status)
      local uuid = response.json.image_public_uuid
      local image = http.get(box, "/images/" .. uuid).json
      assert.same({ "Sound check", "Loud.", "Me", "2025-01-02T00:00:00Z", #bytes, set },
        { image.title, image.description, image.keywords[1].value, image.creation_date, image.bytes,
          image.set_public_uuids[1] })
      assert.equal(uuid, some_image(box))
      local found = link(box, uuid)
      assert.same({ "Ünï \"1\".jpg", "signed" }, { found.filename, found.access })
      local file = files.get(box, found.url)
      assert.same({ 200, true }, { file.status, file.body == bytes })
      local path = process.folder() .. "/same"
      process.write_file(path, bytes)
      assert.equal(process.shell("openssl dgst -sha256 -r " .. path):match "^%x+", box:sha256(uuid))
    end)

    it("stream in at any size, and are compared where they are blobs #heavy", function()
      local size = tls and 9 * MIB or 24 * MIB
      local ticket = ticket_for(box, { filename = "big.bin" })
      local client, path = files.connect(box, ticket.upload_url)
      local empty = form(ticket, "\1"):gsub("\1", "%%s")
      local before, after = empty:match "^(.*)%%s(.*)$"
      client:send(("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=%s\r\n"
        .. "Content-Length: %d\r\n\r\n%s"):format(path, files.BOUNDARY, #before + size + #after, before))
      for offset = 0, size - 1, 65536 do client:send(sandbox.blob_bytes(7, offset, 65536)) end
      client:send(after)
      local response = http.read_response(client)
      client:close()
      local told = box:uploads()
      assert.same({ "used", "blob", size }, { told[#told].state, told[#told].kind, told[#told].bytes })
      local url = link(box, response.json.image_public_uuid).url
      local part = files.get(box, url, { Range = ("bytes=%d-"):format(size - 100) })
      assert.same({ 206, sandbox.blob_bytes(7, size - 100, 100) }, { part.status, part.body })
      assert.equal(sandbox.blob_sha256(7, size), box:sha256(response.json.image_public_uuid))
    end)

    it("are as long as they are said to be, also at the end of a cut", function()
      local image = box:add_blob { size = 3 * MIB, seed = 5 }
      local url = link(box, image.public_uuid).url
      box:fault { server = "cdn", cut = 1000001 }
      local first, err, partial = files.get(box, url)
      assert.same({ nil, "closed", 1000001 }, { first, err, #partial })
      local rest = files.get(box, url, { Range = "bytes=1000001-" })
      assert.same({ 206, "bytes 1000001-3145727/3145728" }, { rest.status, rest.headers["content-range"] })
      assert.is_true(partial .. rest.body == sandbox.blob_bytes(5, 0, 3 * MIB))
      local seen = box:seen { server = "cdn" }
      assert.same({ "cut", 206 }, { seen[1].fault, seen[2].status })
      assert.is_true(seen[1].sent > 1000001 and seen[1].sent < 1001000)
    end)
  end)
end

describe("dpg.sandbox, the processor", function()
  local box

  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)
  before_each(function()
    box:clear_faults()
    box:reset_seen()
    box:set { ticket_life = 300, file_field = "file" }
  end)

  local refused = { -- what, fields of POST /uploads, status, field
    { "no filename", { title = "x" }, 400, "filename" },
    { "a title of 192", { filename = "a.jpg", title = ("ö"):rep(192) }, 400, "title" },
    { "no list of keywords", { filename = "a.jpg", keywords = "one" }, 400, "keywords" },
    { "no date", { filename = "a.jpg", creation_date = "soon" }, 400, "creation_date" },
    { "no boolean", { filename = "a.jpg", read_metadata = 1 }, 400, "read_metadata" },
    { "no set", { filename = "a.jpg", set_public_uuid = "x" }, 404, "set_public_uuid" },
    { "an unknown field", { filename = "a.jpg", colour = "red" }, 400, "colour" },
  }
  for _, case in ipairs(refused) do
    it("gets no ticket for " .. case[1], function()
      local response = post(box, "/uploads", case[2])
      assert.same({ case[3], case[4] }, { response.status, response.json.error.field })
    end)
  end

  it("gets a ticket with the scope and a key alone, and the same one for the same key", function()
    local body = { filename = "a.jpg" }
    assert.equal(403, post(box, "/uploads", body, box.tokens.read).status)
    assert.equal(400, http.call(box, "POST", "/uploads", { token = box.token, body = body }).status)
    local function ask()
      return http.call(box, "POST", "/uploads", { token = box.token, key = "same", body = body }).json
    end
    assert.same(ask(), ask())
  end)

  it("takes every field exactly as it was issued, in any order, and no other", function()
    local spoilt = {
      { "changed", function(fields) fields.policy = fields.policy:gsub("\r\n", "\n") end },
      { "missing", function(fields) fields.acl = nil end }, { "more", function(fields) fields.extra = "1" end },
    }
    for _, case in ipairs(spoilt) do
      local ticket = ticket_for(box, { title = 'Quotes " and \\ and ü' })
      assert.equal("", ticket.fields.acl)
      local fields = {}
      for name, value in pairs(ticket.fields) do fields[name] = value end
      case[2](fields)
      local response = files.post(box, ticket.upload_url, files.multipart(fields, ticket.file_field, "x"))
      assert.same({ case[1], 403, "signature_mismatch" }, { case[1], response.status, response.json.error.code })
      assert.equal(200, files.post(box, ticket.upload_url, form(ticket, "x")).status)
    end
  end)

  it("wants the file in the part that the ticket names", function()
    box:set { file_field = "photo" }
    local ticket = ticket_for(box)
    assert.equal("photo", ticket.file_field)
    local wrong = files.post(box, ticket.upload_url, files.multipart(ticket.fields, "file", "x"))
    assert.equal(403, wrong.status)
    assert.equal(200, files.post(box, ticket.upload_url, form(ticket, "x")).status)
  end)

  it("takes a ticket once, and only in time", function()
    local ticket = ticket_for(box)
    assert.equal(200, files.post(box, ticket.upload_url, form(ticket, "x")).status)
    local again = files.post(box, ticket.upload_url, form(ticket, "x"))
    assert.same({ 409, "ticket_used" }, { again.status, again.json.error.code })
    box:set { ticket_life = 60 }
    ticket = ticket_for(box)
    box:advance(60)
    local late = files.post(box, ticket.upload_url, form(ticket, "x"))
    assert.same({ 403, "ticket_expired" }, { late.status, late.json.error.code })
    local unknown = files.post(box, box.processor_url .. "/upload/x", form(ticket, "x"))
    assert.same({ 404, "ticket_not_found" }, { unknown.status, unknown.json.error.code })
  end)

  it("refuses what is no form, or ends too early", function()
    local ticket = ticket_for(box)
    assert.equal(415, files.post(box, ticket.upload_url, "{}", { ["Content-Type"] = "application/json" }).status)
    assert.equal(400, files.post(box, ticket.upload_url, form(ticket, "x"):sub(1, -20)).status)
    assert.equal(200, files.post(box, ticket.upload_url, form(ticket, "x")).status)
  end)

  it("tells whether a token came", function()
    local ticket = ticket_for(box)
    files.post(box, ticket.upload_url, form(ticket, "x"))
    files.get(box, link(box, some_image(box), "thumbnail").url)
    local report = box:report()
    assert.same({ 0, 0 }, { report.authorization_on_processor, report.authorization_on_cdn })
    files.get(box, box.processor_url .. "/", { Authorization = "Bearer secret" })
    files.get(box, box.cdn_url .. "/", { Authorization = "Bearer secret" })
    report = box:report()
    assert.same({ 1, 1 }, { report.authorization_on_processor, report.authorization_on_cdn })
    assert.same({ 2, 2 }, { box:count { server = "processor" }, box:count { server = "cdn" } })
    assert.is_true(box:count { server = "api" } > 0)
  end)

  it("sends a token's holder elsewhere, where it can be seen whether the token came along", function()
    box:fault { path = "/me", redirect = box.cdn_url .. "/elsewhere" }
    box:fault { path = "/me", nth = 2, redirect = box.processor_url .. "/", status = 308 }
    local first, second = http.get(box, "/me"), http.get(box, "/me")
    assert.same({ 302, box.cdn_url .. "/elsewhere", 308 }, { first.status, first.headers.location, second.status })
  end)

  local function upload(fault)
    local ticket = ticket_for(box)
    if fault then
      fault.server = "processor"
      box:fault(fault)
    end
    local ok, response = pcall(files.post, box, ticket.upload_url, form(ticket, ("y"):rep(3 * MIB)))
    local told = box:uploads()
    return ok and response and response.status or "closed", told[#told].state
  end

  local faults = { -- fault, what the client gets, whether the image is there
    { "drops before", { drop = "before" }, "closed", "issued" },
    { "drops after the work", { drop = "after" }, "closed", "used" },
    { "sends half an answer", { drop = "half" }, "closed", "used" },
    { "refuses", { status = 503 }, 503, "issued" }, { "does the work and refuses", { status = 502, work = true }, 502,
      "used" },
    { "cuts the body", { cut_body = 100000 }, "closed", "issued" },
    { "answers a page of HTML", { html = true }, 200, "issued" },
  }
  for _, case in ipairs(faults) do
    it(case[1] .. " on demand", function()
      local got, state = upload(case[2])
      assert.same({ case[3], case[4] }, { got, state })
    end)
  end

  it("makes back pressure", function()
    local began = socket.gettime()
    assert.equal(200, (upload { read_rate = 10 * MIB }))
    assert.is_true(socket.gettime() - began > 0.25)
  end)

  it("answers early on demand, before the file has come", function()
    local ticket = ticket_for(box)
    box:fault { server = "processor", status = 413, early = true }
    local client, path = files.connect(box, ticket.upload_url)
    client:send(("POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: %s\r\n"
      .. "Content-Length: 100\r\n\r\n"):format(path, files.form_headers["Content-Type"]))
    local response = http.read_response(client)
    assert.same({ 413, "payload_too_large", "close", "closed" },
      { response.status, response.json.error.code, response.headers.connection, (select(2, client:receive(1))) })
    client:close()
  end)

  it("asks for no body that it would refuse", function()
    local client, path = files.connect(box, box.processor_url .. "/upload/none")
    client:send(("POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: %s\r\n"
      .. "Content-Length: 100\r\n\r\n"):format(path, files.form_headers["Content-Type"]))
    assert.same({ 404, "closed" }, { http.read_response(client).status, (select(2, client:receive(1))) })
    client:close()
  end)

  it("says 100 Continue where it is waited for, and is silent on demand", function()
    for _, silent in ipairs { false, true } do
      local ticket = ticket_for(box)
      if silent then box:fault { server = "processor", no_continue = true } end
      local client, path = files.connect(box, ticket.upload_url)
      local body = form(ticket, "x")
      client:send(("POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: %s\r\n"
        .. "Content-Length: %d\r\n\r\n"):format(path, files.form_headers["Content-Type"], #body))
      client:settimeout(silent and 0.05 or 5)
      local line = client:receive "*l"
      assert.equal(not silent and "HTTP/1.1 100 Continue" or nil, line)
      if not silent then client:receive "*l" end
      client:settimeout(5)
      client:send(body)
      assert.equal(200, http.read_response(client).status)
      client:close()
    end
  end)
end)

describe("dpg.sandbox, the CDN", function()
  local box, image, url

  setup(function()
    box = boxes.start { operation_polls = 0 }
    image = box:add_blob { size = 300000, seed = 3, filename = "../a\tb\"ü.bin" }
  end)
  teardown(function() box:stop() end)
  before_each(function()
    box:clear_faults()
    url = link(box, image.public_uuid).url
  end)

  local function bytes(from, to) return sandbox.blob_bytes(3, from, to - from + 1) end

  local refused = { -- what, body, status, field
    { "no image", {}, 400, "image_public_uuid" }, { "an unknown image", { image_public_uuid = "x" }, 404,
      "image_public_uuid" },
  }
  for _, case in ipairs(refused) do
    it("gives no link to " .. case[1], function()
      local response = post(box, "/downloads", case[2])
      assert.same({ case[3], case[4] }, { response.status, response.json.error.field })
    end)
  end

  it("gives no link to an unknown version, nor without the scope", function()
    local body = { image_public_uuid = image.public_uuid, version = "huge" }
    local response = post(box, "/downloads", body)
    assert.same({ 404, "version_not_found", "version" },
      { response.status, response.json.error.code, response.json.error.field })
    body.version = nil
    assert.equal(403, post(box, "/downloads", body, box.tokens.read).status)
  end)

  it("serves a link until it expires, and no other", function()
    local found = link(box, image.public_uuid)
    assert.is_true(math.abs(found.expires_at - box:now() - 600) < 5)
    assert.equal(200, files.get(box, found.url).status)
    assert.equal(403, files.get(box, (found.url:gsub("expires=%d+", "expires=9999999999"))).status)
    assert.equal(403, files.get(box, found.url .. "0").status)
    box:advance(601)
    assert.equal(403, files.get(box, found.url).status)
    assert.equal(200, files.get(box, link(box, image.public_uuid).url).status)
    assert.equal(404, files.get(box, box.cdn_url .. "/northlight/none/original").status)
  end)

  local ranges = { -- header, status, first, last
    { "bytes=0-0", 206, 0, 0 }, { "bytes=100-199", 206, 100, 199 }, { "bytes=65530-131080", 206, 65530, 131080 },
    { "bytes=299999-", 206, 299999, 299999 }, { "bytes=-5", 206, 299995, 299999 },
    { "bytes=10-999999", 206, 10, 299999 }, { "bytes=-999999", 206, 0, 299999 },
    { "bytes=5-4", 200, 0, 299999 }, { "bytes=0-1,5-6", 200, 0, 299999 }, { "lines=1-2", 200, 0, 299999 },
    { "bytes=300000-", 416 }, { "bytes=-0", 416 },
  }
  for _, case in ipairs(ranges) do
    it("answers " .. case[1] .. " with " .. case[2], function()
      local response = files.get(box, url, { Range = case[1] })
      assert.equal(case[2], response.status)
      if case[2] == 416 then
        assert.equal("bytes */300000", response.headers["content-range"])
      else
        assert.is_true(response.body == bytes(case[3], case[4]))
        local range = ("bytes %d-%d/300000"):format(case[3], case[4])
        assert.equal(case[2] == 206 and range or nil, response.headers["content-range"])
      end
    end)
  end

  it("keeps If-Range, If-Match and If-None-Match", function()
    local head = files.get(box, url, nil, "HEAD")
    assert.same({ 200, "300000", "bytes" },
      { head.status, head.headers["content-length"], head.headers["accept-ranges"] })
    local function status(headers) return files.get(box, url, headers).status end
    local etag, modified = head.headers.etag, head.headers["last-modified"]
    assert.same({ 206, 206, 200, 200 }, {
      status { Range = "bytes=1-2", ["If-Range"] = etag }, status { Range = "bytes=1-2", ["If-Range"] = modified },
      status { Range = "bytes=1-2", ["If-Range"] = '"other"' },
      status { Range = "bytes=1-2", ["If-Range"] = "Sun, 14 Sep 2025 18:30:00 GMT" },
    })
    assert.same({ 304, 200, 412 }, { status { ["If-None-Match"] = etag }, status { ["If-Match"] = etag },
      status { ["If-Match"] = '"other"' } })
  end)

  it("keeps connections, and names files so that no header breaks", function()
    local client, path = files.connect(box, url)
    local text = files.request_text("GET", path, { Range = "bytes=0-9" })
    client:send(text .. text)
    local first, second = http.read_response(client), http.read_response(client)
    client:close()
    assert.same({ bytes(0, 9), bytes(0, 9), "keep-alive" }, { first.body, second.body, first.headers.connection })
    assert.equal("attachment; filename=\"../a_b___.bin\"; filename*=UTF-8''..%2Fa%09b%22%C3%BC.bin",
      first.headers["content-disposition"])
  end)

  it("ignores ranges, expires links, lies about lengths, is slow, on demand", function()
    local function get(fault)
      fault.server = "cdn"
      box:fault(fault)
      return files.get(box, url, { Range = "bytes=0-99" })
    end
    assert.same({ 200, 403, 503 },
      { get { ignore_range = true }.status, get { expired = true }.status, get { status = 503 }.status })
    assert.equal("90", get { headers = { ["Content-Length"] = "90" } }.headers["content-length"])
    assert.is_nil((get { truncate = true }))
    assert.is_nil((get { drop = "half" }))
    local began = socket.gettime()
    assert.equal(206, get { send_rate = 1000 }.status)
    assert.is_true(socket.gettime() - began > 0.08)
  end)

  it("changes a file in the middle, and says so by its ETag", function()
    local other = box:add_blob { size = 1000, seed = 4 }
    local where = link(box, other.public_uuid).url
    local etag = files.get(box, where).headers.etag
    box:fault { server = "cdn", change_file = true }
    local changed = files.get(box, where, { Range = "bytes=500-", ["If-Range"] = etag })
    assert.same({ 200, 1000 }, { changed.status, #changed.body })
    assert.not_equal(etag, changed.headers.etag)
    assert.not_equal(sandbox.blob_bytes(4, 0, 1000), changed.body)
    etag = changed.headers.etag
    box:change_file(other.public_uuid)
    assert.not_equal(etag, files.get(box, where).headers.etag)
  end)

  it("draws the pictures of the library, as large as it says, the same each time", function()
    local versions = http.get(box, "/images/" .. some_image(box, 7) .. "/versions").json
    assert.equal(4, #versions)
    for _, version in ipairs(versions) do
      local one, two = files.get(box, version.url), files.get(box, version.url)
      assert.same({ 200, "image/jpeg", version.bytes }, { one.status, one.headers["content-type"], #one.body })
      assert.is_true(one.body == two.body)
      assert.same({ version.width, version.height }, { jpeg.dimensions(one.body) })
    end
    local from_link = files.get(box, link(box, some_image(box, 7), "preview").url)
    assert.equal(versions[2].bytes, #from_link.body)
  end)

  it("forgets the files of a deleted image", function()
    local gone = box:add_blob { size = 10 }
    local where = link(box, gone.public_uuid).url
    http.call(box, "DELETE", "/images/" .. gone.public_uuid, { token = box.token, key = "gone" })
    assert.equal(404, files.get(box, where).status)
  end)

  it("serves archives, which are listed until they expire", function()
    local ids = { image.public_uuid, some_image(box, 3), box:add_blob({ size = 10, filename = "x.bin" }).public_uuid }
    local response = post(box, "/archives", { image_public_uuids = ids, filename = "Friday" })
    assert.same({ 202, "archive", "succeeded" }, { response.status, response.json.type, response.json.status })
    local listed = http.get(box, "/archives").json[1]
    assert.same(listed, response.json.result.archive)
    assert.same({ "Friday.zip", 3 }, { listed.filename, listed.image_count })
    local whole = files.get(box, listed.url)
    assert.same({ 200, listed.bytes, "application/zip" },
      { whole.status, #whole.body, whole.headers["content-type"] })
    local part = files.get(box, listed.url, { Range = "bytes=100000-300100" })
    assert.is_true(part.body == whole.body:sub(100001, 300101))
    assert.equal(403, post(box, "/archives", { image_public_uuids = ids }, box.tokens.read).status)
    assert.equal(400, post(box, "/archives", {}).status)
    local path = process.folder() .. "/archive.zip"
    process.write_file(path, whole.body)
    local said = process.shell("command -v python3 >/dev/null || exit 0; python3 -m zipfile -t " .. path)
    assert.is_nil(said:find "rror" or said:find "bad")
    box:advance(8 * 86400)
    assert.equal("[]", http.get(box, "/archives").body)
    assert.equal(403, files.get(box, listed.url).status)
  end)

  it("serves big files in little memory #heavy", function()
    local big = box:add_blob { size = 64 * MIB, seed = 9 }
    local function memory()
      return tonumber(process.read_file(("/proc/%d/status"):format(box.pid)):match "VmRSS:%s*(%d+)")
    end
    local before = memory()
    local client, path = files.connect(box, link(box, big.public_uuid).url)
    client:send(files.request_text("GET", path))
    local line
    repeat line = client:receive "*l" until line == ""
    local position, same = 0, true
    while position < 64 * MIB do
      local piece = client:receive(MIB)
      same = same and piece == sandbox.blob_bytes(9, position, MIB)
      position = position + MIB
    end
    client:close()
    assert.is_true(same)
    assert.is_true(memory() - before < 16 * 1024)
    assert.equal(content.blob(9, 64 * MIB).size, big.size)
  end)
end)
