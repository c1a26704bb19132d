-- dpg.catalog: what is checked before anything is sent.
local catalog = require "dpg.catalog"

describe("dpg.catalog.check", function()
  local fields = catalog.images.list.query

  local refused = { -- name, options, field
    { "a rating above 5", { rating = 6 }, "rating" },
    { "half a rating", { min_rating = 3.5 }, "min_rating" },
    { "a limit above 200", { limit = 201 }, "limit" },
    { "a limit of 0", { limit = 0 }, "limit" },
    { "an offset below 0", { offset = -1 }, "offset" },
    { "an empty list of keywords", { keyword = {} }, "keyword" },
    { "three corners of a box", { bbox = { 1, 2, 3 } }, "bbox" },
    { "an empty date", { created_at_from = " " }, "created_at_from" },
    { "NaN for a date", { created_at_from = 0 / 0 }, "created_at_from" },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1] .. ", unsent", function()
      local checked, err = catalog.check("images:list", fields, case[2])
      assert.is_nil(checked)
      assert.same({ "usage", "invalid_value", case[3] }, { err.kind, err.code, err.field })
    end)
  end

  local raised = {
    { rating = "4" }, { has_geo = "true" }, { query = 7 }, { keyword = { 1 } }, { created_at_to = true }, { bbox = 7 },
  }
  for _, options in ipairs(raised) do
    it("raises at a wrong type of " .. next(options) .. ", and names it", function()
      local ok, problem = pcall(catalog.check, "images:list", fields, options)
      assert.is_false(ok)
      assert.truthy(problem:find("images:list: '" .. next(options) .. "'", 1, true), problem)
    end)
  end

  it("takes Unix seconds for a date", function()
    local checked = catalog.check("images:list", fields, { created_at_from = 1764014400 })
    assert.equal("2025-11-24T20:00:00Z", checked.created_at_from)
  end)

  it("takes a box as four numbers", function()
    assert.equal("-1.5,2,3.25,4", catalog.check("images:list", fields, { bbox = { -1.5, 2, 3.25, 4 } }).bbox)
  end)

  it("leaves the caller's table alone", function()
    local options = { bbox = { 1, 2, 3, 4 }, rating = 3 }
    catalog.check("images:list", fields, options)
    assert.same({ bbox = { 1, 2, 3, 4 }, rating = 3 }, options)
  end)
end)

describe("dpg.catalog.check_body", function()
  local row, where = catalog.images.update, "images:update"

  it("counts a title in characters, not bytes", function()
    assert.is_table(catalog.check_body(where, row, { title = ("ü"):rep(191) }))
    local _, err = catalog.check_body(where, row, { title = ("ü"):rep(192) })
    assert.equal("title", err.field)
  end)

  it("takes the four rotations alone", function()
    for _, rotation in ipairs { 0, 90, 180, 270 } do
      assert.equal(rotation, catalog.check_body(where, row, { rotation = rotation }).rotation)
    end
    local _, err = catalog.check_body(where, row, { rotation = 45 })
    assert.equal("rotation", err.field)
  end)

  it("raises at an unknown field, and says which there are", function()
    local ok, problem = pcall(catalog.check_body, where, row, { titel = "x" })
    assert.is_false(ok)
    assert.truthy(problem:find("titel", 1, true) and problem:find("title", 1, true))
  end)

  it("refuses to change nothing", function()
    local _, err = catalog.check_body(where, row, {})
    assert.equal("nothing_to_do", err.code)
  end)
end)

describe("dpg.catalog.scope", function()
  local cases = {
    { "GET", "/images", "api.images.read" }, { "PATCH", "/images/x", "api.images.write" },
    { "DELETE", "/images/x", "api.images.delete" }, { "PATCH", "/sets/reorder", "api.sets.write" },
    { "GET", "/sets/tree", "api.images.read" }, { "POST", "/uploads", "api.upload" },
    { "PUT", "/images/x/rating", "api.ratings.write" }, { "POST", "/keywords/rename", "api.keywords.write" },
    { "GET", "/me", nil }, { "POST", "/operations/batch", nil },
  }
  for _, case in ipairs(cases) do
    it(string.format("knows that %s %s needs %s", case[1], case[2], tostring(case[3])), function()
      assert.equal(case[3], (catalog.scope(case[1], case[2])))
    end)
  end

  it("knows nothing of endpoints that are not in it", function()
    assert.is_nil((catalog.scope("GET", "/never/heard/of")))
  end)
end)

describe("the catalog", function()
  it("has a documented method for every row", function()
    catalog.each_row(function(group, method)
      local resource = require("dpg.resources." .. group).new({})
      assert.is_function(resource[method], group .. "." .. method)
    end)
  end)

  it("says what every row is answered with, and what each of its fields may hold", function()
    catalog.each_row(function(group, name, row)
      local which = group .. "." .. name
      assert.truthy(({ object = 1, list = 1, page = 1, operation = 1, batch = 1, link = 1 })[row.result], which)
      for _, fields in ipairs { row.query or {}, row.body or {} } do
        for field, check in pairs(fields) do assert.is_string(check.says, which .. "." .. field) end
      end
      for _, field in ipairs(row.required or {}) do assert.is_table(row.body[field], which .. "." .. field) end
    end)
  end)

  it("has every endpoint once", function()
    local seen = {}
    catalog.each_row(function(group, name, row)
      local key = row.method .. " " .. row.path
      assert.is_nil(seen[key], group .. "." .. name)
      seen[key] = true
    end)
  end)
end)
