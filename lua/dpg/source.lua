-- What can be uploaded: a path, bytes, or a reader function, each as the same thing to dpg.upload: a name, a size, and
-- for the engine either a part that it reads itself or a function that gives the bytes.
local compat = require "dpg.compat"
local core = require "dpg.core"
local disk = require "dpg.disk"
local errors = require "dpg.errors"
local filename = require "dpg.filename"

local M = {}

local PIECE = 64 * 1024
-- So much is read between two pauses by what only looks at a file: a millisecond's work.
local LOOK = 1024 * 1024
-- Bytes up to so many are copied in one; a game's frame would notice more.
local AT_ONCE = 128 * 1024

-- A: the processor looks at the file itself; a type that we don't know is sent as bytes.
local TYPES = {
  jpg = "image/jpeg", jpeg = "image/jpeg", png = "image/png", gif = "image/gif", webp = "image/webp",
  tif = "image/tiff", tiff = "image/tiff", heic = "image/heic", heif = "image/heif", avif = "image/avif",
  psd = "image/vnd.adobe.photoshop", dng = "image/x-adobe-dng", pdf = "application/pdf", mp4 = "video/mp4",
  mov = "video/quicktime",
}

local FIELDS = {
  path = "string", bytes = "string", reader = "function", rewind = "function", size = "number", filename = "string",
  content_type = "string",
}

---@class dpg.Source
---@field kind "path"|"bytes"|"reader"
---@field filename string
---@field content_type string
---@field size integer
---@field can_repeat boolean  can its bytes be had again?
local Source = {}
Source.__index = Source
Source.__name = "dpg.Source"

local function unreadable(path, problem)
  return errors.usage("file_unreadable", "the file " .. path .. " can't be read: " .. problem, { field = "path" })
end

-- The size of a file that can be read; a folder opens, too, on most systems.
local function size_of(path)
  if core.kind(path) == "other" then return nil, unreadable(path, "it is a pipe or a device") end
  local file, problem = disk.open(path, "rb")
  if not file then return nil, unreadable(path, (tostring(problem):gsub("^.*: ", ""))) end
  local first, why = file:read(1)
  local size = file:seek("end")
  file:close()
  if not first and why then return nil, unreadable(path, why) end
  return first and size or 0
end

local function check(where, given)
  if type(given) == "string" then return { path = given } end
  if type(given) ~= "table" then
    errors.raise("%s: a path, or a table with path, bytes or reader expected, got %s", where, type(given))
  end
  for name, value in pairs(given) do
    if not FIELDS[name] then
      errors.raise("%s: a source has path, bytes or reader, filename, size, rewind and content_type, no '%s'", where,
        tostring(name))
    end
    if type(value) ~= FIELDS[name] then
      errors.raise("%s: the source's %s must be a %s, is a %s", where, name, FIELDS[name], type(value))
    end
  end
  local n = (given.path and 1 or 0) + (given.bytes and 1 or 0) + (given.reader and 1 or 0)
  if n ~= 1 then errors.raise("%s: a source has one of path, bytes and reader", where) end
  if not given.path and not given.filename then errors.raise("%s: bytes and readers need a filename", where) end
  if given.reader and not given.size then errors.raise("%s: a reader needs the size of what it gives", where) end
  return given
end

---@param where string  for the message
---@param given any  a path, or { path | bytes | reader, size, rewind, filename, content_type }
---@return dpg.Source? source
---@return dpg.Error? err  kind "usage": it can't be read, or is empty
function M.open(where, given)
  given = check(where, given)
  local self = setmetatable({
    kind = given.path and "path" or given.bytes and "bytes" or "reader",
    filename = given.filename or filename.base(given.path), _given = given,
  }, Source)
  if given.path then
    local size, err = size_of(given.path)
    if not size then return nil, err end
    self.size = size
  else
    self.size = given.bytes and #given.bytes or given.size
  end
  if self.size < 1 or self.size ~= math.floor(self.size) or self.size > 2 ^ 52 then
    return nil, errors.usage("empty_file", self.filename .. " is empty: there is nothing to send", { field = "size" })
  end
  if given.path and given.size and given.size ~= self.size then
    return nil, errors.usage("file_changed", string.format("%s has %.0f bytes, not %.0f", self.filename, self.size,
      given.size), { field = "size" })
  end
  self.can_repeat = not given.reader or given.rewind ~= nil
  self.content_type = given.content_type or TYPES[(self.filename:match("%.([^.]+)$") or ""):lower()]
    or "application/octet-stream"
  return self
end

---Can the engine not have its bytes in one, but by pieces()?
---@return boolean
function Source:is_fed()
  return self.kind == "reader" or (self.kind == "bytes" and self.size > AT_ONCE)
end

---The file's part of a form. Fed: the bytes come from pieces().
---@param name string  the field
---@param is_fed boolean
---@return table
function Source:part(name, is_fed)
  local part = { name = name, filename = self.filename, content_type = self.content_type }
  if is_fed then
    part.fed, part.size = true, self.size
  elseif self.kind == "path" then
    part.path, part.size = self._given.path, self.size
  else
    part.value = self._given.bytes
  end
  return part
end

local function from_file(path)
  local file, problem = disk.open(path, "rb")
  if not file then return nil, unreadable(path, tostring(problem)) end
  return function()
    local piece, why = file:read(PIECE)
    if not piece and why then error("the file can't be read: " .. why, 0) end
    return piece
  end, nil, function() file:close() end
end

---What tells these bytes from others, as dpg.upload notes it of what it has sent. Reads all of them.
---@param pause fun(): boolean?, dpg.Error?  called now and then, so that others can go on
---@return string? fingerprint  nil without an error: a reader's bytes are had by sending them
---@return dpg.Error? err
function Source:fingerprint(pause)
  local given = self._given
  if given.bytes then return core.fingerprint(given.bytes) end
  if not given.path then return nil end
  local file, problem = disk.open(given.path, "rb")
  if not file then return nil, unreadable(given.path, tostring(problem)) end
  local sum, piece, why, ok, err
  repeat
    piece, why = file:read(LOOK)
    if piece then
      sum = core.fingerprint(piece, sum)
      ok, err = pause()
    elseif why then
      ok, err = nil, unreadable(given.path, why)
    end
  until not (piece and ok)
  file:close()
  if err then return nil, err end
  return sum
end

---A function that gives the bytes, piece by piece, from the beginning.
---@return (fun(): string?)? read
---@return dpg.Error? err
---@return fun()? close
function Source:pieces()
  local given = self._given
  if self.kind == "path" then return from_file(given.path) end
  if self.kind == "bytes" then
    local from = 1
    return function()
      local piece = given.bytes:sub(from, from + PIECE - 1)
      from = from + #piece
      return piece ~= "" and piece or nil
    end, nil, function() end
  end
  if self._is_used then
    local ok, problem = compat.try(given.rewind)
    if not ok then return nil, M.failure(problem) end
  end
  self._is_used = true
  return given.reader, nil, function() end
end

---A reader that has raised.
---@param problem any
---@return dpg.Error
function M.failure(problem)
  if errors.is(problem) then return problem end
  return errors.usage("reader_failed", "the reader failed: " .. tostring(problem), { field = "reader" })
end

return M
