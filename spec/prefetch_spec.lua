-- The option `prefetch`: a walk asks for the next page while the one before is being walked over.
local boxes = require "support.box"
local client = require "support.client"
local compat = require "dpg.compat"
local dpg = require "dpg"

local LIST = { path = "/images" }

describe("a walk over pages", function()
  local box, gallery

  setup(function()
    box = boxes.start()
    gallery = client.service(box, { retry = { base = 0.001 } })
  end)
  teardown(client.close)
  before_each(function() box:reset_seen() end)
  after_each(function()
    box:clear_faults()
    collectgarbage()
    collectgarbage()
    dpg.assert(gallery:me()) -- whoever pumps hears of what has been collected
    client.nothing_left()
  end)

  local function take(it, n)
    local items = {}
    for i = 1, n do items[i] = dpg.assert(it:next()).public_uuid end
    return items
  end

  local function rest(it)
    local items = {}
    local image, err = it:next()
    while image do
      items[#items + 1] = image.public_uuid
      image, err = it:next()
    end
    dpg.assert(not err, err)
    return items
  end

  it("asks for the next page while this one is being walked over", function()
    local it = gallery.images:each { limit = 50 }
    take(it, 2)
    assert.equal(2, box:wait_seen(LIST, 2))
    take(it, 49)
    assert.equal(3, box:wait_seen(LIST, 3))
    it:close()
  end)

  it("gives what it gives without, and asks for each page once", function()
    local all = rest(gallery.images:each { limit = 50, prefetch = false })
    assert.equal(120, #all)
    box:reset_seen()
    assert.same(all, rest(gallery.images:each { limit = 50 }))
    assert.equal(3, box:count(LIST))
  end)

  it("builds the wanted fields alone of what came ahead, too", function()
    local it = gallery.images:each { limit = 50, fields = { "rating" } }
    local image = it:next()
    while image do
      assert.is_nil(image.title)
      image = it:next()
    end
  end)

  it("asks for one page alone where only its first is wanted", function()
    local it = gallery.images:each { limit = 50 }
    take(it, 1)
    dpg.assert(gallery:me())
    assert.equal(1, box:count(LIST))
    it:close()
  end)

  local function asks_ahead(session, options)
    options.limit = 50
    local it = session.images:each(options)
    take(it, 3)
    dpg.assert(session:me()) -- which would have been behind it
    dpg.assert(session:me())
    local count = box:count(LIST)
    it:close()
    return count > 1
  end

  it("does not where it is told so, by the call or by the session", function()
    assert.is_false(asks_ahead(gallery, { prefetch = false }))
    local without = client.service(box, { prefetch = false })
    box:reset_seen()
    assert.is_false(asks_ahead(without, {}))
    assert.is_true(asks_ahead(without, { prefetch = true }))
  end)

  it("asks page by page from the moment on that the server had to be asked twice", function()
    box:fault { path = "/images", retry_after = "0" }
    local it = gallery.images:each { limit = 50 }
    take(it, 10)
    dpg.assert(gallery:me())
    dpg.assert(gallery:me())
    assert.equal(2, box:count(LIST)) -- the refusal, and the page
    assert.equal(110, #rest(it))
    assert.equal(4, box:count(LIST))
  end)

  it("asks again, when the page is wanted, for one that did not come ahead", function()
    box:fault { path = "/images", nth = 2, cut = 10 }
    local it = gallery.images:each { limit = 50, retry = false }
    take(it, 2)
    assert.equal(2, box:wait_seen(LIST, 2))
    assert.equal(118, #rest(it))
    assert.equal(4, box:count(LIST))
  end)

  it("tells a refusal that came ahead where the page begins; then asks for that page again", function()
    box:fault { path = "/images", nth = 2, status = 403, code = "forbidden" }
    local it = gallery.images:each { limit = 50 }
    take(it, 2)
    assert.equal(2, box:wait_seen(LIST, 2))
    take(it, 48)
    local image, err = it:next()
    assert.is_nil(image)
    assert.same({ "api", "forbidden", 403 }, { err.kind, err.code, err.status })
    assert.equal(2, box:count(LIST))
    assert.equal(70, #rest(it))
  end)

  it("asks again, when the page is wanted, where a Retry-After is over by then", function()
    box:fault { path = "/images", nth = 2, retry_after = "3" }
    local it = gallery.images:each { limit = 50, deadline = 2.9 }
    take(it, 2)
    assert.equal(2, box:wait_seen(LIST, 2))
    dpg.assert(gallery:me())
    dpg.assert(gallery:me()) -- which waits at the gate for those seconds
    assert.equal(118, #rest(it))
  end)

  it("gives each item to one of several tasks that share it", function()
    local it, count, seen = gallery.images:each { limit = 50 }, 0, {}
    local function work()
      local image = dpg.assert(it:next())
      while image do
        count, seen[image.public_uuid] = count + 1, true
        dpg.assert(gallery:me())
        local err
        image, err = it:next()
        dpg.assert(not err, err)
      end
    end
    dpg.run(function()
      for _ = 1, 4 do dpg.spawn(work) end
    end)
    local different = 0
    for _ in pairs(seen) do different = different + 1 end
    assert.same({ 120, 120 }, { count, different })
  end)

  it("gives nothing more once it is closed, be it while somebody waits for a page", function()
    dpg.run(function()
      local it = gallery.images:each { limit = 50 }
      local waits = dpg.spawn(function() return it:next() end)
      dpg.spawn(function() it:close() end)
      assert.is_nil(waits:await())
    end)
  end)

  it("asks for nothing more when it is closed while somebody waits for what was asked for ahead", function()
    box:fault { path = "/images", nth = 2, hold_work = true }
    dpg.run(function()
      local it = gallery.images:each { limit = 50 }
      local waits = dpg.spawn(function()
        take(it, 50)
        return it:next()
      end)
      dpg.spawn(function()
        repeat dpg.assert(gallery:me()) until box:count(LIST) == 2
        it:close()
      end)
      assert.is_nil(waits:await())
    end)
    assert.equal(2, box:count(LIST))
  end)

  it("leaves nothing behind when it is closed", function()
    box:fault { path = "/images", nth = 2, hold_work = true }
    local it = gallery.images:each { limit = 50 }
    take(it, 2)
    it:close()
    client.nothing_left()
    assert.is_nil(it:next())
  end)

  it("leaves nothing behind when nobody holds it any more", function()
    box:fault { path = "/images", nth = 2, hold_work = true }
    take(gallery.images:each { limit = 50 }, 2)
  end)

  if compat.closes then
    it("is closed by a `for` that is left early, as a file by io.lines, and so is a download", function()
      box:fault { path = "/images", nth = 2, hold_work = true }
      local n = 0
      for _ in gallery.images:each { limit = 50 } do
        n = n + 1
        if n == 2 then break end
      end
      client.nothing_left()
      local file = box:add_blob { size = 4 * 1024 * 1024 }.public_uuid
      for bytes in gallery.downloads:chunks(file) do
        if #bytes > 0 then break end
      end
      client.nothing_left()
    end)
  end
end)
