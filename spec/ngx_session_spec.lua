-- One signed-in person, one file store, four workers of a real nginx, access tokens that hardly live, and reloads and a
-- kill in between. Longer: DPG_SECONDS=60 DPG_TOKEN_LIFE=2 (with wrk, where it is installed).
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local nginx = require "support.nginx"
local process = require "support.process"
local socket = require "socket"

if process.name ~= "luajit" then return end -- nginx's Lua is the same, whichever Lua runs this

local SECONDS = tonumber(os.getenv "DPG_SECONDS") or 4
local TOKEN_LIFE = tonumber(os.getenv "DPG_TOKEN_LIFE") or 0.3
local CONNECTIONS = 16
local is_long = os.getenv "DPG_SECONDS" ~= nil

local server_config = [[
  location /me { content_by_lua_block {
    local err
    if not account then
      if not user then
        user, err = dpg.resume { store = dpg.store.file(path), base_url = base_url }
        if not user then ngx.log(ngx.ERR, "resume: ", tostring(err)) return ngx.exit(500) end
      end
      account = user:account(user.accounts[1].uuid)
    end
    local me
    me, err = account:me()
    if died_on_its_way(err) then return ngx.exit(403) end
    if not me then ngx.log(ngx.ERR, "me: ", tostring(err)) return ngx.exit(500) end
    ngx.header["Content-Length"] = 2
    ngx.print "ok"
  } }
]]

describe("one person in four workers", function()
  local why = nginx.why_no_lua()
  if why then return pending("presents each refresh token once (" .. why .. ")") end

  local box, server

  -- Asks on many connections at once until `seconds` have passed; `events` are functions by their moment. Counts what
  -- came back, by status; what hung up is 0.
  local function load_for(seconds, events)
    local counts, connections = {}, {}
    local wrk = is_long and io.popen(("wrk -t 1 -c 32 -d %ds http://127.0.0.1:%d/me"):format(seconds, server.ports.lua))
    local began = socket.gettime()
    local function count(status) counts[status] = (counts[status] or 0) + 1 end
    while socket.gettime() - began < seconds do
      for i = 1, CONNECTIONS do
        connections[i] = connections[i] or server:connect()
        connections[i]:send "GET /me HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
      end
      for i = 1, CONNECTIONS do
        local line = connections[i]:receive "*l"
        local keep = line ~= nil
        while keep do
          local header = connections[i]:receive "*l"
          if not header or header == "" then break end
          if header:lower() == "connection: close" then keep = false end
        end
        if line and line:find " 200 " then connections[i]:receive(2) else keep = false end
        count(line and tonumber(line:match "^HTTP/1.1 (%d+)") or 0)
        if not keep then
          connections[i]:close()
          connections[i] = nil
        end
      end
      for moment, event in pairs(events) do
        if socket.gettime() - began > moment * seconds then
          events[moment] = nil
          event()
        end
      end
    end
    for _, one in pairs(connections) do one:close() end
    if wrk then
      print(wrk:read "*a")
      wrk:close()
    end
    return counts
  end

  local function start(rotation)
    box = boxes.start { rotation = rotation, access_token_life = TOKEN_LIFE }
    local folder = client.folder()
    local path = folder .. "/session"
    dpg.assert(client.sign_in(box, "solo", { store = dpg.store.file(path) }))
    client.close()
    server = nginx.start_lua {
      workers = 4, server = server_config,
      init = ([[ dpg = require "dpg" died_on_its_way = require "support.died_on_its_way" path = %q base_url = %q ]])
        :format(path, box.base_url),
    }
    return folder
  end

  local function stop(folder)
    server:stop()
    box:stop()
    os.execute("rm -rf '" .. folder .. "'")
  end

  local function show(counts, report)
    if is_long then
      local parts = {}
      for status, n in pairs(counts) do parts[#parts + 1] = ("%d x %d"):format(n, status) end
      print(("%s; %d rotations, presented again %d"):format(table.concat(parts, ", "), report.rotations,
        report.presented_more_than_once))
    end
  end

  it("presents each refresh token once, through two reloads #heavy", function()
    local folder = start "strict"
    local reload = function() server:reload() end
    local counts = load_for(SECONDS, { [0.3] = reload, [0.6] = reload })
    local report = box:report()
    show(counts, report)
    assert.is_nil(counts[500], server:log())
    assert.is_true((counts[200] or 0) > 0)
    assert.is_true(report.rotations > SECONDS / TOKEN_LIFE / 4, report.rotations .. " rotations")
    assert.same({ 0, 0, 0, 1 }, {
      report.presented_more_than_once, report.presented_spent, report.families_revoked, report.sign_ins,
    })
    stop(folder)
  end)

  it("presents at most that of a killed worker twice #heavy", function()
    local folder = start "grace"
    local counts = load_for(SECONDS / 2, { [0.4] = function() server:kill_worker() end })
    local report = box:report()
    show(counts, report)
    assert.is_nil(counts[500], server:log())
    assert.is_true((counts[200] or 0) > 0)
    assert.is_true(report.presented_more_than_once <= 1)
    assert.same({ 0, 1 }, { report.families_revoked, report.sign_ins })
    stop(folder)
  end)
end)
