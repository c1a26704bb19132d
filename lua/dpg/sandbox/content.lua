-- The bytes of a file, wherever they come from: a string, a file on disk, a blob's seed, a picture that is drawn when
-- it is first wanted. All have a size and are read by offset, so that ranges cost nothing and no file is ever whole in
-- memory but small ones. A spool takes in a file of any size.

local blob = require "dpg.sandbox.blob"
local hash = require "dpg.sandbox.hash"
local jpeg = require "dpg.sandbox.jpeg"
local random = require "dpg.sandbox.random"
local scene = require "dpg.sandbox.scene"

local M = {}

local IN_MEMORY = 8 * 1024 * 1024 -- what is larger goes to disk
local MAX_DRAWN = 32 * 1024 * 1024 -- of drawn pictures kept, all together
local PIECE_BYTES = 65536

---@class dpg.sandbox.Content
---@field kind "bytes"|"file"|"blob"|"drawn"|"zip"
---@field size integer
---@field etag string  with its quotes
---@field read fun(offset: integer, count: integer): string  exactly so many; offsets count from 0
---@field prepare? fun(pause: fun())  makes ready what takes long; `pause` lets others go on
---@field seed? integer  of a blob
---@field path? string  of a file

local function content(kind, size, read)
  return { kind = kind, size = size, read = read, etag = '"' .. random.hex(8) .. '"' }
end

M.new = content

---@param text string
---@return dpg.sandbox.Content
function M.bytes(text)
  return content("bytes", #text, function(offset, count) return text:sub(offset + 1, offset + count) end)
end

---@param path string
---@param size integer
---@return dpg.sandbox.Content
function M.file(path, size)
  local made = content("file", size, function(offset, count)
    local file = assert(io.open(path, "rb"))
    file:seek("set", offset)
    local bytes = file:read(count)
    file:close()
    return bytes
  end)
  made.path = path
  return made
end

---@param seed integer
---@param size integer
---@return dpg.sandbox.Content
function M.blob(seed, size)
  local made = content("blob", size, function(offset, count) return blob.bytes(seed, offset, count) end)
  made.seed = seed
  return made
end

local drawn, drawn_bytes = {}, 0 -- content -> its bytes; all go when they become too many

local function keep(made, bytes)
  if drawn_bytes + #bytes > MAX_DRAWN then
    drawn, drawn_bytes = {}, 0
  end
  if not drawn[made] then drawn_bytes = drawn_bytes + #bytes end
  drawn[made] = bytes
  return bytes
end

---A picture, filled up to a size that is known before it has been drawn.
---@param seed integer  the same seed is the same picture
---@param width integer
---@param height integer
---@param size integer
---@return dpg.sandbox.Content
function M.drawn(seed, width, height, size)
  local made
  local function draw(pause)
    if drawn[made] then return drawn[made] end
    local filler = blob.bytes(seed, 0, size)
    return keep(made, jpeg.encode(width, height, scene.new(seed, width, height), { size = size, filler = filler },
      pause))
  end
  made = content("drawn", size, function(offset, count) return draw():sub(offset + 1, offset + count) end)
  made.prepare = draw
  made.etag = ('"%x-%x-%x"'):format(seed, width, size)
  return made
end

---The CRC-32 of a whole file, as ZIP wants it; computed once.
---@param one dpg.sandbox.Content
---@param pause? fun()
---@return integer
function M.crc32(one, pause)
  if one.crc then return one.crc end
  if one.prepare then one.prepare(pause) end
  local sum = hash.crc32()
  for offset = 0, one.size - 1, PIECE_BYTES do
    sum.add(one.read(offset, math.min(PIECE_BYTES, one.size - offset)))
    if pause then pause() end
  end
  one.crc = sum.value()
  return one.crc
end

---Writes a whole file to disk, where it isn't there already.
---@param one dpg.sandbox.Content
---@param path string
---@return string path  where it is
function M.export(one, path)
  if one.path then return one.path end
  local file = assert(io.open(path, "wb"))
  for offset = 0, one.size - 1, PIECE_BYTES do
    file:write(one.read(offset, math.min(PIECE_BYTES, one.size - offset)))
  end
  file:close()
  return path
end

local Spool = {}
Spool.__index = Spool
Spool.__name = "dpg.sandbox.spool"

---Takes in a file piece by piece: small ones stay in memory, blobs are recognised and only compared, and the rest goes
---to disk.
---@param path string  where on disk it may go
---@return table spool  write(piece), finish() -> content, discard(); `size`
function M.spool(path)
  return setmetatable({ size = 0, path = path, parts = {} }, Spool)
end

function Spool:_to_disk()
  self.file = assert(io.open(self.path, "wb"))
  if not self.seed then return end
  for offset = 0, self.size - 1, PIECE_BYTES do
    self.file:write(blob.bytes(self.seed, offset, math.min(PIECE_BYTES, self.size - offset)))
  end
  self.seed = nil
end

local function is_part_of(seed, offset, bytes)
  for from = 0, #bytes - 1, PIECE_BYTES do
    local piece = bytes:sub(from + 1, from + PIECE_BYTES)
    if blob.bytes(seed, offset + from, #piece) ~= piece then return false end
  end
  return true
end

-- More than memory is meant for: from now on a blob or a file.
function Spool:_leave_memory()
  local all = table.concat(self.parts)
  self.parts = nil
  local seed = blob.seed_of(all)
  if seed and is_part_of(seed, 0, all) then
    self.seed = seed
  else
    self:_to_disk()
    self.file:write(all)
  end
end

---@param piece string
function Spool:write(piece)
  if self.parts then
    self.parts[#self.parts + 1] = piece
  elseif self.seed and not is_part_of(self.seed, self.size, piece) then
    self:_to_disk()
    self.file:write(piece)
  elseif self.file then
    self.file:write(piece)
  end
  self.size = self.size + #piece
  if self.parts and self.size > IN_MEMORY then self:_leave_memory() end
end

---@return dpg.sandbox.Content
function Spool:finish()
  if self.parts then return M.bytes(table.concat(self.parts)) end
  if self.seed then return M.blob(self.seed, self.size) end
  self.file:close()
  return M.file(self.path, self.size)
end

function Spool:discard()
  if not self.file then return end
  self.file:close()
  os.remove(self.path)
end

return M
