-- Checks that the sandbox's writes to images, and to the vocabulary, keep the contract: what they change, what they
-- refuse and under which field, and which scope they want.

local boxes = require "spec.support.box"
local http = require "spec.support.raw_http"
local json = require "dpg.sandbox.json"
local process = require "spec.support.process"

describe("dpg.sandbox, writes to images,", function()
  local box, uuid, keys

  setup(function()
    box = boxes.start { operation_polls = 0 }
    keys = 0
  end)
  teardown(function() box:stop() end)
  before_each(function()
    uuid = http.get(box, "/images?limit=1&offset=5").json[1].public_uuid
  end)

  local function write(method, path, body, token)
    keys = keys + 1
    local options = { token = token or box.token, key = "k" .. keys, body = body }
    return http.call(box, method, (path:gsub("{}", uuid)), options)
  end

  local function image() return http.get(box, "/images/" .. uuid).json end

  local endpoints = { -- method, path, a good body, scope
    { "DELETE", "/images/{}", nil, "api.images.delete" },
    { "PUT", "/images/{}/rating", { rating = 3 }, "api.ratings.write" },
    { "PUT", "/images/{}/crop", { aspect_ratio = "1:1", x = 0, y = 0, width = 9, height = 9 }, "api.metadata.write" },
    { "DELETE", "/images/{}/crop", nil, "api.metadata.write" },
    { "PUT", "/images/{}/alt_text", { alt_text = "A hill" }, "api.metadata.write" },
    { "PUT", "/images/{}/metadata", { creator = "Me" }, "api.metadata.write" },
    { "POST", "/images/{}/credits", { role = "stylist", name = "Ada" }, "api.metadata.write" },
    { "DELETE", "/images/{}/credits", { role = "stylist", name = "Ada" }, "api.metadata.write" },
    { "POST", "/images/{}/extract_metadata", nil, "api.metadata.write" },
    { "POST", "/images/{}/keywords", { keywords = { "one" } }, "api.keywords.write" },
    { "DELETE", "/images/{}/keywords", { keyword = "one" }, "api.keywords.write" },
  }
  for _, endpoint in ipairs(endpoints) do
    local name = endpoint[1] .. " " .. endpoint[2]

    it(name .. " wants " .. endpoint[4], function()
      local others = {}
      for _, scope in ipairs(http.get(box, "/me").json.capabilities) do
        if scope ~= endpoint[4] then others[#others + 1] = scope end
      end
      local refused = write(endpoint[1], endpoint[2], endpoint[3], box:mint { scopes = others })
      assert.same({ 403, "forbidden" }, { refused.status, refused.json.error.code })
      assert.truthy(refused.json.error.detail:find(endpoint[4], 1, true))
    end)

    it(name .. " knows which images there are", function()
      local other = endpoint[2]:gsub("{}", "no-such-image")
      local refused = write(endpoint[1], other, endpoint[3])
      assert.same({ 404, "image_not_found" }, { refused.status, refused.json.error.code })
    end)

    it(name .. " wants a key, and takes no other fields", function()
      local options = { token = box.token, body = endpoint[3] }
      local no_key = http.call(box, endpoint[1], (endpoint[2]:gsub("{}", uuid)), options)
      assert.same({ 400, "Idempotency-Key" }, { no_key.status, no_key.json.error.field })
      local body = { colour = "blue" }
      for field, value in pairs(endpoint[3] or {}) do body[field] = value end
      local refused = write(endpoint[1], endpoint[2], body)
      assert.same({ 400, "colour" }, { refused.status, refused.json.error.field })
    end)
  end

  local function many(count, text)
    local list = {}
    for index = 1, count do list[index] = text .. index end
    return list
  end

  local crop = { aspect_ratio = "16:9", x = 0, y = 0, width = 160, height = 90 }
  local function crop_with(field, value)
    local copy = {}
    for name, old in pairs(crop) do copy[name] = old end
    copy[field] = value
    return copy
  end

  local refused = { -- what, method, path, body, field
    { "a rating of 6", "PUT", "/images/{}/rating", { rating = 6 }, "rating" },
    { "a rating of -1", "PUT", "/images/{}/rating", { rating = -1 }, "rating" },
    { "a rating of 2.5", "PUT", "/images/{}/rating", { rating = 2.5 }, "rating" },
    { "a rating as text", "PUT", "/images/{}/rating", { rating = "3" }, "rating" },
    { "no rating", "PUT", "/images/{}/rating", "{}", "rating" },
    { "half a pixel", "PUT", "/images/{}/crop", crop_with("x", 0.5), "x" },
    { "a negative corner", "PUT", "/images/{}/crop", crop_with("y", -1), "y" },
    { "a crop without width", "PUT", "/images/{}/crop", crop_with("width", 0), "width" },
    { "a crop beyond the edge", "PUT", "/images/{}/crop", crop_with("height", 100000), "height" },
    { "a ratio in words", "PUT", "/images/{}/crop", crop_with("aspect_ratio", "wide"), "aspect_ratio" },
    { "a number as alt text", "PUT", "/images/{}/alt_text", { alt_text = 5 }, "alt_text" },
    { "unknown metadata", "PUT", "/images/{}/metadata", { shoe_size = "44" }, "shoe_size" },
    { "a mark that is text", "PUT", "/images/{}/metadata", { copyright_marked = "yes" }, "copyright_marked" },
    { "no metadata", "PUT", "/images/{}/metadata", "{}", "body" },
    { "a credit without a role", "POST", "/images/{}/credits", { name = "Ada" }, "role" },
    { "an empty name", "POST", "/images/{}/credits", { role = "stylist", name = "" }, "name" },
    { "201 keywords", "POST", "/images/{}/keywords", { keywords = many(201, "w") }, "keywords" },
    { "no keywords", "POST", "/images/{}/keywords", '{"keywords":[]}', "keywords" },
    { "a blank keyword", "POST", "/images/{}/keywords", { keywords = { " " } }, "keywords" },
    { "a number as keyword", "POST", "/images/{}/keywords", { keywords = { 5 } }, "keywords" },
    { "a list that is none", "POST", "/images/{}/keywords", { keywords = "one" }, "keywords" },
    { "a rename to nothing", "POST", "/keywords/rename", { from = "a", image_public_uuids = { "x" } }, "to" },
    { "a rename nowhere", "POST", "/keywords/rename", { from = "a", to = "b" }, "image_public_uuids" },
  }
  for _, case in ipairs(refused) do
    it("refuse " .. case[1], function()
      local response = write(case[2], case[3], case[4])
      assert.same({ 400, "validation", case[5] },
        { response.status, response.json.error.code, response.json.error.field })
      assert.is_string(response.json.error.detail)
    end)
  end

  it("rate from 0 to 5", function()
    for _, rating in ipairs { 5, 0 } do
      assert.equal(202, write("PUT", "/images/{}/rating", { rating = rating }).status)
      assert.equal(rating, image().rating)
    end
  end)

  it("keep one crop for each ratio, and clear one or all", function()
    write("PUT", "/images/{}/crop", crop)
    write("PUT", "/images/{}/crop", crop_with("x", 7))
    write("PUT", "/images/{}/crop", crop_with("aspect_ratio", "1:1"))
    assert.same({ 2, 7 }, { #image().crops, image().crops[1].x })
    write("DELETE", "/images/{}/crop", { aspect_ratio = "16:9" })
    assert.same({ 1, "1:1" }, { #image().crops, image().crops[1].aspect_ratio })
    write("DELETE", "/images/{}/crop")
    assert.truthy(http.get(box, "/images/" .. uuid).body:find('"crops":[]', 1, true))
  end)

  it("set alternative text and metadata, and clear them with null", function()
    write("PUT", "/images/{}/alt_text", { alt_text = "Ein Hügel" })
    write("PUT", "/images/{}/metadata", { headline = "Dusk", copyright_marked = false })
    local before = image()
    assert.same({ "Ein Hügel", "Dusk", false, "string" },
      { before.alt_text, before.metadata.headline, before.metadata.copyright_marked, type(before.metadata.creator) })
    write("PUT", "/images/{}/alt_text", { alt_text = json.null })
    write("PUT", "/images/{}/metadata", { headline = json.null })
    assert.same({ json.null, json.null }, { image().alt_text, image().metadata.headline })
  end)

  it("give credit once, and take it back", function()
    local credit = { role = "stylist", name = "Ada" }
    write("POST", "/images/{}/credits", credit)
    write("POST", "/images/{}/credits", credit)
    assert.same({ credit }, image().credits)
    assert.equal(202, write("DELETE", "/images/{}/credits", credit).status)
    assert.same({}, image().credits)
    assert.equal("credit_not_found", write("DELETE", "/images/{}/credits", credit).json.error.code)
  end)

  it("add 200 keywords at a time, each once, and hand them back split", function()
    local before = #image().keywords
    assert.equal(202, write("POST", "/images/{}/keywords", { keywords = many(200, "mood:calm ") }).status)
    write("POST", "/images/{}/keywords", { keywords = { "mood:calm 1", "mood:calm 200" } })
    local now = image().keywords
    assert.same({ before + 200, "mood", "calm 200" }, { #now, now[#now].namespace, now[#now].value })
    assert.equal(1, #http.get(box, "/images?keyword=mood:calm%207").json)
  end)

  it("remove a keyword by its full form, or by its value and namespace", function()
    write("POST", "/images/{}/keywords", { keywords = { "axis:one", "axis:two", "bare" } })
    local before = #image().keywords
    assert.equal("keyword_not_found", write("DELETE", "/images/{}/keywords", { keyword = "one" }).json.error.code)
    assert.equal(202, write("DELETE", "/images/{}/keywords", { keyword = "axis:one" }).status)
    assert.equal(202, write("DELETE", "/images/{}/keywords", { keyword = "two", namespace = "axis" }).status)
    assert.equal(202, write("DELETE", "/images/{}/keywords", { keyword = "bare" }).status)
    assert.equal(before - 3, #image().keywords)
  end)

  it("rename a keyword across images, and merge it where the new one is there", function()
    local pair = http.get(box, "/images?limit=2&offset=30").json
    local ids = { pair[1].public_uuid, pair[2].public_uuid }
    write("POST", "/images/" .. ids[1] .. "/keywords", { keywords = { "old:x", "new:y" } })
    write("POST", "/images/" .. ids[2] .. "/keywords", { keywords = { "old:x" } })
    local body = { from = "old:x", to = "new:y", image_public_uuids = ids }
    assert.same(ids, write("POST", "/keywords/rename", body).json.image_public_uuids)
    assert.same({ 0, 2 },
      { #http.get(box, "/images?keyword=old:x").json, #http.get(box, "/images?keyword=new:y").json })
    body.image_public_uuids = { "no-such-image" }
    local unknown = write("POST", "/keywords/rename", body)
    assert.same({ 404, "image_not_found", "image_public_uuids" },
      { unknown.status, unknown.json.error.code, unknown.json.error.field })
  end)

  it("bring what is embedded in the file into the fields", function()
    local before = image()
    write("PATCH", "/images/{}", { description = "Something else", creation_date = "2001-01-01" })
    assert.equal("extract_metadata", write("POST", "/images/{}/extract_metadata").json.type)
    assert.same({ before.description, before.metadata.exif.DateTimeOriginal },
      { image().description, image().creation_date })
  end)

  it("delete an image, from its sets too", function()
    local set = http.get(box, "/sets/tree").json[1].children[2].public_uuid
    local members = http.get(box, "/sets/" .. set .. "/images?limit=200").json
    uuid = members[1].public_uuid
    local total = http.get(box, "/facets").json.total
    assert.equal("succeeded", write("DELETE", "/images/{}").json.status)
    assert.equal(404, http.get(box, "/images/" .. uuid).status)
    assert.equal(#members - 1, http.get(box, "/sets/" .. set).json.image_count)
    assert.equal(total - 1, http.get(box, "/facets").json.total)
  end)

  it("change nothing where their Operation fails", function()
    box:set { operation_outcome = "failed" }
    assert.equal("failed", write("DELETE", "/images/{}").json.status)
    box:set { operation_outcome = "succeeded" }
    assert.equal(200, http.get(box, "/images/" .. uuid).status)
  end)

  it("run in a batch, whole or not at all, and say which item is wrong", function()
    local function item(method, path, body)
      return { method = method, path = "/v1/images/" .. uuid .. path, body = body }
    end
    local good = { item("PUT", "/rating", { rating = 2 }), item("DELETE", "/crop"),
      item("POST", "/keywords", { keywords = { "batched" } }) }
    local done = write("POST", "/operations/batch", { operations = good })
    assert.same({ 202, 3, "rating" },
      { done.status, done.json.summary.succeeded, done.json.operations[1].type })
    assert.equal(2, image().rating)
    good[2] = item("PUT", "/rating", { rating = 9 })
    good[1].body.rating = 1
    local bad = write("POST", "/operations/batch", { operations = good })
    assert.same({ 400, "rating" }, { bad.status, bad.json.error.field })
    assert.truthy(bad.json.error.detail:find("operations[1]", 1, true))
    assert.equal(2, image().rating)
  end)

  it("run fifty at a time, not fifty-one, and no other kinds of request", function()
    local items = {}
    for index = 1, 50 do
      items[index] = { method = "PUT", path = "/v1/images/" .. uuid .. "/rating", body = { rating = index % 6 } }
    end
    assert.equal(50, write("POST", "/operations/batch", { operations = items }).json.summary.total)
    items[51] = items[1]
    assert.equal(400, write("POST", "/operations/batch", { operations = items }).status)
    for _, path in ipairs { "/v1/uploads", "/v1/nothing", "/images/" .. uuid .. "/rating" } do
      local one = { { method = "POST", path = path, body = { filename = "a.jpg" } } }
      assert.same({ 400, "operations[0]" }, { write("POST", "/operations/batch", { operations = one }).status,
        write("POST", "/operations/batch", { operations = one }).json.error.field })
    end
  end)

  it("are done once each, thousands of them, though answers are lost #heavy", function()
    local made, total, at_once = box:report().operations, process.is_heavy and 10000 or 2000, 50
    local operations = {}
    box:fault { path = "/images/.+", method = "PUT", times = "always", chance = 0.02, drop = "after" }
    local client, done = nil, 0
    local function text(number)
      return http.request_text("PUT", "/images/" .. uuid .. "/rating",
        { token = box.token, key = "many-" .. number, body = '{"rating":4}' })
    end
    while done < total do
      client = client or http.connect(box)
      local texts = {}
      for number = done + 1, math.min(done + at_once, total) do texts[#texts + 1] = text(number) end
      client:send(table.concat(texts))
      for _ = 1, #texts do
        local response = http.read_response(client)
        if not response then
          client:close()
          client = nil
          break
        end
        done = done + 1
        operations[response.json.uuid] = true
      end
    end
    client:close()
    box:clear_faults()
    local different = 0
    for _ in pairs(operations) do different = different + 1 end
    assert.same({ total, total }, { different, box:report().operations - made })
    assert.is_true(box:count { method = "PUT" } > total)
  end)
end)
