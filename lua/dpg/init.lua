-- dpg: a client for the Digital Photo Gallery API. This is the front door; behind it:
--
--   dpg.session     what one can call: me, can, request, and the resources (dpg.resources.*: images, sets, keywords …)
--   dpg.objects     methods on images and sets                   dpg.batch      many writes in few requests
--   dpg.user        a signed-in person and their accounts        dpg.sign_in    password, two-factor, resume
--   dpg.catalog     the endpoints, one row each                  dpg.wire       what we assume of the wire
--   dpg.operation   what a write is answered with                dpg.page       pages and iterators
--   dpg.errors      the one shape of an error                    dpg.config     options, and how they are merged
--   dpg.upload      sends a file (dpg.source)                   dpg.download    fetches one (dpg.filename)
--   dpg.many        many files, with a dpg.journal              dpg.transfer    what both directions share
--   dpg.stream      a call whose bytes pass through Lua
--   dpg.call        starts calls and waits for them              dpg.hub        engines, and pumping their queues
--   dpg.connection  recipes and handles of credentials           dpg.store      where tokens are kept
--   dpg.store.*     stores in Lua: redis, sealed; check          dpg.serve      what the core asks of a store in Lua
--   dpg.task        run, spawn, await                            dpg.scheduler  coroutines that wait
--   dpg.host        how a program waits: host.blocking, host.loop
--   dpg.checks      what a field may hold                        dpg.cache      answers that are kept, for polling
--   dpg.methods     a dot for a colon is told                    dpg.core       the C core (csrc/)
--   dpg.json, dpg.url, dpg.uuid, dpg.disk, dpg.compat
local cache = require "dpg.cache"
local check = require "dpg.store.check"
local config = require "dpg.config"
local connection = require "dpg.connection"
local core = require "dpg.core"
local errors = require "dpg.errors"
local json = require "dpg.json"
local loop = require "dpg.host.loop"
local redis = require "dpg.store.redis"
local sealed = require "dpg.store.sealed"
local session = require "dpg.session"
local sign_in = require "dpg.sign_in"
local store = require "dpg.store"
local task = require "dpg.task"

---@class dpg
local M = {}

M._VERSION = core.version

-- JSON's null in what the server answers (the same value as cjson.null), and `array` to send an empty list.
M.null = json.null
M.array = json.array

---Where a person's session is kept (doc/stores.md).
---@class dpg.Stores
M.store = {
  file = store.file, memory = store.memory, redis = redis.new, sealed = sealed.new, check = check.run,
}

---@type { memory: fun(options?: { entries?: integer, bytes?: integer }): dpg.Cache }
M.cache = { memory = cache.memory }

M.sign_in = sign_in.sign_in
M.resume = sign_in.resume
M.run = task.run
M.spawn = task.spawn
M.loop = loop.new

---A session with a service token. Sends nothing.
---@param options dpg.ServiceOptions  `token`, and the configuration
---@return dpg.Session? session
---@return dpg.Error? err  kind "usage": no token, or a base_url that is none
function M.service(options)
  options = config.check("dpg.service", options, { token = true }, config.SESSION)
  local token = options.token
  if token ~= nil and type(token) ~= "string" then
    errors.raise("dpg.service: option 'token': a string expected, got %s", type(token))
  end
  if token == nil or not token:match("^[\33-\126]+$") then
    local problem = token == nil and "is missing (is DPG_TOKEN set?)" or "is empty, or holds blanks or line ends"
    return nil, errors.usage("invalid_value", "dpg.service: option 'token' " .. problem, { field = "token" })
  end
  local settings, err = config.session("dpg.service", options)
  if not settings then return nil, err end
  return session.new(connection.service(settings, token), settings, nil, { token })
end

---assert for functions that return `nil, err`: gives back all its arguments, or raises the error object itself
---(plain assert replaces it by "string expected, got table" on Lua 5.1 and 5.2).
---@generic T
---@param value T?
---@param ... any
---@return T value
---@return any ...
function M.assert(value, ...)
  if value then return value, ... end
  local err = ...
  if err == nil then errors.raise("assertion failed!") end
  if errors.is(err) then errors.throw(err) end
  error(err, type(err) == "string" and 2 or 0)
end

return M
