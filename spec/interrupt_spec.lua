-- Ctrl-C: an interrupted wait leaves nothing broken, and is heard soon.
local boxes = require "support.box"
local call = require "dpg.call"
local client = require "support.client"
local core = require "dpg.core"
local dpg = require "dpg"
local hubs = require "dpg.hub"
local socket = require "socket"
local streams = require "dpg.stream"

-- Raises an error inside the code that runs, some instructions from now, as lua's handler for SIGINT does.
local function interrupt_after(count)
  debug.sethook(function()
    debug.sethook()
    error("interrupted!", 0)
  end, "", count)
end

describe("an interrupted wait", function()
  local box, gallery

  local jit = rawget(_G, "jit") -- compiled code runs no hooks

  before_each(function()
    if jit then jit.off() end
    box = boxes.start()
    gallery = client.service(box)
  end)
  after_each(function()
    debug.sethook()
    if jit then jit.on() end
    client.nothing_left()
    client.close()
    box:stop()
  end)

  it("raises what interrupted it, and the next call works", function()
    dpg.assert(gallery:me())
    box:fault { path = "/me", hold = true }
    for _, count in ipairs { 400, 900, 1500 } do
      interrupt_after(count)
      local ok, problem = pcall(function()
        gallery:me { deadline = 3 }
        for _ = 1, 1e6 do local _ = 0 end
      end)
      debug.sethook()
      assert.is_false(ok)
      assert.truthy(tostring(problem):find("interrupted!", 1, true))
      dpg.assert(gallery.images:list { limit = 1 })
    end
    box:release()
    dpg.assert(gallery:me())
  end)

  it("inside an on_event reaches the program, and is not taken for the function's own mistake", function()
    local watched = client.service(box, { on_event = function() error("interrupted!", 0) end })
    local ok, problem = pcall(watched.me, watched)
    assert.is_false(ok)
    assert.equal("interrupted!", problem)
    dpg.assert(gallery:me())
  end)

  it("at whatever instruction beside an on_event lets the next call go on", function()
    local watched = client.service(box, { on_event = function() end })
    dpg.assert(watched:me())
    for count = 15, 1500, 3 do
      pcall(function()
        interrupt_after(count)
        watched:me()
        debug.sethook()
      end)
      debug.sethook()
      dpg.assert(watched:me())
    end
  end)

  it("at whatever instruction leaves no call behind, and the next call works", function()
    dpg.assert(gallery:me())
    for count = 15, 1500, 5 do
      pcall(function()
        interrupt_after(count)
        gallery:me()
        debug.sethook()
      end)
      debug.sethook()
      assert.is_table(dpg.assert(gallery:me()))
    end
    -- one that was interrupted before anybody knew its number ends by itself
    for _ = 1, 200 do
      if pcall(client.nothing_left) then break end
      assert(call.sleep(gallery._connection, 0.01))
    end
  end)

  it("in dpg.run ends the run, and the next one works", function()
    box:fault { path = "/me", hold = true, times = "always" }
    local ok = pcall(dpg.run, function()
      dpg.spawn(function() gallery:me() end)
      dpg.spawn(function() gallery:me() end)
      dpg.assert(gallery.images:list { limit = 1 })
      error("interrupted!", 0)
    end)
    assert.is_false(ok)
    box:clear_faults()
    assert.is_table(dpg.run(function() return dpg.assert(gallery:me()) end))
  end)

  -- Whether anybody waits for it or not: one whose number nobody has learned, and one that is waited for later.
  it("between the engine's telling and our hearing loses the end of no call", function()
    local loop = dpg.assert(dpg.loop())
    local hub = assert(gallery._connection:open())
    for count = 1, 400 do
      local known = streams.new(hub, {}):begun(assert(hub.engine:start { timer = 0 }))
      assert(hub.engine:start { timer = 0 })
      while hub.engine:counts().untaken < 2 do socket.sleep(0.0001) end
      pcall(function()
        interrupt_after(count)
        loop:step(1)
        debug.sethook()
      end)
      loop:step(1)
      assert.equal("done", known:_pending(), count)
      known:close()
      assert.same({ 0, 0 }, { hub.engine:counts().calls, hub.engine:counts().untaken }, count)
    end
    loop:close()
  end)

  it("in a task between a call's start and its wait leaves nothing of it behind", function()
    local loop = dpg.assert(dpg.loop())
    local engine = assert(gallery._connection:open()).engine
    for count = 1, 600 do
      loop:spawn(function() call.sleep(gallery._connection, 0) end)
      pcall(function()
        interrupt_after(count)
        loop:step(1)
        debug.sethook()
      end)
      local ends_at = core.now() + 10
      while pcall(loop.step, loop, 1) and engine:counts().calls + engine:counts().untaken > 0 do
        assert(core.now() < ends_at, count)
      end
    end
    loop:close()
  end)

  it("in a step ends the loop's tasks, and it goes on with others", function()
    local loop = dpg.assert(dpg.loop())
    for count = 5, 900, 5 do
      loop:spawn(function() gallery:me() end)
      loop:spawn(coroutine.yield)
      pcall(function()
        interrupt_after(count)
        while true do loop:step() end
      end)
    end
    local name
    loop:spawn(function() name = dpg.assert(gallery:me()).account.name end)
    local ends_at = core.now() + 10
    while not name do
      pcall(loop.step, loop) -- some failures are still to be told of
      assert(core.now() < ends_at, "its tasks do not go on")
    end
    -- those that were interrupted before anybody knew their number end by themselves, in a step
    while hubs.counts().calls > 0 or hubs.counts().untaken > 0 do
      loop:step()
      assert(core.now() < ends_at, "calls are left")
    end
    loop:close()
  end)

  it("of a script ends it within a moment after SIGINT", function()
    box:fault { path = "/me", hold = true, times = "always" }
    local note = os.tmpname()
    local pipe = client.child(string.format([[
      local dpg = require "dpg"
      dpg.assert(dpg.service { token = %q, base_url = %q }:me { deadline = 60, timeout = 60 })
    ]], box.token, box.base_url), note)
    assert(box:wait_seen({ path = "/me" }, 1, 20))
    local file = assert(io.open(note))
    local pid = file:read "*n"
    file:close()
    os.remove(note)
    local begun = box:now()
    os.execute("kill -INT " .. string.format("%d", pid))
    local said = pipe:read "*a"
    pipe:close()
    assert.truthy(said:find("interrupted", 1, true), said)
    assert.is_true(box:now() - begun < 2)
  end)
end)
