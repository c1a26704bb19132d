-- dpg beside hand-written C, other Lua clients, Node and Python, in one run: `make bench`. What counts is the processor
-- time of the client's process for each request. In each round every client has a turn, in another order each time;
-- medians and quartiles of the rounds are what is told, and ratios are those of turns in the same round.
--
--   bench/run.lua [--write] [ROUNDS]     --write: into doc/performance.md; else build/bench alone has the results
local core = require "dpg.core"
local peers = dofile "bench/peers.lua"
local report = dofile "bench/report.lua"
local servers = dofile "bench/server.lua"

local BUILD = os.getenv "BUILD" or "build"
local TURN_SECONDS, FILE_BYTES, FILE_ROUNDS = 0.08, 256 * 1024 * 1024, 5
local writes = arg[1] == "--write"
local ROUNDS = tonumber(arg[writes and 2 or 1]) or 7

local ME, P50, P200 = "/me", "/images?limit=50", "/images?limit=200"
local cells = {} -- path, protocol, at_once
for _, protocol in ipairs { "plain", "tls", "h2" } do
  for _, at_once in ipairs { 1, 8, 64 } do cells[#cells + 1] = { ME, protocol, at_once } end
end
for _, at_once in ipairs { 1, 8, 64 } do cells[#cells + 1] = { P50, "plain", at_once } end
for _, protocol in ipairs { "tls", "h2" } do
  for _, at_once in ipairs { 1, 64 } do cells[#cells + 1] = { P50, protocol, at_once } end
end
for _, at_once in ipairs { 1, 64 } do cells[#cells + 1] = { P200, "plain", at_once } end

local server = servers.start(FILE_BYTES)
local all, running = peers.list(BUILD), {}

local function url_of(path, protocol)
  return (protocol == "plain" and server.plain or server.tls) .. path
end

-- --- calls ---------------------------------------------------------------------------------------------------------

local function reference(at_once)
  return at_once == 1 and "easy" or "multi"
end

-- Those who can do it, warm, with how many calls make a turn.
local function entrants(path, protocol, at_once)
  local url, found = url_of(path, protocol), {}
  for _, peer in ipairs(all) do
    local one = running[peer.key]
    local skip = not one or peer.is_reference and peer.key ~= reference(at_once)
    for _, what in ipairs(skip and {} or { "decoded", "bare", "fields" }) do
      local can, is_stuck = one.ask(2 * at_once, at_once, protocol, what, url)
      local entrant = { key = peer.key, what = what, ask = one.ask, is_stuck = is_stuck, cpu = {}, wall = {} }
      if can then
        local warm = 4 * at_once + 16
        local spent = one.ask(warm, at_once, protocol, what, url)
        entrant.is_stuck = not spent
        entrant.count = spent and math.max(at_once * 4, math.ceil(TURN_SECONDS * warm / math.max(spent, 1e-6)))
      end
      if can or is_stuck then found[#found + 1] = entrant end
    end
  end
  return found
end

local function take_turn(one, round, path, protocol, at_once)
  if one.is_stuck then return end
  local from = core.now()
  local spent = one.ask(one.count, at_once, protocol, one.what, url_of(path, protocol))
  if not spent then
    one.is_stuck = true
    return
  end
  one.cpu[round], one.wall[round] = spent / one.count, (core.now() - from) / one.count
end

local function measure(path, protocol, at_once)
  local found = entrants(path, protocol, at_once)
  for round = 1, ROUNDS do
    for i = 1, #found do take_turn(found[(i + round * 5) % #found + 1], round, path, protocol, at_once) end
  end
  local base
  for _, one in ipairs(found) do
    if one.key == reference(at_once) then base = one end
  end
  local cell = { path = path, protocol = protocol, at_once = at_once, results = {}, stuck = {} }
  for _, one in ipairs(found) do
    local key = one.key .. " " .. one.what
    cell.stuck[key] = one.is_stuck
    if not one.is_stuck then cell.results[key] = report.summary(one.cpu, one.wall, base.cpu) end
  end
  return cell
end

-- --- processes: files, start-up, many calls ------------------------------------------------------------------------

-- Processor seconds, seconds and KiB at most of one process.
local function spent(command)
  local said = servers.shell(command)
  local cpu, wall, kib, status = said:match "^(%S+) (%S+) (%d+) (%d+)$"
  assert(status == "0", "it failed: " .. command .. ": " .. said)
  return { cpu = tonumber(cpu), wall = tonumber(wall), kib = tonumber(kib) }
end

local function spender(command)
  return ("%s/bench/spent %s"):format(BUILD, command)
end

local function files()
  local file, out = server.folder .. "/files/file.bin", server.folder .. "/out"
  local function dpg(way, base)
    return ("LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='%s/lua5.4/?.so;;' %s 2>&1"):format(BUILD,
      spender(("lua5.4 bench/clients/dpg_file.lua %s %s %s %s"):format(way, base, server.ca_file,
        way == "up" and file or out)))
  end
  local function curl(way, base)
    local rest = way == "up" and ("-F file=@%s %s"):format(file, base:gsub("/v1", "/take"))
      or ("-o %s/file.bin %s"):format(out, base:gsub("/v1", "/file.bin"))
    return spender(("curl -sS --noproxy '*' --cacert %s %s 2>/dev/null"):format(server.ca_file, rest))
  end
  os.execute("mkdir -p " .. out)
  local rows = {}
  for _, way in ipairs { "down", "up" } do
    for _, protocol in ipairs { "plain", "tls" } do
      local row = { way = way, protocol = protocol, dpg = {}, curl = {} }
      for round = 1, FILE_ROUNDS do
        for turn = 1, 2 do
          local who = (turn + round) % 2 == 0 and "dpg" or "curl"
          table.insert(row[who], spent((who == "dpg" and dpg or curl)(way, url_of("", protocol))))
          os.execute("rm -rf " .. out .. "/*")
        end
      end
      rows[#rows + 1] = row
    end
  end
  return rows
end

-- A peer in a process of its own, which makes so many calls, one order after the other.
local function process_of(peer, ...)
  local command, orders = peers.command(peer, server.ca_file), {}
  for i, calls in ipairs { ... } do
    orders[i] = ("%d 1 plain %s %s"):format(calls, peer.is_reference and "bare" or "decoded", url_of(ME, "plain"))
  end
  local errors = server.folder .. "/process.err" -- what it prints, as spent sends it there
  local run = spent(("printf '%%s\\n' '%s' | %s 2>%s"):format(table.concat(orders, "' '"),
    (command:gsub("sh %-c", spender "sh -c", 1)), errors))
  for line in io.lines(errors) do run.last = tonumber(line) end
  return run
end

local function start_up()
  local rows = {}
  for _, peer in ipairs(all) do
    if running[peer.key] and peer.key ~= "multi" then
      local row = { key = peer.key, runs = {} }
      for _ = 1, 9 do table.insert(row.runs, process_of(peer, 1)) end
      rows[#rows + 1] = row
    end
  end
  return rows
end

-- What each of so many calls takes, after a first one, and how large the process became.
local function many_calls()
  local rows = {}
  for calls, times in pairs { [10] = 15, [1000] = 9, [100000] = 1, [1000000] = 1 } do
    local row = { calls = calls, runs = {} }
    for _, peer in ipairs(all) do
      local runs = {}
      for i = 1, peer.is_dpg and running[peer.key] and times or 0 do
        runs[i] = process_of(peer, 1, calls)
        runs[i].each = runs[i].last / calls
      end
      row.runs[peer.key] = #runs > 0 and runs or nil
    end
    rows[#rows + 1] = row
  end
  table.sort(rows, function(a, b) return a.calls < b.calls end)
  return rows
end

-- --- all of it -----------------------------------------------------------------------------------------------------

local function main()
  local found = { peers = all, versions = {}, missing = {}, rounds = ROUNDS, cells = {}, load = report.load() }
  for _, peer in ipairs(all) do
    running[peer.key] = peers.start(peer, server)
    if running[peer.key] then
      found.versions[peer.key] = running[peer.key].version
    else
      found.missing[#found.missing + 1] = peer.name
    end
  end
  for i, cell in ipairs(cells) do
    io.stderr:write(("  %d of %d: %s, %s, %d at once\n"):format(i, #cells, cell[1], cell[2], cell[3]))
    found.cells[i] = measure(cell[1], cell[2], cell[3])
  end
  io.stderr:write "  files, start-up, many calls\n"
  found.start_up = start_up()
  found.many = many_calls()
  found.files = files()
  report.write(found, BUILD .. "/bench", writes)
end

local ok, problem = xpcall(main, debug.traceback)
for _, one in pairs(running) do one.tell() end
for _, one in pairs(running) do one.wait() end
server.stop()
if not ok then
  io.stderr:write(tostring(problem), "\n")
  os.exit(1)
end
