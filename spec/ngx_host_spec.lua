-- The host inside a real nginx: tasks, requests that end early, timers that run out, a VM for each request, reloads,
-- and what is left behind.
local boxes = require "support.box"
local nginx = require "support.nginx"
local process = require "support.process"

if process.name ~= "luajit" then return end -- nginx's Lua is the same, whichever Lua runs this

local init = [[
  dpg = require "dpg"
  hub = require "dpg.hub"
  gallery_token, gallery_url = %q, %q
  gallery = dpg.assert(dpg.service { token = gallery_token, base_url = gallery_url })
  function left() -- what the engines of this worker have in hand
    local counts = hub.counts()
    return counts.engines == 0 and 0
      or counts.calls + counts.transfers + counts.timers + counts.untaken + counts.notes
  end
]]

local function start(box, options)
  options.init = init:format(box.token, box.base_url) .. (options.init or "")
  return nginx.start_lua(options)
end

-- The lines of a log that are no notices.
local function complaints(log)
  local lines = {}
  for line in log:gmatch "[^\n]+" do
    if not line:find("[notice]", 1, true) and not line:find("[info]", 1, true) then lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

local function count_of(pid, what)
  return tonumber(process.shell(("ls /proc/%d/%s | wc -l"):format(pid, what)))
end

describe("the host of nginx", function()
  local why = nginx.why_no_lua()
  if why then return pending("waits on threads (" .. why .. ")") end

  local box
  setup(function() box = boxes.start() end)
  before_each(function()
    box:clear_faults()
    box:reset_seen()
  end)
  teardown(function() box:stop() end)

  describe("with requests", function()
    local server

    setup(function()
      server = start(box, { http = "lua_http10_buffering off;", server = [[
        location /me { content_by_lua_block { ngx.print(dpg.assert(gallery:me()).account.name) } }
        location /many { content_by_lua_block {
          local names = dpg.run(function()
            local tasks, names = {}, {}
            for i = 1, 8 do tasks[i] = dpg.spawn(function() return dpg.assert(gallery:me()).account.name end) end
            for i = 1, 8 do names[i] = tasks[i]:await() end
            return names
          end)
          ngx.print(#names, names[8])
        } }
        location /spawn { content_by_lua_block {
          local task = dpg.spawn(function() return (gallery.images:list { limit = 3 }) end)
          ngx.print(#task:await().items)
        } }
        location /stop { content_by_lua_block {
          local went_on = false
          local ok, problem = pcall(dpg.run, function()
            dpg.spawn(function()
              gallery:me()
              went_on = true
            end)
            error "no more"
          end)
          ngx.print(tostring(ok), tostring(problem):match "no more", tostring(went_on))
        } }
        location /deaf { content_by_lua_block {
          pcall(dpg.run, function()
            dpg.spawn(function()
              dpg.spawn(function() -- not the main task's own light thread, which therefore can't end it
                for _ = 1, 3 do pcall(gallery.me, gallery) end
              end)
              gallery:me()
            end)
            error "no more"
          end)
        } }
        location /foreign { content_by_lua_block {
          ngx.print(coroutine.wrap(function() return dpg.assert(gallery:me()).account.name end)())
        } }
        location /each { content_by_lua_block {
          local n = 0
          for _ in gallery.images:each { limit = 50 } do n = n + 1 end
          ngx.print(n)
        } }
        location /raise { content_by_lua_block { dpg.assert(gallery:request("GET", "/nowhere")) } }
        location /lost { content_by_lua_block {
          dpg.spawn(function() error "nobody hears" end)
          ngx.print "fine"
        } }
        location /wrapped { content_by_lua_block {
          local function raise() coroutine.wrap(function() error "wrapped" end)() end
          local _, problem = pcall(dpg.run, raise)
          local task = dpg.spawn(raise)
          local ok, again = pcall(task.await, task)
          ngx.print(problem, tostring(ok), again)
        } }
        location /slow_event { content_by_lua_block {
          is_slow = true
          local slow = dpg.assert(dpg.service { token = gallery_token, base_url = gallery_url, on_event = function()
            while is_slow do ngx.sleep(0.01) end
          end })
          ngx.print(dpg.assert(slow:me()).account.name)
        } }
        location /beside { content_by_lua_block {
          local task = dpg.spawn(gallery.me, gallery)
          is_slow = false
          ngx.print(dpg.assert(task:await()).account.name)
        } }
        location /left { content_by_lua_block { ngx.print(left()) } }
        location /collect { content_by_lua_block { collectgarbage() collectgarbage() gallery:me() } }
        location /aborted {
          lua_check_client_abort on;
          content_by_lua_block { gallery:me() ngx.print "here" }
        }
        location /cut {
          lua_check_client_abort on;
          content_by_lua_block {
            for bytes in gallery.downloads:chunks(ngx.var.arg_uuid, { version = "original" }) do
              ngx.print(bytes)
              ngx.flush(true)
            end
          }
        }
      ]] })
    end)
    teardown(function() server:stop() end)

    it("runs tasks side by side", function()
      box:fault { path = "/me", hold = true, times = 8 }
      local client = server:connect()
      client:send "GET /many HTTP/1.0\r\n\r\n"
      assert.equal(8, box:wait_seen({ path = "/me" }, 8))
      box:release()
      assert.truthy(client:receive "*a":find("8Northlight Festival$"))
      client:close()
    end)

    it("serves others while a call waits", function()
      box:fault { path = "/me", hold = true }
      local client = server:connect()
      client:send "GET /me HTTP/1.0\r\n\r\n"
      box:wait_seen { path = "/me" }
      local _, body = server:get "/left"
      assert.not_equal("0", body)
      box:release()
      assert.truthy(client:receive "*a":find("Northlight Festival$"))
      client:close()
    end)

    it("lets others make calls while an on_event function waits", function()
      local slow = server:ask "/slow_event"
      box:wait_seen { path = "/me" }
      assert.equal("Northlight Festival", (select(2, server:get "/beside")), server:log())
      assert.equal("Northlight Festival", (select(2, nginx.read(slow))), server:log())
    end)

    it("lets a task be spawned and awaited in a request, and a for wait", function()
      assert.equal("3", (select(2, server:get "/spawn")))
      assert.equal("120", (select(2, server:get "/each")))
      assert.equal("Northlight Festival", (select(2, server:get "/foreign")))
    end)

    it("stops the others when the main task fails", function()
      box:fault { path = "/me", hold = true }
      assert.equal("falseno morefalse", (select(2, server:get "/stop")))
      box:release()
      nginx.wait_for(function() return select(2, server:get "/left") == "0" end)
    end)

    it("keeps nothing of a task that is stopped and goes on making calls", function()
      box:fault { path = "/me", hold = true }
      server:get "/deaf"
      box:release()
      box:clear_faults()
      nginx.wait_for(function()
        server:get "/me" -- hands out what there is to say about those calls
        return select(2, server:get "/left") == "0"
      end)
    end)

    it("fails where nginx aborts a task, as it does when coroutine.wrap raises in it", function()
      local _, body = server:get "/wrapped"
      assert.truthy(body:find "^nginx has aborted the task.*falsenginx has aborted the task", body)
      assert.truthy(server:log():find("user thread aborted.-wrapped"))
    end)

    it("says what was raised before nginx says that it does not know", function()
      assert.equal(500, (server:get "/raise"))
      local log = server:log()
      local said = log:find("dpg: raised: not_found: ", 1, true)
      assert.truthy(said, log)
      assert.truthy(log:find("unknown reason", said, true))
      assert.equal("fine", (select(2, server:get "/lost")))
      assert.truthy(server:log():find("dpg: a task has failed: .-nobody hears"))
      assert.is_nil(server:log():find(box.token, 1, true))
    end)

    it("lets the call of a request that ended go on, and keeps nothing of it", function()
      box:fault { path = "/me", hold = true }
      local client = server:connect()
      client:send "GET /aborted HTTP/1.0\r\n\r\n"
      box:wait_seen { path = "/me" }
      client:close()
      box:release()
      nginx.wait_for(function() return select(2, server:get "/left") == "0" end)
      assert.equal(1, box:count { path = "/me", status = 200 })
    end)

    it("ends the download of a visitor who has gone", function()
      local blob = box:add_blob { size = 64 * 2 ^ 20 }
      local client = server:connect()
      client:send("GET /cut?uuid=" .. blob.public_uuid .. " HTTP/1.0\r\n\r\n")
      assert(client:receive(100000))
      client:close()
      -- who stops pulling is told by the collector, or by the time in which no byte moves
      nginx.wait_for(function()
        server:get "/collect"
        return select(2, server:get "/left") == "0"
      end)
    end)
  end)

  it("waits also where nginx has no timer or no socket left for it", function()
    local cases = {
      { http = "lua_max_running_timers 1;", use_up = "ngx.timer.at(0, function() ngx.sleep(1000) end)" },
      { http = "lua_max_pending_timers 1;", use_up = "ngx.timer.at(1000, function() end)" },
      { use_up = [[ngx.socket.tcp = function()
          return { settimeout = ngx.now, close = ngx.now, connect = function() return nil, "too many open files" end }
        end]] },
    }
    for _, case in ipairs(cases) do
      local server = start(box, {
        http = case.http, server = ([[
          location /me { content_by_lua_block { ngx.print(dpg.assert(gallery:me()).account.name) } }
          location /use_up { content_by_lua_block { %s } }
        ]]):format(case.use_up),
      })
      server:get "/use_up"
      for _ = 1, 3 do assert.equal("Northlight Festival", (select(2, server:get "/me")), server:log()) end
      server:stop()
    end
  end)

  it("waits also where the last descriptor has gone to its end of the wake-up", function()
    local server = start(box, { server = [[
      location /me { content_by_lua_block { ngx.print(dpg.assert(gallery:me()).account.name) } }
      location /idle { content_by_lua_block { ngx.print(ngx.timer.running_count()) } }
    ]] })
    local worker, before = server:worker(), nil
    server:get "/me" -- its connection to the API is kept
    nginx.wait_for(function() return select(2, server:get "/idle") == "0" end)
    nginx.wait_for(function() -- also the visitors' are closed
      local now = process.shell(("ls /proc/%d/fd"):format(worker))
      now, before = before, now
      return now == before
    end)
    local taken, free, limit = {}, 0, 0
    for number in before:gmatch "%d+" do taken[tonumber(number)] = true end
    while free < 2 do -- one for a visitor, one for the pump
      if not taken[limit] then free = free + 1 end
      limit = limit + 1
    end
    process.shell(("prlimit --pid %d --nofile=%d:"):format(worker, limit))
    assert.equal("Northlight Festival", (select(2, server:get "/me")))
    assert.truthy(server:log():find("no descriptor was left for its wake-up", 1, true))
    server:stop()
  end)

  it("lives in a VM for each request (lua_code_cache off), and leaves nothing of it", function()
    local server = start(box, {
      http = "lua_code_cache off;",
      server = [[location /me { content_by_lua_block { ngx.print(dpg.assert(gallery:me()).account.name) } }]],
    })
    local worker = server:worker()
    local function ask() assert.equal("Northlight Festival", (select(2, server:get "/me"))) end
    ask()
    nginx.wait_for(function() return count_of(worker, "task") == 1 end)
    local descriptors = count_of(worker, "fd")
    for _ = 1, 20 do ask() end
    nginx.wait_for(function() return count_of(worker, "task") == 1 and count_of(worker, "fd") <= descriptors end)
    assert.equal(worker, server:worker())
    server:stop()
  end)

  it("holds no worker back that is to end, and finishes what a worker is about", function()
    local server = start(box, {
      server = [[location /me { content_by_lua_block { ngx.print(dpg.assert(gallery:me()).account.name) } }]],
    })
    server:get "/me"
    local first = server:worker()
    box:fault { path = "/me", hold = true }
    local client = server:connect()
    client:send "GET /me HTTP/1.0\r\n\r\n"
    box:wait_seen({ path = "/me" }, 2)
    server:reload()
    nginx.wait_for(function() return server:worker() ~= first end)
    assert.equal(2, #server:pids())
    box:release()
    assert.truthy(client:receive "*a":find("Northlight Festival$"))
    client:close()
    -- worker_shutdown_timeout would end it after 20 s
    nginx.wait_for(function() return #server:pids() == 1 end, 10)
    local log = server:quit()
    assert.equal("", complaints(log))
    assert.is_nil(log:find(box.token, 1, true))
  end)

  it("keeps descriptors, threads, timers and memory as they were", function()
    local rounds = tonumber(os.getenv "DPG_ROUNDS") or 300
    local server = start(box, {
      http = "keepalive_requests 1000000;",
      init = ("recipe = { token = %q, base_url = %q }"):format(box.token, box.base_url),
      server = [[
        location /round { content_by_lua_block {
          local session = dpg.assert(dpg.service(recipe))
          dpg.assert(session:me())
          local it = session.downloads:chunks(ngx.var.arg_uuid, { version = "thumbnail" })
          assert(it:next())
          it:close()
          dpg.run(function()
            for _ = 1, 5 do dpg.spawn(ngx.now) end
          end)
        } }
        location /kept { content_by_lua_block {
          for _ = 1, 100 do
            if ngx.timer.running_count() == 0 then break end
            ngx.sleep(0.1)
          end
          collectgarbage() collectgarbage()
          ngx.print(left(), " ", hub.counts().credentials, " ", ngx.timer.running_count(), " ", collectgarbage "count")
        } }
      ]],
    })
    local uuid = box:add_blob { size = 1000 }.public_uuid
    local worker = server:worker()
    local function work(n)
      local client = server:connect()
      for _ = 1, n do
        client:send("GET /round?uuid=" .. uuid .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        local status = client:receive "*l"
        assert.equal("HTTP/1.1 200 OK", status)
        repeat until client:receive "*l" == ""
        local length = client:receive "*l"
        assert.equal("0", length)
        client:receive "*l"
      end
      client:close()
      local _, kept = server:get "/kept"
      local calls, credentials, timers, memory = kept:match "(%d+) (%d+) (%d+) ([%d.]+)"
      return {
        calls = calls, timers = timers, threads = count_of(worker, "task"), descriptors = count_of(worker, "fd"),
        credentials = tonumber(credentials), memory = tonumber(memory),
      }
    end
    local before = work(50)
    local after = work(rounds)
    local said = ("%d -> %d descriptors, %d -> %d credentials, %.0f -> %.0f KiB, in %d rounds"):format(
      before.descriptors, after.descriptors, before.credentials, after.credentials, before.memory, after.memory, rounds)
    assert.same({ "0", "0", before.threads }, { after.calls, after.timers, after.threads })
    assert.is_true(after.descriptors <= before.descriptors + 2, said) -- a connection more or less that is kept
    assert.is_true(after.credentials <= 60, said) -- sessions that coroutines kept by nginx still refer to
    assert.is_true(after.memory < before.memory + 300, said)
    if os.getenv "DPG_ROUNDS" then print(said) end
    assert.equal("", complaints(server:log()))
    server:stop()
  end)

  it("holds the CDN back, and not memory, where a visitor reads slowly", function()
    local size = 192 * 2 ^ 20
    local server = start(box, {
      init = "handed_on = 0",
      http = "lua_http10_buffering off;",
      server = [[
        location /original { content_by_lua_block {
          local it = gallery.downloads:chunks(ngx.var.arg_uuid, { version = "original" })
          for bytes in it do
            handed_on = handed_on + #bytes
            ngx.print(bytes)
            if not ngx.flush(true) then break end
          end
          it:close()
        } }
        location /handed_on { content_by_lua_block { ngx.print(handed_on) } }
        location /left { content_by_lua_block { ngx.print(left()) } }
      ]],
    })
    -- a sanitizer keeps what is freed
    local allowed = (os.getenv "CHECKER" or "") == "" and 16 or 256
    local function resident()
      return tonumber(process.read_file("/proc/" .. server:worker() .. "/status"):match "VmRSS:%s+(%d+)") / 1024
    end
    local function read(client, wanted)
      local got = 0
      while got < wanted do
        local bytes, _, partial = client:receive(math.min(65536, wanted - got))
        got = got + #(bytes or partial)
        if not bytes then break end
      end
      return got
    end
    local blob = box:add_blob { size = size }
    local function visit()
      local client = server:connect()
      client:setoption("recv-buffer-size", 65536)
      client:send("GET /original?uuid=" .. blob.public_uuid .. " HTTP/1.0\r\n\r\n")
      assert.equal(2 ^ 20, read(client, 2 ^ 20), server:log())
      return client
    end
    server:get "/left"
    local before = resident()

    local client = visit()
    local handed_on, still = nil, 0
    nginx.wait_for(function() -- all that may wait is full
      local now = tonumber((select(2, server:get "/handed_on")))
      still = now == handed_on and still + 1 or 0
      handed_on = now
      return still == 30
    end)
    assert.is_true(resident() < before + allowed, before .. " -> " .. resident() .. " MiB")
    client:close()
    nginx.wait_for(function() return select(2, server:get "/left") == "0" end)
    local sent
    nginx.wait_for(function() -- the CDN has heard of it, too
      sent = box:seen { server = "cdn" }[1].sent
      return sent
    end)
    assert.is_true(sent < 32 * 2 ^ 20, "the CDN had sent " .. sent)

    client = visit()
    local rest = 0
    while true do
      local got = read(client, 2 ^ 24)
      rest = rest + got
      if got == 0 then break end
      assert.is_true(resident() < before + allowed, before .. " -> " .. resident() .. " MiB")
    end
    assert.is_true(rest > size - 2 ^ 20 and rest < size - 2 ^ 20 + 1000)
    client:close()
    server:stop()
  end)
end)
