-- Frame times of games, with and without transfers, side by side: the embedded program (examples/embed), LÖVE without a
-- window, and LÖVE with one under Xvfb. All against one sandbox over TLS, on this machine. "its own" is a step without
-- the time in which others had the processor. From the checkout, after `make LUA=lua5.4` and `make LUA=luajit`:
--
--   LUA_PATH='lua/?.lua;;' lua5.4 bench/frame_games.lua [SECONDS] [BUILD]
local sandbox = require "dpg.sandbox"

local SECONDS, BUILD = tonumber(arg[1]) or 32, arg[2] or "build"
local FILE_BYTES = 300 * 1024

local box = sandbox.start { tls = true, images = 1 }
for seed = 1, 8 do box:add_blob { size = FILE_BYTES, seed = seed } end

local function run(what, lua, command, environment)
  print("\n" .. what)
  local words = {
    "LUA_PATH='lua/?.lua;lua/?/init.lua;;'", ("LUA_CPATH='%s/%s/?.so;;'"):format(BUILD, lua), "DPG_TOKEN=" .. box.token,
    "DPG_BASE_URL=" .. box.base_url, "DPG_CA_FILE=" .. box.ca_file, "FRAME_SECONDS=" .. SECONDS, environment or "",
    command,
  }
  os.execute(table.concat(words, " "))
end

local game = os.tmpname()
os.execute("cc -O2 -o " .. game .. " examples/embed/game.c $(pkg-config --cflags --libs lua5.4)")
run("embedded Lua 5.4, 4 ms of work in each frame", "lua5.4", game .. " " .. SECONDS)
os.remove(game)
run("LÖVE without a window", "luajit", "love bench/frame_love")
run("LÖVE with a window, under Xvfb", "luajit", "xvfb-run -a love bench/frame_love",
  "FRAME_WINDOW=1 ALSOFT_DRIVERS=null")
box:stop()
