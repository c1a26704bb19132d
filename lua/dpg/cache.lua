-- A small cache for those who poll: dpg.cache.memory{…}, given to a session. It makes every repeated GET conditional;
-- the server is asked each time, and what it says has not changed (304) is answered from here. What is kept belongs to
-- one connection (a service token, or a person) and one account of it, so that nobody sees what another was sent. The
-- least recently used goes first.
local errors = require "dpg.errors"

local M = {}

---Answers that are kept. Made by dpg.cache.memory, and given to a session as `cache`.
---@class dpg.Cache
local Cache = {}
Cache.__index = Cache
Cache.__name = "dpg.Cache"

local ENTRIES, BYTES = 256, 16 * 1024 * 1024
local OVERHEAD = 512 -- bytes of an entry beside its texts, roughly

local function whole(options, name, default)
  local value = options[name]
  if value == nil then return default end
  if type(value) ~= "number" or value < 1 or value ~= math.floor(value) then
    errors.raise("dpg.cache.memory: option '%s': a whole number above 0 expected, got %s", name, tostring(value))
  end
  return value
end

---Keeps answers of reads in memory, so that asking again is a conditional request: what has not changed is not sent
---again. What was used longest ago goes first.
---@param options? { entries?: integer, bytes?: integer }  how much it may hold: 256 answers, 16 MiB of them
---@return dpg.Cache
function M.memory(options)
  options = options or {}
  if type(options) ~= "table" then
    errors.raise("dpg.cache.memory: a table of options expected, got %s", type(options))
  end
  for name in pairs(options) do
    if name ~= "entries" and name ~= "bytes" then
      errors.raise("dpg.cache.memory: option '%s' is unknown; here are: bytes, entries", tostring(name))
    end
  end
  local ends = {} -- of the list of entries: ends.newer is the oldest, ends.older the newest
  ends.newer, ends.older = ends, ends
  return setmetatable({
    _max_entries = whole(options, "entries", ENTRIES), _max_bytes = whole(options, "bytes", BYTES), _ends = ends,
    _entries = {}, _count = 0, _bytes = 0, _owners = setmetatable({}, { __mode = "k" }), _last_owner = 0,
  }, Cache)
end

---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == Cache
end

function Cache:__tostring()
  return string.format("dpg.Cache (%.0f answers, %.0f bytes)", self._count, self._bytes)
end

---Under which key an answer is kept.
---@param connection table  whose it is
---@param account? string
---@param url string
---@return string
function Cache:_key(connection, account, url)
  local owner = self._owners[connection]
  if not owner then
    owner = self._last_owner + 1
    self._last_owner, self._owners[connection] = owner, owner
  end
  return string.format("%.0f %s %s", owner, account or "", url)
end

---Whatever is kept for a connection is not used any more.
---@param connection table
function Cache:_disown(connection)
  self._owners[connection] = nil
end

local function unlink(entry)
  entry.older.newer, entry.newer.older = entry.newer, entry.older
end

local function link_newest(self, entry)
  local ends = self._ends
  entry.older, entry.newer = ends.older, ends
  entry.older.newer, ends.older = entry, entry
end

---@param key string
function Cache:_forget(key)
  local entry = self._entries[key]
  if not entry then return end
  unlink(entry)
  self._entries[key] = nil
  self._count, self._bytes = self._count - 1, self._bytes - entry.size
end

---@param key string
---@return { body: string, headers: table<string, string> }?
function Cache:_get(key)
  local entry = self._entries[key]
  if not entry then return nil end
  unlink(entry)
  link_newest(self, entry)
  return entry
end

---@param key string
---@param body string
---@param headers table<string, string>
function Cache:_set(key, body, headers)
  self:_forget(key)
  local size = OVERHEAD + #key + #body
  for name, value in pairs(headers) do size = size + #name + #value end
  if size > self._max_bytes then return end
  local entry = { key = key, body = body, headers = headers, size = size }
  self._entries[key] = entry
  link_newest(self, entry)
  self._count, self._bytes = self._count + 1, self._bytes + size
  while self._count > self._max_entries or self._bytes > self._max_bytes do self:_forget(self._ends.newer.key) end
end

return M
