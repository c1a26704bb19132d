-- Pictures that are about to be shown: fetched, decoded in a thread of their own (a big JPEG would stop a frame or
-- ten), and kept as textures as long as they are wanted. What is wanted no more is let go, so memory stays bounded.
local M = {}

local FETCHES = 2 -- at a time

local Pictures = {}
Pictures.__index = Pictures

local DECODER = [[
require "love.image"
local jobs, results = ...
while true do
  local job = jobs:demand()
  if job == "end" then return end
  local ok, data = pcall(love.image.newImageData, job.file)
  job.file:release()
  results:push { key = job.key, data = ok and data or nil }
end
]]

-- Those that may not have ended. LÖVE (11.4) crashes when it lets go of a thread that has not taken its first step, as
-- when the program quits right after: so they are held here until they have ended.
local threads = {}

local function forget_ended()
  for i = #threads, 1, -1 do
    if not threads[i]:isRunning() then table.remove(threads, i) end
  end
end

---@param fetch fun(key: string, done: fun(found: { bytes: string, image: table }?, words: string?))
function M.new(fetch)
  local self = setmetatable({
    fetch = fetch, entries = {}, wanted = {}, fetching = 0, jobs = love.thread.newChannel(),
    results = love.thread.newChannel(),
  }, Pictures)
  local thread = love.thread.newThread(DECODER)
  thread:start(self.jobs, self.results)
  forget_ended()
  threads[#threads + 1] = thread
  return self
end

local function let_go(entry)
  entry.is_gone = true
  if entry.texture then entry.texture:release() end
end

---These are wanted, most urgent first; all others are let go.
---@param keys string[]
function Pictures:want(keys)
  local wanted = {}
  for _, key in ipairs(keys) do wanted[key] = true end
  for key, entry in pairs(self.entries) do
    if not wanted[key] then
      let_go(entry)
      self.entries[key] = nil
    end
  end
  self.wanted = keys
  self:_fetch()
end

function Pictures:_fetch()
  for _, key in ipairs(self.wanted) do
    if self.fetching >= FETCHES then return end
    if not self.entries[key] then self:_start(key) end
  end
end

function Pictures:_start(key)
  local entry = {}
  self.entries[key] = entry
  self.fetching = self.fetching + 1
  self.fetch(key, function(found, words)
    self.fetching = self.fetching - 1
    if found and not entry.is_gone then
      local file = love.filesystem.newFileData(found.bytes, "picture.jpg")
      entry.image = found.image
      self.jobs:push { key = key, file = file }
      file:release()
    elseif not found then
      entry.words = words
    end
    self:_fetch()
  end)
end

---One decoded picture becomes a texture; one a frame, since that takes a millisecond or some.
function Pictures:update()
  local result = self.results:pop()
  local entry = result and self.entries[result.key]
  if not entry or entry.texture or entry.is_gone then return end
  local size = result.data and math.max(result.data:getDimensions()) or 0
  if size == 0 or size > love.graphics.getSystemLimits().texturesize then
    entry.words = "This picture can't be shown here."
    return
  end
  entry.texture = love.graphics.newImage(result.data, { mipmaps = true })
  entry.texture:setFilter("linear", "linear")
  result.data:release()
end

---@return userdata? texture  nil: it is not here yet, or never will be
---@return table|string|nil image_or_words
function Pictures:get(key)
  local entry = self.entries[key]
  if not entry then return nil end
  if entry.texture then return entry.texture, entry.image end
  return nil, entry.words
end

---Before the program ends, and after each has been closed.
function M.wait_for_threads()
  for _, thread in ipairs(threads) do thread:wait() end
end

---Lets all go and ends the thread.
function Pictures:close()
  for _, entry in pairs(self.entries) do let_go(entry) end
  self.entries, self.wanted = {}, {}
  self.jobs:clear()
  self.jobs:push "end"
end

return M
