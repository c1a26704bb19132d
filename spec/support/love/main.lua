-- Plays a person at an example for LÖVE, whose files it runs unchanged: looks at the texts on the screen, types,
-- clicks.
--
--   LOVE_EXAMPLE=examples/love LOVE_PERSON=script.lua love spec/support/love
--
-- The script is a Lua file that gets the person as its argument, and runs as a coroutine beside the frames: whatever
-- waits, waits for a frame that shows what is wanted. It ends the program by `person.quit()`, or by its own end.
local example, script = assert(os.getenv "LOVE_EXAMPLE"), assert(os.getenv "LOVE_PERSON")
local PATIENCE = 60 -- seconds until a person gives up

io.stdout:setvbuf "line"

local function fail(message)
  io.stderr:write(tostring(message), "\n")
  os.exit(1)
end
love.errorhandler = function(message) fail(debug.traceback(message, 2)) end

local shown, seen = {}, {} -- what this frame has drawn so far, and what the last one did
for _, name in ipairs { "print", "printf" } do
  local draw = love.graphics[name]
  love.graphics[name] = function(text, x, y, ...)
    local at_x, at_y = love.graphics.transformPoint(x, y)
    shown[#shown + 1] = { text = tostring(text), x = at_x, y = at_y, alpha = select(4, love.graphics.getColor()) }
    return draw(text, x, y, ...)
  end
end

local person = {}

---Waits for the next frame.
person.wait = coroutine.yield

-- A text that is this one, or else one that has it somewhere.
local function find(text)
  local found
  for _, one in ipairs(seen) do
    if one.alpha > 0.02 and one.text == text then return one end
    if one.alpha > 0.02 and one.text:find(text, 1, true) then found = found or one end
  end
  return found
end

---Is this on the screen?
function person.sees(text)
  return find(text) ~= nil
end

---Everything that is on the screen, for messages.
function person.screen()
  local all = {}
  for _, one in ipairs(seen) do all[#all + 1] = one.text end
  return table.concat(all, " | ")
end

---Waits until this is on the screen.
function person.look_for(text)
  local began = love.timer.getTime()
  while not find(text) do
    if love.timer.getTime() - began > PATIENCE then error("'" .. text .. "' does not come: " .. person.screen(), 2) end
    person.wait()
  end
  return find(text)
end

---Waits until `condition()`.
function person.wait_for(condition)
  local began = love.timer.getTime()
  while not condition() do
    if love.timer.getTime() - began > PATIENCE then error("it does not come: " .. person.screen(), 2) end
    person.wait()
  end
end

---Lets seconds pass, of the program's own time.
function person.pause(seconds)
  local until_ = love.timer.getTime() + seconds
  while love.timer.getTime() < until_ do person.wait() end
end

function person.press(key)
  love.event.push("keypressed", key, key, false)
  love.event.push("keyreleased", key, key)
  person.wait()
end

function person.type(text)
  for character in text:gmatch "[%z\1-\127\194-\244][\128-\191]*" do love.event.push("textinput", character) end
  person.wait()
end

---Clicks on a text.
function person.click(text)
  local one = person.look_for(text)
  local x, y = one.x + 4, one.y + 6
  love.event.push("mousemoved", x, y, 0, 0, false)
  love.event.push("mousepressed", x, y, 1, false, 1)
  love.event.push("mousereleased", x, y, 1, false, 1)
  person.wait()
end

---Writes what is on the screen to a PNG file.
function person.photograph(path)
  local is_there = false
  love.graphics.captureScreenshot(function(image)
    local file = assert(io.open(path, "wb"))
    file:write(image:encode("png"):getString())
    file:close()
    is_there = true
  end)
  person.wait_for(function() return is_there end)
end

---Tells the spec, which reads what is printed.
person.say = print

---Waits until the spec has made this file.
function person.wait_for_file(path)
  person.wait_for(function()
    local file = io.open(path)
    if file then file:close() end
    return file ~= nil
  end)
end

function person.quit()
  love.event.quit()
  person.wait()
end

package.path = package.path .. ";" .. example .. "/?.lua"
dofile(example .. "/main.lua")

local play = coroutine.create(assert(loadfile(script)))
local update, draw = love.update, love.draw

function love.update(dt)
  update(dt)
  if coroutine.status(play) == "dead" then return love.event.quit() end
  local ok, problem = coroutine.resume(play, person)
  if not ok then fail(problem) end
end

function love.draw()
  shown = {}
  draw()
  seen = shown
end
