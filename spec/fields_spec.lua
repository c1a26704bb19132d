-- The option `fields`: only what is wanted becomes tables.
local boxes = require "support.box"
local client = require "support.client"
local core = require "dpg.core"
local dpg = require "dpg"
local fields = require "dpg.fields"

local function names(object)
  local list = {}
  for name in pairs(object) do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, " ")
end

describe("core.decode with wanted members", function()
  local function decode(text, wanted, lists) return (core.decode(text, nil, wanted, lists)) end

  it("builds those of an object, in an array too, and no others", function()
    assert.same({ a = 1, c = { d = 2 } }, decode('{"a":1,"b":[1,{"a":2}],"c":{"d":2}}', { a = true, c = true }))
    assert.same({ { a = 1 }, {}, { a = 3 } }, decode('[{"a":1,"b":2},{"b":2},{"b":{},"a":3}]', { a = true }))
    assert.same({ 1, { { a = 2 } }, "x" }, decode('[1,[{"a":2,"b":3}],"x"]', { a = true }))
    assert.same({}, decode('{"a":1}', {}))
    assert.equal("text", decode('"text"', { a = true }))
  end)

  it("goes into objects and lists of objects", function()
    assert.same({ a = { b = 1 }, d = { { b = 2 }, {} }, e = 7 },
      decode('{"a":{"b":1,"c":2},"d":[{"b":2},{"c":3}],"e":7,"f":{"b":1}}',
        { a = { b = true }, d = { b = true }, e = { b = true } }))
  end)

  it("goes down a tree that holds itself", function()
    local tree = { name = true }
    tree.children = tree
    assert.same({ { name = 1, children = { { name = 2, children = { { children = {} } } } } } },
      decode('[{"x":0,"name":1,"children":[{"name":2,"children":[{"x":9,"children":[]}]}]}]', tree))
  end)

  it("looks for a list under its names, and leaves what stands beside it", function()
    local lists = { "data", "items" }
    assert.same({ { a = 1 } }, decode('[{"a":1,"b":2}]', { a = true }, lists))
    assert.same({ data = { { a = 1 } }, total = { b = 1 } },
      decode('{"data":[{"a":1,"b":2}],"total":{"b":1}}', { a = true }, lists))
    assert.same({ b = 2 }, decode('{"b":2}', { a = true }, lists))
  end)

  it("knows a name with escapes, and takes the last of two", function()
    assert.same({ title = 1 }, decode('{"ti\\u0074le":1,"b":2}', { title = true }))
    assert.same({ a = 3 }, decode('{"a":1,"b":2,"a":3}', { a = true }))
    assert.same({ { a = 1 }, { a = 2 } }, decode('[{"\\u0061":1,"b":0},{"\\u0061":2,"b":0}]', { a = true }))
  end)

  it("keeps an empty array an empty array, and an emptied object an object", function()
    local value = decode('{"a":[],"b":{"c":1}}', { a = { x = true }, b = { x = true } })
    assert.equal(core.array_mt, getmetatable(value.a))
    assert.is_nil(getmetatable(value.b))
    assert.is_nil(next(value.b))
  end)

  it("checks what it skips", function()
    for _, text in ipairs { '{"a":1,"b":[1,}', '{"a":1,"b":01}', '{"a":1,"b":"\\x"}', '{"a":1}x' } do
      assert.is_nil(decode(text, { a = true }))
    end
  end)

  it("raises at what is no such tree", function()
    for _, wrong in ipairs { 1, "a", { 1 }, { a = 1 }, { a = { [1] = true } } } do
      assert.has_error(function() decode("{}", wrong) end)
    end
    local deep = true
    for _ = 1, 9 do deep = { a = deep } end
    assert.has_error(function() decode("{}", deep) end)
    assert.has_error(function() decode("{}", { a = true }, { 1 }) end)
  end)

  it("builds the same as from everything, for objects with many names and few in common", function()
    local texts, wanted = {}, {}
    for i = 1, 300 do
      texts[i] = string.format('{"n%d":%d,"same":%d,"n%d":[%d]}', i % 250, i, i, i, i)
      if i % 3 == 0 then wanted["n" .. i] = true end
    end
    local text = "[" .. table.concat(texts, ",") .. "]"
    local all, some = decode(text), decode(text, wanted)
    for i, object in ipairs(all) do
      for name, value in pairs(object) do
        if wanted[name] then assert.same(value, some[i][name]) else assert.is_nil(some[i][name]) end
      end
    end
  end)
end)

describe("dpg.fields", function()
  it("makes a tree of paths; the whole wins over a part", function()
    assert.same({ title = true, versions = { url = true, size = { x = true } } },
      fields.wanted { "title", "versions.url", "versions.size.x" })
    assert.same({ versions = true }, fields.wanted { "versions.url", "versions" })
    assert.same({ versions = true }, fields.wanted { "versions", "versions.url" })
    assert.is_nil(fields.wanted(nil, "image"))
  end)

  it("keeps the ids that methods need, and a set's children", function()
    assert.same({ title = true, public_uuid = true }, fields.wanted({ "title" }, "image"))
    local tree = fields.wanted({ "name" }, "set")
    assert.equal(tree, tree.children)
    assert.is_true(tree.public_uuid)
  end)
end)

describe("the option `fields`", function()
  local box, gallery

  setup(function()
    box = boxes.start()
    gallery = client.service(box)
  end)
  teardown(function()
    client.close()
    box:stop()
  end)
  after_each(function()
    box:clear_faults()
    client.nothing_left()
  end)

  it("of a list", function()
    local page = dpg.assert(gallery.images:list { limit = 3, fields = { "title", "thumbnail.url", "never_heard_of" } })
    assert.equal(3, #page.items)
    assert.is_true(page.has_more)
    for _, image in ipairs(page.items) do
      assert.equal("public_uuid thumbnail title", names(image))
      assert.equal("url", names(image.thumbnail))
    end
  end)

  it("of a walk, through all pages", function()
    local count = 0
    for image in gallery.images:each { fields = { "rating" }, limit = 100 } do
      count = count + 1
      assert.equal("public_uuid rating", names(image))
    end
    assert.is_true(count > 100)
  end)

  it("of a get, into its versions", function()
    local first = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    local whole = dpg.assert(gallery.images:get(first.public_uuid))
    local image = dpg.assert(gallery.images:get(first.public_uuid, { fields = { "versions.url",
      "metadata.exif.Model" } }))
    assert.equal("metadata public_uuid versions", names(image))
    assert.equal(#whole.versions, #image.versions)
    for i, version in ipairs(image.versions) do assert.same({ url = whole.versions[i].url }, version) end
    assert.same({ exif = { Model = whole.metadata.exif.Model } }, image.metadata)
    local versions = dpg.assert(gallery.images:versions(first.public_uuid, { fields = { "version" } }))
    assert.equal(#whole.versions, #versions)
    for i, version in ipairs(versions) do assert.same({ version = whole.versions[i].version }, version) end
  end)

  it("leaves an object its methods", function()
    local image = dpg.assert(gallery.images:list { limit = 1, fields = { "title" } }).items[1]
    dpg.assert(dpg.assert(image:set_rating(3)):wait())
    assert.equal(3, dpg.assert(image:get { fields = { "rating" } }).rating)
    local set = dpg.assert(gallery.sets:list { fields = { "name" } }).items[1]
    assert.is_string(dpg.assert(set:get()).public_uuid)
  end)

  it("of a tree of sets, all the way down", function()
    local found = 0
    local function check(sets)
      for _, set in ipairs(sets) do
        assert.equal("children name public_uuid", names(set))
        found = found + 1
        check(set.children)
      end
    end
    check(dpg.assert(gallery.sets:tree { fields = { "name" } }))
    assert.equal(12, found)
  end)

  it("of keywords, profiles and facets", function()
    assert.equal("value", names(dpg.assert(gallery.keywords:list { limit = 1, fields = { "value" } }).items[1]))
    assert.equal("name", names(dpg.assert(gallery.metadata_profiles:list { fields = { "name" } }).items[1]))
    assert.equal("total", names(dpg.assert(gallery.images:facets { fields = { "total" } })))
  end)

  it("finds a list that stands under a name", function()
    for _, name in ipairs { "data", "items" } do
      local other = boxes.start { variants = { list = name } }
      local page = dpg.assert(client.service(other).images:list { limit = 2, fields = { "title" } })
      assert.equal(2, #page.items)
      assert.equal("public_uuid title", names(page.items[2]))
      other:stop()
    end
  end)

  it("goes with a cache: the same answer, other fields", function()
    local cached = client.service(box, { cache = dpg.cache.memory() })
    assert.equal("public_uuid title", names(dpg.assert(cached.images:list { limit = 1,
      fields = { "title" } }).items[1]))
    local page, answer = cached.images:list { limit = 1, fields = { "rating" } }
    assert.is_true(answer.cached)
    assert.equal("public_uuid rating", names(page.items[1]))
  end)

  it("raises at what is no list of names, and where it means nothing", function()
    local many = {}
    for i = 1, 200 do many[i] = "n" .. i end
    assert.is_table(gallery.images:list { limit = 1, fields = many })
    many[201] = "n201"
    local _, told = pcall(gallery.images.list, gallery.images, { fields = { "a..b" } })
    assert.truthy(told:find('got "a..b"', 1, true), told)
    told = select(2, pcall(gallery.images.list, gallery.images, { fields = { 1 } }))
    assert.truthy(told:find("got table", 1, true), told)
    for _, wrong in ipairs {
      "title", {}, { 1 }, { "" }, { "a." }, { ".a" }, { "a..b" }, { "a.b.c.d.e.f.g.h" }, { title = true }, many,
      { "a", n = 1 },
    } do
      local ok, message = pcall(gallery.images.list, gallery.images, { fields = wrong })
      assert.is_false(ok)
      assert.truthy(message:find("option 'fields'", 1, true))
      assert.has_error(function() gallery.images:each { fields = wrong } end)
    end
    assert.has_error(function() gallery:me { fields = { "account" } } end)
    assert.has_error(function() gallery.operations:get("op-12345678", { fields = { "status" } }) end)
    assert.has_error(function() gallery.images:delete("00000000-0000-4000-8000-000000000000",
      { fields = { "status" } }) end)
  end)
end)
