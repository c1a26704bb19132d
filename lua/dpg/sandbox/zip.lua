-- ZIP archives whose members are stored as they are, laid out without being built: the size is known at once, and any
-- range is read out of the members. Sums are computed when the archive is first read. APPNOTE.TXT 6.3.3, below 4 GiB.

local content = require "dpg.sandbox.content"

local M = {}

local LOCAL_BYTES, CENTRAL_BYTES, END_BYTES = 30, 46, 22
local UTF8_NAMES = 0x800
local EPOCH_DATE = 33 -- 1 January 1980

local function number(value, bytes)
  local parts = {}
  for index = 1, bytes do
    parts[index] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(parts)
end

-- Names are told apart, and lead nowhere.
local function member_names(members)
  local taken, names = {}, {}
  for index, member in ipairs(members) do
    local name = member.name:gsub("[%c/\\]", "_")
    if taken[name] then name = ("%d-%s"):format(index, name) end
    taken[name] = true
    names[index] = name
  end
  return names
end

local function shared_fields(member, crc)
  return number(20, 2) .. number(UTF8_NAMES, 2) .. number(0, 2) .. number(0, 2) .. number(EPOCH_DATE, 2)
    .. number(crc, 4) .. number(member.file.size, 4) .. number(member.file.size, 4)
end

local function local_head(member, name, crc)
  return "PK\3\4" .. shared_fields(member, crc) .. number(#name, 2) .. number(0, 2) .. name
end

local function central_head(member, name, crc, offset)
  return "PK\1\2" .. number(20, 2) .. shared_fields(member, crc) .. number(#name, 2) .. number(0, 12)
    .. number(offset, 4) .. name
end

local function final_record(count, size, offset)
  return "PK\5\6" .. number(0, 4) .. number(count, 2) .. number(count, 2) .. number(size, 4) .. number(offset, 4)
    .. number(0, 2)
end

-- The segments in their order: { from, size, read(offset, count) }.
local function segments(members, names, pause)
  local list, at, directory = {}, 0, {}
  local function add(size, read)
    list[#list + 1] = { from = at, size = size, read = read }
    at = at + size
  end
  local function add_text(text)
    add(#text, function(offset, count) return text:sub(offset + 1, offset + count) end)
  end
  for index, member in ipairs(members) do
    local crc = content.crc32(member.file, pause)
    directory[index] = central_head(member, names[index], crc, at)
    add_text(local_head(member, names[index], crc))
    add(member.file.size, member.file.read)
  end
  local all = table.concat(directory)
  add_text(all .. final_record(#members, #all, at))
  return list
end

local function read_segments(list, offset, count)
  local parts, stop = {}, offset + count
  for _, one in ipairs(list) do
    local from, to = math.max(offset, one.from), math.min(stop, one.from + one.size)
    if from < to then parts[#parts + 1] = one.read(from - one.from, to - from) end
  end
  return table.concat(parts)
end

---@param members { name: string, file: dpg.sandbox.Content }[]
---@return dpg.sandbox.Content
function M.content(members)
  local names, size, list = member_names(members), END_BYTES, nil
  for index, member in ipairs(members) do
    size = size + LOCAL_BYTES + CENTRAL_BYTES + 2 * #names[index] + member.file.size
  end
  local function prepare(pause)
    list = list or segments(members, names, pause)
  end
  local made = content.new("zip", size, function(offset, count)
    prepare()
    return read_segments(list, offset, count)
  end)
  made.prepare = prepare
  return made
end

return M
