-- What hosts promise beside waiting: they leave nothing behind, survive fork and sleep, and say when nobody can go on.
-- That calls mean the same in all of them: every_host.lua, under which the specs of the public face run again.
local boxes = require "support.box"
local client = require "support.client"
local core = require "dpg.core"
local dpg = require "dpg"
local process = require "support.process"
local socket = require "socket"

-- How often something is made, used and closed; DPG_ROUNDS=10000 to be sure.
local ROUNDS = tonumber(os.getenv "DPG_ROUNDS") or 60

local function finish(loop)
  local readable = { getfd = function() return loop:fd() end, dirty = function() return false end }
  while loop:step() > 0 do socket.select({ readable }, nil, 10) end
end

describe("dpg.run", function()
  it("says so when nobody can go on", function()
    local ok, problem = pcall(dpg.run, function()
      local a, b
      a = dpg.spawn(function() b:await() end)
      b = dpg.spawn(function() a:await() end)
    end)
    assert.is_false(ok)
    assert.same({ "usage", "deadlock" }, { problem.kind, problem.code })
    assert.truthy(problem.message:find("2", 1, true))
  end)
end)

describe("nothing is left behind #heavy by", function()
  local box, uuid, kept

  setup(function()
    box = boxes.start()
    uuid = box:add_blob { size = 300000, seed = 5 }.public_uuid
  end)
  teardown(function() box:stop() end)
  before_each(function() kept = setmetatable({}, { __mode = "k" }) end)
  after_each(client.close)

  -- What a program does: a call, a task's, a download that is left alone in the middle, one that is cancelled.
  local function use(gallery)
    kept[gallery] = true
    dpg.assert(gallery:me())
    local chunks = gallery.downloads:chunks(uuid, { window = 65536 })
    dpg.assert(chunks:next())
    kept[chunks] = true
    kept[dpg.spawn(function() gallery.images:get "00000000-0000-4000-8000-000000000000" end)] = true
    chunks = gallery.downloads:chunks(uuid, { window = 65536 })
    dpg.assert(chunks:next())
    chunks:close()
  end

  local function in_run() dpg.run(use, client.service(box)) end

  local function in_loop()
    local loop = dpg.assert(dpg.loop())
    kept[loop] = true
    kept[loop:spawn(use, client.service(box))] = true
    finish(loop)
    kept[loop:spawn(use, client.service(box))] = true -- and one that is closed at some moment
    loop:step()
    loop:close()
  end

  local function in_dropped_loop()
    local loop = dpg.assert(dpg.loop())
    kept[loop] = true
    kept[loop:spawn(use, client.service(box))] = true
    loop:step()
  end

  local function count()
    collectgarbage()
    collectgarbage()
    client.nothing_left()
    local held = 0
    for _ in pairs(kept) do held = held + 1 end
    local descriptors, threads = math.huge, math.huge
    for _ = 1, 5 do -- the least of some: the pipe to the shell that looks may still have both its ends
      local n, m = process.shell("ls /proc/$PPID/fd | wc -l; ls /proc/$PPID/task | wc -l"):match "(%d+)%s+(%d+)"
      descriptors, threads = math.min(descriptors, tonumber(n)), math.min(threads, tonumber(m))
    end
    return { held = held, descriptors = descriptors, threads = threads }, collectgarbage "count"
  end

  for _, case in ipairs {
    { "dpg.run", in_run }, { "a loop that is closed", in_loop }, { "a loop that is dropped", in_dropped_loop },
  } do
    it(case[1], function()
      local function rounds(n)
        for i = 1, n do
          case[2]()
          collectgarbage() -- what was dropped holds its connection until then
          if i % 20 == 0 then client.close() end -- engines come and go, too
        end
        client.close()
        -- one that lets go of what the last round has dropped
        if case[2] ~= in_run then finish(dpg.assert(dpg.loop())) end
        return count()
      end
      local before, memory_before = rounds(20)
      local after, memory_after = rounds(ROUNDS)
      assert.same({ held = 0, descriptors = before.descriptors, threads = before.threads }, after)
      local growth = memory_after - memory_before
      assert.is_true(growth < 100, growth .. " KiB more")
    end)
  end
end)

describe("a loop that was asleep for long", function()
  local box
  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)

  it("ends what has a deadline, goes on with the rest, and makes no storm", function()
    box:set { access_token_life = 1 }
    local person = box.people.jane
    local child = process.start(([[
      local dpg, socket = require "dpg", require "socket"
      local loop = dpg.assert(dpg.loop())
      local readable = { getfd = function() return loop:fd() end, dirty = function() return false end }
      local account
      local function step() return loop:step() end
      local function all_done() while step() > 0 do socket.select({ readable }, nil, 10) end end
      loop:spawn(function()
        local user = dpg.assert(dpg.sign_in { base_url = %q, login = %q, password = %q, store = dpg.store.memory(),
          device = { identifier = "d", name = "d", platform = "linux" } })
        account = dpg.assert(user:account(user.accounts[1].uuid))
      end)
      all_done()
      for i = 1, 4 do
        loop:spawn(function()
          local me, err = account:me { deadline = 2 }
          print("deadline " .. (me and "answered" or err.kind))
        end)
        loop:spawn(function()
          local page, err = account.images:list { limit = 1, deadline = false, timeout = false }
          print("patient " .. (page and "answered" or err.kind))
        end)
      end
      print "on their way"
      all_done()
      loop:spawn(function() print("then " .. dpg.assert(account:me()).account.name) end)
      all_done()
    ]]):format(box.base_url, person.login, person.password))
    box:fault { path = "/me", hold = true, times = 4 }
    box:fault { path = "/images", hold = true, times = 4 }
    child:expect "on their way"
    assert(box:wait_seen({ path = "/me" }, 4))
    assert(box:wait_seen({ path = "/images" }, 4))
    child:signal "STOP"
    local exchanges, asleep_until = box:exchanges(), core.now() + 3
    while core.now() < asleep_until do socket.sleep(0.1) end
    box:set { access_token_life = 900 } -- what is fetched from now on lives, however slow the machine is
    box:reset_seen()
    child:signal "CONT"
    local told = {}
    for _ = 1, 4 do told[#told + 1] = child:read() end
    box:release()
    box:clear_faults()
    local status, lines = child:wait()
    for _, line in ipairs(lines) do told[#told + 1] = line end
    table.sort(told)
    assert.equal(0, status, child:stderr())
    assert.same({
      "deadline timeout", "deadline timeout", "deadline timeout", "deadline timeout", "patient answered",
      "patient answered", "patient answered", "patient answered", "then Northlight Festival",
    }, told)
    assert.is_true(box:exchanges() - exchanges <= 2)
    assert.is_true(box:count {} <= 4)
  end)
end)
