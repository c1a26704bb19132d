-- dpg.loop(): tasks that a game's or an event loop's own loop steps. What calls do in its tasks is in every_host_spec.
local boxes = require "support.box"
local client = require "support.client"
local core = require "dpg.core"
local dpg = require "dpg"
local hub = require "dpg.hub"
local socket = require "socket"

local function raised(fn, ...)
  local ok, problem = pcall(fn, ...)
  assert.is_false(ok)
  return problem
end

-- Steps until `done()`, or fails after ten seconds.
local function step_until(loop, done)
  local ends_at = core.now() + 10
  while not done() do
    loop:step(1)
    assert(core.now() < ends_at, "it never came")
  end
end

local function finish(loop)
  step_until(loop, function() return loop:step(1) == 0 end)
end

describe("a loop", function()
  local loop

  before_each(function() loop = dpg.assert(dpg.loop()) end)
  after_each(function()
    loop:close()
    client.close()
  end)

  it("has a descriptor, and nothing else, to wake who waits: one for each Lua state", function()
    local _, err = hub.thread "socket"
    assert.same({ "usage", "another_host" }, { err.kind, err.code })
  end)

  it("runs nothing before it is stepped", function()
    local ran = false
    loop:spawn(function() ran = true end)
    assert.is_false(ran)
    assert.equal(0, loop:step(1))
    assert.is_true(ran)
  end)

  it("gives a task its arguments", function()
    local got
    loop:spawn(function(...) got = { n = select("#", ...), ... } end, 1, nil, 3)
    loop:step(1)
    assert.same({ n = 3, 1, nil, 3 }, got)
  end)

  it("tells how many tasks have not ended", function()
    for n = 1, 3 do
      loop:spawn(function()
        for _ = 1, n do coroutine.yield() end
      end)
    end
    local left = {}
    for i = 1, 4 do left[i] = loop:step(1) end
    assert.same({ 3, 2, 1, 0 }, left)
  end)

  it("lets whoever yields go on in the next step", function()
    local steps = 0
    loop:spawn(function()
      while true do
        coroutine.yield()
        steps = steps + 1
      end
    end)
    for _ = 1, 5 do loop:step(1) end
    assert.equal(4, steps)
  end)

  it("ends a step behind the task that used its budget up, and goes on with the others in the next", function()
    local ran = 0
    for _ = 1, 3 do
      loop:spawn(function()
        ran = ran + 1
        local ends_at = core.now() + 0.002
        while core.now() < ends_at do end
      end)
    end
    loop:step(0.001)
    assert.equal(1, ran)
    loop:step(0.001)
    assert.equal(2, ran)
    loop:step(0)
    assert.equal(3, ran)
  end)

  it("spawns, awaits and runs as everywhere", function()
    local result
    loop:spawn(function()
      local a = dpg.spawn(function() return 1 end)
      result = a:await() + dpg.run(function()
        dpg.spawn(coroutine.yield)
        return 2
      end)
    end)
    finish(loop)
    assert.equal(3, result)
  end)

  describe("when a task raises", function()
    it("raises that from step, with its traceback, and the other tasks go on", function()
      local went_on = false
      loop:spawn(function()
        local function culprit() error "broken" end
        culprit()
      end)
      loop:spawn(function()
        coroutine.yield()
        went_on = true
      end)
      local problem = raised(loop.step, loop, 1)
      assert.truthy(problem:find("loop_spec.lua:%d+: broken\ntraceback of the task:"))
      assert.equal(0, loop:step(1))
      assert.is_true(went_on)
    end)

    it("raises an error object as it is", function()
      local problem = { kind = "mine" }
      loop:spawn(error, problem)
      assert.equal(problem, raised(loop.step, loop, 1))
    end)

    it("raises each failure, one in a step", function()
      loop:spawn(error, "one", 0)
      loop:spawn(error, "two", 0)
      assert.truthy(raised(loop.step, loop, 1):find "^one\n")
      assert.truthy(raised(loop.step, loop, 1):find "^two\n")
      assert.equal(0, loop:step(1))
    end)

    it("leaves it to who awaits it", function()
      local heard
      local task = loop:spawn(function()
        coroutine.yield()
        error("heard", 0)
      end)
      local other = loop:spawn(function() return task:await() end)
      local problem = raised(finish, loop)
      assert.truthy(problem:find "^heard\n")
      assert.is_true(other:has_failed())
      loop:spawn(function() heard = raised(task.await, task) end)
      assert.equal(0, loop:step(1))
      assert.equal("heard", heard)
    end)

    it("ends what it had spawned", function()
      local went_on = false
      loop:spawn(function()
        dpg.spawn(function()
          coroutine.yield()
          went_on = true
        end)
        error("stop", 0)
      end)
      raised(loop.step, loop, 1)
      loop:step(1)
      loop:step(1)
      assert.is_false(went_on)
    end)

    it("tells on_error instead, once it and what it has spawned have ended", function()
      local told = {}
      local quiet = dpg.assert(dpg.loop { on_error = function(problem, traceback)
        told[#told + 1] = { problem, traceback }
      end })
      quiet:spawn(function()
        dpg.spawn(error, "spawned", 0)
        coroutine.yield()
        coroutine.yield()
      end)
      quiet:step(1)
      assert.same({}, told)
      finish(quiet)
      assert.equal(1, #told)
      assert.equal("spawned", told[1][1])
      assert.truthy(told[1][2]:find("traceback", 1, true))
      quiet:close()
    end)
  end)

  describe("its descriptor", function()
    local function is_readable(seconds)
      local fake = { getfd = function() return loop:fd() end, dirty = function() return false end }
      return #socket.select({ fake }, nil, seconds or 0) == 1
    end

    it("is readable when there is something to do, and only then", function()
      assert.is_false(is_readable())
      local task
      task = loop:spawn(function()
        coroutine.yield()
        task = dpg.spawn(coroutine.yield)
        task:await()
      end)
      local steps = 0
      while is_readable() do
        loop:step(1)
        steps = steps + 1
        assert(steps < 100, "it is readable for ever")
      end
      assert.equal("dpg.Task (done)", tostring(task))
      assert.equal(0, loop:step(1))
    end)

    it("is readable for tasks that the budget had no time for", function()
      for _ = 1, 2 do loop:spawn(function() end) end
      assert.equal(1, loop:step(0))
      assert.is_true(is_readable())
      assert.equal(0, loop:step(0))
      assert.is_false(is_readable())
    end)

    it("is readable as long as a failure has not been raised", function()
      for _ = 1, 2 do loop:spawn(error, "x", 0) end
      raised(loop.step, loop, 1)
      assert.is_true(is_readable())
      raised(loop.step, loop, 1)
      assert.is_false(is_readable())
    end)

    it("is shared by all loops, each of which steps its own tasks", function()
      local other = dpg.assert(dpg.loop())
      assert.equal(loop:fd(), other:fd())
      local ran = {}
      loop:spawn(function() ran[#ran + 1] = "one" end)
      other:spawn(function() ran[#ran + 1] = "other" end)
      other:step(1)
      assert.same({ "other" }, ran)
      assert.is_true(is_readable())
      loop:step(1)
      assert.same({ "other", "one" }, ran)
      other:close()
    end)

    it("is woken by an answer, and by nothing while there is none", function()
      local box = boxes.start()
      local gallery = client.service(box)
      box:fault { path = "/me", hold = true }
      local name
      loop:spawn(function() name = dpg.assert(gallery:me()).account.name end)
      while box:count { path = "/me" } == 0 do
        if is_readable(0.01) then loop:step(1) end
      end
      while is_readable() do loop:step(1) end
      assert.is_false(is_readable(0.2))
      box:release()
      while not name do
        assert.is_true(is_readable(10))
        loop:step(1)
      end
      assert.equal("Northlight Festival", name)
      box:stop()
    end)
  end)

  it("can't be stepped by a task, nor be asked for a step in the middle of dpg.run", function()
    local problem
    loop:spawn(function() problem = raised(loop.step, loop, 1) end)
    loop:step(1)
    assert.truthy(problem:find("within a task", 1, true))
    dpg.run(function() assert.truthy(raised(loop.step, loop, 1):find("within a task", 1, true)) end)
  end)

  it("tells of a slip at the line that made it", function()
    assert.truthy(raised(function() loop:spawn() end):find "loop_spec.lua:%d+: dpg: loop:spawn: a function expected")
    assert.truthy(raised(function() dpg.loop { onerror = print } end):find "loop_spec.lua:%d+: .*onerror")
    assert.truthy(raised(function() loop.spawn(print) end):find("loop:spawn", 1, true))
  end)

  it("ends its tasks as cancelled when it is closed", function()
    local went_on = false
    local task = loop:spawn(function()
      coroutine.yield()
      went_on = true
    end)
    loop:step(1)
    loop:close()
    loop:close()
    assert.equal(0, loop:step(1))
    assert.is_false(went_on)
    local _, err = task:await()
    assert.equal("cancelled", err.kind)
    assert.truthy(raised(loop.spawn, loop, print):find("closed", 1, true))
  end)

  it("can be closed by a task of its own, which ends at its next wait", function()
    local seen = {}
    local task = loop:spawn(function()
      loop:close()
      seen.spawned = tostring(dpg.spawn(print))
      local _, err = pcall(dpg.run, print)
      seen.run = err.kind
      coroutine.yield()
      seen.went_on = true
    end)
    loop:step(1)
    loop:step(1)
    assert.same({ spawned = "dpg.Task (cancelled)", run = "cancelled" }, seen)
    assert.equal("dpg.Task (cancelled)", tostring(task))
  end)
end)

describe("a loop's calls", function()
  local box, gallery, loop

  before_each(function()
    box = boxes.start()
    gallery = client.service(box)
    loop = dpg.assert(dpg.loop())
  end)
  after_each(function()
    loop:close()
    client.nothing_left()
    client.close()
    box:stop()
  end)

  it("go on side by side, while the program draws its frames", function()
    box:fault { path = "/me", hold = true, times = "always" }
    local names, frames = {}, 0
    for i = 1, 4 do loop:spawn(function() names[i] = dpg.assert(gallery:me()).account.name end) end
    step_until(loop, function()
      frames = frames + 1
      return box:count { path = "/me" } == 4
    end)
    assert.is_true(frames > 1)
    assert.equal(4, loop:step(1))
    box:release()
    finish(loop)
    assert.equal(4, #names)
  end)

  it("are cancelled when it is closed", function()
    box:fault { path = "/me", hold = true, times = "always" }
    loop:spawn(function() gallery:me() end)
    step_until(loop, function() return box:count { path = "/me" } == 1 end)
    loop:close()
    client.nothing_left()
    box:release()
  end)

  it("leave a file to the next one who fetches it, when it is closed, without waiting for the collector", function()
    local uuid, folder = box:add_blob { size = 300000, filename = "a.jpg" }.public_uuid, client.folder()
    assert(os.execute("mkdir " .. folder))
    box:fault { server = "cdn", hold = true, times = 1 }
    collectgarbage "stop"
    loop:spawn(function() gallery.downloads:save(uuid, folder .. "/a.jpg") end)
    step_until(loop, function() return box:count { server = "cdn" } == 1 end)
    loop:close()
    local path = dpg.assert(gallery.downloads:save(uuid, folder .. "/a.jpg"))
    collectgarbage "restart"
    assert.equal(folder .. "/a.jpg", path)
    box:release()
    os.execute("rm -r " .. folder)
  end)

  it("are let go of when it is closed between an answer and the task that would have taken it", function()
    box:fault { path = "/me", hold = true, times = 2 }
    for _ = 1, 2 do
      loop:spawn(function()
        gallery:me()
        local ends_at = core.now() + 0.06
        while core.now() < ends_at do end
      end)
    end
    step_until(loop, function() return box:count { path = "/me" } == 2 end)
    box:release()
    while hub.counts().calls > 0 do socket.sleep(0.001) end
    assert.equal(1, loop:step(0.05)) -- both are answered, one has gone on
    loop:close()
    client.nothing_left()
  end)

  it("are refused in a coroutine of the program's own within a task, unsent", function()
    local me, err
    loop:spawn(function() me, err = coroutine.wrap(function() return gallery:me() end)() end)
    finish(loop)
    assert.is_nil(me)
    assert.same({ "usage", "foreign_coroutine" }, { err.kind, err.code })
  end)

  it("block outside of its tasks, where a script may want that, and its tasks go on in the next step", function()
    local name
    loop:spawn(function() name = dpg.assert(gallery:me()).account.name end)
    loop:step(1)
    assert.equal(2, #dpg.assert(gallery.images:list { limit = 2 }).items)
    finish(loop)
    assert.equal("Northlight Festival", name)
  end)
end)
