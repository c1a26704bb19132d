-- A store in Redis, for all machines of a site. Each operation is one Lua script, which Redis runs alone, on a
-- connection that the caller's `connect` gives and that is let go right after: nothing is shared between tasks,
-- requests or processes, and nothing is stale after Redis was restarted. Whatever is not a clear answer is an error.
-- What Redis must be told so that it keeps what it says it has kept is in doc/stores.md.
local compat = require "dpg.compat"
local config = require "dpg.config"
local errors = require "dpg.errors"

local M = {}

---@class dpg.RedisStore: dpg.LuaStore
local Redis = {}
Redis.__index = Redis
Redis.__name = "dpg.Store"

function Redis:__tostring()
  return "dpg.Store (redis " .. self.key .. ")"
end

-- While somebody walks he mostly holds the lock for as long as one exchange takes.
local AGAIN_S = 0.2

-- --- what Redis runs -----------------------------------------------------------------------------------------------

-- Each answers an array, so that "nothing" looks the same to every client. They are sent whole each time: a few hundred
-- bytes a few times per exchange are not worth a second way (EVALSHA) that is taken only after a restart.

-- KEYS: lock; ARGV: owner, milliseconds
local LOCK = [[
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[1]), holder} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1}]]

-- KEYS: lock; ARGV: owner
local UNLOCK = [[
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {1}]]

-- KEYS: record
local LOAD = [[
local bytes = redis.call('GET', KEYS[1])
if bytes then return {1, bytes} end
return {0}]]

-- KEYS: record; ARGV: bytes, '1' if something is expected, and what. The very bytes may be there already: from a save
-- whose answer was lost.
local SAVE = [[
local there = redis.call('GET', KEYS[1])
local expected = ARGV[2] == '1' and ARGV[3]
if there ~= expected and there ~= ARGV[1] then return {0} end
redis.call('SET', KEYS[1], ARGV[1])
return {1}]]

-- --- what goes wrong -----------------------------------------------------------------------------------------------

-- Only what is known is told. A client's error is not repeated: an address may hold a password, and Redis quotes the
-- arguments of commands that it doesn't know.
local REFUSALS = { -- the word that Redis says, our code, what it means
  { "NOAUTH", "store_denied", "it wants a password, which `connect` gives by AUTH" },
  { "WRONGPASS", "store_denied", "the name or the password that `connect` gives is wrong" },
  { "NOPERM", "store_denied", "its user needs EVAL, GET, SET, DEL and PTTL on the record's key and its lock" },
  { "READONLY", "store_read_only", "it is a replica: connect to the primary" },
  { "MISCONF", "store_read_only", "it can't write to its own disk, and takes nothing new" },
  { "OOM", "store_full", "its memory is full" },
  { "LOADING", "store_unavailable", "it is still reading its data" },
  { "BUSY", "store_unavailable", "it is busy with somebody's script" },
  { "NOREPLICAS", "store_unavailable", "too few of its replicas are there" },
  { "MASTERDOWN", "store_unavailable", "it has lost its primary" },
  { "CLUSTERDOWN", "store_unavailable", "its cluster is down" },
  { "TRYAGAIN", "store_unavailable", "its cluster is moving the keys" },
  { "MOVED", "store_moved", "the keys are on another node of the cluster: the client must follow" },
  { "ASK", "store_moved", "the keys are on another node of the cluster: the client must follow" },
  { "WRONGTYPE", "store_not_a_record", "the key holds something that is no record: use another key" },
}

local ACCIDENTS = { -- what clients say, in small letters; what it means
  { "refused", "connection refused" }, { "timed? ?out", "it did not answer in time" },
  { "reset", "the connection was cut" }, { "closed", "the connection was cut" },
  { "broken pipe", "the connection was cut" }, { "no such file", "its socket is not there" },
  { "permission denied", "its socket may not be used" }, { "unreachable", "no way leads there" },
  { "resol", "its name can't be resolved" }, { "host or service", "its name can't be resolved" },
  { "host not found", "its name can't be resolved" }, { "want[rw]", "it did not answer in time" },
  { "certificate", "TLS failed" }, { "handshake", "TLS failed" },
  { "api disabled", "cosockets can't be used in this phase of nginx" },
}

local function failure(code, what)
  return errors.new { kind = "storage", code = code, message = "Redis: " .. what }
end

-- `problem` is what a client said or raised, or nil.
local function explain(problem)
  local text = type(problem) == "string" and problem or ""
  for _, refusal in ipairs(REFUSALS) do
    if text:find("%f[%u]" .. refusal[1] .. "%f[^%u]") then return failure(refusal[2], refusal[3]) end
  end
  local small = text:lower()
  for _, accident in ipairs(ACCIDENTS) do
    if small:find(accident[1]) then return failure("store_unreachable", accident[2]) end
  end
  local slip = text:match "attempt to [^\n]*" or text:match "module '[^'\n]*' not found"
  return failure("store_failed", slip or "it refuses, or its client fails, in a way that is not known here and "
    .. "not repeated, since it might show a password")
end

-- --- one operation -------------------------------------------------------------------------------------------------

-- lua-redis and the clients of nginx have a method for each command, and those of nginx for any name at all; so `call`
-- counts only where there is no set_keepalive.
local function eval(client, ...)
  if type(client.set_keepalive) ~= "function" and type(client.call) == "function" then
    return client:call("EVAL", ...)
  end
  return client:eval(...)
end

-- Back to nginx's pool, if all went well; else closed, in whichever way it can be.
local function let_go(client, is_well)
  if is_well and type(client.set_keepalive) == "function" and client:set_keepalive() then return end
  if type(client.close) == "function" then
    client:close()
  elseif type(client.network) == "table" and client.network.socket then -- lua-redis: its quit() only shuts down
    client.network.socket:close()
  end
end

-- Runs a script on one key. Its answer, or nil and an error.
local function run(self, script, key, ...)
  local ok, client, problem = compat.guard(self._connect)
  if not ok then return nil, explain(client) end
  if type(client) ~= "table" and type(client) ~= "userdata" then return nil, explain(problem) end
  local reply
  ok, reply, problem = compat.guard(eval, client, script, "1", key, ...)
  local is_well = ok and type(reply) == "table" and (reply[1] == 0 or reply[1] == 1)
  compat.guard(let_go, client, is_well)
  if is_well then return reply end
  if not ok then return nil, explain(reply) end
  if not reply then return nil, explain(problem) end
  return nil, failure("store_protocol", "its answer can't be understood")
end

---Takes the lock for `ttl` seconds, or says who has it; never waits.
---@param owner string
---@param ttl number  seconds
---@return boolean? is_ours
---@return number|dpg.Error? again  seconds: ask again then
---@return string? holder
function Redis:lock(owner, ttl)
  local reply, err = run(self, LOCK, self._lock_key, owner, compat.number_text(math.ceil(ttl * 1000)))
  if not reply then return nil, err end
  if reply[1] == 1 then return true end
  local left = tonumber(reply[2]) or -1
  return false, left >= 0 and math.min(AGAIN_S, (left + 1) / 1000) or AGAIN_S, reply[3]
end

---Reads the record.
---@return string? bytes  nil without an error: nothing is stored
---@return dpg.Error? err
function Redis:load()
  local reply, err = run(self, LOAD, self.key)
  if not reply then return nil, err end
  if reply[1] == 0 then return nil end
  if type(reply[2]) ~= "string" then return nil, failure("store_protocol", "its answer can't be understood") end
  return reply[2]
end

---Writes the record, if what is stored is what is expected: in one step, so that of two one is refused.
---@param bytes string
---@param expected? string  what must be stored now; nil: nothing
---@return boolean? is_saved
---@return dpg.Error? err
function Redis:save(bytes, expected)
  local reply, err = run(self, SAVE, self.key, bytes, expected and "1" or "0", expected or "")
  if not reply then return nil, err end
  return reply[1] == 1
end

---Gives the lock back; that of another owner stays.
---@param owner string
---@return boolean? ok
---@return dpg.Error? err
function Redis:unlock(owner)
  local reply, err = run(self, UNLOCK, self._lock_key, owner)
  if not reply then return nil, err end
  return true
end

-- --- the store -----------------------------------------------------------------------------------------------------

-- Redis Cluster hashes what stands in the first braces, and the lock has to lie where the record lies. Nil for braces
-- that name no part of the key.
local function lock_key(key)
  local tag = key:match "{(.-)}"
  if tag and tag ~= "" then return key .. ":lock" end
  if not key:find "[{}]" then return "{" .. key .. "}:lock" end
end

local function text(value)
  local expected, given = config.text(value)
  if expected or lock_key(value) then return expected, given end
  return "a key whose braces, if any, name the part that a cluster hashes ({…})", "others"
end

local OPTIONS = { key = text, connect = config.is "function" }

---Keeps the session in Redis, under `key`, so that all machines of a site can share it; the lock is `{key}:lock`.
---@param options dpg.RedisOptions
---@return dpg.RedisStore
function M.new(options)
  local where = "dpg.store.redis"
  options = config.check(where, options, OPTIONS)
  for _, name in ipairs { "key", "connect" } do
    if options[name] == nil then errors.raise("%s: option '%s' is missing", where, name) end
  end
  return setmetatable({
    key = options.key, _lock_key = lock_key(options.key), _connect = options.connect,
    -- one `connect`, one Redis: as far as can be told
    identity = "redis " .. tostring(options.connect) .. " " .. options.key,
  }, Redis)
end

return M
