-- The slideshow: one picture after the other, each drifting a little, each fading into the next. A few pictures around
-- the current one are kept, no more.
local gallery = require "gallery"
local look = require "look"
local pictures = require "pictures"

local M = {}

local Show = {}
Show.__index = Show

local HOLD, FADE = 7, 1.4 -- seconds
local AHEAD, BEHIND = 2, 1 -- pictures that are kept
local HUD = 3 -- seconds that the keys are shown after the mouse has moved
local TOO_TALL = 1.5 -- a picture that would lose more than a third is shown whole

-- Where a picture drifts, in shares of the room that there is: from, to, and its growth.
local DRIFTS = {
  { -0.8, -0.2, 0.7, 0.3, 1 }, { 0.7, 0.3, -0.6, -0.2, -1 }, { -0.5, 0.3, 0.5, -0.2, 1 }, { 0.2, -0.4, -0.3, 0.4, -1 },
}

function M.new(app, account, set)
  local self = setmetatable({
    app = app, account = account, set = set, index = 1, clock = 0, held = 0, keys_left = HUD, step = 1, shown = 0,
    is_waiting = true, back = { label = "Sets" }, list = {},
  }, Show)
  self.pictures = pictures.new(function(key, done)
    app.gallery:picture(key, love.graphics.getPixelWidth(), love.graphics.getPixelHeight(), done)
  end)
  app.gallery:images(set, function(list, words)
    if self.is_gone then return end
    self.list, self.words = list or {}, words
    if list and #list == 0 then self.words = "This set is empty." end
    self:_want()
  end)
  return self
end

function Show:leave()
  self.is_gone = true
  love.mouse.setVisible(true)
  self.pictures:close()
  if self.small then self.small:release() end
end

function Show:_key(offset)
  local count = #self.list
  return count > 0 and self.list[(self.index - 1 + offset) % count + 1].public_uuid or nil
end

-- What is wanted: this one, those that come, the one before. What still fades away is kept, too.
function Show:_want()
  local keys, known = {}, {}
  local function add(key)
    if key and not known[key] then
      known[key] = true
      keys[#keys + 1] = key
    end
  end
  for offset = 0, AHEAD do add(self:_key(offset * self.step)) end
  for offset = 1, BEHIND do add(self:_key(-offset * self.step)) end
  add(self.leaving and self.leaving.key)
  self.pictures:want(keys)
end

function Show:_move(step)
  if #self.list < 2 then return end
  self.step = step
  self.index = (self.index - 1 + step) % #self.list + 1
  self.is_waiting, self.problem = true, nil
  self:_want()
end

-- The current picture has come: it fades in over the last one.
function Show:_enter(key, texture, image)
  self.leaving, self.current = self.current, {
    key = key, texture = texture, image = image, age = 0, drift = DRIFTS[(self.index - 1) % #DRIFTS + 1],
  }
  self.clock = 0
  self:_want()
end

-- The one that is waited for may have come, or can't be had.
function Show:_look()
  local key = self:_key(0)
  if not key or not self.is_waiting then return end
  local texture, found = self.pictures:get(key)
  if texture then self:_enter(key, texture, found) elseif found then self.problem = found end
  if found then self.is_waiting, self.held = false, 0 end
end

function Show:update(dt)
  self.pictures:update()
  self.shown, self.keys_left, self.clock = self.shown + dt, self.keys_left - dt, self.clock + dt
  love.mouse.setVisible(self.keys_left > 0)
  self:_look()
  local moves = self.is_paused and 0 or dt
  if self.current then self.current.age = self.current.age + moves end
  if self.leaving then self.leaving.age = self.leaving.age + moves end
  if self.leaving and self.clock > FADE then
    self.leaving = nil
    self:_want()
  end
  self.held = self.held + moves
  if self.held > HOLD and not self.is_waiting then
    self.held = 0
    self:_move(1)
  end
end

-- --- events --------------------------------------------------------------------------------------------------------

local KEYS = {
  space = function(self) self.is_paused = not self.is_paused end,
  right = function(self) self:_move(1) end,
  left = function(self) self:_move(-1) end,
  escape = function(self) self.app:go("picker", self.account) end,
}

function Show:keypressed(key)
  if KEYS[key] then KEYS[key](self) end
end

function Show:mousemoved(x, y)
  self.mouse_x, self.mouse_y, self.keys_left = x, y, HUD
end

function Show:mousepressed(x, y)
  self:mousemoved(x, y)
  if look.is_in(self.back, x, y) then return KEYS.escape(self) end
  if x < look.width * 0.25 then self:_move(-1) elseif x > look.width * 0.75 then self:_move(1) else KEYS.space(self) end
end

-- --- drawing -------------------------------------------------------------------------------------------------------

-- Behind a picture that does not fill the window: itself, so small and so large that it is but light.
function Show:_draw_light(one, width, height, alpha)
  self.small = self.small or love.graphics.newCanvas(24, 16)
  local picture_width, picture_height = one.texture:getDimensions()
  if self.small_of ~= one then
    self.small_of = one
    love.graphics.push "all"
    love.graphics.reset()
    love.graphics.setCanvas(self.small)
    love.graphics.clear(0, 0, 0, 1)
    love.graphics.draw(one.texture, 0, 0, 0, 24 / picture_width, 16 / picture_height)
    love.graphics.pop()
  end
  love.graphics.setColor(0.42, 0.42, 0.42, alpha)
  love.graphics.draw(self.small, -0.05 * width, -0.05 * height, 0, 1.1 * width / 24, 1.1 * height / 16)
end

function Show:_draw_picture(one, width, height, alpha)
  local picture_width, picture_height = one.texture:getDimensions()
  local across, down = width / picture_width, height / picture_height
  local share = one.age / (HOLD + 2 * FADE)
  local drift = one.drift
  if math.max(across, down) / math.min(across, down) > TOO_TALL then
    self:_draw_light(one, width, height, alpha)
    local scale = math.min(across, down) * (0.9 + 0.02 * share)
    love.graphics.setColor(1, 1, 1, alpha)
    love.graphics.draw(one.texture, width / 2, height / 2 - 0.02 * height, 0, scale, scale, picture_width / 2,
      picture_height / 2)
    return
  end
  local growth = drift[5] > 0 and share or 1 - share
  local scale = math.max(across, down) * (1.03 + 0.07 * growth)
  local room_x, room_y = (picture_width * scale - width) / 2, (picture_height * scale - height) / 2
  local x = width / 2 + room_x * (drift[1] + (drift[3] - drift[1]) * share)
  local y = height / 2 + room_y * (drift[2] + (drift[4] - drift[2]) * share)
  love.graphics.setColor(1, 1, 1, alpha)
  love.graphics.draw(one.texture, x, y, 0, scale, scale, picture_width / 2, picture_height / 2)
end

local MONTHS = {
  "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
  "December",
}

local function date(text)
  local year, month, day = tostring(text):match "^(%d+)-(%d+)-(%d+)"
  return year and ("%d %s %s"):format(day, MONTHS[tonumber(month)] or "", year)
end

-- "© 2025 Callum Reid  ·  Isle of Skye, Highland  ·  14 September 2025"
local function credits(image)
  local known, parts = gallery.known, {}
  local metadata = known(image.metadata) or {}
  parts[1] = known(metadata.copyright_notice) or known(metadata.creator)
  for _, credit in ipairs(known(image.credits) or {}) do parts[#parts + 1] = credit.role .. ": " .. credit.name end
  local place = {}
  for _, name in ipairs { "city", "state" } do place[#place + 1] = known(metadata[name]) end
  if #place > 0 then parts[#parts + 1] = table.concat(place, ", ") end
  parts[#parts + 1] = date(image.creation_date)
  return table.concat(parts, "   ·   ")
end

local MARGIN = 56

local function draw_words(one, width, height, alpha)
  local image = one.image
  local y = height - 104
  local title = gallery.known(image.title) or gallery.known(image.filename) or ""
  look.text(look.fitted(title, 30, width - 2 * MARGIN - 160), MARGIN, y, 30, "text", alpha)
  local x = MARGIN
  if (tonumber(image.rating) or 0) > 0 then
    look.stars(tonumber(image.rating), x, y + 56, 6.5, alpha)
    x = x + 100
  end
  look.text(look.fitted(credits(image), 15, width - x - MARGIN - 180), x, y + 47, 15, "text", 0.78 * alpha)
end

function Show:_draw_progress(width, height)
  local count, x, y = #self.list, width - MARGIN, height - 48
  if count <= 24 then
    for i = count, 1, -1 do
      local is_this = i == self.index
      look.dot(x - (count - i) * 14, y, is_this and 4.5 or 3, is_this and "accent" or "text", is_this and 1 or 0.35)
    end
  else
    look.text(self.index .. " / " .. count, x, y - 10, 15, "text", 0.8, "right")
  end
  if self.is_paused then
    look.box(x - 10, y - 44, 4, 18, 1, "text", 0.9)
    look.box(x - 2, y - 44, 4, 18, 1, "text", 0.9)
  end
end

function Show:_draw_keys(width)
  local alpha = look.ease(self.keys_left / 0.6)
  if alpha <= 0 then return end
  local back = self.back
  back.x, back.y, back.width, back.height = MARGIN, 36, 76, 34
  look.box(back.x, back.y, back.width, back.height, 17, "ground", 0.45 * alpha)
  look.text(self.back.label, back.x + 38, back.y + 8, 14, "text", alpha, "center")
  look.text(self.set.name, back.x + 94, back.y + 8, 14, "text", 0.75 * alpha)
  look.text("space pauses   ·   arrows turn   ·   F11 fills the screen", width - MARGIN, back.y + 8, 14, "text",
    0.75 * alpha, "right")
end

function Show:draw(width, height)
  look.colour "ground"
  love.graphics.rectangle("fill", 0, 0, width, height)
  local share = look.ease(self.clock / FADE)
  if self.leaving then self:_draw_picture(self.leaving, width, height, 1) end
  local current = self.current
  if current then
    self:_draw_picture(current, width, height, (self.leaving or current.age < FADE) and share or 1)
  end
  look.shade(0, height * 0.58, width, height * 0.42, 0.78)
  look.shade(0, 110, width, -110, 0.4 * look.ease(self.keys_left / 0.6))
  if self.leaving then draw_words(self.leaving, width, height, 1 - look.ease(self.clock / FADE * 2)) end
  if current then draw_words(current, width, height, look.ease(self.clock / FADE * 2 - 1)) end
  self:_draw_progress(width, height)
  self:_draw_keys(width)
  local words = self.words or self.problem
  if words then
    look.text(words, width / 2, height / 2 - 12, 18, "alarm", 1, "center")
  elseif self.is_waiting then
    look.busy(self.app.time, width / 2, height / 2, 20, look.ease(self.shown - 0.2))
  end
end

return M
