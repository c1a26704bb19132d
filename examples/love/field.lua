-- A line of text to type into: a caret, UTF-8, paste, and dots for what nobody should see.
local look = require "look"
local utf8 = require "utf8"

local M = {}

local Field = {}
Field.__index = Field

---@param options { label: string, is_secret?: boolean, digits?: integer }  `digits`: boxes for a code
function M.new(options)
  return setmetatable({
    label = options.label, is_secret = options.is_secret, digits = options.digits, text = "", caret = 0, x = 0, y = 0,
    width = 0, height = 0,
  }, Field)
end

---`caret` is a count of bytes, always between two characters.
function Field:insert(text)
  text = text:gsub("%c", "")
  if self.digits then text = text:gsub("%D", "") end
  if not utf8.len(text) then return end
  self.text = self.text:sub(1, self.caret) .. text .. self.text:sub(self.caret + 1)
  self.caret = self.caret + #text
  if self.digits and #self.text > self.digits then self:set(self.text:sub(1, self.digits)) end
end

function Field:set(text)
  self.text, self.caret = text, #text
end

local function before(text, caret)
  return caret > 0 and utf8.offset(text, -1, caret + 1) - 1 or 0
end

local function after(text, caret)
  return caret < #text and utf8.offset(text, 2, caret + 1) - 1 or caret
end

local KEYS = {
  backspace = function(self)
    local from = before(self.text, self.caret)
    self.text, self.caret = self.text:sub(1, from) .. self.text:sub(self.caret + 1), from
  end,
  delete = function(self)
    self.text = self.text:sub(1, self.caret) .. self.text:sub(after(self.text, self.caret) + 1)
  end,
  left = function(self) self.caret = before(self.text, self.caret) end,
  right = function(self) self.caret = after(self.text, self.caret) end,
  home = function(self) self.caret = 0 end,
  ["end"] = function(self) self.caret = #self.text end,
}

---@return boolean  whether the key meant something here
function Field:key(key)
  local is_command = love.keyboard.isDown("lctrl", "rctrl", "lgui", "rgui")
  if is_command and key == "v" then
    self:insert(love.system.getClipboardText())
    return true
  end
  if not KEYS[key] then return false end
  KEYS[key](self)
  return true
end

local function caret_at(x, y, height, time)
  if time % 1 < 0.55 then look.box(x, y, 2, height, 1, "accent") end
end

function Field:_draw_digits(is_focused, time)
  local gap = 10
  local count = self.digits
  local width = (self.width - gap * (count - 1)) / count
  for i = 1, count do
    local x = self.x + (i - 1) * (width + gap)
    local is_next = is_focused and math.min(#self.text + 1, count) == i
    look.box(x, self.y, width, self.height, 10, "ground", 0.6)
    look.frame(x, self.y, width, self.height, 10, is_next and "accent" or "line", 1, is_next and 2 or 1)
    local font = look.font(26)
    if i <= #self.text then
      look.text(self.text:sub(i, i), x + width / 2, self.y + (self.height - font:getHeight()) / 2, 26, "text", 1,
        "center")
    elseif is_next then
      caret_at(x + width / 2 - 1, self.y + self.height / 2 - 13, 26, time)
    end
  end
end

-- Where the text begins, so that the caret is always seen.
local function scrolled(at, room)
  return math.min(0, room - at - 3)
end

function Field:_draw_text(is_focused, time)
  local x, room, middle = self.x + 18, self.width - 36, self.y + self.height / 2
  if self.is_secret then
    local count, at = utf8.len(self.text), utf8.len(self.text:sub(1, self.caret))
    local from = scrolled(at * 14, room)
    for i = 1, count do
      local dot = from + (i - 0.5) * 14
      if dot > 0 and dot < room then look.dot(x + dot, middle, 4, "text") end
    end
    if is_focused then caret_at(x + from + at * 14 - 1, middle - 12, 24, time) end
    return
  end
  local font = look.font(18)
  local at = font:getWidth(self.text:sub(1, self.caret))
  local from = scrolled(at, room)
  local left, top = love.graphics.transformPoint(x - 2, self.y)
  local right, bottom = love.graphics.transformPoint(x + room + 2, self.y + self.height)
  love.graphics.setScissor(left, top, right - left, bottom - top)
  look.text(self.text, x + from, middle - font:getHeight() / 2, 18, "text")
  if is_focused then caret_at(x + from + at, middle - 12, 24, time) end
  love.graphics.setScissor()
end

function Field:draw(x, y, width, height, is_focused, time)
  self.x, self.y, self.width, self.height = x, y, width, height
  look.text(self.label, x, y - 25, 13, is_focused and "text" or "quiet")
  if self.digits then return self:_draw_digits(is_focused, time) end
  look.box(x, y, width, height, 10, "ground", 0.6)
  look.frame(x, y, width, height, 10, is_focused and "accent" or "line", 1, is_focused and 2 or 1)
  self:_draw_text(is_focused, time)
end

return M
