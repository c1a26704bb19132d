-- dpg.page: pages and iterators, with a server made of a table.
local errors = require "dpg.errors"
local page = require "dpg.page"

local function pages(list)
  local asked = {}
  return function(offset)
    asked[#asked + 1] = offset
    local answer = table.remove(list, 1)
    if answer.kind then return nil, errors.new(answer) end
    return answer
  end, asked
end

local function all(it)
  local items = {}
  for item in it do items[#items + 1] = item end
  return items
end

describe("an iterator", function()
  it("follows X-Next-Offset, whatever the number of items", function()
    local fetch, asked = pages {
      { items = { 1, 2 }, has_more = true, next_offset = 10 }, { items = {}, has_more = true, next_offset = 20 },
      { items = { 3 }, has_more = false },
    }
    assert.same({ 1, 2, 3 }, all(page.iterator(fetch)))
    assert.same({ 0, 10, 20 }, asked)
  end)

  it("asks for the same page again after an error", function()
    local fetch, asked = pages {
      { items = { 1 }, has_more = true, next_offset = 1 },
      { kind = "network", code = "x" }, { kind = "timeout", code = "y" },
      { items = { 2 }, has_more = false },
    }
    local it = page.iterator(fetch)
    assert.equal(1, it:next())
    assert.equal("network", select(2, it:next()).kind)
    assert.equal("timeout", select(2, it:next()).kind)
    assert.equal(2, it:next())
    assert.is_nil(it:next())
    assert.same({ 0, 1, 1, 1 }, asked)
  end)

  it("does not go round in circles when the server does not move on", function()
    local fetch = pages { { items = { 1 }, has_more = true, next_offset = 0 } }
    local item, err = page.iterator(fetch):next()
    assert.is_nil(item)
    assert.equal("protocol", err.kind)
  end)

  it("asks nothing until it is asked, and nothing after its end", function()
    local fetch, asked = pages { { items = {}, has_more = false } }
    local it = page.iterator(fetch, 7)
    assert.same({}, asked)
    assert.is_nil(it:next())
    assert.is_nil(it:next())
    assert.same({ 7 }, asked)
    assert.equal("dpg.Iterator (at its end)", tostring(it))
  end)

  it("hands out items that are false", function()
    local fetch = pages { { items = { false, 1 }, has_more = false } }
    local it = page.iterator(fetch)
    assert.is_false(it:next())
    assert.equal(1, it:next())
  end)
end)

describe("dpg.page.read", function()
  it("makes up for an X-Next-Offset that is missing", function()
    local one = page.read({ 1, 2, 3 }, { ["x-has-more"] = "true" }, 10)
    assert.equal(13, one.next_offset)
  end)

  it("takes no headers for the end", function()
    assert.is_false(page.read({ 1 }, {}, 0).has_more)
  end)
end)
