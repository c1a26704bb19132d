-- dpg.store.sealed: what it keeps can be read with the key alone, a record is never taken for another's, and what can't
-- be opened is never written over.
local core = require "dpg.core"
local dpg = require "dpg"
local process = require "support.process"
local redis = require "support.redis"
local table_store = require "support.table_store"

if (os.getenv "CHECKER" or "") ~= "" then return end -- there is nothing in C here for a checker to see

local KEY, OTHER = ("k"):rep(32), ("\0\255"):rep(16)
-- As the core writes them, with another session's bytes and digest.
local RECORD = 'dpg-record 1 7 0f\n{"origin":"https://gallery.example","generation":12,"family":"c0ffee",'
  .. '"refresh_token":"what must not be seen"}\n'

-- "hello", sealed with KEY under "jane"; the cryptography package of Python opens it, too.
local SEALED = "dpg-record 1 208 6e18401b8ee55fb0c1e65cf874519ed577626ccfa4f0095112c9efdca1e4935a\n"
  .. '{"origin":"a sealed store (dpg.store.sealed)","generation":0,"family":"none","refresh_token":"",'
  .. '"sealed":"1 1c63f99226b33ddf f16661791562dd7b1bcd79f47ca8328f1064c835b6bff2a21da5a0d70d0dd9831b14ec1ee091e508"}\n'

describe("dpg.store.sealed", function()
  if not pcall(require, "openssl.cipher") then
    it("seals records", function() pending "luaossl is not installed for this Lua: ./dev test installs it" end)
    return
  end
  local digest = require "openssl.digest"

  local function hex(bytes)
    return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
  end

  -- The inner store's bytes with another body, as somebody makes them who knows the format but not the key.
  local function forge(body)
    return ("dpg-record 1 %d %s\n%s"):format(#body, hex(digest.new("sha256"):final(body)), body)
  end

  local kept
  before_each(function() kept = {} end)

  local function sealed(key, name)
    return dpg.store.sealed(table_store(kept), key or KEY, name)
  end

  local function assert_fails(code, value, err)
    assert.is_nil(value)
    assert.same({ "storage", code }, { err.kind, err.code }, tostring(err))
    for _, secret in ipairs { KEY, OTHER, "what must not be seen" } do
      assert.is_nil(tostring(err):find(secret, 1, true))
    end
  end

  -- Nothing can be read or saved, and what is stored stays.
  local function assert_locked_out(code, store, bytes)
    bytes = bytes or kept.bytes
    kept.bytes = bytes
    assert_fails(code, store:load())
    assert_fails(code, store:save("another", nil))
    assert_fails(code, store:save("another", RECORD))
    assert.equal(bytes, kept.bytes)
  end

  it("keeps what a store promises", function()
    local report = dpg.store.check(function() return sealed() end)
    assert(report.ok, tostring(report))
  end)

  it("keeps it over Redis", function()
    if not process.is_heavy then return end -- the same on each Lua
    local missing = redis.is_missing()
    if missing then pending(missing) return end
    local server = redis.start { is_kept = false }
    finally(function() server:stop() end)
    local report = dpg.store.check(function()
      local inner = dpg.store.redis { key = "sealed", connect = function() return server:connect() end }
      return dpg.store.sealed(inner, KEY, "jane")
    end)
    assert(report.ok, tostring(report))
  end)

  it("shows nothing of a record but its generation and its family, and never the same twice", function()
    local seen = {}
    for _ = 1, 50 do
      kept.bytes = nil
      assert.is_true(sealed():save(RECORD, nil))
      assert.is_nil(seen[kept.bytes])
      seen[kept.bytes] = true
      assert.equal(RECORD, sealed():load())
    end
    for length = 8, #RECORD do
      assert.is_nil(kept.bytes:find(hex(RECORD:sub(length - 7, length)), 1, true))
    end
    local visible = kept.bytes:gsub("%x%x%x%x%x%x%x%x+", "…")
    assert.equal('dpg-record 1 ' .. #kept.bytes:match "\n(.*)" .. ' …\n{"origin":"a sealed store (dpg.store.sealed)",'
      .. '"generation":12,"family":"c0ffee","refresh_token":"","sealed":"1 … …"}\n', visible)
  end)

  it("opens what an earlier version has sealed", function()
    kept.bytes = SEALED
    assert.equal("hello", sealed(KEY, "jane"):load())
  end)

  it("passes the lock on, and `lease`", function()
    local inner = table_store(kept, { lease = false })
    local store = dpg.store.sealed(inner, KEY)
    assert.is_false(store.lease)
    assert.is_true(store:lock("me", 60))
    assert.same({ false, 0.02, "me" }, { store:lock("another", 60) })
    assert.is_true(store:unlock "me")
    assert.is_true(store:lock("another", 60))
  end)

  it("hands on what the inner store fails with", function()
    local function failing() return nil, "the disk is gone" end
    for _, name in ipairs { "lock", "unlock", "load", "save" } do
      local store = dpg.store.sealed(table_store(kept, { [name] = failing }), KEY)
      assert.same({ nil, "the disk is gone" }, { store[name](store, "bytes") })
    end
    local store = dpg.store.sealed(table_store(kept, { load = failing }), KEY)
    assert.same({ nil, "the disk is gone" }, { store:save "bytes" })
  end)

  -- --- keys ---

  it("does not open with another key, or under another name, and leaves the record", function()
    sealed(KEY, "jane"):save(RECORD, nil)
    assert_locked_out("store_wrong_key", sealed(OTHER, "jane"))
    assert_locked_out("store_wrong_key", sealed(KEY, "joe"))
    assert_locked_out("store_wrong_key", sealed(KEY))
    assert_locked_out("store_wrong_key", sealed { OTHER, KEY })
    assert.equal(RECORD, sealed(KEY, "jane"):load())
  end)

  it("opens with any of several keys, and seals with the first", function()
    sealed(KEY):save(RECORD, nil)
    local both = sealed { OTHER, KEY }
    assert.equal(RECORD, both:load())
    assert.is_true(both:save("next", RECORD))
    assert.equal("next", sealed(OTHER):load())
    assert_locked_out("store_wrong_key", sealed(KEY))
  end)

  it("asks a function for the key once, and again when none fits", function()
    local given, asked = KEY, 0
    local store = sealed(function()
      asked = asked + 1
      return given
    end)
    assert.equal(0, asked)
    store:save(RECORD, nil)
    store:load()
    store:load()
    assert.equal(1, asked)
    given = { OTHER, KEY }
    kept.bytes = nil
    sealed(OTHER):save("by another process", nil)
    assert.equal("by another process", store:load())
    assert.equal(2, asked)
    assert.is_true(store:save("next", "by another process"))
    assert.equal("next", sealed(OTHER):load())
  end)

  it("says that there is no key when the function gives none, and asks again later", function()
    local answer
    local store = sealed(function() return answer() end)
    for _, none in ipairs {
      function() return nil end, function() return nil, "the keychain is locked" end, function() error(OTHER) end,
      function() return KEY .. "k" end, function() return {} end, function() return 7 end, function() return { 7 } end,
      function() return nil, { OTHER } end,
    } do
      answer = none
      assert_fails("store_no_key", store:save(RECORD, nil))
    end
    local own = require "dpg.errors".new { kind = "storage", code = "store_vault_sealed", message = "m" }
    answer = function() return nil, own end
    assert.equal(own, select(2, store:save(RECORD, nil)))
    answer = function() return KEY end
    assert.is_true(store:save(RECORD, nil))
  end)

  it("lets the function wait in a coroutine, also on Lua 5.1", function()
    local co = coroutine.wrap(function()
      return sealed(function() return coroutine.yield "asking" end):save(RECORD, nil)
    end)
    assert.equal("asking", co())
    assert.is_true(co(KEY))
  end)

  it("shows no key in any of its fields", function()
    local function search(value, seen)
      if type(value) == "string" then
        for _, secret in ipairs { KEY, OTHER, hex(KEY), hex(OTHER) } do assert.is_nil(value:find(secret, 1, true)) end
        return
      end
      if type(value) ~= "table" or seen[value] then return end
      seen[value] = true
      for k, v in pairs(value) do search(k, seen) search(v, seen) end
      search(getmetatable(value), seen)
    end
    local store = sealed { KEY, OTHER }
    store:save(RECORD, nil)
    kept.bytes = nil
    search(store, {})
    search({ tostring(store), store.identity }, {})
  end)

  it("raises at keys that are none, and says nothing of them", function()
    for _, case in ipairs {
      { ("s"):rep(31), "got 31 bytes" }, { ("ab"):rep(32), "is it in hex?" }, { { KEY, "short" }, "got 5 bytes" },
      { {}, "expected, got table" }, { 7, "got a number" }, { nil, "expected, got nil" },
    } do
      local ok, problem = pcall(dpg.store.sealed, table_store(kept), case[1])
      assert.is_false(ok)
      assert.is_truthy(problem:find(case[2], 1, true), problem)
      assert.is_truthy(problem:find("store_sealed_spec.lua", 1, true), problem)
      assert.is_nil(problem:find("sss", 1, true))
    end
    assert.is_false(pcall(dpg.store.sealed, table_store(kept), KEY, 7))
    assert.is_false(pcall(dpg.store.sealed, {}, KEY))
  end)

  it("says where luaossl is to be had when it is missing or too old", function()
    for _, case in ipairs {
      { function() error("no such module", 0) end, "was not found" },
      { function() return { new = function() return {} end } end, "with tags" },
      { function() return { new = function() error "no such cipher" end } end, "with tags" },
    } do
      local name = "openssl.cipher"
      local loaded, preload = package.loaded[name], package.preload[name]
      package.loaded[name], package.preload[name] = nil, case[1]
      local ok, problem = pcall(dpg.store.sealed, table_store(kept), KEY)
      package.loaded[name], package.preload[name] = loaded, preload
      assert.is_false(ok)
      assert.is_truthy(problem:find("lua-luaossl", 1, true) and problem:find(case[2], 1, true), problem)
    end
  end)

  it("takes stores for one that have the same inner store, key and name", function()
    local function identity(key, name, inner)
      return dpg.store.sealed(table_store(kept, { identity = inner or "inner" }), key, name).identity
    end
    local function ask() return KEY end
    assert.equal(identity(KEY, "jane"), identity(KEY, "jane"))
    assert.equal(identity(ask), identity(ask))
    local all, count = {}, 0
    for _, one in ipairs {
      identity(KEY, "jane"), identity(KEY, "joe"), identity(OTHER, "jane"), identity(KEY, "jane", "other"),
      identity(ask),
    } do
      if not all[one] then count = count + 1 end
      all[one] = true
    end
    assert.equal(5, count)
    assert.is_nil(sealed().identity)
  end)

  -- --- what is not as it was sealed ---

  it("opens nothing that was cut or changed, wherever it was, and leaves it", function()
    sealed():save(RECORD, nil)
    local whole = kept.bytes
    for i = 1, #whole, 7 do
      assert_locked_out("store_damaged", sealed(), whole:sub(1, i - 1))
      assert_locked_out("store_damaged", sealed(), whole:sub(1, i - 1) .. "!" .. whole:sub(i + 1))
    end
    assert_locked_out("store_damaged", sealed(), whole .. " ")
    assert_locked_out("store_damaged", sealed(), "")
    kept.bytes = whole
    assert.equal(RECORD, sealed():load())
  end)

  it("opens nothing that somebody changed who can make digests", function()
    sealed():save(RECORD, nil)
    local body = kept.bytes:match "\n(.*)"
    local front, text = body:match '^(.*"sealed":"1 %x+ )(%x+)'
    for i = 1, #text, 3 do
      local digit = text:sub(i, i) == "0" and "1" or "0"
      local changed = front .. text:sub(1, i - 1) .. digit .. text:sub(i + 1) .. '"}\n'
      assert_locked_out("store_damaged", sealed(), forge(changed))
    end
    for _, change in ipairs {
      { '"generation":12', '"generation":13' }, { '"family":"c0ffee"', '"family":"c0ffef"' },
      { '"refresh_token":""', '"refresh_token":"x"' }, { '"sealed":"1 ', '"sealed":"x ' }, { text, "" },
      { text, text:sub(1, 54) }, { text, text:sub(1, -2) }, { '"}\n$', '","more":"x"}\n' },
    } do
      local changed = body:gsub(change[1], change[2])
      assert.are_not.equal(body, changed)
      assert_locked_out("store_damaged", sealed(), forge(changed))
    end
  end)

  it("says that a record is not sealed, or by a newer version, and leaves it", function()
    local plain = forge '{"origin":"https://gallery.example","generation":12,"family":"c0ffee","refresh_token":"x"}\n'
    assert_locked_out("store_not_sealed", sealed(), plain)
    assert_locked_out("store_not_sealed", sealed(), forge '{"origin":"o","person":{"sealed":"1 0f 0f"}}\n')
    kept.bytes = nil
    sealed():save(RECORD, nil)
    local newer = kept.bytes:match "\n(.*)":gsub('"sealed":"1 ', '"sealed":"2 ')
    assert_locked_out("store_newer", sealed(), forge(newer))
  end)

  it("does not bring back an earlier record of another sealing by itself", function()
    sealed():save("first", nil)
    local first = kept.bytes
    sealed():save("second", "first")
    kept.bytes = first
    assert.is_false(sealed():save("third", "second"))
    assert.equal(first, kept.bytes)
  end)

  -- --- saving ---

  it("saves over what another handle has sealed, if it is what is expected", function()
    sealed():save("first", nil)
    assert.is_true(sealed():save("second", "first"))
    assert.is_false(sealed():save("third", "first"))
    assert.is_false(sealed():save("third", nil))
    assert.equal("second", sealed():load())
  end)

  it("gives way when another saves between its look and its save", function()
    sealed():save("first", nil)
    local slow = dpg.store.sealed(table_store(kept, { load = function(self)
      local there = self.kept.bytes
      sealed():save("second", "first")
      return there
    end }), KEY)
    assert.is_false(slow:save("third", "first"))
    assert.equal("second", sealed():load())
  end)

  it("lets the inner store say whether it keeps what an earlier try has written", function()
    local fails = true
    local store = dpg.store.sealed(table_store(kept, { save = function(self, bytes, expected)
      if self.kept.bytes ~= expected then return false end
      self.kept.bytes = bytes
      if fails then return nil, "synced? who knows" end
      return true
    end }), KEY)
    kept.bytes = nil
    assert.same({ nil, "synced? who knows" }, { store:save("first", nil) })
    assert.same({ nil, "synced? who knows" }, { store:save("first", nil) })
    fails = false
    assert.is_true(store:save("first", nil))
    assert.equal("first", sealed():load())
  end)

  it("seals records far longer than any session's", function()
    local bytes = core.random_bytes(1024):rep(64)
    assert.is_true(sealed():save(bytes, nil))
    assert.equal(bytes, sealed():load())
  end)
end)
