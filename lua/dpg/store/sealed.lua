-- Seals the record before another store keeps it: AES-256-GCM by luaossl, with a new nonce each time. It knows the
-- inner store's four operations and nothing of Redis, files or tokens.
--
-- What is stored looks to others like a record of ours (csrc/core/record.h) of another origin: a file store tells a
-- whole one from a torn one and a successor from its predecessor by generation and family, which are all that can be
-- read without the key; and an engine that is given one without its key refuses it instead of calling it damaged.
--
-- The caller's key seals nothing itself: for each version of this format and each name a key is derived from it, so a
-- record that was sealed for something else doesn't open here.
local compat = require "dpg.compat"
local core = require "dpg.core"
local errors = require "dpg.errors"
local stores = require "dpg.store"

local M = {}

---@class dpg.SealedStore: dpg.LuaStore
local Sealed = {}
Sealed.__index = Sealed
Sealed.__name = "dpg.Store"

function Sealed:__tostring()
  return "dpg.Store (sealed: " .. self._shown .. ")"
end

local KEY_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16
local CIPHER = "aes-256-gcm"
local FIRST = '{"origin":"a sealed store (dpg.store.sealed)",'

-- Required when the first store is sealed: nobody else needs it.
local function library()
  local ok, cipher = pcall(require, "openssl.cipher")
  local how = "dpg.store.sealed needs luaossl 20220711 or newer (Debian: lua-luaossl; LuaRocks: luaossl)"
  if not ok then errors.raise("%s: module 'openssl.cipher' was not found", how) end
  local made, one = pcall(cipher.new, CIPHER)
  if not made or not one.getTag then errors.raise("%s: this one has no %s with tags", how, CIPHER) end
  return { cipher = cipher, hmac = require "openssl.hmac", digest = require "openssl.digest" }
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return string.format("%02x", c:byte()) end))
end

local function unhex(text)
  return (text:gsub("%x%x", function(c) return string.char(tonumber(c, 16)) end))
end

local function failure(code, what)
  return errors.new { kind = "storage", code = code, message = what }
end

-- --- keys ----------------------------------------------------------------------------------------------------------

-- What is wrong with a key or a list of keys; nil when nothing is. Says nothing of what is in it.
local function key_problem(given)
  local list = type(given) == "table" and given or { given }
  if #list == 0 then return "a key of 32 bytes, or a list of them, expected, got " .. type(given) end
  for _, key in ipairs(list) do
    if type(key) ~= "string" then return "a key is a string of 32 bytes, got a " .. type(key) end
    if #key ~= KEY_BYTES then
      local hint = #key == 2 * KEY_BYTES and not key:find "%X" and " (is it in hex?)" or ""
      return "a key is a string of 32 bytes, got " .. #key .. " bytes" .. hint
    end
  end
end

-- Of each key of the caller's: the one that seals, and an id that tells which it was.
local function derive(self, given)
  local keys = {}
  for i, key in ipairs(type(given) == "table" and given or { given }) do
    local function hmac(purpose)
      return self._openssl.hmac.new(key, "sha256"):final("dpg-sealed 1\n" .. purpose .. "\n" .. self._name)
    end
    keys[i] = { seals = hmac "key", id = hex(hmac "id"):sub(1, 16) }
  end
  return keys
end

-- Where no table of ours shows them: the derived keys of a store, and the function that gives the caller's.
local derived = setmetatable({}, { __mode = "k" })

-- The keys; the caller's function is asked when there are none yet, and `again` when none of them fits.
local function keys_of(self, again)
  if derived[self] and not (again and self._ask) then return derived[self] end
  local ok, given, problem = compat.guard(self._ask)
  if not ok then return nil, failure("store_no_key", "the function that gives the key raised an error") end
  if given == nil then
    if errors.is(problem) then return nil, problem end
    return nil, failure("store_no_key", "there is no key" .. (type(problem) == "string" and ": " .. problem or ""))
  end
  local wrong = key_problem(given)
  if wrong then return nil, failure("store_no_key", "no key that fits was given: " .. wrong) end
  derived[self] = derive(self, given)
  return derived[self]
end

-- --- sealing and opening -------------------------------------------------------------------------------------------

-- What others may know of a record, as its head has it: the writer in the core puts these first.
local function head_of(bytes)
  local generation, family = bytes:match
    '^dpg%-record %d+ %d+ %x+\n{"origin":"[^"]*","generation":(%d+),"family":"(%x+)"'
  return generation or "0", family or "none"
end

-- Both stand outside, too, and are held against these.
local function bind(generation, family)
  return generation .. " " .. family .. "\n"
end

local function seal(self, bytes)
  local keys, err = keys_of(self)
  if not keys then return nil, err end
  local generation, family = head_of(bytes)
  local nonce = core.random_bytes(NONCE_BYTES)
  local cipher = self._openssl.cipher.new(CIPHER):encrypt(keys[1].seals, nonce)
  local text = cipher:update(bind(generation, family) .. bytes) .. cipher:final()
  local body = FIRST .. string.format('"generation":%s,"family":"%s","refresh_token":"","sealed":"1 %s %s"}\n',
    generation, family, keys[1].id, hex(nonce .. text .. cipher:getTag(TAG_BYTES)))
  local digest = hex(self._openssl.digest.new("sha256"):final(body))
  return string.format("dpg-record 1 %d %s\n%s", #body, digest, body)
end

local BODY = '^{"origin":"[^"]*","generation":(%d+),"family":"(%w+)","refresh_token":"","sealed":"1 (%x+) (%x+)"}\n$'

local function decrypt(self, key, sealed)
  local cipher = self._openssl.cipher.new(CIPHER):decrypt(key.seals, sealed:sub(1, NONCE_BYTES))
  cipher:setTag(sealed:sub(-TAG_BYTES))
  local text = cipher:update(sealed:sub(NONCE_BYTES + 1, -TAG_BYTES - 1))
  return cipher:final() and text
end

local function damaged()
  return failure("store_damaged", "the record was cut or changed since it was sealed; it is left as it is: put it "
    .. "right, or remove it and sign in again")
end

-- The key that sealed it, by its id.
local function key_for(self, id)
  for _, again in ipairs { false, true } do
    local keys, err = keys_of(self, again)
    if not keys then return nil, err end
    for _, key in ipairs(keys) do
      if key.id == id then return key end
    end
  end
  return nil, failure("store_wrong_key",
    "the record was sealed with another key, or under another name; it is left as it is")
end

-- The record within; or nil and an error, with what is stored left as it is.
local function open(self, stored)
  local length, digest, body = stored:match "^dpg%-record %d+ (%d+) (%x+)\n(.*)$"
  if not body or #body ~= tonumber(length) or digest ~= hex(self._openssl.digest.new("sha256"):final(body)) then
    return nil, damaged()
  end
  if body:sub(1, #FIRST) ~= FIRST then
    return nil, failure("store_not_sealed", "the record is not sealed: sign out there, remove it, and sign in again, "
      .. "or use another place")
  end
  local version = tonumber((body:match '"sealed":"(%d+) '))
  if version and version > 1 then
    return nil, failure("store_newer", "the record was sealed by a newer version of dpg; it is left as it is")
  end
  local generation, family, id, sealed = body:match(BODY)
  if not sealed then return nil, damaged() end
  local key, err = key_for(self, id)
  if not key then return nil, err end
  local text, bound = decrypt(self, key, unhex(sealed)), bind(generation, family)
  if not text or text:sub(1, #bound) ~= bound then return nil, damaged() end
  return text:sub(#bound + 1)
end

-- --- the four operations -------------------------------------------------------------------------------------------

---As the inner store does.
---@param owner string
---@param ttl number  seconds
---@return boolean? is_ours
---@return any again_or_err  seconds: ask again then
---@return string? holder
function Sealed:lock(owner, ttl)
  return self._inner:lock(owner, ttl)
end

---As the inner store does.
---@param owner string
---@return boolean? ok
---@return dpg.Error? err
function Sealed:unlock(owner)
  return self._inner:unlock(owner)
end

---Reads the record and opens it.
---@return string? bytes
---@return dpg.Error? err  kind "storage": another key, or changed since it was sealed; or the inner store's
function Sealed:load()
  local stored, err = self._inner:load()
  if stored == nil then return nil, err end
  return open(self, stored)
end

---Seals the record and writes it.
---@param bytes string
---@param expected? string  what must be stored now, opened; nil: nothing
---@param ... any  more that the core may tell, for the inner store
---@return boolean? is_saved
---@return dpg.Error? err
function Sealed:save(bytes, expected, ...)
  local stored, err = self._inner:load()
  if stored == nil and err ~= nil then return nil, err end
  local there
  if stored ~= nil then
    there, err = open(self, stored)
    if not there then return nil, err end
  end
  -- from an earlier try, whose answer was lost or whose disk was not sure: the inner store says whether it keeps it
  if there == bytes then return self._inner:save(stored, stored, ...) end
  if there ~= expected then return false end
  local sealed
  sealed, err = seal(self, bytes)
  if not sealed then return nil, err end
  return self._inner:save(sealed, stored, ...)
end

-- --- the store -----------------------------------------------------------------------------------------------------

---Keeps the session in `store`, sealed. Needs luaossl.
---@param store dpg.Store|dpg.LuaStore
---@param key string|string[]|fun(): (string|string[])?, string?  32 bytes; of several the first seals, and all open; or
---  a function that gives them, asked once, and again when none fits
---@param name? string  what was sealed under another name doesn't open: tells one person's record from another's
---@return dpg.SealedStore
function M.new(store, key, name)
  local where = "dpg.store.sealed"
  store = stores.accept(where, store)
  local wrong = type(key) ~= "function" and key_problem(key)
  if wrong then errors.raise("%s: %s", where, wrong) end
  if name ~= nil and type(name) ~= "string" then
    errors.raise("%s: the name: a string expected, got %s", where, type(name))
  end
  local inner, err = stores.operations(store)
  if not inner then errors.throw(err) end
  local self = setmetatable({
    lease = inner.lease, _inner = inner, _name = name or "", _shown = tostring(store), _openssl = library(),
  }, Sealed)
  if type(key) == "function" then self._ask = key else derived[self] = derive(self, key) end
  if inner.identity then
    local shown = self._ask and tostring(key) or derived[self][1].id
    self.identity = table.concat({ "sealed", shown, self._name, inner.identity }, "\n")
  end
  return self
end

return M
