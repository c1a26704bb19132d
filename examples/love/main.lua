-- A slideshow: a person signs in once, picks a set, and sits back. main.lua joins LÖVE to the screens; gallery.lua
-- talks to DPG, pictures.lua keeps what is shown, look.lua is how it looks.

-- Shipped, the client is in the .love file, and its module in C beside that (doc/games.md). In a checkout both are two
-- folders up.
local beside, root = love.filesystem.getSourceBaseDirectory(), love.filesystem.getSource() .. "/../.."
package.path = package.path .. (";%s/lua/?.lua;%s/lua/?/init.lua"):format(root, root)
package.cpath = package.cpath .. (";%s/?.so;%s/?.dll;%s/build/luajit/?.so"):format(beside, beside, root)

local gallery = require "gallery"
local look = require "look"
local pictures = require "pictures"

local SCREENS = { sign_in = require "sign_in", picker = require "picker", show = require "show" }

local app = { time = 0 }

---Changes to another screen.
---@param name string
---@param ... any  for its `new`
function app:go(name, ...)
  if self.screen and self.screen.leave then self.screen:leave() end
  self.screen = SCREENS[name].new(self, ...)
end

function love.load()
  love.keyboard.setKeyRepeat(true)
  app.gallery = gallery.new {
    folder = love.filesystem.getSaveDirectory(),
    base_url = os.getenv "DPG_BASE_URL", ca_file = os.getenv "DPG_CA_FILE",
    on_signed_out = function(words) app:go("sign_in", words) end,
  }
  app:go "sign_in"
end

function love.update(dt)
  app.gallery:step() -- answers that have come go to whoever waits for them; it never blocks
  app.time = app.time + math.min(dt, 0.1) -- a lid that was shut all night is no night of motion
  app.screen:update(math.min(dt, 0.1))
end

function love.draw()
  look.begin()
  app.screen:draw(look.width, look.height)
  look.finish()
end

local function forward(event, convert)
  love[event] = function(...)
    local handler = app.screen and app.screen[event]
    if not handler then return end
    if convert then return handler(app.screen, convert(...)) end
    return handler(app.screen, ...)
  end
end

forward "textinput"
forward("wheelmoved", function(_, y) return y end)
forward("mousemoved", look.from_window)
forward("mousepressed", look.from_window)
forward "keypressed"

-- These may be held down; the others mean something once.
local REPEATS = { backspace = true, delete = true, left = true, right = true, up = true, down = true }

local on_key = love.keypressed
function love.keypressed(key, _, is_repeat)
  if is_repeat and not REPEATS[key] then return end
  if key == "f11" then return love.window.setFullscreen(not love.window.getFullscreen(), "desktop") end
  return on_key(key)
end

-- Calls that are under way may be left: an exchange of tokens among them is finished and saved before the process ends.
function love.quit()
  if app.screen.leave then app.screen:leave() end
  pictures.wait_for_threads()
end
