-- The form: login and password, then a code where two-factor is on. What went wrong is said in it, in words. It begins
-- by asking for nothing: whoever has signed in before goes on from the store.
local field = require "field"
local look = require "look"

local M = {}

local SignIn = {}
SignIn.__index = SignIn

---@param words? string  why it is shown; then there is nothing to go on from
function M.new(app, words)
  local self = setmetatable({
    app = app, focus = 1, words = words, is_calm = true, shown = 0, mouse_x = -1, mouse_y = -1,
  }, SignIn)
  self:_ask_password()
  if not words then
    self.busy = "One moment"
    self.is_resuming = true
    app.gallery:resume(function(user, problem)
      self.busy, self.is_resuming = nil, false
      if user then return app:go "picker" end
      self.words, self.is_calm = problem, false
    end)
  end
  return self
end

function SignIn:_ask_password()
  self.title, self.note = "Your galleries", "Sign in to see your sets as a slideshow."
  self.fields = { field.new { label = "Login" }, field.new { label = "Password", is_secret = true } }
  self.button = { label = "Sign in", is_main = true }
  self.focus, self.challenge = 1, nil
end

function SignIn:_ask_code(challenge)
  self.title, self.note = "One more step", "Type the code that your authenticator shows."
  self.fields = { field.new { label = "Two-factor code", digits = 6 } }
  self.button = { label = "Confirm", is_main = true }
  self.focus, self.challenge = 1, challenge
end

function SignIn:_answered(user, words, challenge, is_wrong)
  self.busy = nil
  if user then return self.app:go "picker" end
  if challenge and not self.challenge then
    return self:_ask_code(challenge)
  end
  self.words, self.is_calm = words, false
  if self.challenge and not challenge then return self:_ask_password() end
  self.focus = #self.fields
  if is_wrong then self.fields[self.focus]:set "" end
end

function SignIn:_submit()
  for i, one in ipairs(self.fields) do
    if one.text == "" then
      self.focus = i
      return
    end
  end
  self.words = nil
  local function done(...) self:_answered(...) end
  if self.challenge then
    self.busy = "Looking at the code"
    self.app.gallery:answer(self.challenge, self.fields[1].text, done)
  else
    self.busy = "Signing in"
    self.app.gallery:sign_in(self.fields[1].text, self.fields[2].text, function(words) self.busy = words end, done)
  end
end

function SignIn:update(dt)
  self.shown = self.shown + dt
end

-- --- events --------------------------------------------------------------------------------------------------------

function SignIn:textinput(text)
  if self.busy then return end
  local one = self.fields[self.focus]
  one:insert(text)
  self.words = nil
end

function SignIn:keypressed(key)
  if self.busy then return end
  if key == "tab" or key == "down" or key == "up" then
    local back = key == "up" or (key == "tab" and love.keyboard.isDown("lshift", "rshift"))
    self.focus = (self.focus - 1 + (back and -1 or 1)) % #self.fields + 1
  elseif key == "return" or key == "kpenter" then
    if self.focus < #self.fields and self.fields[self.focus + 1].text == "" then
      self.focus = self.focus + 1
    else
      self:_submit()
    end
  elseif key == "escape" then
    if self.challenge then self:_ask_password() end
  else
    self.fields[self.focus]:key(key)
  end
end

function SignIn:mousemoved(x, y)
  self.mouse_x, self.mouse_y = x, y
end

function SignIn:mousepressed(x, y)
  if self.busy then return end
  for i, one in ipairs(self.fields) do
    if look.is_in(one, x, y) then self.focus = i end
  end
  if self.button.x and look.is_in(self.button, x, y) then self:_submit() end
end

-- --- drawing -------------------------------------------------------------------------------------------------------

local WIDTH, PAD = 440, 48

function SignIn:draw(width, height)
  local time = self.app.time
  look.backdrop(time, width, height)
  if self.is_resuming then
    look.busy(time, width / 2, height / 2 - 16, 22, look.ease(self.shown - 0.3))
    look.text(self.busy, width / 2, height / 2 + 26, 15, "quiet", look.ease(self.shown - 0.3), "center")
    return
  end
  local tall = 266 + 92 * #self.fields
  local x, y = (width - WIDTH) / 2, (height - tall) / 2 - 12
  look.box(x, y, WIDTH, tall, 20, "raised", 0.82)
  look.frame(x, y, WIDTH, tall, 20, "line", 0.5)
  look.text(self.title, x + PAD, y + 40, 30, "text")
  look.text(self.note, x + PAD, y + 84, 15, "quiet")

  local at = y + 158
  for i, one in ipairs(self.fields) do
    one:draw(x + PAD, at, WIDTH - 2 * PAD, 50, not self.busy and i == self.focus, time)
    at = at + 92
  end
  local button = self.button
  button.x, button.y, button.width, button.height = x + PAD, at - 18, WIDTH - 2 * PAD, 50
  button.is_off = self.busy ~= nil
  look.button(button, self.mouse_x, self.mouse_y)
  if self.busy then
    look.busy(time, x + PAD + 14, at + 64, 9)
    look.text(self.busy .. " …", x + PAD + 36, at + 54, 15, "quiet")
  elseif self.words then
    look.lines(self.words, x + PAD, at + 44, 14, WIDTH - 2 * PAD,
      self.is_calm and "quiet" or "alarm")
  end
end

return M
