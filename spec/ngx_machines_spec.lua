-- One signed-in person on two machines: two nginx in network namespaces of their own, one Redis for both, access tokens
-- that hardly live. Redis dies and comes back; a worker is stopped on its way to an exchange, and goes on past its
-- lease. The sandbox is strict: a refresh token that is presented twice ends the session.
-- Longer: DPG_SECONDS=60 DPG_TOKEN_LIFE=2, with leases that really run out.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local lates = require "support.late"
local machines = require "support.machines"
local nginx = require "support.nginx"
local process = require "support.process"
local redis = require "support.redis"
local socket = require "socket"

if process.name ~= "luajit" then return end -- nginx's Lua is the same, whichever Lua runs this

local SECONDS = tonumber(os.getenv "DPG_SECONDS")
local TOKEN_LIFE = tonumber(os.getenv "DPG_TOKEN_LIFE") or 1
local EXCHANGES = SECONDS and math.ceil(SECONDS / TOKEN_LIFE / 4) or 1
local KEY, PASSWORD = "dpg:session:solo", "of-this-spec"

-- `place` is a file's text: where a walk whose lock is taken from then on stops its worker.
local init = [[
  died_on_its_way = require "support.died_on_its_way"
  dpg = require "dpg"
  local new_client = require "support.redis_client"
  base_url, ca_file, folder = %q, %q, %q
  store = dpg.store.redis { key = %q, connect = function()
    local sock = ngx.socket.tcp()
    sock:settimeout(5000)
    local ok, err = sock:connect(%q, %d)
    if not ok then return nil, err end
    local client = new_client(sock)
    ok, err = client:call("AUTH", %q)
    if not ok then return nil, err end
    return client
  end }

  local function write(name, text)
    local file = io.open(folder .. "/" .. name, "w")
    file:write(text)
    file:close()
  end

  local place
  local function stop_at(here)
    if place ~= here then return end
    place = nil
    os.execute("cd " .. folder .. "; echo $PPID >stopped.new; mv stopped.new stopped; kill -STOP $PPID")
    return true
  end

  local lock, load, save = store.lock, store.load, store.save
  local is_marked -- a lock asked for again on that way is renewed, and an exchange may be out: nobody may stop there
  function store:lock(...)
    local is_ours, again, holder = lock(self, ...)
    if is_ours and not is_marked and os.rename(folder .. "/place", folder .. "/taken") then
      place = io.open(folder .. "/taken"):read "*a"
    end
    stop_at "when it had the lock"
    return is_ours, again, holder
  end
  function store:load(...)
    is_marked = false
    return load(self, ...)
  end
  function store:save(...)
    local was_stopped = stop_at "before its mark was saved"
    local is_saved, err = save(self, ...)
    is_marked = is_saved
    if was_stopped then write("saved", tostring(is_saved)) end
    stop_at "when its mark was saved"
    return is_saved, err
  end
]]

local server = [[
  location /me { content_by_lua_block {
    local err
    if not user then user, err = dpg.resume { store = store, base_url = base_url, ca_file = ca_file } end
    if user and not account then account = user:account(user.accounts[1].uuid) end
    local me
    if account then me, err = account:me() end
    ngx.status = (me or died_on_its_way(err)) and 200 or err.kind == "storage" and 503 or 500
    ngx.print(me and "ok" or err.kind .. ", " .. tostring(err))
  } }
]]

describe("one person on two machines", function()
  local why = nginx.why_no_lua() or redis.is_missing()
  if why then return pending("presents each refresh token once (" .. why .. ")") end

  local net, box, front, database, late, webs

  local function start_web(i)
    local folder = process.folder()
    local web = nginx.start_lua {
      workers = 2, machine = net[i], through = late and late.through, server = server,
      init = init:format(front:url "api", front.ca_file, folder, KEY, net.address, database.port, PASSWORD),
    }
    web.note = folder
    return web
  end

  local function start()
    local problem
    if not SECONDS then
      late, problem = lates.new()
      if problem then return problem end
    end
    net, problem = machines.new(2)
    if not net then return problem end
    box = boxes.start { rotation = "strict", access_token_life = TOKEN_LIFE }
    front = nginx.start(box, { api = {} }, net.address) -- speaks TLS, as no other machine is told a token without
    database = redis.start { password = PASSWORD, "bind " .. net.address }
    dpg.assert(client.sign_in(box, "solo", {
      base_url = front:url "api", ca_file = front.ca_file,
      store = dpg.store.redis { key = KEY, connect = function() return database:connect() end },
    }))
    client.close()
    webs = { start_web(1), start_web(2) }
  end

  local function stop()
    for _, one in ipairs(webs or {}) do one:stop() end
    for _, one in ipairs { front or false, database or false, box or false } do
      if one then one:stop() end
    end
    if net then net:remove() end
  end

  local counts, served = { [200] = 0, [503] = 0 }, 0

  -- What a request was answered; it may only have failed since Redis could not be had.
  local function answer(connection)
    connection:settimeout(100) -- a lease takes 45 s
    local status, said = nginx.read(connection)
    assert(status == 200 or status == 503 and said:find "^storage,", tostring(status) .. ": " .. tostring(said))
    counts[status] = counts[status] + 1
    if said == "ok" then served = served + 1 end
    return status
  end

  -- Asks all workers, many times at once, until is_so(statuses); `all_well`: all are answered.
  local function ask(these, all_well, is_so)
    local deadline = socket.gettime() + 120
    while true do
      local asked, statuses = {}, {}
      for _, web in ipairs(these) do
        for _ = 1, 6 do asked[#asked + 1] = { web, web:ask "/me" } end
      end
      for _, one in ipairs(asked) do
        local status = answer(one[2])
        assert(status == 200 or not all_well, "storage failed")
        statuses[status] = (statuses[status] or 0) + 1
      end
      if is_so(statuses) then return end
      assert(socket.gettime() < deadline, "waited in vain")
      socket.sleep(0.02)
    end
  end

  local function ask_for(exchanges, these)
    local wanted = box:exchanges() + exchanges
    ask(these or webs, true, function() return box:exchanges() >= wanted end)
  end

  -- Stops a worker of the first machine, until the other machine has made an exchange.
  local function stop_a_worker(place)
    local asked, web = {}, webs[1]
    os.remove(web.note .. "/stopped")
    process.write_file(web.note .. "/new", place)
    assert(os.rename(web.note .. "/new", web.note .. "/place"))
    local pid = nginx.wait_for(function()
      for _ = 1, 2 do asked[#asked + 1] = web:ask "/me" end
      socket.sleep(0.05)
      return tonumber(process.read_file(web.note .. "/stopped"))
    end, 60)
    process.wait_until_stopped(pid)
    local lock = "{" .. KEY .. "}:lock"
    if late then
      assert.equal(1, database:call("DEL", lock)) -- as it runs out
    else
      assert.equal(1, database:call("EXISTS", lock))
    end
    ask_for(1, { webs[2] })
    if late then late:add(pid, 60) end
    os.execute("kill -CONT " .. pid)
    for _, one in ipairs(asked) do assert.equal(200, answer(one)) end
    return pid
  end

  local function restart_redis()
    database:kill()
    for _, web in ipairs(webs) do
      ask({ web }, false, function(statuses) return statuses[503] end)
    end
    database:start()
    for _, web in ipairs(webs) do
      ask({ web }, false, function(statuses) return not statuses[503] end)
    end
  end

  -- Every refresh token but the last was presented once, and that one never.
  local function assert_each_presented_once()
    assert.is_true(served > 0)
    local tokens, report = box:refresh_tokens(), box:report()
    for index, token in ipairs(tokens) do
      assert.equal(index < #tokens and 1 or 0, token.presented, "refresh token " .. index .. " of " .. #tokens)
    end
    assert.same({ 0, 0, 0, 1 }, {
      report.presented_more_than_once, report.presented_spent, report.families_revoked, report.sign_ins,
    })
  end

  it("presents each refresh token once: Redis dies, a worker sleeps past its lease #heavy", function()
    finally(stop)
    local problem = start()
    if problem then return pending(problem) end
    local namespaces = {}
    for i, web in ipairs(webs) do namespaces[i] = process.shell("readlink /proc/" .. web.pid .. "/ns/net") end
    assert.is_true(namespaces[1]:find "^net:" ~= nil and namespaces[1] ~= namespaces[2])

    local ends_at = socket.gettime() + (SECONDS or 0)
    repeat
      ask_for(EXCHANGES)
      stop_a_worker "when it had the lock"
      stop_a_worker "before its mark was saved"
      assert.equal("false", process.read_file(webs[1].note .. "/saved"))
      restart_redis()
      stop_a_worker "when its mark was saved"
      ask_for(EXCHANGES)
    until socket.gettime() > ends_at
    assert_each_presented_once()
    for _, web in ipairs(webs) do assert.is_nil(web:log():find "dpg: a task has failed", web:log()) end
    if SECONDS then
      print(("%d x 200, %d x 503; %d exchanges"):format(counts[200], counts[503], box:exchanges()))
    end
  end)
end)
