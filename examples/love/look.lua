-- How it looks: colours, type, and the few shapes that the screens are made of. Everything is laid out for a window of
-- 1280 by 720 and scaled to the real one; fonts are made for its pixels, so that they stay sharp.
local M = { width = 1280, height = 720 }

local HEIGHT, LEAST_WIDTH = 720, 960

M.colours = {
  ground = { 0.055, 0.063, 0.082 }, raised = { 0.098, 0.110, 0.141 }, line = { 0.235, 0.255, 0.310 },
  text = { 0.945, 0.937, 0.918 }, quiet = { 0.620, 0.635, 0.680 }, alarm = { 0.960, 0.530, 0.450 },
  accent = { 0.925, 0.705, 0.425 }, bright = { 0.975, 0.775, 0.510 }, dull = { 0.400, 0.325, 0.240 },
}

local scale, fonts = 1, {}

function M.begin()
  local width, height = love.graphics.getDimensions()
  local now = math.min(height / HEIGHT, width / LEAST_WIDTH)
  if now ~= scale then scale, fonts = now, {} end
  M.width, M.height = width / scale, height / scale
  love.graphics.push()
  love.graphics.scale(scale)
end

function M.finish()
  love.graphics.pop()
end

---A point of the window, in the layout's units; what follows is passed on.
function M.from_window(x, y, ...)
  return x / scale, y / scale, ...
end

function M.font(size)
  if not fonts[size] then fonts[size] = love.graphics.newFont(size, "light", scale * love.graphics.getDPIScale()) end
  return fonts[size]
end

function M.colour(name, alpha)
  local c = M.colours[name]
  love.graphics.setColor(c[1], c[2], c[3], alpha or 1)
end

-- --- text ----------------------------------------------------------------------------------------------------------

---@param align? "left"|"center"|"right"  around `x`
---@return number width
function M.text(text, x, y, size, colour, alpha, align)
  local font = M.font(size)
  local width = font:getWidth(text)
  if align == "center" then x = x - width / 2 elseif align == "right" then x = x - width end
  love.graphics.setFont(font)
  M.colour(colour, alpha)
  love.graphics.print(text, math.floor(x + 0.5), math.floor(y + 0.5))
  return width
end

---Text in several lines.
---@return number height
function M.lines(text, x, y, size, width, colour, alpha, align)
  local font = M.font(size)
  font:setLineHeight(1.35)
  love.graphics.setFont(font)
  M.colour(colour, alpha)
  love.graphics.printf(text, math.floor(x + 0.5), math.floor(y + 0.5), width, align or "left")
  local _, rows = font:getWrap(text, width)
  return #rows * font:getHeight() * 1.35
end

local utf8 = require "utf8"

---As much of a text as fits, with an ellipsis.
function M.fitted(text, size, width)
  local font = M.font(size)
  if font:getWidth(text) <= width then return text end
  while #text > 0 and font:getWidth(text .. "…") > width do
    text = text:sub(1, (utf8.offset(text, -1) or 1) - 1)
  end
  return text .. "…"
end

-- --- shapes --------------------------------------------------------------------------------------------------------

function M.box(x, y, width, height, radius, colour, alpha)
  M.colour(colour, alpha)
  love.graphics.rectangle("fill", x, y, width, height, radius, radius)
end

---A box with round ends. Its edge is smooth also where there is no multisampling: that of a line is.
function M.pill(x, y, width, height, colour)
  M.box(x, y, width, height, height / 2, colour)
  love.graphics.setLineWidth(1)
  love.graphics.rectangle("line", x + 0.25, y + 0.25, width - 0.5, height - 0.5, height / 2, height / 2, 32)
end

local DISC = 64
local disc

local function new_disc()
  local data = love.image.newImageData(DISC, DISC)
  data:mapPixel(function(x, y)
    local away = math.sqrt((x + 0.5 - DISC / 2) ^ 2 + (y + 0.5 - DISC / 2) ^ 2)
    return 1, 1, 1, math.max(0, math.min(1, DISC / 2 - 2 - away))
  end)
  return love.graphics.newImage(data, { mipmaps = true })
end

function M.dot(x, y, radius, colour, alpha)
  disc = disc or new_disc()
  M.colour(colour, alpha)
  love.graphics.draw(disc, x, y, 0, radius / 30, radius / 30, DISC / 2, DISC / 2)
end

function M.frame(x, y, width, height, radius, colour, alpha, line)
  M.colour(colour, alpha)
  love.graphics.setLineWidth(line or 1)
  love.graphics.rectangle("line", x, y, width, height, radius, radius)
end

local function unit_mesh(corners)
  return love.graphics.newMesh(corners, "strip", "static")
end

local shade, soft, grain

---Black that grows from nothing at the top to `alpha` at the bottom.
function M.shade(x, y, width, height, alpha)
  shade = shade or unit_mesh {
    { 0, 0, 0, 0, 0, 0, 0, 0 }, { 1, 0, 1, 0, 0, 0, 0, 0 }, { 0, 1, 0, 1, 0, 0, 0, 1 }, { 1, 1, 1, 1, 0, 0, 0, 1 },
  }
  love.graphics.setColor(1, 1, 1, alpha)
  love.graphics.draw(shade, x, y, 0, width, height)
end

local function soft_disc()
  local corners = { { 0, 0, 0, 0, 1, 1, 1, 1 } }
  local rings, steps = 12, 48
  local map = {}
  for ring = 1, rings do
    local away = ring / rings
    local alpha = (1 - away * away) ^ 2
    for step = 0, steps - 1 do
      local angle = step / steps * 2 * math.pi
      corners[#corners + 1] = { math.cos(angle) * away, math.sin(angle) * away, 0, 0, 1, 1, 1, alpha }
    end
  end
  local function at(ring, step)
    return ring == 0 and 1 or 2 + (ring - 1) * steps + step % steps
  end
  for ring = 1, rings do
    for step = 0, steps - 1 do
      for _, corner in ipairs {
        at(ring - 1, step), at(ring, step), at(ring, step + 1), at(ring - 1, step), at(ring, step + 1),
        at(ring - 1, step + 1),
      } do map[#map + 1] = corner end
    end
  end
  local mesh = love.graphics.newMesh(corners, "triangles", "static")
  mesh:setVertexMap(map)
  return mesh
end

local GRAIN = 256

local function new_grain()
  local data = love.image.newImageData(GRAIN, GRAIN)
  data:mapPixel(function()
    local light = love.math.random() < 0.5 and 0 or 1
    return light, light, light, love.math.random()
  end)
  return love.graphics.newImage(data)
end

local GLOWS = { -- colour, where, how it drifts, how large
  { { 0.80, 0.42, 0.30 }, 0.18, 0.92, 0.031, 0.62 }, { { 0.36, 0.30, 0.62 }, 0.82, 0.20, 0.023, 0.66 },
  { { 0.16, 0.42, 0.52 }, 0.62, 1.02, 0.019, 0.55 },
}

---The calm ground of forms and lists: a dark sky with a few lights that drift.
function M.backdrop(time, width, height)
  soft = soft or soft_disc()
  M.colour "ground"
  love.graphics.rectangle("fill", 0, 0, width, height)
  for i, glow in ipairs(GLOWS) do
    local colour, phase = glow[1], time * glow[4] * 2 * math.pi + i * 2
    local x, y = (glow[2] + 0.05 * math.cos(phase)) * width, (glow[3] + 0.07 * math.sin(phase * 0.8)) * height
    love.graphics.setColor(colour[1], colour[2], colour[3], 0.30)
    love.graphics.draw(soft, x, y, 0, glow[5] * width, glow[5] * width * 0.8)
  end
  -- so dark a slope has but a few steps of colour: grain hides them
  grain = grain or new_grain()
  love.graphics.setColor(1, 1, 1, 0.026)
  for across = 0, width, GRAIN do
    for down = 0, height, GRAIN do love.graphics.draw(grain, across, down) end
  end
end

---A ring that turns while something is under way.
function M.busy(time, x, y, radius, alpha)
  love.graphics.setLineWidth(math.max(1.5, radius / 6))
  M.colour("line", alpha)
  love.graphics.circle("line", x, y, radius)
  M.colour("accent", alpha)
  local from = time * 4
  love.graphics.arc("line", "open", x, y, radius, from, from + 1.2 + 0.6 * math.sin(time * 2.3))
end

local star = {} -- its corners, around 0, 0
for i = 0, 9 do
  local angle, reach = -math.pi / 2 + i * math.pi / 5, i % 2 == 0 and 1 or 0.42
  star[#star + 1] = math.cos(angle) * reach
  star[#star + 1] = math.sin(angle) * reach
end
local star_parts = love.math.triangulate(star)

---`count` of five stars.
function M.stars(count, x, y, radius, alpha)
  for i = 1, 5 do
    M.colour(i <= count and "accent" or "text", (i <= count and 1 or 0.25) * (alpha or 1))
    love.graphics.push()
    love.graphics.translate(x + (i - 1) * radius * 2.7 + radius, y)
    love.graphics.scale(radius)
    for _, triangle in ipairs(star_parts) do love.graphics.polygon("fill", triangle) end
    love.graphics.pop()
  end
end

---A button: `label`, a place, `is_main` for the one that the return key presses, `is_off`.
function M.button(button, mouse_x, mouse_y)
  local is_over = M.is_in(button, mouse_x, mouse_y)
  local x, y, width, height = button.x, button.y, button.width, button.height
  if button.is_main then
    M.pill(x, y, width, height, button.is_off and "dull" or is_over and "bright" or "accent")
    M.text(button.label, x + width / 2, y + height / 2 - M.font(17):getHeight() / 2, 17, "ground", 1, "center")
  else
    M.frame(x, y, width, height, height / 2, is_over and "accent" or "line", 1)
    M.text(button.label, x + width / 2, y + height / 2 - M.font(14):getHeight() / 2, 14, is_over and "text" or "quiet",
      1, "center")
  end
end

function M.is_in(area, x, y)
  return x and x >= area.x and x <= area.x + area.width and y >= area.y and y <= area.y + area.height
end

---From 0 to 1, gently at both ends.
function M.ease(share)
  share = math.max(0, math.min(1, share))
  return share * share * (3 - 2 * share)
end

return M
