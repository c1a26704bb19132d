-- dpg.store.check: a store that keeps its promises passes, and each promise that one breaks is found.
local call = require "dpg.call"
local core = require "dpg.core"
local dpg = require "dpg"
local process = require "support.process"
local table_store = require "support.table_store"

if (os.getenv "CHECKER" or "") ~= "" then return end -- there is nothing in C here for a checker to see

local good = getmetatable(table_store()).__index

-- The one promise that `overrides` break, and what is said of it; the others are kept.
local function broken(overrides, kept)
  local report = dpg.store.check(table_store(kept, overrides))
  local failed = {}
  for _, one in ipairs(report) do
    if not one.ok then failed[#failed + 1] = one end
  end
  assert.is_false(report.ok)
  return failed, report
end

describe("dpg.store.check", function()
  local now, sleep = core.now, call.sleep
  after_each(function() core.now, call.sleep = now, sleep end)

  -- A clock that goes only when it is looked at, and as fast as is wanted.
  local function clock(step)
    local t = 0
    core.now = function() -- luacheck: ignore
      t = t + step
      return t
    end
  end

  -- No time passes but on that clock.
  local function hurry()
    clock(0.15)
    call.sleep = function() return true end -- luacheck: ignore
  end

  it("passes a store that keeps its promises, and says so", function()
    local report = dpg.store.check(table_store())
    assert.is_true(report.ok)
    assert.is_true(#report > 15)
    local text = tostring(report)
    assert.is_truthy(text:find(#report .. " of " .. #report .. " promises kept", 1, true))
    for _, one in ipairs(report) do
      assert.same({ true, nil }, { one.ok, one.message })
      assert.is_truthy(text:find("ok    " .. one.name, 1, true))
    end
  end)

  it("passes the stores in memory and in a file, and these sealed", function()
    local folder = process.folder()
    local function file() return dpg.store.file(folder .. "/plain/session") end
    local given = { dpg.store.memory(), file }
    if pcall(require, "openssl.cipher") then
      local key = ("k"):rep(32)
      given[3] = dpg.store.sealed(dpg.store.memory(), key)
      given[4] = function() return dpg.store.sealed(dpg.store.file(folder .. "/sealed/session"), key) end
    end
    for _, one in ipairs(given) do
      local report = dpg.store.check(one)
      assert(report.ok, tostring(report))
    end
    assert.equal("session session.lock", process.shell("cd '" .. folder .. "/plain' && echo *"))
  end)

  it("asks two handles where it is given a function, and leaves a short record and no lock", function()
    hurry()
    local kept, made = {}, 0
    local report = dpg.store.check(function()
      made = made + 1
      return table_store(kept)
    end)
    assert(report.ok, tostring(report))
    assert.same({ 2, nil, "short" }, { made, kept.owner, kept.bytes })
  end)

  it("does without a lease where the lock lives as long as its holder", function()
    hurry()
    local function lock(self, owner) return good.lock(self, owner, 1e9) end
    local report = dpg.store.check(table_store(nil, { lock = lock, lease = false }))
    assert(report.ok, tostring(report))
  end)

  it("touches nothing where something is stored", function()
    local function touched() error "touched" end
    local kept = { bytes = "somebody's record" }
    local failed, report = broken({ save = touched, lock = touched, unlock = touched }, kept)
    assert.same({ 1, 1, "somebody's record" }, { #failed, #report, kept.bytes })
    assert.is_truthy(failed[1].message:find("nothing was touched", 1, true))
    assert.is_nil(tostring(report):find("somebody", 1, true))
  end)

  it("runs as a task beside others", function()
    local report, beside = nil, 0
    dpg.run(function()
      local check = dpg.spawn(function() return dpg.store.check(table_store()) end)
      dpg.spawn(function() while not report and beside < 1e6 do beside = beside + 1 coroutine.yield() end end)
      report = check:await()
    end)
    assert(report.ok, tostring(report))
    assert.is_true(beside > 0)
  end)

  local function yes() return true end
  -- A save that compares what `seen` makes of the records.
  local function comparing(seen)
    return function(self, bytes, expected)
      local there = self.kept.bytes
      if (there and seen(there)) ~= (expected and seen(expected)) then return false end
      self.kept.bytes = bytes
      return true
    end
  end

  local breaks = { -- what is wrong, the functions that are, a promise that is broken, words of its message
    { "a lock for everybody", { lock = yes }, "to one, and to no other", "another got it, too" },
    { "a lock for nobody", { lock = function() return false, 1 end }, "to one, and to no other", "did not get it" },
    { "a lock that refuses its owner", { lock = function(self, owner, ttl)
      if self.kept.owner == owner then return false, 1 end
      return good.lock(self, owner, ttl)
    end }, "is given it again", "its own owner was refused" },
    { "a lock that says 1", { lock = function(...) return good.lock(...) and 1 or false, 1 end },
      "to one, and to no other", "lock answered 1: true, or false and seconds" },
    { "a lock that says no more than no", { lock = function(...) return (good.lock(...)) end },
      "to one, and to no other", "the seconds after which to ask again" },
    { "a lock that says to ask again at once", { lock = function(...) return (good.lock(...)), 0 end },
      "to one, and to no other", "the seconds after which to ask again" },
    { "a lock that says to ask again never", { lock = function(...) return (good.lock(...)), math.huge end },
      "to one, and to no other", "the seconds after which to ask again" },
    { "a holder that is no text", { lock = function(...) return (good.lock(...)), 1, 7 end },
      "to one, and to no other", "a string expected" },
    { "anybody's unlock", { unlock = function(self) self.kept.owner = nil return true end },
      "a stranger's unlock", "a stranger has opened" },
    { "an unlock that does nothing", { unlock = yes }, "the next gets the lock", "refused, although nobody has it" },
    { "an unlock that says nothing", { unlock = function(...) good.unlock(...) end }, "the next gets the lock",
      "unlock answered nil: true expected" },
    { "a lease that is not extended", { lock = function(self, owner, ttl)
      if self.kept.owner == owner and core.now() < self.kept.till then return true end
      return good.lock(self, owner, ttl)
    end }, "that was extended lasts", "its first time was over" },
    { "a save that does not look", { save = function(self, bytes) self.kept.bytes = bytes return true end },
      "over another record", "did not answer false" },
    { "a save that takes nil for anything", { save = function(self, bytes, expected)
      return good.save(self, bytes, expected or self.kept.bytes)
    end }, "when nothing is expected", "did not answer false" },
    { "a save that writes and says no", { save = function(self, bytes, expected)
      local is_saved = good.save(self, bytes, expected)
      self.kept.bytes = bytes
      return is_saved
    end }, "over another record", "instead of what was stored" },
    { "a save that says nothing", { save = function(...) good.save(...) end }, "a first record",
      "save answered nil: true or false expected" },
    { "a save that is not kept", { save = yes }, "a first record", "load answered nil instead of" },
    { "a comparison that ends at a NUL", { save = comparing(function(bytes) return bytes:match "^%Z*" end) },
      "byte by byte", "save took 3 bytes for 8 bytes" },
    { "a comparison of small letters", { save = comparing(string.lower) }, "byte by byte", "which are others" },
    { "a comparison that trims", { save = comparing(function(bytes) return (bytes:gsub(" +$", "")) end) },
      "byte by byte", "save took 9 bytes for 8 bytes" },
    { "bytes that end at a NUL", { load = function(self) return self.kept.bytes and self.kept.bytes:match "^%Z*" end },
      "every byte", "save answered false, although it was given what was stored" },
    { "bytes that are numbers", { load = function(self)
      return tonumber(self.kept.bytes) and tostring(tonumber(self.kept.bytes)) or self.kept.bytes
    end }, "every byte", "instead of what was stored" },
    { "line ends that change", { load = function(self)
      return self.kept.bytes and self.kept.bytes:gsub("\r\n", "\n") or nil
    end }, "every byte", "instead of what was stored" },
    { "nothing that is empty", { load = function(self) return self.kept.bytes ~= "" and self.kept.bytes or nil end },
      "is not nothing stored", "load answered nil instead of what was stored (0 bytes)" },
    { "no more than 32 KiB", { load = function(self) return self.kept.bytes and self.kept.bytes:sub(1, 32768) end },
      "64 KiB", "load answered 32768 bytes" },
    { "a load that is no text", { load = function(self) return self.kept.bytes and { self.kept.bytes } end },
      "a first record", "a string, or nil, expected" },
    { "an identity that is no text", { identity = 7 }, "`identity` and `lease`", "`identity` is 7" },
    { "a lease that is no boolean", { lease = 60 }, "`identity` and `lease`", "`lease` is 60" },
    { "an error", { save = function() return nil, "the disk is gone" end }, "a first record",
      "save failed: the disk is gone" },
    { "an error of another kind", { save = function() return nil, { kind = "network" } end }, "a first record",
      'besides, an error is a string, or a table with kind = "storage"' },
    { "a raise", { save = function() error("the disk is gone", 0) end }, "a first record",
      "save raised: the disk is gone" },
  }
  for _, case in ipairs(breaks) do
    it("finds " .. case[1], function()
      hurry()
      local found
      for _, one in ipairs((broken(case[2]))) do
        if one.name:find(case[3], 1, true) then found = one end
      end
      assert.is_truthy(found, "the promise was held for kept")
      assert.is_truthy(found.message:find(case[4], 1, true), found.message)
    end)
  end

  it("finds a second handle that sees what was", function()
    hurry()
    local kept = {}
    local report = dpg.store.check(function()
      local seen
      return table_store(kept, { load = function(self)
        seen = seen or self.kept.bytes
        return seen
      end })
    end)
    assert.is_false(report.ok)
    assert.is_truthy(tostring(report):find("FAIL  a record is replaced, and each handle sees it at once", 1, true))
  end)

  it("finds a lock that waits", function()
    hurry()
    local late = 0
    core.now = function() return now() + late end -- luacheck: ignore
    local failed = broken { lock = function(self, owner, ttl)
      if self.kept.owner and self.kept.owner ~= owner then late = late + 11 end
      return good.lock(self, owner, ttl)
    end }
    assert.is_truthy(failed[1].message:find("it must not wait", 1, true))
  end)

  it("finds a lease that ends early, and one that does not end", function()
    hurry()
    clock(0.01)
    local failed = broken { lock = function(self, owner, ttl) return good.lock(self, owner, ttl / 2) end }
    assert.is_truthy(failed[1].message:find("round up", 1, true))
    clock(0.5)
    failed = broken { lock = function(self, owner) return good.lock(self, owner, 1e9) end }
    assert.is_truthy(failed[1].message:find("has not run out after", 1, true))
  end)

  it("raises when it is given no store", function()
    for _, none in ipairs { 1, "x", {}, { lock = yes } } do
      assert.is_false(pcall(dpg.store.check, none))
      assert.is_false(pcall(dpg.store.check, function() return none end))
    end
    assert.is_false((pcall(dpg.store.check)))
  end)
end)
