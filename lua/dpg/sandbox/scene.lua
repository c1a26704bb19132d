-- What the pictures show: ranges of mountains and hills in the haze, woods in front, a sun or a moon, sometimes a lake;
-- in the colours of some hour of the day, another one for each seed, alike at every size. A scene answers what colour
-- a pixel has, and to which layer it belongs. Pure.

local random = require "dpg.sandbox.random"

local M = {}

local floor, sin, abs, sqrt, min, max = math.floor, math.sin, math.abs, math.sqrt, math.min, math.max

local BLOCK = 8 -- the encoder's: where an edge runs through one, all its pixels are asked for
local SHARP = 4096 -- above all layers

local hours = { -- the sky at the top, halfway, at the horizon; the sun; the ground: red, green, blue
  { { 30, 32, 76 }, { 148, 78, 112 }, { 250, 164, 108 }, { 255, 232, 178 }, { 20, 16, 36 } }, -- dusk
  { { 50, 92, 146 }, { 166, 172, 194 }, { 250, 216, 180 }, { 255, 248, 228 }, { 20, 36, 52 } }, -- dawn
  { { 8, 12, 34 }, { 34, 36, 86 }, { 112, 92, 150 }, { 242, 238, 226 }, { 8, 10, 24 }, stars = true },
  { { 58, 116, 178 }, { 142, 186, 216 }, { 232, 240, 240 }, { 255, 255, 246 }, { 18, 48, 58 } }, -- day
  { { 48, 18, 58 }, { 186, 58, 70 }, { 255, 146, 84 }, { 255, 226, 150 }, { 28, 10, 28 } }, -- embers
  { { 6, 30, 52 }, { 22, 102, 106 }, { 128, 204, 172 }, { 232, 255, 240 }, { 4, 24, 32 }, stars = true },
}

-- How far away each range is: where it stands, how much of it the haze has taken, what it looks like.
local RANGES = {
  { level = 0.50, haze = 0.72, peaks = 0.15 }, { level = 0.60, haze = 0.50, peaks = 0.10 },
  { level = 0.70, haze = 0.30, hills = 0.07 }, { level = 0.90, haze = 0.06, hills = 0.05, trees = true },
}
local SHORE, FRONT = 0.74, 4 -- a lake begins here, behind the range in front

-- JFIF's luma and chroma, each less 128.
local function to_ycc(colour)
  local r, g, b = colour[1], colour[2], colour[3]
  return { 0.299 * r + 0.587 * g + 0.114 * b - 128, -0.168736 * r - 0.331264 * g + 0.5 * b,
    0.5 * r - 0.418688 * g - 0.081312 * b }
end

local function mix(from, to, share)
  return { from[1] + (to[1] - from[1]) * share, from[2] + (to[2] - from[2]) * share,
    from[3] + (to[3] - from[3]) * share }
end

-- Waves, each half as high as the one before and some twice as quick.
local function waves(dice, count, height)
  local list = {}
  for index = 1, count do
    list[index] = { dice.number(1000) / 159, (0.7 + dice.number(60) / 100) * 2 ^ index, height / 1.8 ^ (index - 1) }
  end
  return list
end

local function rise_at(list, share, is_sharp)
  local rise = 0
  for _, wave in ipairs(list) do
    local swing = sin(wave[1] + share * 3.15 * wave[2])
    rise = rise + (is_sharp and 0.6 - 1.6 * abs(swing) or swing) * wave[3]
  end
  return rise
end

-- Conifers: tiers of branches over one another, in wooded stretches.
local function plant(dice, line, width, height)
  local at, ground = -0.01, {}
  for x = 0, width + 15 do ground[x] = line[x] end
  while at < 1.01 do
    at = at + (dice.chance(12) and dice.number(80) / 1000 or 0.003 + dice.number(100) / 9000)
    local tall = height * (0.025 + dice.number(100) / 1600)
    local middle, spread = at * width, tall * 0.2
    local foot = ground[max(0, min(width + 15, floor(middle)))]
    for x = max(0, floor(middle - spread)), min(width + 15, floor(middle + spread)) do
      local away, top = abs(x + 0.5 - middle), 0
      for tier = 0, 5 do
        local reach = spread * (1 - tier / 6.6)
        if away <= reach then top = max(top, tall * ((tier + 2) / 7 - 0.22 * away / reach)) end
      end
      line[x] = min(line[x], foot + spread * 0.3 - top)
    end
  end
end

-- Where a range begins, from the top, column by column; and the least and the most of it in each column of blocks.
local function skyline(dice, width, height, kind)
  local line, list = {}, waves(dice, kind.peaks and 7 or 4, kind.peaks or kind.hills)
  local level = kind.level + (dice.number(100) - 50) / 1600
  for x = 0, width + 15 do
    line[x] = height * (level - rise_at(list, x / width, kind.peaks) * 0.5)
  end
  if kind.trees then plant(dice, line, width, height) end
  local low, high, peak = {}, {}, height
  for x = 0, width + 15 do
    peak = min(peak, line[x])
    local column = floor(x / BLOCK)
    low[column] = min(low[column] or line[x], line[x])
    high[column] = max(high[column] or line[x], line[x])
  end
  return line, low, high, peak
end

local function sky_of(dice, hour, width, height)
  local sky = {
    top = to_ycc(hour[1]), middle = to_ycc(hour[2]), horizon = to_ycc(hour[3]), sun = to_ycc(hour[4]),
    x = width * (22 + dice.number(56)) / 100, y = height * (20 + dice.number(24)) / 100,
    radius = min(width, height) * (35 + dice.number(25)) / 1000, half = height * 0.36, whole = height * 0.72,
  }
  -- the radius of its glow, its own, and that of what is around it, squared
  sky.reach, sky.disc, sky.around = 16 * sky.radius ^ 2, (sky.radius + 0.5) ^ 2, (sky.radius + 12) ^ 2
  -- in a small picture a star would be as large as a moon
  sky.stars = hour.stars and min(width, height) >= 400 and {}
  for _ = 1, 90 do
    local x, y = floor(dice.number(1000) / 1000 * width), floor(dice.number(1000) / 1800 * height)
    local bright = dice.number(9) / 10 * (1 - y / sky.whole)
    if sky.stars then sky.stars[floor(x / BLOCK) + floor(y / BLOCK) * SHARP] = { x, y, bright } end
  end
  return sky
end

local function star_near(sky, x, y)
  return sky.stars and sky.stars[floor(x / BLOCK) + floor(y / BLOCK) * SHARP]
end

local function sky_at(sky, x, y)
  local from, to, share = sky.top, sky.middle, y / sky.half
  if share > 1 then from, to, share = sky.middle, sky.horizon, min(1, (y - sky.half) / (sky.whole - sky.half)) end
  local a, b, c = from[1] + (to[1] - from[1]) * share, from[2] + (to[2] - from[2]) * share,
    from[3] + (to[3] - from[3]) * share
  local dx, dy, sun = x - sky.x, y - sky.y, sky.sun
  local squared, reach = dx * dx + dy * dy, sky.reach
  local glow = 0.5 * reach / (reach + squared)
  if squared < sky.disc then glow = max(glow, min(1, sky.radius + 0.5 - sqrt(squared))) end
  local star = star_near(sky, x, y)
  if star then
    local near = abs(x - star[1]) + abs(y - star[2])
    if near < 2 then glow = max(glow, star[3] / (1 + 2 * near)) end
  end
  return a + (sun[1] - a) * glow, b + (sun[2] - b) * glow, c + (sun[3] - c) * glow
end

local function range_of(dice, kind, hour, width, height)
  local line, low, high, peak = skyline(dice, width, height, kind)
  local colour = mix(hour[5], hour[3], kind.haze)
  return {
    line = line, low = low, high = high, peak = peak, colour = to_ycc(colour),
    -- haze lies in the valleys
    mist = to_ycc(mix(colour, hour[3], kind.trees and 0 or 0.42)), from = height * (kind.level - 0.06),
    depth = height * 0.26,
  }
end

-- The land and the sky above it, from the range `nearest` backwards: a colour, and the range hit (0: the sky).
local function view(scene, x, y, nearest)
  local front, cover -- the edge of a range in front covers a share of this pixel
  local a, b, c
  local hit = y < scene.ceiling and 0 or nearest
  while hit > 0 do
    local range = scene[hit]
    local covers = y + 1 - range.line[x]
    if covers >= 1 then
      local share = max(0, min(1, (y - range.from) / range.depth))
      local colour, mist = range.colour, range.mist
      a, b, c = colour[1] + (mist[1] - colour[1]) * share, colour[2] + (mist[2] - colour[2]) * share,
        colour[3] + (mist[3] - colour[3]) * share
      break
    elseif covers > 0 and not front then
      front, cover = range.colour, covers
    end
    hit = hit - 1
  end
  if hit == 0 then a, b, c = sky_at(scene.sky, x, y) end
  if front then a, b, c = a + (front[1] - a) * cover, b + (front[2] - b) * cover, c + (front[3] - c) * cover end
  return a, b, c, hit
end

-- Does an edge run through the block around what `view` has told of?
local function is_sharp(scene, x, y, nearest, hit)
  local column, top = floor(x / BLOCK), y - y % BLOCK
  for index = y < scene.ceiling and 0 or nearest, max(hit, 1), -1 do
    local range = scene[index]
    if range.low[column] <= top + BLOCK and range.high[column] >= top - 1 then return true end
  end
  local sky = scene.sky
  local dx, dy = x - sky.x, y - sky.y
  return hit == 0 and (dx * dx + dy * dy < sky.around or star_near(sky, x, y))
end

---@param seed integer
---@param width integer
---@param height integer
---@return fun(x: integer, y: integer, is_colour_enough?: boolean): number, number, number, integer?  see jpeg.encode
function M.new(seed, width, height)
  local dice = random.dice(seed)
  local hour = dice.pick(hours)
  local scene = { sky = sky_of(dice, hour, width, height) }
  scene.ceiling = height
  for index, kind in ipairs(RANGES) do
    scene[index] = range_of(dice, kind, hour, width, height)
    scene.ceiling = min(scene.ceiling, scene[index].peak - 2 * BLOCK)
  end
  local shore = dice.chance(40) and floor(height * SHORE) or height * 2
  local front, deep = scene[FRONT], scene.sky.top

  return function(x, y, is_colour_enough)
    local from, seen_y = FRONT, y
    -- what the water mirrors
    if y >= shore and y + 1 <= front.line[x] then from, seen_y = FRONT - 1, max(0, 2 * shore - 1 - y) end
    local a, b, c, hit = view(scene, x, seen_y, from)
    local is_water = from < FRONT
    if is_water then a, b, c = a + (deep[1] - a) * 0.3, b + (deep[2] - b) * 0.3, c + (deep[3] - c) * 0.3 end
    if is_colour_enough then return a, b, c end
    if is_sharp(scene, x, seen_y, from, hit) or abs(y - shore) < BLOCK
      or is_water and front.low[floor(x / BLOCK)] <= y + BLOCK then
      return a, b, c, SHARP + x + y * SHARP
    end
    return a, b, c, is_water and hit + FRONT + 1 or hit
  end
end

return M
