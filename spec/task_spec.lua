-- dpg.run, dpg.spawn, await: tasks that wait for each other. Those that wait for calls are in many_spec.
local compat = require "dpg.compat"
local dpg = require "dpg"

local function raised(fn, ...)
  local result = compat.pack(pcall(fn, ...))
  assert.is_false(result[1])
  return result[2]
end

describe("dpg.run", function()
  it("returns what its function returned, nils too", function()
    local result = compat.pack(dpg.run(function(...) return ... end, 1, nil, 3, nil))
    assert.same({ 1, nil, 3, nil, n = 4 }, result)
  end)

  it("returns after all tasks have ended", function()
    local ended = 0
    dpg.run(function()
      for _ = 1, 5 do
        dpg.spawn(function()
          coroutine.yield()
          ended = ended + 1
        end)
      end
    end)
    assert.equal(5, ended)
  end)

  it("raises an error object as it was", function()
    local problem = { kind = "mine" }
    assert.equal(problem, raised(dpg.run, function() error(problem) end))
  end)

  it("adds a task's traceback to an error that is a text", function()
    local problem = raised(dpg.run, function()
      local function culprit() error "broken" end
      culprit()
    end)
    assert.truthy(problem:find("broken", 1, true))
    assert.truthy(problem:find("traceback of the task", 1, true))
    assert.truthy(problem:find("task_spec.lua", 1, true))
  end)

  it("stops the other tasks when its function raises", function()
    local went_on = false
    raised(dpg.run, function()
      dpg.spawn(function()
        coroutine.yield()
        coroutine.yield()
        went_on = true
      end)
      coroutine.yield()
      error "stop"
    end)
    assert.is_false(went_on)
  end)

  it("raises what a task raised that nobody awaited, after the others have ended", function()
    local ended = false
    local problem = raised(dpg.run, function()
      dpg.spawn(function() error({ kind = "lost" }) end)
      dpg.spawn(function()
        for _ = 1, 3 do coroutine.yield() end
        ended = true
      end)
    end)
    assert.equal("lost", problem.kind)
    assert.is_true(ended)
  end)

  it("waits, within dpg.run, for the tasks that it has spawned itself, while others go on", function()
    local has_begun, seen = false, {}
    dpg.run(function()
      dpg.spawn(function()
        while not has_begun do coroutine.yield() end
        seen[#seen + 1] = "others go on"
      end)
      local result = dpg.run(function()
        dpg.spawn(function()
          has_begun = true
          while #seen == 0 do coroutine.yield() end
          seen[#seen + 1] = "spawned"
        end)
        return "kept"
      end)
      seen[#seen + 1] = result
    end)
    assert.equal("others go on, spawned, kept", table.concat(seen, ", "))
  end)

  it("ends the tasks of a dpg.run within it, too, when its function raises", function()
    local went_on, inner = false, nil
    raised(dpg.run, function()
      dpg.spawn(function()
        dpg.run(function()
          inner = dpg.spawn(function()
            for _ = 1, 10 do coroutine.yield() end
            went_on = true
          end)
        end)
      end)
      coroutine.yield()
      coroutine.yield()
      error "stop"
    end)
    assert.is_false(went_on)
    assert.equal("dpg.Task (cancelled)", tostring(inner))
  end)

  it("can be run again after an error", function()
    raised(dpg.run, function() error "once" end)
    assert.equal(7, (dpg.run(function() return 7 end)))
  end)

  it("runs thousands of tasks", function()
    local sum = 0
    dpg.run(function()
      local tasks = {}
      for i = 1, 5000 do tasks[i] = dpg.spawn(function() return i end) end
      for _, task in ipairs(tasks) do sum = sum + task:await() end
    end)
    assert.equal(12502500, sum)
  end)
end)

describe("task:await", function()
  it("returns all results, also long after the end, and twice", function()
    dpg.run(function()
      local task = dpg.spawn(function(...) return ... end, 1, nil, 3)
      coroutine.yield()
      assert.same({ 1, nil, 3, n = 3 }, compat.pack(task:await()))
      assert.same({ 1, nil, 3, n = 3 }, compat.pack(task:await()))
    end)
  end)

  it("returns nil, err where that is what the task returned", function()
    dpg.run(function()
      local value, err = dpg.spawn(function() return nil, { kind = "api" } end):await()
      assert.is_nil(value)
      assert.equal("api", err.kind)
    end)
  end)

  it("raises what the task raised, with its traceback beside", function()
    dpg.run(function()
      local task = dpg.spawn(function() error({ kind = "mine" }) end)
      coroutine.yield()
      local problem = raised(task.await, task)
      assert.equal("mine", problem.kind)
      assert.truthy(task.traceback:find("task_spec.lua", 1, true))
    end)
  end)

  it("wakes everybody who waits", function()
    local n = 0
    dpg.run(function()
      local slow = dpg.spawn(function()
        for _ = 1, 10 do coroutine.yield() end
        return 1
      end)
      for _ = 1, 10 do
        dpg.spawn(function()
          local one = slow:await()
          n = n + one
        end)
      end
    end)
    assert.equal(10, n)
  end)

  it("can be asked after dpg.run has ended", function()
    local task
    dpg.run(function() task = dpg.spawn(function() return "late" end) end)
    assert.equal("late", task:await())
  end)

  it("says that a task was cancelled", function()
    local task
    raised(dpg.run, function()
      task = dpg.spawn(function()
        for _ = 1, 100 do coroutine.yield() end
      end)
      coroutine.yield()
      error "stop"
    end)
    local _, err = task:await()
    assert.equal("cancelled", err.kind)
  end)

  it("raises when a task awaits itself", function()
    dpg.run(function()
      local task
      task = dpg.spawn(function() return raised(task.await, task) end)
      assert.truthy(task:await():find("itself", 1, true))
    end)
  end)

  it("is refused in a coroutine of the program's own, which would be given the yield", function()
    dpg.run(function()
      local task = dpg.spawn(function() coroutine.yield() end)
      local err = coroutine.wrap(function() return raised(task.await, task) end)()
      assert.same({ "usage", "foreign_coroutine" }, { err.kind, err.code })
    end)
  end)
end)

describe("dpg.assert", function()
  it("gives back all its arguments", function()
    assert.same({ 1, nil, 3, n = 3 }, compat.pack(dpg.assert(1, nil, 3)))
  end)

  it("raises the error object itself", function()
    local err = require("dpg.errors").usage("x", "y")
    assert.equal(err, raised(dpg.assert, nil, err))
    assert.equal(err, raised(dpg.assert, false, err))
  end)

  it("raises a text at the caller's line, and something when there is nothing", function()
    assert.truthy(raised(function() dpg.assert(nil, "no luck") end):find("task_spec.lua:%d+: no luck"))
    assert.truthy(raised(function() dpg.assert(nil) end):find("assertion failed", 1, true))
  end)
end)
