-- Checks that the sandbox's writes to sets keep the contract: making and moving them, membership, order, visibility,
-- snapshots.

local boxes = require "spec.support.box"
local dates = require "dpg.sandbox.dates"
local http = require "spec.support.raw_http"
local json = require "dpg.sandbox.json"

describe("dpg.sandbox, writes to sets,", function()
  local box, set, keys

  setup(function()
    box = boxes.start { operation_polls = 0 }
    keys = 0
  end)
  teardown(function() box:stop() end)

  local function write(method, path, body, token)
    keys = keys + 1
    local options = { token = token or box.token, key = "k" .. keys, body = body }
    return http.call(box, method, (path:gsub("{}", set)), options)
  end

  local function read(path) return http.get(box, (path:gsub("{}", set))).json end

  local function make(name, parent)
    return write("POST", "/sets", { name = name, parent_public_uuid = parent }).json.set_public_uuid
  end

  local function images(count, from)
    local list = {}
    for index, image in ipairs(read(("/images?limit=%d&offset=%d"):format(count, from or 0))) do
      list[index] = image.public_uuid
    end
    return list
  end

  local function members()
    local list = {}
    for index, image in ipairs(read "/sets/{}/images?limit=200") do list[index] = image.public_uuid end
    return list
  end

  local function names(list)
    local all = {}
    for index, one in ipairs(list) do all[index] = one.name end
    return table.concat(all, " ")
  end

  before_each(function()
    set = "none"
    set = make "Spec"
  end)

  local endpoints = { -- method, path, body
    { "PATCH", "/sets/{}", { name = "X" } }, { "POST", "/sets/{}/images", { image_public_uuids = { "x" } } },
    { "DELETE", "/sets/{}/images", { image_public_uuids = { "x" } } },
    { "PATCH", "/sets/{}/order", { image_public_uuids = { "x" } } },
    { "PATCH", "/sets/{}/visibility", { image_public_uuids = { "x" }, hidden = true } },
    { "POST", "/sets/{}/restore", nil },
  }
  for _, endpoint in ipairs(endpoints) do
    it(endpoint[1] .. " " .. endpoint[2] .. " wants its scope, and a set", function()
      local refused = write(endpoint[1], endpoint[2], endpoint[3], box.tokens.read)
      assert.same({ 403, "forbidden" }, { refused.status, refused.json.error.code })
      local unknown = write(endpoint[1], (endpoint[2]:gsub("{}", "no-such-set")), endpoint[3])
      assert.same({ 404, "set_not_found" }, { unknown.status, unknown.json.error.code })
    end)
  end

  for _, endpoint in ipairs { { "POST", "/sets" }, { "PATCH", "/sets/reorder" } } do
    it(endpoint[1] .. " " .. endpoint[2] .. " wants its scope", function()
      assert.equal(403, write(endpoint[1], endpoint[2], {}, box.tokens.read).status)
    end)
  end

  it("make a set, with an Operation that names it", function()
    local body = { name = "Mud", colour = "green", type = "folder", description = "Rain." }
    local response = write("POST", "/sets", body)
    local uuid = response.json.set_public_uuid
    assert.same({ 202, "set_create", uuid },
      { response.status, response.json.type, response.json.result.set_public_uuid })
    local made = read("/sets/" .. uuid)
    assert.same({ "Mud", "green", "folder", "Rain.", 0, json.null },
      { made.name, made.colour, made.type, made.description, made.image_count, made.parent_public_uuid })
    assert.truthy(names(read "/sets?limit=200"):find "Mud$")
  end)

  local refused = { -- what, body, field
    { "no name", { colour = "red" }, "name" }, { "an empty name", { name = "" }, "name" },
    { "an unknown colour", { name = "A", colour = "mauve" }, "colour" },
    { "an unknown type", { name = "A", type = "heap" }, "type" },
    { "what it does not know", { name = "A", x = 1 }, "x" },
  }
  for _, case in ipairs(refused) do
    it("refuse " .. case[1], function()
      local response = write("POST", "/sets", case[2])
      assert.same({ 400, case[3] }, { response.status, response.json.error.field })
    end)
  end

  it("know which parents there are", function()
    local response = write("POST", "/sets", { name = "A", parent_public_uuid = "no-such-set" })
    assert.same({ 404, "set_not_found", "parent_public_uuid" },
      { response.status, response.json.error.code, response.json.error.field })
  end)

  it("rename, recolour and move, but not below itself", function()
    local child = make("Child", set)
    assert.equal(202, write("PATCH", "/sets/{}", { name = "Renamed", colour = "red" }).status)
    assert.same({ "Renamed", "red", 1 },
      { read("/sets/{}").name, read("/sets/{}").colour, read("/sets/{}").children_count })
    local response = write("PATCH", "/sets/{}", { parent_public_uuid = child })
    assert.same({ 400, "parent_public_uuid" }, { response.status, response.json.error.field })
    write("PATCH", "/sets/" .. child, { parent_public_uuid = json.null })
    assert.same({ 0, json.null }, { read("/sets/{}").children_count, read("/sets/" .. child).parent_public_uuid })
    assert.equal(400, write("PATCH", "/sets/{}", "{}").status)
  end)

  it("add images at the end, each once, and take them out", function()
    local five = images(5)
    write("POST", "/sets/{}/images", { image_public_uuids = { five[1], five[2] } })
    local response = write("POST", "/sets/{}/images", { image_public_uuids = { five[2], five[3] } })
    assert.same({ 202, { five[2], five[3] } }, { response.status, response.json.image_public_uuids })
    assert.same({ five[1], five[2], five[3] }, members())
    assert.truthy(table.concat(read("/images/" .. five[3]).set_public_uuids, " "):find(set, 1, true))
    write("DELETE", "/sets/{}/images", { image_public_uuids = { five[1], five[5] } })
    assert.same({ five[2], five[3] }, members())
    assert.is_nil(table.concat(read("/images/" .. five[1]).set_public_uuids, " "):find(set, 1, true))
  end)

  it("name images that there are, in a list that is one", function()
    local unknown = write("POST", "/sets/{}/images", { image_public_uuids = { "no-such-image" } })
    assert.same({ 404, "image_not_found", "image_public_uuids" },
      { unknown.status, unknown.json.error.code, unknown.json.error.field })
    for _, list in ipairs { "x", json.array {}, { 5 } } do
      local response = write("POST", "/sets/{}/images", { image_public_uuids = list })
      assert.same({ 400, "image_public_uuids" }, { response.status, response.json.error.field })
    end
  end)

  it("choose the lead image among those in the set", function()
    local two = images(3)
    write("POST", "/sets/{}/images", { image_public_uuids = { two[1], two[2] } })
    assert.equal(two[1], read("/sets/{}").lead_image_public_uuid)
    assert.equal(202, write("PATCH", "/sets/{}", { lead_image_public_uuid = two[2] }).status)
    assert.equal(two[2], read("/sets/{}").lead_image_public_uuid)
    assert.equal(400, write("PATCH", "/sets/{}", { lead_image_public_uuid = two[3] }).status)
  end)

  it("put images in order, those named first", function()
    local four = images(4)
    write("POST", "/sets/{}/images", { image_public_uuids = four })
    assert.equal(202, write("PATCH", "/sets/{}/order", { image_public_uuids = { four[3], four[2] } }).status)
    assert.same({ four[3], four[2], four[1], four[4] }, members())
    local stranger, twice = images(1, 20), { four[1], four[1] }
    for _, list in ipairs { stranger, twice } do
      local response = write("PATCH", "/sets/{}/order", { image_public_uuids = list })
      assert.same({ 400, "image_public_uuids" }, { response.status, response.json.error.field })
    end
  end)

  it("put sets in order, below a parent and at the top", function()
    local a, b, c = make("A", set), make("B", set), make("C", set)
    assert.equal(202, write("PATCH", "/sets/reorder", { set_public_uuids = { c, a } }).status)
    assert.equal("C A B", names(read "/sets?parent_public_uuid={}"))
    local mixed = write("PATCH", "/sets/reorder", { set_public_uuids = { b, set } })
    assert.same({ 400, "set_public_uuids" }, { mixed.status, mixed.json.error.field })
    write("PATCH", "/sets/reorder", { set_public_uuids = { set } })
    assert.equal("Spec", read("/sets")[1].name)
    assert.equal("Spec", read("/sets/tree")[1].name)
  end)

  it("hide images and show them, and bring out embargoed ones in time", function()
    local three = images(3)
    write("POST", "/sets/{}/images", { image_public_uuids = three })
    local function shown()
      local list = {}
      for index, image in ipairs(read "/sets/{}/images") do list[index] = image.hidden and "-" or "+" end
      return table.concat(list)
    end
    local function set_visibility(body) return write("PATCH", "/sets/{}/visibility", body) end
    local due = dates.iso(box:now() + 3600)
    set_visibility { image_public_uuids = { three[1] }, hidden = true }
    set_visibility { image_public_uuids = { three[2] }, hidden = true, activation_time = due }
    assert.same({ "--+", due, json.null },
      { shown(), read("/sets/{}/images")[2].activation_time, read("/sets/{}/images")[3].activation_time })
    set_visibility { image_public_uuids = { three[1], three[3] }, activation_time = due }
    assert.equal("--+", shown())
    box:advance(3590)
    assert.equal("--+", shown())
    box:advance(20)
    assert.same({ "+++", json.null }, { shown(), read("/sets/{}/images")[2].activation_time })
    set_visibility { image_public_uuids = three, hidden = true }
    set_visibility { image_public_uuids = { three[2] }, hidden = false }
    assert.equal("-+-", shown())
    local refusals = {
      { "hidden", { image_public_uuids = three, hidden = "true" } }, { "hidden", { image_public_uuids = three } },
      { "hidden", { image_public_uuids = three, hidden = 1 } }, { "image_public_uuids", { hidden = true } },
      { "activation_time", { image_public_uuids = three, hidden = true, activation_time = "soon" } },
      { "image_public_uuids", { image_public_uuids = images(1, 40), hidden = true } },
    }
    for _, case in ipairs(refusals) do
      local response = set_visibility(case[2])
      assert.same({ 400, case[1] }, { response.status, response.json.error.field })
    end
  end)

  it("keep a snapshot before each rearrangement, and go back to it", function()
    local four = images(4)
    assert.equal("snapshot_not_found", write("POST", "/sets/{}/restore").json.error.code)
    write("POST", "/sets/{}/images", { image_public_uuids = four })
    write("PATCH", "/sets/{}/visibility", { image_public_uuids = { four[2] }, hidden = true })
    write("PATCH", "/sets/{}/order", { image_public_uuids = { four[4] } })
    write("DELETE", "/sets/{}/images", { image_public_uuids = { four[2] } })
    local snapshots = read "/sets/{}/snapshots"
    assert.same({ 3, "set_remove_images", "set_order", "set_add_images", 4, 0 }, { #snapshots, snapshots[1].reason,
      snapshots[2].reason, snapshots[3].reason, snapshots[1].image_count, snapshots[3].image_count })
    assert.equal(202, write("POST", "/sets/{}/restore", { snapshot_uuid = snapshots[2].uuid }).status)
    assert.same(four, members())
    assert.is_true(read("/sets/{}/images")[2].hidden)
    assert.equal(4, #read "/sets/{}/snapshots")
    write("POST", "/sets/{}/restore") -- what the restoring replaced
    assert.same({ four[4], four[1], four[3] }, members())
    assert.equal(404, write("POST", "/sets/{}/restore", { snapshot_uuid = "other" }).status)
  end)
end)
