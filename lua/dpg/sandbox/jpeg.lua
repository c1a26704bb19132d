-- A baseline JPEG encoder (ITU-T T.81) that is quick in plain Lua, since it is told where a picture is smooth: there a
-- block's few coefficients come from its four corners, and only where an edge runs through it is it transformed. 4:2:0,
-- Huffman tables in which all codes are of one length. Comment segments fill a file up to a wished size. Pure.

local M = {}

local floor, cos, char = math.floor, math.cos, string.char

local LUMA_STEP, CHROMA_STEP = 6, 9 -- quantisation: the same for all coefficients but the first
local DC_STEP = 4
local MAX_COMMENT = 60000

local zigzag = { -- position in the stream -> position in the block, both from 0
  [0] = 0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14,
  21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61,
  54, 47, 55, 62, 63,
}

local basis = {} -- basis[u][x]: cos((2x + 1) u pi / 16), with its factor of the transform
for u = 0, 7 do
  basis[u] = {}
  for x = 0, 7 do
    basis[u][x] = cos((2 * x + 1) * u * math.pi / 16) * (u == 0 and math.sqrt(1 / 8) or 0.5)
  end
end

-- What a ramp that rises by one from pixel to pixel is in the first coefficient along it.
local RAMP = 0
for x = 0, 7 do
  RAMP = RAMP + (x - 3.5) * basis[1][x] * math.sqrt(8)
end

-- Huffman codes: DC sizes 0 to 11 in four bits, all pairs of run and size in eight.
local DC_BITS, AC_BITS = 4, 8
local ac_symbols, ac_code = {}, {}
for run = 0, 15 do
  for size = run == 15 and 0 or run == 0 and 0 or 1, 10 do
    ac_symbols[#ac_symbols + 1] = run * 16 + size
    ac_code[run * 16 + size] = #ac_symbols - 1
  end
end

local powers = {}
for bits = 0, 40 do
  powers[bits] = 2 ^ bits
end

local sizes = { [0] = 0 } -- how many bits a magnitude has
for value = 1, 2047 do
  sizes[value] = sizes[floor(value / 2)] + 1
end

local function new_writer()
  local writer, parts, count, held, held_bits = {}, {}, 0, 0, 0
  function writer.put(value, bits)
    held, held_bits = held * powers[bits] + value, held_bits + bits
    while held_bits >= 8 do
      held_bits = held_bits - 8
      local byte = floor(held / powers[held_bits])
      held = held - byte * powers[held_bits]
      count = count + 1
      parts[count] = byte == 255 and "\255\0" or char(byte)
    end
  end
  function writer.finish()
    if held_bits > 0 then writer.put(powers[8 - held_bits] - 1, 8 - held_bits) end
    return table.concat(parts)
  end
  return writer
end

local function round(value)
  return floor(value + 0.5)
end

-- A value's own bits: negative ones are sent less one (T.81, F.1.2.1).
local function put_value(put, code, code_bits, value, size)
  if value < 0 then value = value + powers[size] - 1 end
  put(code * powers[size] + value, code_bits + size)
end

local function put_dc(put, difference)
  local size = sizes[difference < 0 and -difference or difference]
  put_value(put, size, DC_BITS, difference, size)
end

local function put_ac(put, run, value)
  while run > 15 do
    put(ac_code[0xf0], AC_BITS)
    run = run - 16
  end
  local size = sizes[value < 0 and -value or value]
  put_value(put, ac_code[run * 16 + size], AC_BITS, value, size)
end

-- A block whose corners tell all of it.
local function put_smooth(put, previous, step, a, b, c, d)
  local dc = round((a + b + c + d) * 2 / DC_STEP)
  put_dc(put, dc - previous)
  local across = round((b - a + d - c) / 14 * RAMP / step)
  local down = round((c - a + d - b) / 14 * RAMP / step)
  if across ~= 0 then put_ac(put, 0, across) end
  if down ~= 0 then put_ac(put, across == 0 and 1 or 0, down) end
  put(ac_code[0], AC_BITS)
  return dc
end

-- Eight values, `step` apart, and their transform: sums of opposite ones make its even half, differences its odd one.
local function transform_line(from, first, step, to)
  local a, b, c, d = from[first], from[first + step], from[first + 2 * step], from[first + 3 * step]
  local e, f, g, h = from[first + 4 * step], from[first + 5 * step], from[first + 6 * step], from[first + 7 * step]
  local s0, s1, s2, s3, d0, d1, d2, d3 = a + h, b + g, c + f, d + e, a - h, b - g, c - f, d - e
  for u = 0, 6, 2 do
    local even, odd = basis[u], basis[u + 1]
    to[first + u * step] = s0 * even[0] + s1 * even[1] + s2 * even[2] + s3 * even[3]
    to[first + (u + 1) * step] = d0 * odd[0] + d1 * odd[1] + d2 * odd[2] + d3 * odd[3]
  end
end

local function transform(samples)
  local rows, result = {}, {}
  for y = 0, 7 do transform_line(samples, y * 8, 1, rows) end
  for u = 0, 7 do transform_line(rows, u, 8, result) end
  return result
end

local function put_transformed(put, previous, step, samples)
  local coefficients = transform(samples)
  local dc = round(coefficients[0] / DC_STEP)
  put_dc(put, dc - previous)
  local run = 0
  for position = 1, 63 do
    local value = round(coefficients[zigzag[position]] / step)
    if value == 0 then
      run = run + 1
    else
      put_ac(put, run, value)
      run = 0
    end
  end
  if run > 0 then put(ac_code[0], AC_BITS) end
  return dc
end

local function sample_block(picture, x, y, scale)
  local one, two, three = {}, {}, {}
  for row = 0, 7 do
    for column = 0, 7 do
      local index = row * 8 + column
      one[index], two[index], three[index] = picture(x + column * scale, y + row * scale, true)
    end
  end
  return one, two, three
end

local function entropy_coded(width, height, picture, pause)
  local writer = new_writer()
  local put = writer.put
  local luma, blue, red = 0, 0, 0
  local function put_luma(x, y)
    local a, _, _, layer_a = picture(x, y)
    local b, _, _, layer_b = picture(x + 7, y)
    local c, _, _, layer_c = picture(x, y + 7)
    local d, _, _, layer_d = picture(x + 7, y + 7)
    if layer_a == layer_b and layer_a == layer_c and layer_a == layer_d then
      luma = put_smooth(put, luma, LUMA_STEP, a, b, c, d)
    else
      luma = put_transformed(put, luma, LUMA_STEP, (sample_block(picture, x, y, 1)))
    end
  end
  local function put_chroma(x, y)
    local _, a, e, layer_a = picture(x, y)
    local _, b, f, layer_b = picture(x + 14, y)
    local _, c, g, layer_c = picture(x, y + 14)
    local _, d, h, layer_d = picture(x + 14, y + 14)
    if layer_a == layer_b and layer_a == layer_c and layer_a == layer_d then
      blue = put_smooth(put, blue, CHROMA_STEP, a, b, c, d)
      red = put_smooth(put, red, CHROMA_STEP, e, f, g, h)
    else
      local _, blues, reds = sample_block(picture, x, y, 2)
      blue = put_transformed(put, blue, CHROMA_STEP, blues)
      red = put_transformed(put, red, CHROMA_STEP, reds)
    end
  end
  for y = 0, height - 1, 16 do
    for x = 0, width - 1, 16 do
      put_luma(x, y)
      put_luma(x + 8, y)
      put_luma(x, y + 8)
      put_luma(x + 8, y + 8)
      put_chroma(x, y)
    end
    if pause then pause() end
  end
  return writer.finish()
end

local function word(number)
  return char(floor(number / 256), number % 256)
end

local function segment(marker, data)
  return "\255" .. char(marker) .. word(#data + 2) .. data
end

local function quantisation(id, step)
  return segment(0xdb, char(id, DC_STEP) .. char(step):rep(63))
end

local function huffman(class, id, code_bits, symbols)
  local counts = {}
  for bits = 1, 16 do
    counts[bits] = char(bits == code_bits and #symbols or 0)
  end
  local bytes = {}
  for index, symbol in ipairs(symbols) do
    bytes[index] = char(symbol)
  end
  return segment(0xc4, char(class * 16 + id) .. table.concat(counts) .. table.concat(bytes))
end

local dc_symbols = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 }

local function comments(missing, filler)
  local parts, from = {}, 1
  while missing > 0 do
    local length = math.min(missing, MAX_COMMENT)
    if missing - length < 4 and missing > length then length = length - 4 end
    parts[#parts + 1] = segment(0xfe, filler:sub(from, from + length - 5))
    missing, from = missing - length, from + length - 4
  end
  return table.concat(parts)
end

---Draws a picture.
---@param width integer
---@param height integer
---@param picture fun(x: integer, y: integer, is_colour_enough?: boolean): number, number, number, integer?  luma and
---the two chromas of a pixel, each less 128, and its layer, unless the colour is enough: a block whose corners are in
---one layer is smooth; also asked up to 15 pixels beyond the edges
---@param fill? { size: integer, filler: string }  the size of the whole file and what it is filled up with
---@param pause? fun()  called now and then, so that others may go on
---@return string bytes
function M.encode(width, height, picture, fill, pause)
  local head = "\255\216" .. segment(0xe0, "JFIF\0\1\1\0\0\1\0\1\0\0")
  local tables = quantisation(0, LUMA_STEP) .. quantisation(1, CHROMA_STEP)
    .. segment(0xc0, "\8" .. word(height) .. word(width) .. "\3\1\34\0\2\17\1\3\17\1")
    .. huffman(0, 0, DC_BITS, dc_symbols) .. huffman(1, 0, AC_BITS, ac_symbols)
    .. segment(0xda, "\3\1\0\2\0\3\0\0\63\0")
  local data = entropy_coded(width, height, picture, pause)
  local missing = fill and fill.size - #head - #tables - #data - 2 or 0
  if missing < 0 or missing > 0 and missing < 4 then error "the picture does not fit into its size" end
  return head .. comments(missing, fill and fill.filler or "") .. tables .. data .. "\255\217"
end

---The dimensions of a JPEG file, by the frame header in its first bytes.
---@param bytes string
---@return integer? width  nil: it is none, or hides them further on
---@return integer? height
function M.dimensions(bytes)
  if bytes:sub(1, 2) ~= "\255\216" then return nil end
  local position = 3
  while position + 8 <= #bytes do
    local mark, marker, high, low = bytes:byte(position, position + 3)
    if mark ~= 255 then return nil end
    local is_frame = marker >= 0xc0 and marker <= 0xcf and marker ~= 0xc4 and marker ~= 0xc8 and marker ~= 0xcc
    if is_frame then
      local a, b, c, d = bytes:byte(position + 5, position + 8)
      return c * 256 + d, a * 256 + b
    end
    position = position + 2 + high * 256 + low
  end
  return nil
end

return M
