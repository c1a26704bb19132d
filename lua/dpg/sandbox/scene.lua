-- What the pictures show: a sun over ranges of hills, in the colours of some hour of the day, another one for each
-- seed. A scene answers what colour a pixel has, and to which layer it belongs. Pure.

local random = require "dpg.sandbox.random"

local M = {}

local floor, sin = math.floor, math.sin

local skies = { -- at the top, at the horizon, the sun: red, green, blue
  { { 28, 34, 84 }, { 240, 132, 74 }, { 255, 226, 150 } }, { { 20, 60, 120 }, { 236, 190, 150 }, { 255, 244, 214 } },
  { { 10, 14, 40 }, { 92, 60, 120 }, { 240, 236, 220 } }, { { 70, 130, 190 }, { 220, 232, 236 }, { 255, 255, 240 } },
  { { 60, 20, 60 }, { 250, 90, 70 }, { 255, 214, 120 } }, { { 8, 40, 60 }, { 60, 170, 150 }, { 226, 255, 236 } },
}
local hills = { { 52, 44, 72 }, { 30, 50, 60 }, { 64, 40, 48 }, { 24, 44, 36 } }

-- JFIF's luma and chroma, each less 128.
local function to_ycc(colour)
  local r, g, b = colour[1], colour[2], colour[3]
  return { 0.299 * r + 0.587 * g + 0.114 * b - 128, -0.168736 * r - 0.331264 * g + 0.5 * b,
    0.5 * r - 0.418688 * g - 0.081312 * b }
end

local function darker(colour, share)
  return { colour[1] * share, colour[2] * share, colour[3] * share }
end

-- Where a range of hills begins, from the top, column by column.
local function skyline(dice, width, height, level)
  local line, waves = {}, {}
  for index = 1, 3 do
    waves[index] = { dice.number(100) / 100 * 6.3, (dice.number(60) + 30 * index) / 40, 0.09 / index }
  end
  for x = 0, width + 15 do
    local rise = 0
    for _, wave in ipairs(waves) do
      rise = rise + sin(wave[1] + x / width * 6.3 * wave[2]) * wave[3]
    end
    line[x] = floor(height * (level + rise))
  end
  return line
end

---@param seed integer
---@param width integer
---@param height integer
---@return fun(x: integer, y: integer): number, number, number, integer  see jpeg.encode
function M.new(seed, width, height)
  local dice = random.dice(seed)
  local sky = dice.pick(skies)
  local top, horizon, sun = to_ycc(sky[1]), to_ycc(sky[2]), to_ycc(sky[3])
  local sun_x, sun_y = width * (20 + dice.number(60)) / 100, height * (25 + dice.number(30)) / 100
  local radius = math.min(width, height) * (5 + dice.number(6)) / 100
  local ground = dice.pick(hills)
  local ranges = {}
  for index = 1, 3 do
    ranges[index] = {
      line = skyline(dice, width, height, 0.52 + 0.14 * index), colour = to_ycc(darker(ground, 1.5 - 0.4 * index)),
    }
  end
  local near, middle, far = ranges[3], ranges[2], ranges[1]
  local radius_squared = radius * radius
  local fade = 1 / (height * 0.75)
  return function(x, y)
    local range, layer
    if y >= far.line[x] then
      if y >= near.line[x] then
        range, layer = near.colour, 5
      elseif y >= middle.line[x] then
        range, layer = middle.colour, 4
      else
        range, layer = far.colour, 3
      end
      return range[1], range[2], range[3], layer
    end
    local dx, dy = x - sun_x, y - sun_y
    if dx * dx + dy * dy < radius_squared then return sun[1], sun[2], sun[3], 2 end
    local share = y * fade
    if share > 1 then share = 1 end
    return top[1] + (horizon[1] - top[1]) * share, top[2] + (horizon[2] - top[2]) * share,
      top[3] + (horizon[3] - top[3]) * share, 1
  end
end

return M
