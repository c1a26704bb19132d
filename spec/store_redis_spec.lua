-- dpg.store.redis on a real Redis: what every store promises, with each kind of client, and what each refusal of Redis
-- is called. What sessions make of it is in store_session_spec.lua.
local compat = require "dpg.compat"
local dpg = require "dpg"
local process = require "support.process"
local redis = require "support.redis"

if (os.getenv "CHECKER" or "") ~= "" then return end -- there is nothing in C here for a checker to see

local PASSWORD = "a-password-of-redis"
local RECORD = "dpg-record of somebody"

describe("dpg.store.redis", function()
  local missing = redis.is_missing()
  if missing then
    it("keeps sessions in Redis", function() pending(missing) end)
    return
  end

  local server
  setup(function() server = redis.start { password = PASSWORD, is_kept = false } end)
  teardown(function() server:stop() end)
  before_each(function() server:call "FLUSHALL" end)

  local function store(connect, key)
    connect = connect or function() return server:connect() end
    return dpg.store.redis { key = key or "dpg:session:jane", connect = connect }
  end

  -- --- with each client ---

  -- The store is the same on each Lua: what takes seconds, since leases run out, is enough on two of them.
  local on_two = process.is_heavy and it or function() end

  it("keeps what a store promises, with a client that has `call`", function()
    local report = dpg.store.check(store)
    assert(report.ok, tostring(report))
  end)

  on_two("keeps it over TCP, within dpg.run", function()
    local function connect() return redis.connect { port = server.port, password = PASSWORD } end
    local report
    dpg.run(function() report = dpg.store.check(function() return store(connect) end) end)
    assert(report.ok, tostring(report))
  end)

  it("keeps it with lua-redis", function()
    local lua_redis = redis.library()
    if not lua_redis then pending "lua-redis is not installed: ./dev test installs it" return end
    local closed = 0
    local function connect()
      local client = lua_redis.connect("127.0.0.1", server.port, 10)
      client:auth(PASSWORD)
      local sock = client.network.socket
      client.network.socket = setmetatable({ close = function() closed = closed + 1 return sock:close() end },
        { __index = function(_, name) return function(_, ...) return sock[name](sock, ...) end end })
      return client
    end
    local report = dpg.store.check(function() return store(connect) end)
    assert(report.ok, tostring(report))
    assert.equal(tonumber(server:call("INFO", "clients"):match "connected_clients:(%d+)"), 1)
    assert.is_true(closed > 0)
    local failed, err = store(function() return lua_redis.connect("127.0.0.1", server.port, 10) end):load()
    assert.same({ nil, "storage", "store_denied" }, { failed, err.kind, err.code })
  end)

  -- The clients of nginx: a method for any name, false for a refusal, back to the pool by set_keepalive.
  local function of_nginx(client, counts)
    return setmetatable({
      set_keepalive = function() counts.kept = counts.kept + 1 client:close() return 1 end,
      close = function() counts.closed = counts.closed + 1 client:close() return 1 end,
    }, { __index = function(_, name) return function(_, ...) return client:call(name, ...) end end })
  end

  on_two("keeps it with a client like nginx's, whose connections go back to their pool", function()
    local counts = { made = 0, kept = 0, closed = 0 }
    local function connect()
      counts.made = counts.made + 1
      return of_nginx(server:connect(), counts)
    end
    local report = dpg.store.check(function() return store(connect) end)
    assert(report.ok, tostring(report))
    assert.is_true(counts.made > 50)
    assert.same({ counts.made, 0 }, { counts.kept, counts.closed })
    server:call("LPUSH", "dpg:session:jane2", "x")
    assert.is_nil((store(connect, "dpg:session:jane2"):load()))
    assert.equal(1, counts.closed)
  end)

  it("gives each operation a connection, and leaves none open", function()
    local made = 0
    local one = store(function() made = made + 1 return server:connect() end)
    assert.is_true(one:lock("me", 60))
    assert.is_true(one:save(RECORD, nil))
    assert.equal(RECORD, one:load())
    assert.is_true(one:unlock "me")
    assert.equal(4, made)
    assert.equal(1, tonumber(server:call("INFO", "clients"):match "connected_clients:(%d+)"))
  end)

  on_two("needs no more permissions than doc/stores.md says", function()
    local rights = process.read_file "doc/stores.md":match "`user dpg on >… (.-)`"
    local words = {}
    for word in rights:gmatch "%S+" do words[#words + 1] = word end
    assert.equal("OK", server:call("ACL", "SETUSER", "dpg", "on", ">" .. PASSWORD, compat.unpack(words)))
    local report = dpg.store.check(store(function()
      local client = redis.connect { path = server.path }
      assert.equal("OK", client:call("AUTH", "dpg", PASSWORD))
      assert.is_false((client:call("GET", "another key")))
      return client
    end))
    assert(report.ok, tostring(report))
  end)

  it("waits in a coroutine, also on Lua 5.1", function()
    local co = coroutine.wrap(function()
      return store(function()
        coroutine.yield "connecting"
        local client = server:connect()
        return { call = function(_, ...) coroutine.yield "asking" return client:call(...) end,
          close = function() coroutine.yield "closing" client:close() end }
      end):lock("me", 60)
    end)
    assert.same({ "connecting", "asking", "closing", true }, { co(), co(), co(), co() })
  end)

  -- --- keys ---

  it("puts the lock where a cluster keeps the record", function()
    local cluster = redis.start { is_kept = false, "cluster-enabled yes" }
    finally(function() cluster:stop() end)
    local slots = {}
    for key, lock in pairs {
      ["jane"] = "{jane}:lock", ["dpg:{site}:jane"] = "dpg:{site}:jane:lock", [" "] = "{ }:lock",
    } do
      store(nil, key):lock("me", 60)
      assert.equal("me", server:call("GET", lock))
      slots[key] = { cluster:call("CLUSTER", "KEYSLOT", key), cluster:call("CLUSTER", "KEYSLOT", lock) }
      assert.equal(slots[key][1], slots[key][2], key)
    end
    local err = select(2, store(function() return cluster:connect() end):load())
    assert.equal("store_unavailable", err.code)
  end)

  it("rounds a lease up to whole milliseconds", function()
    store():lock("me", 60.0001)
    local left = server:call("PTTL", "{dpg:session:jane}:lock")
    assert.is_true(left > 50000 and left <= 60001)
    assert.is_true(store():lock("me", 0.0001)) -- Redis takes no lease of 0
    assert.is_true(store():lock("me", 60))
  end)

  it("says who holds the lock, and never sends anybody away for longer than the lease", function()
    store():lock("host a, process 1", 60)
    local is_ours, again, holder = store():lock("host b, process 2", 60)
    assert.same({ false, "host a, process 1" }, { is_ours, holder })
    assert.is_true(again > 0 and again <= 0.2)
    store():lock("host a, process 1", 0.05)
    is_ours, again = store():lock("host b, process 2", 60)
    assert.is_true(is_ours or again <= 0.051)
  end)

  it("takes the very bytes for saved when the answer to an earlier try was lost", function()
    assert.is_true(store():save("marked", nil))
    assert.is_true(store():save("successor", "marked"))
    assert.is_true(store():save("successor", "marked"))
    assert.is_false(store():save("another", "marked"))
    assert.equal("successor", store():load())
  end)

  -- --- refusals ---

  -- What all four operations say.
  local function assert_refused(one, code, only)
    for name, arguments in pairs {
      lock = { "me", 60 }, load = {}, save = { RECORD .. " new", RECORD }, unlock = { "me" },
    } do
      if not only or only[name] then
        local value, err = one[name](one, compat.unpack(arguments))
        assert.is_nil(value, name)
        assert.same({ "storage", code }, { err.kind, err.code }, name .. ": " .. tostring(err))
        assert.is_nil(tostring(err):find("[%c]"))
        assert.is_nil(tostring(err):find(PASSWORD, 1, true), "shows a password")
        assert.is_nil(tostring(err):find(RECORD, 1, true), "shows the record")
      end
    end
  end

  it("calls a Redis that wants a password, or another, by that name", function()
    assert_refused(store(function() return redis.connect { path = server.path } end), "store_denied")
    local wrong = { path = server.path, password = "wrong" }
    assert_refused(store(function() return redis.connect(wrong) end), "store_denied")
  end)

  it("calls a replica, a full memory and missing replicas by their names, and leaves the record", function()
    local writes = { lock = true, save = true }
    store():save(RECORD, nil)
    server:call("REPLICAOF", "127.0.0.1", "1")
    assert_refused(store(), "store_read_only", writes)
    server:call("REPLICAOF", "NO", "ONE")
    server:call("CONFIG", "SET", "maxmemory", "1")
    assert_refused(store(), "store_full", writes)
    server:call("CONFIG", "SET", "maxmemory", "0")
    server:call("CONFIG", "SET", "min-replicas-to-write", "1")
    assert_refused(store(), "store_unavailable", writes)
    server:call("CONFIG", "SET", "min-replicas-to-write", "0")
    assert.equal(RECORD, store():load())
    assert.is_true(store():lock("another", 60))
  end)

  it("calls keys that hold something else by that name", function()
    server:call("LPUSH", "dpg:session:jane", "x")
    server:call("LPUSH", "{dpg:session:jane}:lock", "x")
    assert_refused(store(), "store_not_a_record")
  end)

  it("calls a user who may not do it by that name", function()
    server:call("ACL", "SETUSER", "guest", "on", ">" .. PASSWORD .. "2", "~*", "+get")
    assert_refused(store(function()
      local client = redis.connect { path = server.path }
      client:call("AUTH", "guest", PASSWORD .. "2")
      return client
    end), "store_denied")
  end)

  it("does not wait longer for a Redis that hangs than its client does", function()
    server:signal "STOP"
    finally(function() server:signal "CONT" end)
    assert_refused(store(function()
      local client = redis.connect { path = server.path, timeout = 0.05 }
      return client
    end), "store_unreachable")
  end)

  it("says that a dead Redis is unreachable, and goes on when it is back, with all that it had", function()
    local on_disk = redis.start()
    finally(function() on_disk:stop() end)
    local one = store(function() return on_disk:connect() end)
    one:lock("me", 60)
    one:save(RECORD, nil)
    on_disk:kill()
    assert_refused(one, "store_unreachable")
    on_disk:start()
    assert.equal(RECORD, one:load())
    assert.is_false(one:lock("another", 60)) -- the lease, too
    assert.is_true(one:unlock "me")
  end)

  local said = { -- what a client returns or raises, our code, words that the message must have
    { "LOADING Redis is loading the dataset in memory", "store_unavailable", "still reading" },
    { "BUSY Redis is busy running a script. You can only call SCRIPT KILL", "store_unavailable", "script" },
    { "MISCONF Redis is configured to save RDB snapshots, but it's currently unable", "store_read_only", "disk" },
    { "MOVED 3999 127.0.0.1:6381", "store_moved", "another node" },
    { "ASK 3999 127.0.0.1:6381", "store_moved", "another node" },
    { "ERR Error running script (call to f_0): @user_script:1: WRONGTYPE Operation against a key",
      "store_not_a_record", "another key" },
    { "/usr/share/lua/5.1/redis.lua:325: redis error: NOAUTH Authentication required.", "store_denied", "AUTH" },
    { "timeout", "store_unreachable", "in time" }, { "connection error: closed", "store_unreachable", "cut" },
    { "host or service not provided, or not known", "store_unreachable", "resolved" },
    { "no resolver defined to resolve \"redis\"", "store_unreachable", "resolved" },
    { "certificate verify failed", "store_unreachable", "TLS" },
    { "API disabled in the context of log_by_lua*", "store_unreachable", "phase" },
    { "init.lua:3: attempt to index a nil value (global 'redys')", "store_failed", "attempt to index" },
    { "init.lua:3: module 'redys' not found:\n\tno field package.preload['redys']", "store_failed",
      "module 'redys' not found" },
    { "ERR unknown command 'AUTH', with args beginning with: '" .. PASSWORD .. "' ", "store_failed", "not repeated" },
    { "cannot connect to redis://me:" .. PASSWORD .. "@example", "store_failed", "not repeated" },
    { { PASSWORD }, "store_failed", "not repeated" }, { 111, "store_failed", "not repeated" },
  }
  for _, case in ipairs(said) do
    local what, code, words = compat.unpack(case)
    local shown = type(what) == "string" and what:gsub(PASSWORD:gsub("%p", "%%%0"), "…"):sub(1, 40)
      or "a " .. type(what)
    it("calls it " .. code .. " when a client says: " .. shown, function()
      local function closed() end
      local ways = {
        function() return nil, what end, function() error(what, 0) end,
        function() return { call = function() return nil, what end, close = closed } end,
        function() return { call = function() return false, what end } end,
        function() return { eval = function() error(what, 0) end } end,
      }
      for _, way in ipairs(ways) do
        assert_refused(store(way), code)
        local _, err = store(way):load()
        assert.is_truthy(err.message:find(words, 1, true), err.message)
      end
    end)
  end

  it("takes no answer for yes that it does not understand", function()
    for _, reply in ipairs { "OK", true, 1, {}, { 2 }, { "1" }, { queued = true }, { {} }, { false, "ERR" } } do
      assert_refused(store(function() return { call = function() return reply end } end), "store_protocol")
    end
    for _, none in ipairs { "x", true, 1 } do
      assert_refused(store(function() return none end), "store_failed")
    end
    local function half() return { call = function() return { 1 } end } end
    assert_refused(store(half), "store_protocol", { load = true })
  end)

  -- --- slips ---

  it("raises at slips, at the line that made them", function()
    local function connect() end
    for _, case in ipairs {
      { nil, "option 'key' is missing" }, { { key = "x" }, "option 'connect' is missing" },
      { { key = "x", connect = connect, client = {} }, "option 'client' is unknown" },
      { { key = "", connect = connect }, "a string expected, got an empty one" },
      { { key = "{}x", connect = connect }, "braces" }, { { key = "a}b", connect = connect }, "braces" },
      { { key = "x", connect = {} }, "a function expected, got table" },
    } do
      local ok, problem = pcall(dpg.store.redis, case[1])
      assert.is_false(ok)
      assert.is_truthy(problem:find(case[2], 1, true), problem)
      assert.is_truthy(problem:find("store_redis_spec.lua", 1, true), problem)
    end
  end)

  it("shows its key, and takes stores for one that have the same key and connect", function()
    local function connect() end
    local one = store(connect)
    assert.equal("dpg.Store (redis dpg:session:jane)", tostring(one))
    assert.equal(one.identity, store(connect).identity)
    assert.are_not.equal(one.identity, store(connect, "other").identity)
    assert.are_not.equal(one.identity, store(function() end).identity)
  end)
end)
