-- Engines with a thread of their own, from Lua's side: sessions do what they do on a stepped one, wakes, several Lua
-- states in one process, and what is left behind. (What the core promises of threads is in test/test_thread*.c.)
local boxes = require "support.box"
local client = require "support.client"
local core = require "dpg.core"
local dpg = require "dpg"
local hubs = require "dpg.hub"
local process = require "support.process"
local sandbox = require "dpg.sandbox"
local socket = require "socket"

local function entries(path)
  return tonumber(process.shell("ls " .. path .. " 2>/dev/null | wc -l"))
end

describe("core.wake", function()
  local function readable(wake)
    local watched = { getfd = function() return wake:fd() end, dirty = function() return false end }
    return #socket.select({ watched }, nil, 0) == 1
  end

  it("is a descriptor that is readable from raise to lower", function()
    local wake = assert(core.wake "fd")
    assert.equal("dpg.wake", tostring(wake))
    assert.is_nil((wake:path()))
    assert.is_false(readable(wake))
    wake:raise()
    wake:raise()
    assert.is_true(readable(wake))
    wake:lower()
    assert.is_false(readable(wake))
    wake:close()
    wake:close()
    assert.equal("dpg.wake (closed)", tostring(wake))
    assert.is_false((pcall(wake.fd, wake)))
    assert.is_false((pcall(core.wake, "bell")))
  end)

  it("is raised by an engine that has it, also when its own userdata is gone", function()
    local wake, engine = assert(core.wake "fd"), assert(core.engine {})
    assert.is_false(engine:is_threaded())
    assert.is_true(engine:thread(wake))
    assert.is_true(engine:is_threaded())
    local id = assert(engine:start { timer = 0.01 })
    local ends_at = socket.gettime() + 20
    while not readable(wake) and socket.gettime() < ends_at do socket.sleep(0.002) end
    wake:lower()
    assert.same({ "done", id }, { engine:next() })
    assert.equal(0, (engine:take(id)))
    wake:close()
    id = assert(engine:start { timer = 0.01 })
    repeat engine:wait(1000) until engine:next() == "done"
    engine:abandon(id)
    engine:close()
    assert.is_false(engine:is_threaded())
  end)
end)

describe("a session whose engine has a thread", function()
  local box, folder
  before_each(function()
    box = boxes.start()
    folder = process.folder()
    assert(hubs.thread "fd")
  end)
  after_each(function()
    box:clear_faults()
    client.close()
    box:stop()
  end)

  it("lists, gets, writes, sends and fetches as any other", function()
    local gallery = client.service(box)
    local it, count = gallery.images:each { limit = 5 }, 0
    for image in it do
      count = count + 1
      if count > 20 then break end
      assert.is_string(image.public_uuid)
    end
    it:close()
    local image = dpg.assert(gallery.images:list { limit = 1 }).items[1]
    assert.equal(image.public_uuid, dpg.assert(gallery.images:get(image.public_uuid)).public_uuid)
    process.write_file(folder .. "/a.jpg", ("x"):rep(300000))
    assert.truthy(gallery.uploads:send(folder .. "/a.jpg", { title = "Sound check" }))
    local blob = box:add_blob { size = 700000, seed = 3, filename = "b.jpg" }
    local path = dpg.assert(gallery.downloads:save(blob.public_uuid, folder))
    local bytes = sandbox.blob_bytes(blob.seed, 0, 700000)
    assert.equal(bytes, process.read_file(path))
    local parts = {}
    for part in gallery.downloads:chunks(blob.public_uuid) do parts[#parts + 1] = part end
    assert.equal(bytes, table.concat(parts))
    client.nothing_left()
  end)

  it("signs in, rotates and signs out, and presents each token once", function()
    local session, user = client.person(box, "jane", { store = dpg.store.file(folder .. "/session") })
    box:set { access_token_life = 0.05 }
    local function ask() -- on a slow machine a token is too old when it arrives, twice
      local me, err = session:me()
      assert.is_true(me ~= nil or err.status == 401, tostring(err))
    end
    for _ = 1, 10 do
      ask()
      socket.sleep(0.06)
    end
    dpg.run(function()
      for _ = 1, 20 do dpg.spawn(ask) end
    end)
    assert.is_true(box:exchanges() > 5)
    assert.is_true(user:sign_out())
    assert.equal(0, box:report().presented_more_than_once)
    client.nothing_left()
  end)

  it("hears at once that a call was cancelled, or is late", function()
    local gallery = client.service(box)
    box:fault { path = "/me", hold = true, times = "always" }
    local begun = socket.gettime()
    local _, err = gallery:me { deadline = 0.2 }
    assert.equal("timeout", err.kind)
    assert.is_true(socket.gettime() - begun < 5)
    client.nothing_left()
  end)
end)

describe("an engine with a thread", function()
  it("ends it, and all that it has open, when it is collected", function()
    local function round()
      for i = 1, 10 do
        local engine = assert(core.engine {})
        assert(engine:thread(assert(core.wake(i % 2 == 0 and "fd" or "socket"))))
        engine:start { timer = i % 3 == 0 and 3600 or 0.001 }
      end
      collectgarbage()
      collectgarbage()
    end
    local me = process.shell "echo $PPID"
    local files, tasks = "/proc/" .. me .. "/fd", "/proc/" .. me .. "/task"
    round()
    local before = entries(files) + entries(tasks)
    for _ = 1, tonumber(os.getenv "THREAD_LIVES" or 50) / 10 do round() end
    assert.is_true(entries(files) + entries(tasks) - before < 5) -- the last ones may still be held by a register
  end)

  -- Runs in a Lua state of its own, on a thread of its own.
  local function another_state(_, base_url, token, path, cpath)
    package.path, package.cpath = path, cpath
    local client_of = require "dpg"
    assert(require "dpg.hub".thread "socket")
    local gallery = client_of.assert(client_of.service { base_url = base_url, token = token })
    for _ = 1, 50 do client_of.assert(gallery:me()) end
    require "dpg.hub".close_all()
  end

  it("is one for each Lua state of a process, and none knows of another", function()
    local has_threads, threads = pcall(require, "cqueues.thread")
    if not has_threads then
      pending "several Lua states in one process (this Lua has no cqueues)"
      return
    end
    local box, states = boxes.start(), {}
    for i = 1, 3 do
      states[i] = assert(threads.start(another_state, box.base_url, box.token, package.path, package.cpath))
    end
    assert(hubs.thread "fd")
    local gallery = client.service(box)
    for _ = 1, 50 do dpg.assert(gallery:me()) end
    for _, state in ipairs(states) do
      local ok, why = state:join()
      assert.is_true(ok, tostring(why))
      assert.is_nil(why)
    end
    assert.equal(200, box:count { path = "/me" })
    client.close()
    box:stop()
  end)
end)
