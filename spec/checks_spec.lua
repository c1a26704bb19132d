-- What is checked before anything is sent: each limit at its edge, where the API takes it, and one past it, where the
-- error names the field, what was given and what is allowed.
local boxes = require "support.box"
local checks = require "dpg.checks"
local client = require "support.client"
local dpg = require "dpg"

local function many(n, make)
  local list = {}
  for i = 1, n do list[i] = make(i) end
  return list
end

local function keyword(i) return string.format("k%03d", i) end

describe("a limit", function()
  local box, gallery, uuid, set

  setup(function()
    box = boxes.start { operation_polls = 0 }
    gallery = client.service(box)
    uuid = dpg.assert(gallery.images:list { limit = 1 }).items[1].public_uuid
    for one in gallery.sets:each() do
      if one.image_count > 1 then set = one.public_uuid end
    end
  end)
  teardown(function()
    client.close()
    box:stop()
  end)
  before_each(function() box:reset_seen() end)

  local function crop(more)
    local all = { aspect_ratio = "1:1", x = 0, y = 0, width = 1, height = 1 }
    for name, value in pairs(more) do all[name] = value end
    return all
  end

  local function visibility(more)
    local all = { image_public_uuids = { dpg.assert(gallery.sets:images(set)).items[1] } }
    for name, value in pairs(more) do all[name] = value end
    box:reset_seen()
    return all
  end

  local function rate(i)
    return { method = "PUT", path = "/images/" .. uuid .. "/rating", body = { rating = i % 6 } }
  end

  local function call(resource, method, ...)
    local arguments = { ... }
    return function() return gallery[resource][method](gallery[resource], uuid, arguments[1], arguments[2]) end
  end

  -- what it is, calls that the API takes
  local edges = {
    { "a title of 191 characters", call("images", "update", { title = ("x"):rep(191) }) },
    { "a title of 191 characters of 3 bytes", call("images", "update", { title = ("€"):rep(191) }) },
    { "an empty title", call("images", "update", { title = "" }) },
    { "a description of 64 KiB", call("images", "update", { description = ("x"):rep(65536) }) },
    { "no rotation", call("images", "update", { rotation = 0 }) },
    { "a rotation of 270", call("images", "update", { rotation = 270 }) },
    { "a rating of 0", call("images", "set_rating", 0) },
    { "a rating of 5", call("images", "set_rating", 5) },
    { "a rating of 5.0", call("images", "set_rating", 10 / 2) },
    { "200 keywords", call("images", "add_keywords", many(200, keyword)) },
    { "one keyword", call("images", "add_keywords", { "k" }) },
    { "a crop of one pixel", function() return gallery.images:set_crop(uuid, crop {}) end },
    { "50 writes in a batch", function() return gallery.operations:batch(many(50, rate)) end },
    { "a page of 1", function() return gallery.images:list { limit = 1 } end },
    { "a page of 200", function() return gallery.images:list { limit = 200 } end },
    { "hidden = false", function() return gallery.sets:set_visibility(set, visibility { hidden = false }) end },
    { "a moment in UTC", function()
      return gallery.sets:set_visibility(set, visibility { hidden = true, activation_time = "2030-01-31T23:59:59Z" })
    end },
    { "a moment with an offset", function()
      return gallery.sets:set_visibility(set, visibility { activation_time = "2030-01-31T23:59:59.5+05:30" })
    end },
    { "a moment in Unix seconds", function()
      return gallery.sets:set_visibility(set, visibility { activation_time = 1900000000 })
    end },
    { "no embargo any more", function()
      return gallery.sets:set_visibility(set, visibility { hidden = false, activation_time = dpg.null })
    end },
    { "null for a description", call("images", "update", { description = dpg.null }) },
  }
  for _, case in ipairs(edges) do
    it("lets " .. case[1] .. " through, and the API takes it", function()
      local value, err = case[2]()
      assert.is_not_nil(value, tostring(err))
      assert.equal(1, box:count {})
    end)
  end

  local function embargo(time)
    return gallery.sets:set_visibility(uuid, { image_public_uuids = { uuid }, activation_time = time })
  end

  -- what it is, the call, the field, what was given, what is allowed
  local past = {
    { "a title of 192 characters", call("images", "update", { title = ("x"):rep(192) }), "title", "192", "191" },
    { "a title of 192 characters of 4 bytes", call("images", "update", { title = ("😀"):rep(192) }), "title", "192",
      "191" },
    { "a title that is no UTF-8", call("images", "update", { title = "M\252nchen" }), "title", "other bytes", "UTF-8" },
    { "a title with a NUL", call("images", "update", { title = "a\0b" }), "title", "other bytes", "text" },
    { "a rotation of 45", call("images", "update", { rotation = 45 }), "rotation", "45", "0, 90, 180, 270" },
    { "a rotation of 360", call("images", "update", { rotation = 360 }), "rotation", "360", "0, 90, 180, 270" },
    { "a date of blanks", call("images", "update", { creation_date = "  " }), "creation_date", '"  "', "a date" },
    { "a date in milliseconds", call("images", "update", { creation_date = 1.7e12 }), "creation_date", "1700000000000",
      "Unix seconds" },
    { "a rating of 6", call("images", "set_rating", 6), "rating", "6", "from 0 to 5" },
    { "a rating of -1", call("images", "set_rating", -1), "rating", "-1", "from 0 to 5" },
    { "a rating of 4.5", call("images", "set_rating", 4.5), "rating", "4.5", "whole" },
    { "a rating of NaN", call("images", "set_rating", 0 / 0), "rating", "nan", "whole" },
    { "a rating of infinity", call("images", "set_rating", math.huge), "rating", "inf", "whole" },
    { "no rating", call("images", "set_rating", nil), "rating", "missing", "0 to 5" },
    { "201 keywords", call("images", "add_keywords", many(201, keyword)), "keywords", "201", "1 to 200" },
    { "no keywords", call("images", "add_keywords", {}), "keywords", "0", "1 to 200" },
    { "a blank keyword", call("images", "add_keywords", { "a", " " }), "keywords", "item 2", "a keyword" },
    { "an axis with a colon", call("images", "add_keywords", { { namespace = "a:b", value = "c" } }), "keywords", "a:b",
      "without a colon" },
    { "a bare value with a colon", call("images", "remove_keyword", { value = "12:30" }), "keyword", "12:30",
      "namespace" },
    { "a crop beginning at -1", function() return gallery.images:set_crop(uuid, crop { x = -1 }) end, "x", "-1",
      "from 0" },
    { "a crop of no width", function() return gallery.images:set_crop(uuid, crop { width = 0 }) end, "width", "0",
      "from 1" },
    { "half a pixel", function() return gallery.images:set_crop(uuid, crop { height = 0.5 }) end, "height", "0.5",
      "whole" },
    { "a crop without a ratio", function() return gallery.images:set_crop(uuid, { x = 0 }) end, "aspect_ratio",
      "missing", "not empty" },
    { "a credit of nobody", call("images", "add_credit", { role = "Model", name = "" }), "name", "an empty one",
      "must be a text with something in it" },
    { "half a credit", call("images", "remove_credit", { name = "Ana" }), "role", "missing", "not empty" },
    { "51 writes in a batch", function() return gallery.operations:batch(many(51, rate)) end, "operations", "51",
      "1 to 50" },
    { "no writes in a batch", function() return gallery.operations:batch {} end, "operations", "0", "1 to 50" },
    { "a read in a batch", function() return gallery.operations:batch { { method = "GET", path = "/images" } } end,
      "operations", '"GET"', "POST, PUT, PATCH or DELETE" },
    { "a URL in a batch", function() return gallery.operations:batch { { method = "PUT", path = "https://a/b" } } end,
      "operations", "https://a/b", "a path" },
    { "a page of 201", function() return gallery.images:list { limit = 201 } end, "limit", "201", "from 1 to 200" },
    { "a page of 0", function() return gallery.images:list { limit = 0 } end, "limit", "0", "from 1 to 200" },
    { "an offset of -1", function() return gallery.images:list { offset = -1 } end, "offset", "-1", "from 0" },
    { "an hour of nobody's zone", function()
      return embargo("2030-01-31T18:00:00")
    end, "activation_time", "2030-01-31T18:00:00", "with a zone" },
    { "a day of embargo without an hour", function()
      return embargo "2030-01-31"
    end, "activation_time", "2030-01-31", "ISO 8601" },
    { "a 13th month", function()
      return embargo("2030-13-31T18:00:00Z")
    end, "activation_time", "2030-13", "ISO 8601" },
    { "no images", function() return gallery.sets:add_images(uuid, {}) end, "image_public_uuids", "0", "1 or more" },
    { "a file name for an image", function() return gallery.sets:order(uuid, { uuid, "DSC_0001.jpg" }) end,
      "image_public_uuids", "DSC_0001.jpg", "a uuid" },
    { "a set without a name", function() return gallery.sets:create { name = " " } end, "name", '" "',
      "something in it" },
    { "a parent that is no uuid", function()
      return gallery.sets:create { name = "a", parent_public_uuid = "Friday" }
    end, "parent_public_uuid", '"Friday"', "a uuid" },
    { "an archive of nothing", function() return gallery.archives:create { image_public_uuids = {} } end,
      "image_public_uuids", "0", "1 or more" },
    { "a rename without images", function() return gallery.keywords:rename { from = "a", to = "b" } end,
      "image_public_uuids", "missing", "1 or more" },
    { "a download of a title", function() return gallery.downloads:url "Main Stage" end, "image_public_uuid",
      '"Main Stage"', "a uuid" },
  }
  for _, case in ipairs(past) do
    it("refuses " .. case[1] .. ", unsent, in so many words", function()
      local value, err = case[2]()
      assert.is_nil(value)
      assert.same({ "usage", case[3] }, { err.kind, err.field })
      assert.truthy(err.code == "invalid_value" or err.code == "missing_value")
      for i = 3, 5 do assert.truthy(err.message:find(case[i], 1, true), err.message .. " says no " .. case[i]) end
      assert.equal(0, box:count {})
    end)
  end

  local nothing = {
    { "an update of nothing", call("images", "update", {}) },
    { "metadata of nothing", call("images", "set_metadata", {}) },
    { "a set's update of nothing", call("sets", "update", {}) },
    { "a visibility of neither kind", function()
      return gallery.sets:set_visibility(uuid, { image_public_uuids = { uuid } })
    end },
  }
  for _, case in ipairs(nothing) do
    it("refuses " .. case[1], function()
      local value, err = case[2]()
      assert.is_nil(value)
      assert.same({ "usage", "nothing_to_do" }, { err.kind, err.code })
      assert.equal(0, box:count {})
    end)
  end

  local slips = { -- wrong types, which raise and name the field
    { "a rating as text", call("images", "set_rating", "4"), "'rating'" },
    { "hidden as text", call("sets", "set_visibility", { image_public_uuids = {}, hidden = "true" }), "'hidden'" },
    { "hidden as a number", call("sets", "set_visibility", { image_public_uuids = {}, hidden = 1 }), "'hidden'" },
    { "a rotation as text", call("images", "update", { rotation = "90" }), "'rotation'" },
    { "pixels as text", call("images", "set_crop", { x = "0" }), "'x'" },
    { "a title of null", call("images", "update", { title = dpg.null }), "null" },
    { "keywords by name", call("images", "add_keywords", { a = "b" }), "'keywords'" },
    { "keywords with a hole", call("images", "add_keywords", { "a", [3] = "b" }), "'keywords'" },
    { "a keyword that is a number", call("images", "add_keywords", { 12 }), "item 1" },
    { "images that are pages", call("sets", "add_images", { items = {} }), "list of images" },
    { "an unknown field", call("sets", "update", { color = "red" }), "'color'" },
    { "metadata that is a function", call("images", "set_metadata", { creator = print }), "'creator'" },
    { "an unnamed metadata field", call("images", "set_metadata", { "x" }), "'1'" },
    { "metadata that is an object", call("images", "set_metadata", { headline = { a = "b" } }), "'headline'" },
    { "a batch of texts", function() return gallery.operations:batch { "PUT /images" } end, "session.prepare" },
    { "a version that is a number", call("downloads", "url", { version = 1 }), "'version'" },
  }
  for _, case in ipairs(slips) do
    it("raises at " .. case[1] .. ", at the caller's line", function()
      local ok, problem = pcall(case[2])
      assert.is_false(ok)
      assert.truthy(problem:find(case[3], 1, true), problem)
      assert.equal(0, box:count {})
    end)
  end

  local ids = { -- what is no uuid
    "", " ", "short-1", "Sunset over the sea", "DSC_0001.JPG", "https://cdn.example.com/1234567890", "..",
    "../../v1/me", "be66ea4e-0000-4000-8000-00000000000\n", "be66ea4e/versions", "be66ea4e%2f0000", "be66ea4e?x=12345",
    "ümlaut-12345678", ("a1"):rep(33), "a\0b12345678", "no-digits-here",
  }
  for _, id in ipairs(ids) do
    it("refuses the id " .. checks.shown(id), function()
      local value, err = gallery.images:get(id)
      assert.is_nil(value)
      assert.same({ "usage", "public_uuid" }, { err.kind, err.field })
      assert.is_nil(tostring(err):find "%c")
      assert.equal(0, box:count {})
    end)
  end

  it("lets every form of id through that DPG may have", function()
    for _, id in ipairs { "be66ea4e-0000-4000-8000-000000000000", "OP-7C9E1234", "01HQ3ZK9X5J7W8Y2", "img_12345678",
      ("a1"):rep(32) } do
      local _, err = gallery.images:get(id)
      assert.equal("image_not_found", err.code)
    end
  end)
end)

describe("dpg.checks.is_utf8", function()
  local cases = {
    { "", true }, { "plain", true }, { "Zürich", true }, { "日本", true }, { "😀", true }, { "\239\191\191", true },
    { "\194\128", true }, { "\244\143\191\191", true }, { "\237\159\191", true }, { "\238\128\128", true },
    { "\128", false }, { "\255", false }, { "\192\128", false }, { "\193\191", false }, { "\224\159\191", false },
    { "\237\160\128", false }, { "\240\143\191\191", false }, { "\244\144\128\128", false },
    { "\245\128\128\128", false }, { "\195", false }, { "a\226\130", false }, { "\226\130b", false },
    { "\240\159\152", false }, { "ü\188", false },
  }
  for _, case in ipairs(cases) do
    it((case[2] and "takes " or "refuses ") .. string.format("%q", case[1]), function()
      assert.equal(case[2], checks.is_utf8(case[1]))
    end)
  end
end)

describe("dpg.checks", function()
  local moments = {
    "2030-01-01T00:00Z", "2030-12-31T23:59:59z", "2030-01-31t18:00:60Z", "2030-01-31 18:00:00Z",
    "2030-01-31T18:00:00.25Z", "2030-01-31T18:00:00+00:00", "2030-01-31T18:00:00-2359", "2030-01-31T18:00:00+23:59",
  }
  local no_moments = {
    "2030-01-31T18:00:00", "2030-00-01T00:00Z", "2030-13-01T00:00Z", "2030-01-00T00:00Z", "2030-01-32T00:00Z",
    "2030-01-31T24:00Z", "2030-01-31T23:60Z", "2030-01-31T23:59:61Z", "2030-01-31T23:59:5Z", "2030-01-31T23:59:59.Z",
    "2030-01-31T23:59.5Z", "2030-01-31T18:00:00+24:00", "2030-01-31T18:00:00+01:60", "2030-01-31T18:00:00+1:00",
    "2030-01-31T18:00:00X", "30-01-31T18:00Z", "", "tomorrow",
  }

  it("takes a moment in ISO 8601 with a zone, to the ends of each part", function()
    for _, text in ipairs(moments) do assert.equal(text, checks.moment.read(text), text) end
    for _, text in ipairs(no_moments) do
      local value, problem = checks.moment.read(text)
      assert.same({ nil, "value" }, { value, problem }, text)
    end
    assert.equal("type", select(2, checks.moment.read(true)))
  end)

  it("takes Unix seconds of any year that has four digits, and no milliseconds", function()
    for _, check in ipairs { checks.moment, checks.date } do
      assert.equal("1970-01-01T00:00:00Z", check.read(0))
      assert.equal("2033-05-18T03:33:20Z", check.read(2e9))
      assert.equal("1969-12-31T23:59:59Z", check.read(-1))
      for _, seconds in ipairs { -6e10, 3e11, 0 / 0, math.huge } do
        assert.same({ nil, "value", "must be Unix seconds" }, { check.read(seconds) })
      end
    end
  end)

  it("says of a date, a text or a flag of another type what it wants", function()
    assert.same({ nil, "type", "a date as text or in Unix seconds" }, { checks.date.read {} })
    assert.same({ nil, "value", "must be text in UTF-8", "other bytes" }, { checks.date.read "\255" })
    assert.same({ nil, "type", "a string or an array of strings" }, { checks.texts.read(7) })
    assert.same({ nil, "type", "a string or an array of strings" }, { checks.texts.read { "a", 7 } })
    assert.same({ nil, "value", "must be text in UTF-8", "other bytes" }, { checks.texts.read { "a", "\255" } })
    assert.same({ nil, "type", "a boolean (true or false)" }, { checks.flag.read "true" })
    assert.is_false(checks.flag.read(false))
  end)

  it("shows what was given, short and on one line", function()
    assert.equal('"' .. ("x"):rep(60) .. '"', checks.shown(("x"):rep(60)))
    assert.equal('"' .. ("x"):rep(57) .. '…"', checks.shown(("x"):rep(61)))
    assert.equal('"' .. ("é"):rep(28) .. '…"', checks.shown(("é"):rep(31)))
    assert.equal('"a?b"', checks.shown "a\255b")
    assert.equal('"a b"', checks.shown "a\nb")
    assert.equal("null", checks.shown(require("dpg.json").null))
    assert.equal("a table", checks.shown {})
    assert.equal("0.5", checks.shown(0.5))
  end)

  it("says of a whole number how far it may go, where that is not endless", function()
    assert.equal("whole, from 0 to 5", checks.whole(0, 5).says)
    assert.equal("whole, from 1", checks.whole(1, 1e9).says)
    assert.equal("whole, from 1 to 999999999", checks.whole(1, 1e9 - 1).says)
  end)
end)
