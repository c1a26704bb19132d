-- What the core asks of a store that is written in Lua: done by the store's own functions, and answered, whatever
-- happens in there. dpg.hub passes the asks on, with the host that performs them; dpg.connection has the handles made.
local compat = require "dpg.compat"
local core = require "dpg.core"

local M = {}

-- --- which table an ask is for -------------------------------------------------------------------------------------

-- The names of tables that have none themselves.
local names, last_name = setmetatable({}, { __mode = "k" }), 0

local function identity_of(store)
  if type(store.identity) == "string" and store.identity ~= "" then return "named " .. store.identity end
  if not names[store] then
    last_name = last_name + 1
    names[store] = "table " .. last_name
  end
  return names[store]
end

---What a hub keeps of its stores. `tables`: by identity, those that keep this record, as long as the program has them;
---`handles`: the core's. By holder, as several may want one record's lock: `held`, the table whose lock is held;
---`leases`, how long it was asked for; `owed`, until when the core tries to give one back that it could not give back.
---@return table
function M.new()
  return { tables = {}, held = {}, leases = {}, owed = {}, handles = setmetatable({}, { __mode = "v" }) }
end

---Is a lock held, or not given back?
---@param keeps table
---@return boolean
function M.is_keeping(keeps)
  for holder in pairs(keeps.held) do
    if core.now() < (keeps.owed[holder] or math.huge) then return true end
    keeps.held[holder], keeps.owed[holder] = nil, nil
  end
  return false
end

---The core's handle for a store written in Lua: the same for all tables that keep the same record.
---@param hub dpg.Hub
---@param store dpg.LuaStore
---@return userdata? handle
---@return dpg.Error? err
function M.handle(hub, store)
  local keeps, identity = hub.keeps, identity_of(store)
  -- made after the engine, so that it is collected before: a program that ends has what is under way saved
  keeps.at_end = keeps.at_end or compat.on_collect(function() hub:close() end)
  local tables = keeps.tables[identity] or setmetatable({}, { __mode = "k" })
  keeps.tables[identity] = tables
  tables[store] = true
  local handle = keeps.handles[identity]
  if handle then return handle end
  local err
  handle, err = core.host_store(identity, store.lease ~= false)
  keeps.handles[identity] = handle
  return handle, err
end

-- --- what goes wrong -----------------------------------------------------------------------------------------------

-- How long a piece of a record must be to be one, in a text that is to be shown.
local PIECE = 10
-- How long a word with a digit in it must be to look like a token.
local WORD = 20

-- `text` without whatever stands in one of the secrets, or looks like one: a load may fail over a record that only it
-- has seen. An address loses its password.
local function scrub(text, secrets)
  local hidden = {}
  for i = 1, #text - PIECE + 1 do
    local piece = text:sub(i, i + PIECE - 1)
    for _, secret in ipairs(secrets) do
      if secret:find(piece, 1, true) then hidden[#hidden + 1] = i end
    end
  end
  local parts, from = {}, 1
  for _, i in ipairs(hidden) do
    if i >= from then parts[#parts + 1] = text:sub(from, i - 1) .. "[secret]" end
    if i + PIECE > from then from = i + PIECE end
  end
  parts[#parts + 1] = text:sub(from)
  text = table.concat(parts):gsub("(://)[^%s/@]*@", "%1"):gsub('([%w_]*token"%s*:%s*")[^"]*', "%1[secret]")
  text = text:gsub("[%w_+=~-]+", function(word)
    return #word >= WORD and word:find "%d" and "[secret]" or nil
  end)
  return (text:gsub("%[secret%][%[secrt%]]*%[secret%]", "[secret]"))
end

local function shown(store)
  local ok, text = pcall(tostring, store)
  if ok and type(text) == "string" and not text:find("^table: ") then return text end
  return "the store"
end

-- What a store raised or returned as its error: a message, and its own code.
local function read_problem(store, request, problem)
  local text, code = problem, nil
  if type(problem) == "table" then
    local ok, words = pcall(tostring, problem.message or problem)
    text = ok and words or "an error that can't be shown"
    if problem.kind == "storage" and type(problem.code) == "string" and problem.code:find("^[%w_]+$") then
      code = problem.code
    end
  elseif type(problem) ~= "string" then
    text = "an error that is " .. (problem == nil and "nil" or "a " .. type(problem))
  end
  text = scrub(text:sub(1, 400), { request.bytes, request.expected or request.bytes })
  return "failed", string.format("%s: %s failed: %s", shown(store), request.op, text), code
end

local function wrong(store, request, expected, got)
  if type(got) == "string" then got = "a string" elseif type(got) ~= "boolean" then got = type(got) end
  return "failed", string.format("%s: %s answered %s: %s expected", shown(store), request.op, tostring(got), expected)
end

-- --- doing it ------------------------------------------------------------------------------------------------------

-- How each operation is asked, and what its answers mean: an outcome for engine:answer, and what belongs to it.
local OPERATIONS = {
  lock = function(store, request)
    local is_ours, again, holder = store:lock(request.owner, request.ttl)
    if is_ours == true then return "done" end
    if is_ours == nil and again ~= nil then return read_problem(store, request, again) end
    if is_ours ~= false then return wrong(store, request, "true, or false and seconds", is_ours) end
    if type(again) ~= "number" then return wrong(store, request, "after false, seconds", again) end
    return "busy", again, type(holder) == "string" and holder or nil
  end,
  load = function(store, request)
    local bytes, err = store:load()
    if bytes == nil and err ~= nil then return read_problem(store, request, err) end
    if bytes ~= nil and type(bytes) ~= "string" then return wrong(store, request, "a string, or nil", bytes) end
    return "done", bytes
  end,
  save = function(store, request)
    local is_saved, err = store:save(request.bytes, request.expected, request.reserve)
    if is_saved == nil and err ~= nil then return read_problem(store, request, err) end
    if type(is_saved) ~= "boolean" then return wrong(store, request, "true or false", is_saved) end
    return is_saved and "done" or "changed"
  end,
  unlock = function(store, request)
    local is_free, err = store:unlock(request.owner)
    if not is_free and err ~= nil then return read_problem(store, request, err) end
    return "done"
  end,
}

-- A credential, whichever lock of its own it speaks of: an owner is that and a number.
local function holder_of(request)
  return request.owner:match "^(.*)%-%d+$"
end

-- One ask, as the task that the host runs.
local Ask = {}
Ask.__index = Ask

-- Told by the host.
function Ask:_ended(ok, outcome, ...)
  local hub, request = self.hub, self.request
  if ok then
    self:answer(outcome, ...)
  elseif ok == false then
    self:answer(read_problem(self.store, request, outcome))
  else
    self:answer("failed", string.format("%s: %s was stopped", shown(self.store), request.op))
  end
  local keeps, holder = hub.keeps, holder_of(request)
  if request.op == "lock" then keeps.leases[holder], keeps.owed[holder] = request.ttl, nil end
  if request.op == "unlock" and outcome ~= "done" and self.store.lease ~= false then
    keeps.owed[holder] = keeps.owed[holder] or core.now() + (keeps.leases[holder] or 0)
  elseif request.op == "unlock" or (request.op == "lock" and outcome == "busy") then
    keeps.held[holder], keeps.owed[holder] = nil, nil
  end
end

function Ask:answer(...)
  self.hub.engine:answer(self.request.ask, ...)
end

---Has an ask of the core's performed and answered.
---@param hub dpg.Hub
---@param host table
---@param request table  as engine:next() gives it
function M.perform(hub, host, request)
  local keeps, identity, holder = hub.keeps, request.identity, holder_of(request)
  local store = keeps.held[holder] or next(keeps.tables[identity] or {})
  local ask = setmetatable({ hub = hub, store = store, request = request }, Ask)
  if not store then -- nobody has it any more, so nobody waits
    keeps.tables[identity] = nil
    return ask:answer("failed", "the store is gone: the program has dropped it")
  end
  keeps.held[holder] = store
  local start = host.serve or host.start
  start(host, ask, OPERATIONS[request.op], store, request)
end

return M
