-- Every endpoint of the contract against the sandbox: what it does, which scope it needs, what it says of a uuid that
-- is nobody's, and of an Operation that fails.
local boxes = require "support.box"
local catalog = require "dpg.catalog"
local client = require "support.client"
local dpg = require "dpg"

local NOBODY = "00000000-0000-4000-8000-000000000000"

describe("every endpoint", function()
  local box, gallery, ids

  -- Some images and a set that holds them, found once.
  local function find_ids()
    local page = dpg.assert(gallery.images:list { limit = 60 })
    local images = {}
    for i, image in ipairs(page.items) do images[i] = image.public_uuid end
    local set
    for one in gallery.sets:each() do
      if one.image_count > 3 then set = one.public_uuid end
    end
    return { images = images, set = set, next_image = 0 }
  end

  -- An image that no other case has touched.
  local function image()
    ids.next_image = ids.next_image + 1
    return ids.images[ids.next_image]
  end

  local function members(set)
    local list = {}
    for i, one in ipairs(dpg.assert(gallery.sets:images(set, { limit = 200 })).items) do list[i] = one end
    return list
  end

  local function uuids(list)
    local all = {}
    for i, one in ipairs(list) do all[i] = one.public_uuid end
    return all
  end

  local function find_set(name)
    for set in gallery.sets:each() do
      if set.name == name then return set end
    end
  end

  -- A set of its own, with three images.
  local function new_set(name)
    dpg.assert(gallery.sets:create { name = name })
    local set = find_set(name)
    dpg.assert(gallery.sets:add_images(set.public_uuid, { image(), image(), image() }))
    return set.public_uuid
  end

  local function get(uuid) return (dpg.assert(gallery.images:get(uuid))) end

  local function keywords(uuid)
    local all = {}
    for _, one in ipairs(get(uuid).keywords) do
      all[one.namespace ~= dpg.null and one.namespace .. ":" .. one.value or one.value] = true
    end
    return all
  end

  setup(function()
    box = boxes.start { operation_polls = 0 }
    gallery = client.service(box)
    ids = find_ids()
    -- what the cases below take away again
    ids.operation = dpg.assert(gallery.images:add_keywords(ids.images[50], "a")).uuid
    dpg.assert(gallery.images:add_credit(ids.images[50], { role = "Stylist", name = "Ana Ruiz" }))
    dpg.assert(gallery.sets:order(ids.set, { dpg.assert(gallery.sets:images(ids.set)).items[1] }))
  end)
  teardown(function()
    client.close()
    box:stop()
  end)
  after_each(function()
    box:set { operation_outcome = "succeeded" }
    client.nothing_left()
  end)

  -- row -> `good` does it and looks at what came of it; `call` sends it with a session and a uuid that may be nobody's
  local cases = {}

  local function read(row, call, good)
    cases[row] = { good = function() good(dpg.assert(call(gallery, ids.images[1], ids.set))) end, call = call }
  end

  local function is_page(page) assert.is_table(page.items) end

  read("images.list", function(g, _, _, options) return g.images:list(options) end,
    function(page) assert.equal(50, #page.items) end)
  read("images.get", function(g, uuid, _, options) return g.images:get(uuid, options) end,
    function(one) assert.equal(ids.images[1], one.public_uuid) end)
  read("images.versions", function(g, uuid, _, options) return g.images:versions(uuid, options) end,
    function(list) assert.is_string(list[1].url) end)
  read("images.facets", function(g, _, _, options) return g.images:facets(options) end,
    function(facets) assert.is_table(facets.ratings) end)
  read("keywords.list", function(g, _, _, options) return g.keywords:list(options) end, is_page)
  read("keywords.namespaces", function(g, _, _, options) return g.keywords:namespaces(options) end, is_page)
  read("metadata_profiles.list", function(g, _, _, options) return g.metadata_profiles:list(options) end, is_page)
  read("sets.list", function(g, _, _, options) return g.sets:list(options) end, is_page)
  read("sets.tree", function(g, _, _, options) return g.sets:tree(options) end,
    function(tree) assert.is_table(tree[1].children) end)
  read("sets.get", function(g, _, set, options) return g.sets:get(set, options) end,
    function(set) assert.equal(ids.set, set.public_uuid) end)
  read("sets.images", function(g, _, set, options) return g.sets:images(set, options) end, is_page)
  read("sets.snapshots", function(g, _, set, options) return g.sets:snapshots(set, options) end, is_page)
  read("archives.list", function(g, _, _, options) return g.archives:list(options) end, is_page)
  read("downloads.url", function(g, uuid) return g.downloads:url(uuid) end, function(link)
    assert.truthy(link.url:find "^https?://")
    assert.is_string(link.filename)
    assert.is_true(link.expires_at > box:now())
    local other = dpg.assert(gallery.downloads:url(ids.images[1], { version = "original" }))
    assert.is_string(other.url)
    local _, err = gallery.downloads:url(ids.images[1], { version = "never" })
    assert.same({ "version_not_found", "version" }, { err.code, err.field })
  end)

  cases["operations.get"] = {
    call = function(g, uuid, _, options)
      return g.operations:get(uuid == NOBODY and "op-" .. NOBODY or ids.operation, options)
    end,
    good = function()
      local made = dpg.assert(gallery.images:set_rating(image(), 1))
      assert.equal("succeeded", dpg.assert(gallery.operations:get(made.uuid)).status)
    end,
  }
  cases["operations.batch"] = {
    call = function(g, uuid) return g.operations:batch { dpg.assert(g.prepare.images:set_rating(uuid, 3)) } end,
    good = function()
      local uuid = image()
      local batch = dpg.assert(gallery.operations:batch { dpg.assert(gallery.prepare.images:set_rating(uuid, 3)) })
      assert.equal(1, #batch.operations)
      assert.equal(3, get(uuid).rating)
    end,
  }

  local function write(row, call, good)
    cases[row] = { call = call, writes = true, good = function() good(image()) end }
  end

  write("images.update", function(g, uuid) return g.images:update(uuid, { title = "x" }) end, function(uuid)
    dpg.assert(gallery.images:update(uuid, {
      title = ("ü"):rep(191), description = "two\nlines", creation_date = 1764014400, rotation = 270,
    }))
    local one = get(uuid)
    assert.same({ ("ü"):rep(191), "two\nlines", 270 }, { one.title, one.description, one.rotation })
    assert.truthy(one.creation_date:find "^2025%-11%-24T20:00:00")
    dpg.assert(gallery.images:update(uuid, { description = dpg.null }))
    assert.equal(dpg.null, get(uuid).description)
  end)
  write("images.delete", function(g, uuid) return g.images:delete(uuid) end, function(uuid)
    dpg.assert(gallery.images:delete(uuid))
    assert.equal("image_not_found", select(2, gallery.images:get(uuid)).code)
  end)
  write("images.set_rating", function(g, uuid) return g.images:set_rating(uuid, 4) end, function(uuid)
    for rating = 0, 5 do
      dpg.assert(gallery.images:set_rating(uuid, rating))
      assert.equal(rating, get(uuid).rating)
    end
  end)
  write("images.set_alt_text", function(g, uuid) return g.images:set_alt_text(uuid, "a") end, function(uuid)
    dpg.assert(gallery.images:set_alt_text(uuid, "A crowd at dusk"))
    assert.equal("A crowd at dusk", get(uuid).alt_text)
  end)
  write("images.set_metadata", function(g, uuid) return g.images:set_metadata(uuid, { creator = "a" }) end,
    function(uuid)
      dpg.assert(gallery.images:set_metadata(uuid, { creator = "Priya", copyright_marked = true, headline = "Dusk" }))
      local metadata = get(uuid).metadata
      assert.same({ "Priya", true, "Dusk" }, { metadata.creator, metadata.copyright_marked, metadata.headline })
      local _, err = gallery.images:set_metadata(uuid, { never_heard_of = "x" })
      assert.same({ "api", "validation", "never_heard_of" }, { err.kind, err.code, err.field })
    end)
  local crop = { aspect_ratio = "3:2", x = 10, y = 0, width = 300, height = 200 }
  write("images.set_crop", function(g, uuid) return g.images:set_crop(uuid, crop) end, function(uuid)
    dpg.assert(gallery.images:set_crop(uuid, crop))
    assert.same({ crop }, get(uuid).crops)
  end)
  write("images.clear_crop", function(g, uuid) return g.images:clear_crop(uuid) end, function(uuid)
    local square = { aspect_ratio = "1:1", x = 0, y = 0, width = 100, height = 100 }
    dpg.assert(gallery.images:set_crop(uuid, crop))
    dpg.assert(gallery.images:set_crop(uuid, square))
    dpg.assert(gallery.images:clear_crop(uuid, { aspect_ratio = "3:2" }))
    assert.same({ square }, get(uuid).crops)
    dpg.assert(gallery.images:clear_crop(uuid))
    assert.equal(0, #get(uuid).crops)
  end)
  write("images.add_keywords", function(g, uuid) return g.images:add_keywords(uuid, { "a" }) end, function(uuid)
    dpg.assert(gallery.images:add_keywords(uuid, { "dusk", "artist:Marina", { namespace = "stage", value = "12:30" },
      { value = "plain" }, { namespace = dpg.null, value = "bare" } }))
    dpg.assert(gallery.images:add_keywords(uuid, "single"))
    dpg.assert(gallery.images:add_keywords(uuid, { namespace = "axis", value = "one" }))
    local all = keywords(uuid)
    for _, one in ipairs { "dusk", "artist:Marina", "stage:12:30", "plain", "bare", "single", "axis:one" } do
      assert.is_true(all[one], one)
    end
  end)
  write("images.remove_keyword", function(g, uuid) return g.images:remove_keyword(uuid, "a") end, function(uuid)
    dpg.assert(gallery.images:add_keywords(uuid, { "gone", "artist:Gone", "artist:Also Gone", "kept" }))
    dpg.assert(gallery.images:remove_keyword(uuid, "gone"))
    dpg.assert(gallery.images:remove_keyword(uuid, "artist:Gone"))
    dpg.assert(gallery.images:remove_keyword(uuid, { namespace = "artist", value = "Also Gone" }))
    local all = keywords(uuid)
    assert.same({ true }, { all.kept, all.gone, all["artist:Gone"], all["artist:Also Gone"] })
    local _, err = gallery.images:remove_keyword(uuid, "gone")
    assert.same({ "keyword_not_found", 404 }, { err.code, err.status })
    for _, one in ipairs(get(uuid).keywords) do dpg.assert(gallery.images:remove_keyword(uuid, one)) end -- as they came
    assert.equal(0, #get(uuid).keywords)
  end)
  local credit = { role = "Stylist", name = "Ana Ruiz" }
  write("images.add_credit", function(g, uuid) return g.images:add_credit(uuid, credit) end, function(uuid)
    dpg.assert(gallery.images:add_credit(uuid, credit))
    local credits = get(uuid).credits
    assert.same(credit, credits[#credits])
  end)
  write("images.remove_credit", function(g, uuid) return g.images:remove_credit(uuid, credit) end, function(uuid)
    local before = #get(uuid).credits
    dpg.assert(gallery.images:add_credit(uuid, credit))
    dpg.assert(gallery.images:remove_credit(uuid, credit))
    assert.equal(before, #get(uuid).credits)
  end)
  write("images.extract_metadata", function(g, uuid) return g.images:extract_metadata(uuid) end, function(uuid)
    local operation = dpg.assert(gallery.images:extract_metadata(uuid))
    assert.same({ "succeeded", "extract_metadata" }, { operation.status, operation.type })
  end)
  write("keywords.rename", function(g, uuid)
    return g.keywords:rename { from = "a", to = "b", image_public_uuids = { uuid } }
  end, function(uuid)
    dpg.assert(gallery.images:add_keywords(uuid, { "sunst", "artist:Mrina" }))
    dpg.assert(gallery.keywords:rename { from = "sunst", to = "sunset", image_public_uuids = { uuid } })
    dpg.assert(gallery.keywords:rename {
      from = { namespace = "artist", value = "Mrina" }, to = "artist:Marina", image_public_uuids = { get(uuid) },
    })
    local all = keywords(uuid)
    assert.same({ true, true }, { all.sunset, all["artist:Marina"], all.sunst })
  end)

  write("sets.create", function(g) return g.sets:create { name = "x" } end, function()
    dpg.assert(gallery.sets:create { name = "Friday", colour = "red", description = "first day", type = "gallery" })
    local friday = find_set "Friday"
    assert.same({ "red", "first day" }, { friday.colour, friday.description })
    dpg.assert(gallery.sets:create { name = "Evening", parent_public_uuid = friday.public_uuid })
    local below = dpg.assert(gallery.sets:list { parent_public_uuid = friday.public_uuid })
    assert.equal("Evening", below.items[1].name)
    local _, err = gallery.sets:create { name = "x", colour = "no colour" }
    assert.same({ "validation", "colour" }, { err.code, err.field })
  end)
  write("sets.update", function(g, _, set) return g.sets:update(set, { description = "x" }) end, function()
    local set, parent = new_set "Satudray", new_set "Weekend"
    local lead = members(set)[2].public_uuid
    dpg.assert(gallery.sets:update(set, {
      name = "Saturday", colour = "green", lead_image_public_uuid = lead, parent_public_uuid = parent,
    }))
    local now = dpg.assert(gallery.sets:get(set))
    assert.same({ "Saturday", "green", lead, parent },
      { now.name, now.colour, now.lead_image_public_uuid, now.parent_public_uuid })
    dpg.assert(gallery.sets:update(set, { parent_public_uuid = dpg.null }))
    assert.equal(dpg.null, dpg.assert(gallery.sets:get(set)).parent_public_uuid)
  end)
  write("sets.add_images", function(g, uuid, set) return g.sets:add_images(set, { uuid }) end, function(uuid)
    local set = new_set "Adding"
    dpg.assert(gallery.sets:add_images(set, { uuid, get(image()) }))
    assert.equal(5, #members(set))
  end)
  write("sets.remove_images", function(g, uuid, set) return g.sets:remove_images(set, { uuid }) end, function()
    local set = new_set "Removing"
    dpg.assert(gallery.sets:remove_images(set, { members(set)[2] }))
    assert.equal(2, #members(set))
  end)
  write("sets.order", function(g, _, set) return g.sets:order(set, { members(ids.set)[1] }) end, function()
    local set = new_set "Ordering"
    local before = uuids(members(set))
    dpg.assert(gallery.sets:order(set, { before[3], before[1], before[2] }))
    assert.same({ before[3], before[1], before[2] }, uuids(members(set)))
  end)
  write("sets.reorder", function(g, _, set) return g.sets:reorder { set } end, function()
    local all = {}
    for set in gallery.sets:each() do all[#all + 1] = set end
    dpg.assert(gallery.sets:reorder { all[#all], all[1] })
    local first = dpg.assert(gallery.sets:list { limit = 2 }).items
    assert.same({ all[#all].public_uuid, all[1].public_uuid }, uuids(first))
  end)
  write("sets.set_visibility", function(g, _, set)
    return g.sets:set_visibility(set, { image_public_uuids = { members(ids.set)[1] }, hidden = false })
  end, function()
    local set = new_set "Embargo"
    local all = uuids(members(set))
    dpg.assert(gallery.sets:set_visibility(set, { image_public_uuids = all, hidden = true }))
    assert.is_true(members(set)[1].hidden)
    local go_live = math.floor(box:now()) + 3600
    dpg.assert(gallery.sets:set_visibility(set, { image_public_uuids = { all[1] }, activation_time = go_live }))
    dpg.assert(gallery.sets:set_visibility(set, {
      image_public_uuids = { all[2] }, hidden = true, activation_time = os.date("!%Y-%m-%dT%H:%M:%S+00:00", go_live),
    }))
    assert.equal(os.date("!%Y-%m-%dT%H:%M:%SZ", go_live), members(set)[1].activation_time)
    assert.equal(members(set)[1].activation_time, members(set)[2].activation_time)
    box:advance(3601)
    dpg.assert(gallery.sets:set_visibility(set, { image_public_uuids = { all[3] }, hidden = false }))
    for _, one in ipairs(members(set)) do assert.is_false(one.hidden) end
    box:advance(-3601)
  end)
  write("sets.restore", function(g, _, set) return g.sets:restore(set) end, function()
    local set = new_set "Restoring"
    local before = uuids(members(set))
    dpg.assert(gallery.sets:remove_images(set, { before[1] }))
    local snapshot = dpg.assert(gallery.sets:snapshots(set)).items[1]
    assert.equal(3, snapshot.image_count)
    dpg.assert(gallery.sets:restore(set, snapshot.uuid))
    assert.same(before, uuids(members(set)))
    dpg.assert(gallery.sets:remove_images(set, { before[3] }))
    dpg.assert(gallery.sets:restore(set)) -- the newest
    assert.same(before, uuids(members(set)))
    local _, err = gallery.sets:restore(set, NOBODY)
    assert.equal("snapshot_not_found", err.code)
  end)
  write("archives.create", function(g, uuid) return g.archives:create { image_public_uuids = { uuid } } end,
    function(uuid)
      dpg.assert(gallery.archives:create { image_public_uuids = { uuid, get(image()) }, filename = "two.zip" })
      local archive = dpg.assert(gallery.archives:list()).items[1]
      assert.same({ "two.zip", 2 }, { archive.filename, archive.image_count })
      local n = 0
      for _ in gallery.archives:each() do n = n + 1 end
      assert.equal(1, n)
    end)

  it("me takes if_none_match", function()
    local _, answer = dpg.assert(gallery:me())
    assert.equal("not_modified", select(2, gallery:me { if_none_match = answer.etag }).code)
  end)

  it("has a case here, but for uploads", function()
    catalog.each_row(function(group, name)
      if group ~= "uploads" then assert.is_table(cases[group .. "." .. name], group .. "." .. name) end
    end)
  end)

  local names = {}
  for name in pairs(cases) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local case = cases[name]
    local group, method = name:match "^(.*)%.(.*)$"
    local row = catalog[group][method]
    local where = group .. ":" .. method

    it(where .. " does what it says", function() case.good() end)

    if row.scope then
      it(where .. " names the scope " .. row.scope .. " when it is missing", function()
        local without = client.service(box, { token = box.tokens.none })
        local value, err = case.call(without, ids.images[50], ids.set)
        assert.is_nil(value)
        assert.same({ "api", "forbidden", 403, row.scope }, { err.kind, err.code, err.status, err.scope })
      end)
    end

    if row.path:find("{", 1, true) or name == "keywords.rename" or name:find "^archives.create" or
      name == "downloads.url" or name == "operations.batch" or name == "sets.reorder" then
      it(where .. " says not found of a uuid that is nobody's", function()
        local value, err = case.call(gallery, NOBODY, NOBODY)
        assert.is_nil(value)
        assert.same({ "api", 404 }, { err.kind, err.status })
        assert.truthy(err.code:find "_not_found$")
      end)
    end

    if row.method == "GET" then
      it(where .. " takes if_none_match", function()
        local _, answer = dpg.assert(case.call(gallery, ids.images[50], ids.set))
        local value, err = case.call(gallery, ids.images[50], ids.set, { if_none_match = answer.etag })
        assert.is_nil(value)
        assert.same({ "not_modified", 304 }, { err.code, err.status })
      end)
    end

    if case.writes then
      it(where .. " gives an Operation that may fail, which is an error of its own", function()
        box:set { operation_outcome = "failed" }
        local operation = dpg.assert(case.call(gallery, ids.images[50], ids.set))
        local value, err = operation:wait()
        assert.is_nil(value)
        assert.same({ "operation", operation.uuid, "failed" }, { err.kind, err.operation_uuid, err.operation.status })
      end)
    end
  end
end)
