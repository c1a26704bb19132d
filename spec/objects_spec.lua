-- Methods on images and sets, behind the fields that the server sent.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local json = require "dpg.json"

describe("an image", function()
  local box, gallery, image

  before_each(function()
    box = boxes.start { operation_polls = 0 }
    gallery = client.service(box)
    image = dpg.assert(gallery.images:list { limit = 1 }).items[1]
  end)
  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
  end)

  it("has methods, wherever it came from", function()
    dpg.assert(image:update { title = "By itself" })
    local whole = dpg.assert(image:get())
    assert.equal("By itself", whole.title)
    dpg.assert(whole:set_rating(5))
    dpg.assert(gallery.images:each({ rating = 5, limit = 1 }):next():add_keywords { "seen" })
    local full
    for set in gallery.sets:each() do full = set.image_count > 0 and set or full end
    dpg.assert(full:each_image():next():set_alt_text "In a set")
    assert.equal("dpg.Image (" .. image.public_uuid .. ", " .. image.title .. ")", tostring(image))
  end)

  it("hands options on, and gives what the resource gives", function()
    local operation, answer = dpg.assert(image:update({ title = "x" }, { idempotency_key = "k-1" }))
    assert.same({ "succeeded", "k-1" }, { operation.status, answer.idempotency_key })
    local none, err = image:set_rating(7)
    assert.is_nil(none)
    assert.equal("rating", err.field)
  end)

  it("keeps every field that the server sent, and shows no other", function()
    box:fault { path = "/images/.*", status = 200,
      body = '{"public_uuid":"be66ea4e-1","update":"a field","brand_new":{"a":[1,2]},"none":null}' }
    local odd = dpg.assert(gallery.images:get(image.public_uuid))
    assert.same({ public_uuid = "be66ea4e-1", update = "a field", brand_new = { a = { 1, 2 } }, none = dpg.null }, odd)
    assert.equal("a field", odd.update)
    assert.is_function(odd.delete)
    local names = {}
    for name in pairs(odd) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "brand_new", "none", "public_uuid", "update" }, names)
  end)

  it("becomes JSON as it came", function()
    local text = json.encode(image)
    assert.same(json.decode(text), image)
    assert.equal(image.public_uuid, require("cjson").decode(require("cjson").encode({ image.public_uuid }))[1])
  end)

  it("raises at a dot for a colon", function()
    local ok, problem = pcall(image.update, { title = "x" })
    assert.is_false(ok)
    assert.truthy(problem:find("image:update(…)", 1, true), problem)
  end)

  it("acts for the session that it came from", function()
    local reader = client.service(box, { token = box.tokens.read })
    local same = dpg.assert(reader.images:get(image.public_uuid))
    assert.equal("forbidden", select(2, same:update { title = "no" }).code)
    dpg.assert(image:update { title = "yes" })
  end)

  it("is nothing special where it has no public_uuid", function()
    box:fault { path = "/images", status = 200, body = '[{"title":"bare"},7,"x",[],null]' }
    local items = dpg.assert(gallery.images:list()).items
    assert.same({ title = "bare" }, items[1])
    assert.is_nil(getmetatable(items[1]))
    assert.equal(7, items[2])
  end)
end)

describe("a set", function()
  local box, gallery

  before_each(function()
    box = boxes.start { operation_polls = 0 }
    gallery = client.service(box)
  end)
  after_each(function()
    client.close()
    box:stop()
  end)

  it("has methods, in lists, in the tree and below", function()
    dpg.assert(gallery.sets:create { name = "Mine" })
    local mine
    for set in gallery.sets:each() do
      if set.name == "Mine" then mine = set end
    end
    local page = dpg.assert(gallery.images:list { limit = 4 })
    dpg.assert(mine:add(page.items))
    dpg.assert(mine:remove { page.items[4] })
    dpg.assert(mine:order { page.items[2], page.items[1].public_uuid })
    dpg.assert(mine:set_visibility { image_public_uuids = { page.items[1] }, hidden = true })
    dpg.assert(mine:update { name = "Ours" })
    local items = dpg.assert(mine:images()).items
    assert.same({ page.items[2].public_uuid, page.items[1].public_uuid, page.items[3].public_uuid },
      { items[1].public_uuid, items[2].public_uuid, items[3].public_uuid })
    dpg.assert(mine:restore(dpg.assert(mine:snapshots()).items[1].uuid))
    assert.equal("Ours", dpg.assert(mine:get()).name)
    for _, top in ipairs(dpg.assert(gallery.sets:tree())) do
      assert.is_function(top.add)
      for _, below in ipairs(top.children) do assert.is_function(below.add) end
    end
  end)
end)
