-- Names that a server gives to files, made into names that a folder of ours can hold: one component, on every system,
-- that leads nowhere else and hides nothing. Pure: names in, names out. dpg.download uses it.
local M = {}

-- Most systems take 255 bytes; ".part.json" and a number come behind a name of ours.
local MAX_BYTES = 200
local MAX_EXTENSION = 16

-- Windows' devices: with any extension, in any case.
local RESERVED = { con = true, prn = true, aux = true, nul = true, ["conin$"] = true, ["conout$"] = true,
  ["clock$"] = true }
for i = 0, 9 do
  RESERVED["com" .. i], RESERVED["lpt" .. i] = true, true
end
for _, digit in ipairs { "\194\185", "\194\178", "\194\179" } do -- superscript 1, 2, 3 count as well
  RESERVED["com" .. digit], RESERVED["lpt" .. digit] = true, true
end

local LEAD = { { 0xC2, 0xDF, 2 }, { 0xE0, 0xEF, 3 }, { 0xF0, 0xF4, 4 } }

-- The length and the code point of the UTF-8 sequence at `i` (RFC 3629); nil when there is none.
local function sequence(text, i)
  local lead = text:byte(i)
  if lead < 0x80 then return 1, lead end
  for _, row in ipairs(LEAD) do
    if lead >= row[1] and lead <= row[2] then
      local code = lead % 2 ^ (7 - row[3])
      for k = i + 1, i + row[3] - 1 do
        local byte = text:byte(k) or 0
        if byte < 0x80 or byte > 0xBF then return nil end
        code = code * 64 + byte - 0x80
      end
      local shortest = row[3] == 2 and 0x80 or row[3] == 3 and 0x800 or 0x10000
      if code < shortest or code > 0x10FFFF or (code >= 0xD800 and code <= 0xDFFF) then return nil end
      return row[3], code
    end
  end
end

-- Control characters, and those that show a name in another order than it is (U+202E) or not at all.
local function is_invisible(code)
  return code < 0x20 or (code >= 0x7F and code <= 0x9F) or code == 0xAD or code == 0x61C or code == 0xFEFF
    or (code >= 0x200B and code <= 0x200F) or (code >= 0x2028 and code <= 0x202E) or (code >= 0x2060 and code <= 0x206F)
end

local function clean(text)
  local out, i = {}, 1
  while i <= #text do
    local n, code = sequence(text, i)
    if not n then
      out[#out + 1] = "_"
    elseif not is_invisible(code) then
      local char = text:sub(i, i + n - 1)
      out[#out + 1] = char:find('[<>:"|?*]') and "_" or char
    end
    i = i + (n or 1)
  end
  return table.concat(out)
end

-- `text` cut to at most `max` bytes, not within a character.
local function cut(text, max)
  if #text <= max then return text end
  while max > 0 and text:byte(max + 1) >= 0x80 and text:byte(max + 1) <= 0xBF do max = max - 1 end
  return text:sub(1, max)
end

local function split(name)
  local stem, extension = name:match("^(.+)(%.[^.]+)$")
  if not stem or #extension > MAX_EXTENSION then return name, "" end
  return stem, extension
end

local function safe(name)
  name = name:gsub("[/\\]+$", ""):match("[^/\\]*$")
  if #name > 8 * MAX_BYTES then name = name:sub(1, 4 * MAX_BYTES) .. name:sub(-MAX_BYTES) end
  name = clean(name)
  name = name:gsub("^ +", ""):gsub("[. ]+$", "")
  if not name:find("[^._ ]") then return nil end
  local stem, extension = split(name)
  name = cut(stem, MAX_BYTES - #extension):gsub("[. ]+$", "") .. extension
  -- hidden files, options of a command, a shell's home
  if name:find("^[.~-]") then name = "_" .. name end
  if RESERVED[name:match("^[^.]*"):gsub(" +$", ""):lower()] then name = "_" .. name end
  -- names of our own
  if name:lower():find("%.part$") or name:lower():find("%.part%.json$") then name = name .. "_" end
  return name
end

---A name for a folder of ours, whatever `name` is: without separators, control characters, Windows' reserved names,
---dots that climb; valid UTF-8; at most 210 bytes.
---@param name any  what a server said
---@param fallback string  used when nothing of it is left; made safe in the same way
---@return string
function M.safe(name, fallback)
  return type(name) == "string" and safe(name) or safe(fallback) or "download"
end

---The nth of several files that would all be called `name`: "IMG_1.jpg", "IMG_1 (2).jpg" …
---@param name string
---@param n integer
---@return string
function M.numbered(name, n)
  if n < 2 then return name end
  local stem, extension = split(name)
  return string.format("%s (%d)%s", stem, n, extension)
end

---The last component of a path.
---@param path string
---@return string
function M.base(path)
  return (path:gsub("[/\\]+$", ""):match("[^/\\]*$"))
end

return M
