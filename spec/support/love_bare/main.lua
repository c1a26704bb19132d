-- LÖVE without a window, for specs. What it does is in LOVE_DOES:
--   "rounds"  makes everything anew and closes it, LOVE_TIMES times; then tells what has come to stay
--   "quits"   begins eight downloads, and ends in their middle by what LOVE_ENDING says: quit, exit, error; or restart,
--             five times, counted in LOVE_FILE: each time it is another Lua state in the same process
--   "rotates" goes on from the store LOVE_STORE, says so once LOVE_FILE is there, and ends likewise
--   "sleeps"  signs in, and has calls waiting when it is stopped; then tells how they have ended
local dpg = require "dpg"
local hubs = require "dpg.hub"

io.stdout:setvbuf "line"
love.errorhandler = function(message)
  io.stderr:write(tostring(message), "\n")
  return nil
end

local settings = {
  token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL", ca_file = os.getenv "DPG_CA_FILE",
}

local pid
do
  local file = assert(io.open "/proc/self/stat")
  pid = file:read "*n"
  file:close()
end

-- The least of some: the shell may look before popen has closed its own end of the pipe.
local function count(folder)
  local least = math.huge
  for _ = 1, 5 do
    local pipe = assert(io.popen("ls /proc/" .. pid .. "/" .. folder .. " | wc -l"))
    least = math.min(least, pipe:read "*n")
    pipe:close()
  end
  return least
end

local function step_until(loop, done)
  while not done() do
    loop:step()
    love.timer.sleep(0.0005)
  end
end

local does = {}

local function one_round(image)
  local loop, is_done = dpg.assert(dpg.loop()), false
  local gallery = dpg.assert(dpg.service(settings))
  loop:spawn(function()
    image = image or dpg.assert(gallery.images:list { limit = 1 }).items[1]
    dpg.assert(gallery.downloads:read(image.public_uuid, { version = "thumbnail" }))
    is_done = true
  end)
  step_until(loop, function() return is_done end)
  loop:close()
  hubs.close_all(0)
  return image
end

function does.rounds()
  local image = one_round()
  local function kept()
    for _ = 1, 3 do one_round(image) end
    for _ = 1, 3 do collectgarbage() end
    local statm = assert(io.open "/proc/self/statm")
    local _, pages = statm:read("*n", "*n")
    statm:close()
    return { count "task", count "fd", collectgarbage "count", pages * 4 }
  end
  local before = kept()
  for _ = 1, tonumber(os.getenv "LOVE_TIMES") do one_round(image) end
  local after = kept()
  for i, what in ipairs { "threads", "descriptors", "KiB of Lua", "KiB in all" } do
    print(("%d more %s"):format(after[i] - before[i], what))
  end
  love.event.quit()
end

-- How often this process has begun anew.
local function restarts()
  local file = assert(io.open(os.getenv "LOVE_FILE", "a+"))
  local n = #file:read "*a"
  file:write "."
  file:close()
  return n
end

local endings = {
  quit = function() love.event.quit(7) end,
  exit = function() os.exit(7) end,
  error = function() error "the end" end,
  restart = function() love.event.quit(restarts() < 5 and "restart" or 7) end,
}

function does.quits()
  local loop, moved = dpg.assert(dpg.loop()), 0
  local gallery = dpg.assert(dpg.service(settings))
  for _ = 1, 8 do
    loop:spawn(function()
      local image = dpg.assert(gallery.images:list { limit = 1 }).items[1]
      local chunks = gallery.downloads:chunks(image.public_uuid)
      local piece = dpg.assert(chunks:next())
      while piece do
        moved = moved + #piece
        piece = chunks:next()
      end
    end)
  end
  step_until(loop, function() return moved > 1000000 end)
  print "leaving in the middle"
  endings[os.getenv "LOVE_ENDING"]()
end

function does.rotates()
  local loop = dpg.assert(dpg.loop())
  loop:spawn(function()
    local user = dpg.assert(dpg.resume {
      store = dpg.store.file(os.getenv "LOVE_STORE"), base_url = settings.base_url, ca_file = settings.ca_file,
    })
    dpg.assert(dpg.assert(user:account(user.accounts[1].uuid)):me())
    error "the exchange is over already"
  end)
  step_until(loop, function()
    local file = io.open(os.getenv "LOVE_FILE")
    if file then file:close() end
    return file ~= nil
  end)
  print "leaving in the middle"
  endings[os.getenv "LOVE_ENDING"]()
end

function does.sleeps()
  local loop, begun, ended = dpg.assert(dpg.loop()), 0, {}
  local function call(list, session, deadline)
    begun = begun + 1
    local page, err = list:list { limit = 1, deadline = deadline }
    if page then page, err = session:me() end
    local how = page and "went on" or err.kind
    ended[how] = (ended[how] or 0) + 1
    begun = begun - 1
  end
  local is_asleep = false
  loop:spawn(function()
    local user = dpg.assert(dpg.sign_in {
      login = os.getenv "LOGIN", password = os.getenv "PASSWORD", store = dpg.store.memory(),
      device = { identifier = "spec", name = "A spec", platform = "linux" }, base_url = settings.base_url,
      ca_file = settings.ca_file,
    })
    local session = dpg.assert(user:account(user.accounts[1].uuid))
    dpg.assert(session:me())
    is_asleep = true
    for _ = 1, 8 do
      dpg.spawn(call, session.images, session)
      dpg.spawn(call, session.sets, session, 1)
    end
  end)
  step_until(loop, function() return is_asleep and begun == 16 end)
  print("pid " .. pid)
  step_until(loop, function() return begun <= 8 end)
  print(("%d timed out"):format(ended.timeout or 0))
  step_until(loop, function() return begun == 0 end)
  print(("%d went on"):format(ended["went on"] or 0))
  love.event.quit()
end

local is_begun = false

function love.update()
  if is_begun then return end
  is_begun = true
  does[os.getenv "LOVE_DOES"]()
end
