-- What dpg costs a frame of LÖVE: rounds of one second without transfers and with eight downloads to strings and two
-- tasks that read images, in turns. bench/frame_games.lua starts it; FRAME_SECONDS says how long, and FRAME_WINDOW=1
-- that it draws.
local core = require "dpg.core"
local dpg = require "dpg"

local SECONDS, FRAME_S = tonumber(os.getenv "FRAME_SECONDS") or 16, 1 / 60
local DOWNLOADS, READERS = 8, 2

love.errorhandler = function(message)
  io.stderr:write(debug.traceback(message, 2), "\n")
  return nil
end

local gallery = dpg.assert(dpg.service {
  token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL", ca_file = os.getenv "DPG_CA_FILE",
})
local moved, reads = 0, 0

local function begin(loop)
  loop:spawn(function()
    local images = dpg.assert(gallery.images:list { limit = 8 }).items
    for i = 1, DOWNLOADS do
      dpg.spawn(function()
        while true do
          local bytes = dpg.assert(gallery.downloads:read(images[i % #images + 1].public_uuid))
          moved = moved + #bytes
        end
      end)
    end
    for i = 1, READERS do
      dpg.spawn(function()
        while true do
          dpg.assert(gallery.images:get(images[i].public_uuid))
          reads = reads + 1
        end
      end)
    end
    coroutine.yield()
    while true do dpg.assert(gallery:me()) end -- what it has spawned lives as long as it does
  end)
end

local function draw()
  if not love.graphics then return end
  love.graphics.origin()
  love.graphics.clear(0, 0, 0)
  for i = 1, 300 do
    love.graphics.setColor(i % 7 / 7, i % 11 / 11, i % 13 / 13, 0.3)
    love.graphics.rectangle("fill", i * 37 % 640, i * 53 % 400, 40, 40)
  end
  love.graphics.present()
end

local kinds = { quiet = { frame = {}, step = {}, own = {} }, transfers = { frame = {}, step = {}, own = {} } }

-- How long this thread was ready to run and had to wait for a processor.
local schedstat = io.open "/proc/thread-self/schedstat"

local function queued()
  if not schedstat then return 0 end
  schedstat:seek "set"
  return tonumber(schedstat:read "*a":match "%d+ (%d+)") / 1e9
end

local function percentiles(what, list)
  table.sort(list)
  local row = ("  %-10s"):format(what)
  for _, share in ipairs { 0.5, 0.9, 0.99, 0.999, 1 } do
    row = row .. ("%9.3f"):format(list[math.ceil(share * #list)] * 1000)
  end
  print(row)
end

local function report()
  for _, name in ipairs { "quiet", "transfers" } do
    local kind = kinds[name]
    print(("%-12s%9s%9s%9s%9s%9s   (ms, %d frames)"):format(name, "p50", "p90", "p99", "p99.9", "worst", #kind.frame))
    percentiles("frame", kind.frame)
    percentiles("loop:step", kind.step)
    percentiles("its own", kind.own)
  end
  print(("%d downloads at a time: %.1f MiB; %d reads beside them"):format(DOWNLOADS, moved / 2 ^ 20, reads))
end

function love.run()
  local round, round_ends, kind, loop, frame_at, begun = 0, 0, nil, nil, core.now(), nil
  return function()
    love.event.pump()
    for name, status in love.event.poll() do
      if name == "quit" then return status or 0 end
    end
    if core.now() >= round_ends then
      if loop then loop:close() end
      if round == SECONDS then
        report()
        return 0
      end
      round, round_ends, begun = round + 1, core.now() + 1, nil
      kind, loop = round % 2 == 1 and kinds.quiet or kinds.transfers, dpg.assert(dpg.loop())
      if kind == kinds.transfers then begin(loop) end
    end
    local waited, before = queued(), core.now()
    loop:step()
    local taken = core.now() - before
    kind.step[#kind.step + 1], kind.own[#kind.own + 1] = taken, taken - (queued() - waited)
    draw()
    frame_at = math.max(frame_at + FRAME_S, core.now() - FRAME_S)
    while frame_at > core.now() do love.timer.sleep(math.max(0, frame_at - core.now())) end
    local now = core.now()
    if begun then kind.frame[#kind.frame + 1] = now - begun end
    begun = now
  end
end
