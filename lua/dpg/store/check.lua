-- What every store promises, tried out on one: for those who write their own, and for ours. It asks and looks at the
-- answers, as the core does, in the running task; what it knows of a store is its four operations (doc/stores.md). It
-- belongs to no test framework: the report is a table, and prints.
local call = require "dpg.call"
local compat = require "dpg.compat"
local core = require "dpg.core"
local errors = require "dpg.errors"
local hubs = require "dpg.hub"
local stores = require "dpg.store"

local M = {}

---@class dpg.StoreReport
---@field ok boolean  every promise is kept
---@field [integer] { name: string, ok: boolean, message?: string }  each promise, and why it is broken
local Report = {}
Report.__index = Report
Report.__name = "dpg.StoreReport"

function Report:__tostring()
  local lines, failed = {}, 0
  for i, one in ipairs(self) do
    lines[i] = (one.ok and "ok    " or "FAIL  ") .. one.name .. (one.message and ": " .. one.message or "")
    if not one.ok then failed = failed + 1 end
  end
  lines[#lines + 1] = string.format("%d of %d promises kept", #self - failed, #self)
  return table.concat(lines, "\n")
end

-- Long enough not to run out while a promise is tried; and short, to be waited for.
local LONG_S, SHORT_S = 60, 0.3
-- How long whoever "never waits" may take, on a slow machine and a bad line; and a lease that has run out.
local PROMPT_S = 10
local POLL_S = 0.05

-- The engine's timer, which every host can wait for.
local timer = { open = function() return hubs.get {} end }

-- --- asking --------------------------------------------------------------------------------------------------------

-- One check under way. A promise is a function of it, which goes on after a failure: the first is what is reported.
---@class dpg.StoreCheck
---@field a table  two handles of the same record, which may be one and the same …
---@field b table
---@field A string  … and their owners
---@field B string
---@field problem? string  why the promise under way is broken
local Check = {}
Check.__index = Check

local function shown(value)
  if type(value) == "string" then return #value .. " bytes" end
  return tostring(value)
end

function Check:expect(holds, problem, ...)
  if not holds and not self.problem then self.problem = string.format(problem, ...) end
  return holds
end

-- Calls an operation. What it answered; or nothing, and the promise is broken.
function Check:ask(store, name, ...)
  local answer = compat.pack(compat.guard(store[name], store, ...))
  if not answer[1] then
    self:expect(false, "%s raised: %s", name, tostring(answer[2]))
    return nil
  end
  local err = answer[3]
  if answer[2] == nil and err ~= nil then
    local is_error = type(err) == "string" or (type(err) == "table" and err.kind == "storage")
    local said = type(err) == "table" and type(err.message) == "string" and err.message or tostring(err)
    self:expect(false, "%s failed: %s%s", name, said,
      is_error and "" or ' (besides, an error is a string, or a table with kind = "storage")')
    return nil
  end
  return compat.unpack(answer, 2, answer.n)
end

function Check:lock(store, owner, ttl)
  local is_ours, again, holder = self:ask(store, "lock", owner, ttl or LONG_S)
  if self.problem then return nil end
  self:expect(is_ours == true or is_ours == false, "lock answered %s: true, or false and seconds, expected",
    shown(is_ours))
  if is_ours == false then
    self:expect(type(again) == "number" and again > 0 and again <= LONG_S,
      "lock answered false, and %s: the seconds after which to ask again expected, above 0 and no more than the lease",
      shown(again))
    self:expect(holder == nil or type(holder) == "string",
      "lock's third answer, who holds it, was %s: a string expected", shown(holder))
  end
  return is_ours
end

function Check:unlock(store, owner)
  local answer = self:ask(store, "unlock", owner)
  self:expect(answer == true, "unlock answered %s: true expected", shown(answer))
end

function Check:load(store)
  local bytes = self:ask(store, "load")
  self:expect(bytes == nil or type(bytes) == "string", "load answered %s: a string, or nil, expected", shown(bytes))
  return bytes
end

-- Under the lock, as the core saves.
function Check:save(store, bytes, expected)
  local owner = store == self.a and self.A or self.B
  self:expect(self:lock(store, owner) == true, "the lock was not to be had, which nobody has")
  if self.problem then return nil end
  local is_saved = self:ask(store, "save", bytes, expected)
  self:expect(is_saved == true or is_saved == false, "save answered %s: true or false expected", shown(is_saved))
  self:unlock(store, owner)
  return is_saved
end

function Check:holds(bytes, when)
  for _, store in ipairs { self.a, self.b } do
    local there = self:load(store)
    self:expect(there == bytes, "%s, load answered %s instead of what was stored (%s)", when,
      there and there ~= bytes and bytes and #there == #bytes and "other bytes" or shown(there), shown(bytes))
  end
end

-- Stores `bytes` in place of whatever is there.
function Check:put(bytes)
  self:expect(self:save(self.a, bytes, self:load(self.a)) == true,
    "save answered false, although it was given what was stored (to save %s)", shown(bytes))
end

-- --- waiting -------------------------------------------------------------------------------------------------------

function Check:pause()
  local ok, err = call.sleep(timer, POLL_S)
  self:expect(ok, "the check can't wait here: %s", tostring(err))
end

-- --- promises ------------------------------------------------------------------------------------------------------

local PROMISES = {}

-- `of`: what of a store has to have it: "lease".
local function promise(name, try, of)
  PROMISES[#PROMISES + 1] = { name = name, try = try, of = of }
end

promise("nothing is stored at first", function(t)
  t:expect(t:load(t.a) == nil, "something is stored: give the check a place of its own; nothing was touched")
  t:expect(t:load(t.b) == nil, "the second handle sees something")
end)

promise("`identity` and `lease` are of their types", function(t)
  for _, store in ipairs { t.a, t.b } do
    t:expect(store.identity == nil or type(store.identity) == "string", "`identity` is %s: a string expected",
      shown(store.identity))
    t:expect(store.lease == nil or type(store.lease) == "boolean", "`lease` is %s: a boolean expected",
      shown(store.lease))
  end
end)

promise("the lock is given to one, and to no other", function(t)
  t:expect(t:lock(t.a, t.A) == true, "the first who asked did not get it")
  t:expect(t:lock(t.b, t.B) == false, "another got it, too")
end)

promise("the lock is refused without waiting", function(t)
  t:lock(t.a, t.A)
  local began = core.now()
  t:lock(t.b, t.B)
  t:expect(core.now() - began < PROMPT_S, "lock took %.1f s to say no: it must not wait", core.now() - began)
end)

promise("who has the lock is given it again", function(t)
  t:lock(t.a, t.A)
  t:expect(t:lock(t.a, t.A) == true, "its own owner was refused")
  t:expect(t:lock(t.b, t.B) == false, "another got it after that")
end)

promise("a stranger's unlock changes nothing", function(t)
  t:lock(t.a, t.A)
  t:unlock(t.b, t.B)
  t:expect(t:lock(t.b, t.B) == false, "a stranger has opened the lock")
end)

promise("after unlock, also a second one, the next gets the lock", function(t)
  t:lock(t.a, t.A)
  t:unlock(t.a, t.A)
  t:unlock(t.a, t.A)
  t:expect(t:lock(t.b, t.B) == true, "it was refused, although nobody has it")
  t:unlock(t.a, t.A)
  t:expect(t:lock(t.a, t.A) == false, "the unlock of who had it before has opened it")
end)

-- Asks for the lock until it is to be had. The time that it took since `began`.
local function wait_for_lock(t, store, owner, began)
  while not t.problem and t:lock(store, owner) ~= true do
    local waited = core.now() - began
    t:expect(waited < PROMPT_S, "a lease of %.2f s has not run out after %.0f s", SHORT_S, waited)
    t:pause()
  end
  return core.now() - began
end

promise("a lease runs out, and not before its time", function(t)
  local began = core.now()
  t:lock(t.a, t.A, SHORT_S)
  local waited = wait_for_lock(t, t.b, t.B, began)
  t:expect(waited > SHORT_S - 0.02, "a lease of %.2f s ran out after %.2f s: round up", SHORT_S, waited)
  t:unlock(t.a, t.A)
  t:expect(t:lock(t.a, t.A) == false, "the unlock of who had slept past the lease took the lock from the next")
end, "lease")

promise("a lease that was extended lasts", function(t)
  t:lock(t.a, t.A, SHORT_S)
  t:lock(t.a, t.A, LONG_S)
  local began = core.now()
  while not t.problem and core.now() - began < 1.5 * SHORT_S do t:pause() end
  t:expect(t:lock(t.b, t.B) == false, "it ran out when its first time was over")
end, "lease")

promise("a first record is saved, when nothing is expected", function(t)
  t:expect(t:save(t.a, "first", nil) == true, "save answered false, although nothing was stored")
  t:holds("first", "after a save")
end)

promise("nothing is saved over a record when nothing is expected", function(t)
  t:put "first"
  t:expect(t:save(t.b, "second", nil) == false, "save did not answer false")
  t:holds("first", "after a save that was refused")
end)

promise("nothing is saved over another record than the expected one", function(t)
  t:put "first"
  t:expect(t:save(t.b, "third", "second") == false, "save did not answer false")
  t:holds("first", "after a save that was refused")
end)

promise("the expected record is compared byte by byte, to its end", function(t)
  local stored = "Abc\0d\195\169f"
  t:put(stored)
  for _, other in ipairs { "", "Abc", "Abc\0", "Abc\0d\195\169", stored .. " ", stored .. "\0", stored:lower(),
    "Abc\0d\195\168f", "Abc\0de\204\129f" } do
    t:expect(t:save(t.a, "other", other) == false, "save took %s for %s, which are others", shown(other), shown(stored))
  end
  t:holds(stored, "after saves that were refused")
  t:expect(t:save(t.a, "next", stored) == true, "save refused what is stored as what is expected")
end)

promise("a record is replaced, and each handle sees it at once", function(t)
  t:put "first"
  t:expect(t:save(t.b, "second", "first") == true, "the second handle could not replace what the first had saved")
  t:holds("second", "after a save by the second handle")
end)

promise("of two that have loaded the same, one saves", function(t)
  t:put "first"
  local of_a, of_b = t:load(t.a), t:load(t.b)
  t:expect(t:save(t.a, "by the first", of_a) == true, "the first of them was refused")
  t:expect(t:save(t.b, "by the second", of_b) == false, "the second has written over the first")
  t:holds("by the first", "after both")
end)

local function all_bytes()
  local bytes = {}
  for i = 0, 255 do bytes[i + 1] = string.char(i) end
  return table.concat(bytes)
end

-- 64 KiB in which no two places look alike.
local function long_one()
  local parts, n = {}, 1
  for i = 1, 16384 do
    n = (n * 69069 + i) % 16777216
    parts[i] = string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536), i % 256)
  end
  return table.concat(parts)
end

promise("every byte comes back as it was saved", function(t)
  for _, bytes in ipairs {
    all_bytes(), all_bytes():reverse(), "\0", "\0\0", "x", "007", "1e3", "0x10", "null", " ", " x ", "\n", "\r\n", "\r",
    "\26", "'; -- \"\\%_$1{}", "\\x41\\101\\n", "\255\254", "\239\187\191x", "e\204\129",
  } do
    if t.problem then return end
    t:put(bytes)
    t:holds(bytes, "after a save")
  end
end)

promise("nothing at all is stored, and is not nothing stored", function(t)
  t:put ""
  t:holds("", "after a save of 0 bytes")
  t:expect(t:save(t.b, "x", nil) == false, "0 bytes were taken for no record")
end)

promise("64 KiB are stored, and replaced by less", function(t)
  local bytes = long_one()
  t:put(bytes)
  t:holds(bytes, "after a save")
  t:put "short"
  t:holds("short", "after a shorter save")
end)

-- --- the check -----------------------------------------------------------------------------------------------------

-- Nobody has the lock; of a store that can't even do that, the next promise tells.
function Check:give_back()
  for _, one in ipairs { { self.a, self.A }, { self.b, self.B } } do
    compat.guard(one[1].unlock, one[1], one[2])
  end
end

local function handle(given)
  local store = given
  if type(given) == "function" then store = given() end
  return stores.operations(stores.accept("dpg.store.check", store))
end

---Tries out what a store promises. It takes a second or two, since leases have to run out. It gives its locks back, and
---leaves a record of a few bytes behind, as a store can't be told to forget: give it a place of its own.
---@param given dpg.Store|dpg.LuaStore|fun(): dpg.Store|dpg.LuaStore  one where nothing is stored; or a function that
---  makes a handle of the same record each time it is called (two connections, two processes' views)
---@return dpg.StoreReport report  `ok`; a list of { name, ok, message }; tostring(report) is for people
function M.run(given)
  local a, err = handle(given)
  if not a then errors.throw(err) end
  local b = a
  if type(given) == "function" then
    b, err = handle(given)
    if not b then errors.throw(err) end
  end
  local run = core.random_bytes(8):gsub(".", function(c) return string.format("%02x", c:byte()) end)
  local t = setmetatable({ a = a, b = b, A = "check " .. run .. " a", B = "check " .. run .. " b" }, Check)
  local report = setmetatable({ ok = true }, Report)
  for _, one in ipairs(PROMISES) do
    if not (one.of == "lease" and a.lease == false) then
      t.problem = nil
      one.try(t)
      report[#report + 1] = { name = one.name, ok = t.problem == nil, message = t.problem }
      report.ok = report.ok and t.problem == nil
      if #report == 1 and t.problem then return report end -- somebody's record, or no way to it
      t:give_back()
    end
  end
  return report
end

return M
