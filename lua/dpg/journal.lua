-- What became of each file of a long run, in a file of its own: one line of JSON for each step, appended before the
-- step is taken, so that a run that was killed goes on without doing anything twice. It holds names, fingerprints, keys
-- and outcomes; never a ticket, a link or a token. dpg.many uses it.
local disk = require "dpg.disk"
local errors = require "dpg.errors"
local json = require "dpg.json"

local M = {}

local FORMAT = 1

---@class dpg.Journal
---@field path string
---@field entries table<string, table>  the newest line of each file, by its id
local Journal = {}
Journal.__index = Journal
Journal.__name = "dpg.Journal"

local function failure(code, path, message)
  return errors.new { kind = "storage", code = code, message = "the journal " .. path .. " " .. message }
end

-- Reads what there is: entries by file; the last line may have been cut by a crash, and so may any that a later run
-- has gone on behind. What such a line was to say did not begin.
local function read(self, text, kind)
  local first = true
  for line in text:gmatch("[^\n]+") do
    local value = json.decode(line)
    if first then
      if type(value) ~= "table" or value.dpg_journal ~= kind then
        return nil, failure("not_a_journal", self.path,
          "is another file, or one of another kind: nothing is written to it")
      elseif value.version ~= FORMAT then
        return nil, failure("not_a_journal", self.path, "was written by another version of dpg")
      end
    elseif type(value) == "table" and type(value.file) == "string" then
      self.entries[value.file] = value
    end
    first = false
  end
  self._is_new = first
  self._is_torn = text ~= "" and text:sub(-1) ~= "\n"
  return true
end

---Opens a journal, or begins it. One run at a time may use it.
---@param path string
---@param kind string  "uploads" or "downloads"
---@return dpg.Journal? journal
---@return dpg.Error? err  kind "storage": it can't be read or written, or is another file
function M.open(path, kind)
  local self = setmetatable({ path = path, entries = {} }, Journal)
  local old = disk.open(path, "rb")
  local text = ""
  if old then
    text = old:read("*a")
    old:close()
    if not text then return nil, failure("journal_unreadable", path, "can't be read") end
  end
  -- torn in its very first line: nothing had begun
  if not text:find("\n", 1, true) and text:find('^{"dpg_journal') then text = "" end
  local ok, err = read(self, text, kind)
  if not ok then return nil, err end
  local problem
  self._file, problem = disk.open(path, text == "" and "wb" or "ab")
  if not self._file then return nil, failure("journal_unwritable", path, "can't be written: " .. tostring(problem)) end
  self._file:setvbuf("no")
  if self._is_new then
    ok, err = self:_append { dpg_journal = kind, version = FORMAT }
    if not ok then
      self:close()
      return nil, err
    end
  end
  return self
end

function Journal:__tostring()
  return "dpg.Journal (" .. self.path .. ")"
end

function Journal:_append(value)
  if not self._file then return nil, failure("journal_unwritable", self.path, "is closed") end
  local text = assert(json.encode(value)) .. "\n"
  if self._is_torn then text = "\n" .. text end
  local ok, problem = self._file:write(text)
  if ok then ok, problem = self._file:flush() end
  if not ok then
    self._is_torn = true -- some of it may be there
    return nil, failure("journal_unwritable", self.path, "can't be written: " .. tostring(problem))
  end
  self._is_torn = false
  return true
end

---Writes a step down; on return it is with the system, and outlives this process.
---@param file string  whose step
---@param fields table
---@return boolean? ok
---@return dpg.Error? err
function Journal:write(file, fields)
  local line = { file = file, at = os.time() }
  for name, value in pairs(fields) do line[name] = value end
  local ok, err = self:_append(line)
  if ok then self.entries[file] = line end
  return ok, err
end

---Twice is fine.
function Journal:close()
  local file = self._file
  self._file = nil
  if file then file:close() end
end

return M
