-- What many files say on their way: a bar with rate and time left where the errors go to a terminal, and a line for
-- each file as it ends. Reckoned in bytes; how large the files are that have not begun is guessed by the others.
local out = require "dpg.cli.out"
local system = require "dpg.cli.system"

local M = {}

local BAR = 20
local WINDOW_S = 8 -- the rate is that of the last seconds
local SAMPLE_S = 0.5

-- --- reckoning -----------------------------------------------------------------------------------------------------

local Reckoning = {}
Reckoning.__index = Reckoning

---How far many files are. Values in, values out.
---@param count integer  how many there are
---@param sizes? table<string, integer>  of those that are known beforehand
---@param now number  seconds on any clock that nobody sets
---@return table
function M.reckoning(count, sizes, now)
  return setmetatable({
    count = count, ended = 0, sizes = sizes or {}, at = {}, moved = 0, samples = { { now, 0 } }, part = 0,
  }, Reckoning)
end

-- What a file begins with may be there from an earlier run: it counts as done, but not as moved, unless it is all.
function Reckoning:move(file, done, total, now)
  self.sizes[file] = total or self.sizes[file]
  local before = self.at[file]
  if before or done == total then self.moved = self.moved + math.max(done - (before or 0), 0) end
  self.at[file] = done
  local samples = self.samples
  if now - samples[#samples][1] >= SAMPLE_S then
    samples[#samples + 1] = { now, self.moved }
    while now - samples[2][1] > WINDOW_S do table.remove(samples, 1) end
  end
end

---However it ended, nothing of it is still to come.
function Reckoning:finish(file)
  self.ended = self.ended + 1
  self.sizes[file] = self.sizes[file] or self.at[file] or 0
  self.at[file] = self.sizes[file]
end

---@return number part  0 to 1; it never goes back
---@return number? rate  bytes a second
---@return number? left  seconds
function Reckoning:state(now)
  local known, sum, done = 0, 0, 0
  for file, size in pairs(self.sizes) do
    known, sum, done = known + 1, sum + size, done + math.min(self.at[file] or 0, size)
  end
  local whole = known > 0 and sum / known * math.max(self.count, known) or 0
  if self.ended == self.count then self.part = 1 elseif whole > 0 then self.part = math.max(self.part, done / whole) end
  local first = self.samples[1]
  local seconds = now - first[1]
  if seconds < SAMPLE_S then return self.part end
  local rate = (self.moved - first[2]) / seconds
  return self.part, rate, rate > 0 and math.max(whole - done, 0) / rate or nil
end

-- --- showing -------------------------------------------------------------------------------------------------------

local function clock(seconds)
  seconds = math.floor(seconds) -- %d wants whole numbers from 5.3 on
  local minutes = math.floor(seconds / 60)
  if minutes >= 6000 then return nil end
  if minutes >= 60 then return ("%d:%02d:%02d"):format(math.floor(minutes / 60), minutes % 60, seconds % 60) end
  return ("%d:%02d"):format(minutes, seconds % 60)
end

---One line, of at most so many columns: what matters least goes first where they do not suffice.
---@param reckoning table
---@param now number
---@param columns integer
---@return string
function M.text(reckoning, now, columns)
  local part, rate, left = reckoning:state(now)
  local filled = math.floor(part * BAR)
  local words = { ("%3d%%"):format(math.floor(part * 100)), ("%d/%d"):format(reckoning.ended, reckoning.count) }
  if rate then words[3] = out.size(math.floor(rate)) .. "/s" end
  local time = left and part < 1 and clock(left)
  if time then words[4] = time .. " left" end
  local bar = ("[%s%s] "):format(("#"):rep(filled), (" "):rep(BAR - filled))
  local text = table.concat(words, "  ")
  if #bar + #text <= columns then return bar .. text end
  while #text > columns and #words > 1 do
    words[#words] = nil
    text = table.concat(words, "  ")
  end
  return text
end

local Progress = {}
Progress.__index = Progress

---@param count integer  how many files there will be
---@param quiet boolean
---@param sizes? table<string, integer>  of those that are known beforehand
---@return table
function M.new(count, quiet, sizes)
  local self = setmetatable({ reckoning = M.reckoning(count, sizes, system.now()), is_shown = false }, Progress)
  self.has_bar = not quiet and os.getenv "TERM" ~= "dumb" and system.is_terminal(2)
  if self.has_bar then
    self.columns = system.columns() - 1
    out.set_bar(self)
  end
  return self
end

-- With no wrapping: a terminal that has been made narrower meanwhile cuts the line, and is not filled with its ends.
function Progress:draw()
  if not self.has_bar then return end
  io.stderr:write("\r\27[K\27[?7l", M.text(self.reckoning, system.now(), self.columns), "\27[?7h")
  io.stderr:flush()
  self.is_shown = true
end

---Takes the bar away, for something else to be said.
function Progress:clear()
  if self.is_shown then io.stderr:write "\r\27[K" end
  self.is_shown = false
end

---@param done integer
---@param total? integer
---@param file string
function Progress:moved(done, total, file)
  self.reckoning:move(file, done, total, system.now())
  self:draw()
end

---@param file string
function Progress:finished(file)
  self.reckoning:finish(file)
end

---The last that it does.
function Progress:close()
  self:clear()
  out.set_bar(nil)
end

return M
