-- What dpg costs a game's frame: loop:step() and the whole frame, 60 frames a second, with and without transfers, in
-- turns of one second within one run, so that whatever else this machine does hits both alike. On LuaJIT "its own" is
-- the processor time of the frame's thread alone: what others on this machine took is not in it.
--
--   LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='build/luajit/?.so;;' luajit bench/frame.lua [SECONDS [TRANSFERS]]
--
-- Then the kinds of transfers: read, chunks, save, send, list; all of them where none is named.
local core = require "dpg.core"
local dpg = require "dpg"
local sandbox = require "dpg.sandbox"
local socket = require "socket"

local SECONDS, TRANSFERS = tonumber(arg[1]) or 40, tonumber(arg[2]) or 8
local KINDS = {}
for i = 3, #arg do KINDS[#KINDS + 1] = arg[i] end
local FRAME_S, DRAW_S = 1 / 60, 0.003

local box = sandbox.start()
local gallery = dpg.assert(dpg.service { token = box.token, base_url = box.base_url, ca_file = box.ca_file })
local file = box:add_blob { size = 1024 * 1024, seed = 1, filename = "stage.jpg" }.public_uuid
local photo = ("\255\216\255"):rep(300000)
local folder = os.tmpname()
os.remove(folder)
assert(os.execute("mkdir " .. folder))

local own_time
if rawget(_G, "jit") then
  local ffi = require "ffi"
  ffi.cdef "struct dpg_bench_time { long s, ns; }; int clock_gettime(int, struct dpg_bench_time *);"
  local CLOCK_THREAD_CPUTIME_ID, time = 3, ffi.new "struct dpg_bench_time"
  function own_time()
    ffi.C.clock_gettime(CLOCK_THREAD_CPUTIME_ID, time)
    return tonumber(time.s) + tonumber(time.ns) / 1e9
  end
end

local bytes, calls = 0, 0
local function count(n) bytes = bytes + n end

-- One transfer after the other: to a string, in chunks, to a file, from memory; with calls in between.
local kinds = {
  read = function() count(#dpg.assert(gallery.downloads:read(file))) end,
  chunks = function()
    local chunks = gallery.downloads:chunks(file)
    local piece, err = chunks:next()
    while piece do
      count(#piece)
      piece, err = chunks:next()
    end
    dpg.assert(not err, err)
  end,
  save = function(nth)
    local _, answer = dpg.assert(gallery.downloads:save(file, folder .. "/" .. nth, { overwrite = true }))
    count(answer.length)
  end,
  send = function()
    dpg.assert(gallery.uploads:send({ bytes = photo, filename = "photo.jpg" }, { title = "Frame" }))
    count(#photo)
  end,
  list = function()
    dpg.assert(gallery.images:list { limit = 50 })
    calls = calls + 1
  end,
}

if #KINDS == 0 then KINDS = { "read", "chunks", "save", "send", "list" } end
for _, kind in ipairs(KINDS) do assert(kinds[kind], "no such kind: " .. kind) end

local function transfer(nth)
  local turn = nth
  while true do
    kinds[KINDS[turn % #KINDS + 1]](nth)
    turn = turn + 1
  end
end

local function draw(seconds)
  local ends_at = core.now() + seconds
  while core.now() < ends_at do end
end

local idle, busy = { step = {}, own = {}, frame = {} }, { step = {}, own = {}, frame = {} }

local function play(loop, seconds, times)
  local ends_at = core.now() + seconds
  while true do
    local begun = core.now()
    if begun >= ends_at then return end
    draw(DRAW_S)
    local before, own = core.now(), own_time and own_time()
    loop:step()
    local after = core.now()
    if own then times.own[#times.own + 1] = own_time() - own end
    times.step[#times.step + 1] = after - before
    times.frame[#times.frame + 1] = after - begun
    socket.sleep(math.max(0, FRAME_S - (core.now() - begun)))
  end
end

local function percentile(sorted, p)
  return sorted[math.max(1, math.ceil(#sorted * p / 100))] * 1000
end

local function show(what, name)
  table.sort(idle[name])
  table.sort(busy[name])
  for _, p in ipairs { 50, 90, 99, 99.9, 100 } do
    print(("%-12s p%-5s %12.3f %12.3f"):format(what, p, percentile(idle[name], p), percentile(busy[name], p)))
  end
end

for _ = 1, math.ceil(SECONDS / 2) do
  local quiet = dpg.assert(dpg.loop())
  play(quiet, 1, idle)
  quiet:close()
  local loop = dpg.assert(dpg.loop())
  for nth = 1, TRANSFERS do loop:spawn(transfer, nth) end
  play(loop, 1, busy)
  loop:close()
end
box:stop()
os.execute("rm -r " .. folder)

print(("%s, %d frames each, %d transfers: %.1f MB/s, %.0f calls a second"):format(
  require("dpg.compat").name, #busy.frame, TRANSFERS, bytes / 1e6 / (SECONDS / 2), calls / (SECONDS / 2)))
print(("%-12s %-6s %12s %12s"):format("ms", "", "without", "with"))
show("loop:step()", "step")
if own_time then show("its own", "own") end
show("frame", "frame")
