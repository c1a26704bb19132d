-- What many files say on their way: a bar with rate and time left where the errors go to a terminal, and a line for
-- each file as it ends.
local out = require "dpg.cli.out"
local system = require "dpg.cli.system"

local M = {}

local Progress = {}
Progress.__index = Progress

local BAR = 20

---@param count integer  how many files there will be
---@param quiet boolean
---@return table
function M.new(count, quiet)
  return setmetatable({
    count = count, ended = 0, bytes = 0, shares = {}, sizes = {}, began = os.time(), shown = false,
    has_bar = not quiet and os.getenv "TERM" ~= "dumb" and system.is_terminal(2),
  }, Progress)
end

local function clock(seconds)
  seconds = math.floor(seconds) -- %d wants whole numbers from 5.3 on
  local minutes = math.floor(seconds / 60)
  if minutes >= 60 then return ("%d:%02d:%02d"):format(math.floor(minutes / 60), minutes % 60, seconds % 60) end
  return ("%d:%02d"):format(minutes, seconds % 60)
end

-- The whole is reckoned in files, as the sizes of those to come are not known.
function Progress:text()
  local done = self.ended
  for _, share in pairs(self.shares) do done = done + share end
  local part, seconds = math.min(done / self.count, 1), os.time() - self.began
  local filled = math.floor(part * BAR)
  local words = {
    ("[%s%s] %3d%%"):format(("#"):rep(filled), (" "):rep(BAR - filled), math.floor(part * 100)),
    ("%d/%d"):format(self.ended, self.count),
  }
  if seconds > 0 then
    words[#words + 1] = out.size(math.floor(self.bytes / seconds)) .. "/s"
    if part > 0 and part < 1 then words[#words + 1] = clock(seconds * (1 - part) / part) .. " left" end
  end
  return table.concat(words, "  ")
end

function Progress:draw()
  if not self.has_bar then return end
  io.stderr:write("\r\27[K", self:text())
  io.stderr:flush()
  self.shown = true
end

---Takes the bar away, for something else to be said.
function Progress:clear()
  if self.shown then io.stderr:write "\r\27[K" end
  self.shown = false
end

---@param done integer
---@param total? integer
---@param file string
function Progress:moved(done, total, file)
  self.bytes = self.bytes + math.max(done - (self.sizes[file] or 0), 0)
  self.sizes[file] = done
  self.shares[file] = total and total > 0 and math.min(done / total, 1) or 0
  self:draw()
end

---@param file string
function Progress:finished(file)
  self.shares[file] = nil
  self.ended = self.ended + 1
  self:clear()
end

return M
