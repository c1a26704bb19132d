-- Many calls at once: tasks that wait for calls, on one engine and on several.
local boxes = require "support.box"
local call = require "dpg.call"
local client = require "support.client"
local compat = require "dpg.compat"
local dpg = require "dpg"
local hub = require "dpg.hub"

describe("dpg.run with calls", function()
  local box, gallery

  before_each(function()
    box = boxes.start()
    gallery = client.service(box)
  end)
  after_each(function()
    client.nothing_left()
    client.close()
    box:stop()
  end)

  it("makes calls side by side", function()
    box:fault { path = "/me", hold = true, times = "always" }
    local names = dpg.run(function()
      local waiting, answered = {}, {}
      for i = 1, 4 do waiting[i] = dpg.spawn(function() return dpg.assert(gallery:me()).account.name end) end
      repeat -- until all four are on their way, and not one has been answered
        dpg.assert(gallery.images:list { limit = 1 })
      until box:count { path = "/me" } == 4
      box:release()
      for i, task in ipairs(waiting) do answered[i] = task:await() end
      return answered
    end)
    assert.equal(4, #names)
  end)

  it("uses a call's error as it would be outside", function()
    dpg.run(function()
      local _, err = gallery.images:get "00000000-0000-4000-8000-000000000000"
      assert.equal("image_not_found", err.code)
    end)
  end)

  it("walks pages by it:next() on every Lua", function()
    local n = dpg.run(function()
      local it, count = gallery.images:each { limit = 50 }, 0
      while true do
        local image, err = it:next()
        assert.is_nil(err)
        if not image then return count end
        count = count + 1
      end
    end)
    assert.equal(120, n)
  end)

  it("walks pages by `for`, or says what to write instead on Lua 5.1", function()
    local ok, problem = pcall(dpg.run, function()
      local n = 0
      for _ in gallery.images:each { limit = 50 } do n = n + 1 end
      assert.equal(120, n)
    end)
    if compat.strict_yield then
      assert.is_false(ok)
      assert.equal("cannot_wait_here", problem.code)
      assert.truthy(problem.message:find("it:next()", 1, true))
    else
      assert.is_true(ok, problem)
    end
  end)

  it("waits within pcall, or says on Lua 5.1 that it can't", function()
    dpg.run(function()
      local ok, me, err = pcall(gallery.me, gallery)
      assert.is_true(ok)
      if compat.strict_yield then
        assert.equal("cannot_wait_here", err.code)
      else
        assert.is_table(me)
      end
    end)
  end)

  it("refuses a call in a coroutine of the program's own within a task, unsent", function()
    dpg.run(function()
      local me, err = coroutine.wrap(function() return gallery:me() end)()
      assert.is_nil(me)
      assert.same({ "usage", "foreign_coroutine" }, { err.kind, err.code })
    end)
    assert.equal(0, box:count { path = "/me" })
  end)

  it("makes calls in a coroutine of the program's own outside of dpg.run", function()
    local co = coroutine.wrap(function()
      coroutine.yield(dpg.assert(gallery:me()).account.name)
      coroutine.yield(#dpg.assert(gallery.images:list()).items)
    end)
    assert.equal("Northlight Festival", co())
    assert.equal(50, co())
  end)

  it("cancels what the others wait for when its function raises", function()
    box:fault { path = "/me", hold = true, times = "always" }
    local ok = pcall(dpg.run, function()
      dpg.spawn(function() gallery:me() end)
      dpg.assert(gallery.images:list { limit = 1 })
      error "enough"
    end)
    assert.is_false(ok)
    box:release()
    box:clear_faults()
    assert.is_table(dpg.assert(gallery:me()))
  end)

  it("lets operation:wait of several tasks go on side by side", function()
    local page = dpg.assert(gallery.images:list { limit = 5 })
    local begun = box:now()
    dpg.run(function()
      local tasks = {}
      for i, image in ipairs(page.items) do
        tasks[i] = dpg.spawn(function()
          return dpg.assert(dpg.assert(gallery.images:update(image.public_uuid, { title = "T" .. i })):wait())
        end)
      end
      for _, task in ipairs(tasks) do assert.equal("succeeded", task:await().status) end
    end)
    assert.is_true(box:now() - begun < 5 * 0.5)
  end)

  it("waits for calls of several engines", function()
    local other = client.service(box, { user_agent = "another/1" })
    dpg.run(function()
      local a = dpg.spawn(function() return dpg.assert(gallery:me()) end)
      local b = dpg.spawn(function() return dpg.assert(other:me()) end)
      assert.is_table(a:await())
      assert.is_table(b:await())
    end)
    assert.equal(2, hub.counts().engines)
  end)

  it("rotates once for 1,000 calls that find the access token expired #heavy", function()
    box:set { access_token_life = 1 }
    local session = client.person(box, "jane")
    dpg.assert(session:me())
    box:set { access_token_life = 900 }
    assert(call.sleep(session._connection, 1.1))
    local before = box:exchanges()
    local good = dpg.run(function()
      local tasks, n = {}, 0
      for i = 1, 1000 do tasks[i] = dpg.spawn(function() return session.images:list { limit = 1 } end) end
      for _, task in ipairs(tasks) do
        if task:await() then n = n + 1 end
      end
      return n
    end)
    assert.equal(1000, good)
    assert.equal(before + 1, box:exchanges())
    assert.equal(0, box:report().presented_more_than_once)
  end)
end)
