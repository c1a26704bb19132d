-- The API itself, from a request to an answer, with no socket in sight: finds the route, checks bearer, limits, scope
-- and Idempotency-Key in DPG's order, runs the row's function, and adds what every answer has (X-Request-Id, ETag,
-- 304).

local answers = require "dpg.sandbox.answers"
local hash = require "dpg.sandbox.hash"
local json = require "dpg.sandbox.json"
local library = require "dpg.sandbox.library"
local limits = require "dpg.sandbox.limits"
local operations = require "dpg.sandbox.operations"
local people = require "dpg.sandbox.people"
local random = require "dpg.sandbox.random"
local routes = require "dpg.sandbox.routes"
local tokens = require "dpg.sandbox.tokens"
local uploads = require "dpg.sandbox.uploads"

local M = {}

local PREFIX = "/v1"
local MAX_CACHED = 500
local SEED = 2025

local Api = {}
Api.__index = Api
Api.__name = "dpg.sandbox.api"

local function by_login(everybody)
  local logins = {}
  for _, person in pairs(everybody) do
    logins[person.login] = person
  end
  return logins
end

---@param settings table  the sandbox's options; changes to it take effect at once
---@param now fun(): number  Unix seconds
---@param log fun(line: string)
---@return table api
function M.new(settings, now, log)
  local accounts = people.accounts()
  local everybody = people.people(accounts)
  return setmetatable({
    settings = settings, now = now, log = log, accounts = accounts, people = everybody, logins = by_login(everybody),
    tokens = tokens.new(settings, now), operations = operations.new(settings, now), limits = limits.new(),
    uploads = uploads.new(settings, now), cdn_url = "", challenges = {}, libraries = {}, cache = {}, cached = 0,
  }, Api)
end

---@param account table
---@return table library  made when first asked for
function Api:library(account)
  local index = account == self.accounts[1] and 1 or 2
  local kept = self.libraries[account]
  if not kept then
    local count = index == 1 and self.settings.images or math.ceil(self.settings.images / 5)
    kept = library.new(account, count, SEED + index * 10, self.cdn_url)
    self.libraries[account] = kept
  end
  return kept
end

---Tells the API that settings which shape its JSON have changed.
function Api:reshape()
  self.cache, self.cached = {}, 0
  for _, kept in pairs(self.libraries) do
    kept:reshape()
  end
end

local function find_route(context, method, path)
  local row, more = routes.find(method, path)
  if row then
    context.params = more
    return row
  end
  if not more then answers.reject(404, "not_found", "there is no " .. path) end
  answers.reject(405, "method_not_allowed", nil, nil, { Allow = table.concat(more, ", ") })
end

local function authenticate(context)
  local scheme, token = (context.request.headers.authorization or ""):match "^(%a+) +(%S+)$"
  if not scheme or scheme:lower() ~= "bearer" then answers.reject(401, "unauthorized", "a bearer token is needed") end
  local bearer, reason = context.api.tokens:bearer(token)
  if not bearer then answers.reject(401, "unauthorized", reason) end
  context.bearer, context.account = bearer, bearer.account
  context.library = context.api:library(bearer.account)
  local now = context.api.now()
  if now >= context.library.next_due then context.library:settle(now) end
end

local function check_rate(context)
  local api = context.api
  local wait = api.limits:take("token " .. context.bearer.id, api.settings.rate_limit, api.now())
  if wait then
    local seconds = string.format("%d", wait)
    answers.reject(429, "rate_limited", "wait " .. seconds .. " s", nil, { ["Retry-After"] = seconds })
  end
end

local function check_scope(context, row)
  if row.scope and not context.bearer.granted[row.scope] then
    answers.reject(403, "forbidden", "the scope " .. row.scope .. " is needed")
  end
end

local function read_body(context, row)
  local text = context.request.body
  context.body = text == "" and row.bodyless and {} or json.decode_object(text)
  if not context.body then answers.invalid("body", "the body must be a JSON object") end
end

-- The JSON of a read that changes only with the library, kept until it does.
local function read_cached(context, row)
  local api = context.api
  local key = context.account.uuid .. " " .. context.request.target
  local kept = api.cache[key]
  if kept and kept.revision == context.library.revision then
    return 200, json.raw(kept.text), kept.headers, kept.etag
  end
  local status, value, headers = row.read(context)
  local text = api:encode(value)
  if api.cached >= MAX_CACHED then
    api.cache, api.cached = {}, 0
  end
  kept = { revision = context.library.revision, text = text, headers = headers, etag = hash.checksum(text) }
  api.cache[key], api.cached = kept, api.cached + 1
  return status, json.raw(text), headers, kept.etag
end

local function idempotency_key(context)
  local key = context.request.headers["idempotency-key"]
  if not key or key == "" then
    answers.invalid("Idempotency-Key", "every write needs an Idempotency-Key header")
  end
  return key
end

-- A write: what its key has answered before, or its work, started once.
local function write(context, row, begin)
  local request, store = context.request, context.api.operations
  local key = idempotency_key(context)
  local fingerprint = table.concat({ request.method, request.path, request.body }, "\n")
  local earlier = store:recall(context.account, key, fingerprint)
  if earlier then return earlier() end
  read_body(context, row)
  local answer = begin(context)
  store:remember(context.account, key, fingerprint, answer)
  return answer()
end

local runs = { -- what a row may be, and how it is run
  open = function(context, row)
    read_body(context, row)
    return row.open(context)
  end,
  ask = function(context, row)
    read_body(context, row)
    return row.ask(context)
  end,
  read = function(context, row)
    if row.cached then return read_cached(context, row) end
    return row.read(context)
  end,
  plan = function(context, row)
    return write(context, row, function()
      local operation = context.api.operations:start(context.account, row.plan(context))
      return function() return operations.accepted(context, operation) end
    end)
  end,
  once = function(context, row) return write(context, row, row.once) end,
}

local function run(context)
  local request, api = context.request, context.api
  local path = request.path:match("^" .. PREFIX .. "(/.*)$") or answers.reject(404, "not_found", "paths begin with /v1")
  local row = find_route(context, request.method, path)
  if not api.settings.api_enabled then answers.reject(403, "api_not_enabled") end
  if not row.open then
    authenticate(context)
    check_rate(context)
    check_scope(context, row)
  end
  for kind, how in pairs(runs) do
    if row[kind] then return how(context, row) end
  end
end

-- Plans one item; what is wrong with it is said with where it stands.
local function plan_item(row, child, field)
  local ok, plan = pcall(row.plan, child)
  if ok then return plan end
  if not answers.is_refusal(plan) then error(plan, 0) end
  local detail = ("%s: %s"):format(field, plan.detail or plan.code)
  answers.reject(plan.status, plan.code, detail, plan.field, plan.headers)
end

---Checks one item of a batch and plans it.
---@param context table  the batch's
---@param item any  { method, path, body }
---@param field string  where it stands
---@return dpg.sandbox.Plan
function Api.plan(_, context, item, field)
  if type(item) ~= "table" or type(item.method) ~= "string" or type(item.path) ~= "string" then
    answers.invalid(field, field .. " needs method and path")
  end
  if item.body ~= nil and item.body ~= json.null and type(item.body) ~= "table" then
    answers.invalid(field, field .. ".body must be a JSON object")
  end
  local path = item.path:match("^" .. PREFIX .. "(/.*)$")
  local child = setmetatable({ body = type(item.body) == "table" and item.body or {} }, { __index = context })
  local row, params = routes.find(item.method, path or "")
  child.params = params
  if not row or not row.plan then answers.invalid(field, field .. " is not a write that can be batched") end
  check_scope(context, row)
  return plan_item(row, child, field)
end

---@param value any
---@return string
function Api:encode(value)
  return json.encode(value, self.settings.variants.numbers == "strings")
end

-- A list under `data` or `items`, where the sandbox is told to answer so.
local function shaped(api, headers, value, text)
  local name = api.settings.variants.list
  if not headers["X-Has-More"] or not name or name == "array" then return text or api:encode(value) end
  return json.encode { [name] = json.raw(text or api:encode(value)) }
end

local function copy(headers)
  local copied = {}
  for name, value in pairs(headers or {}) do
    copied[name] = value
  end
  return copied
end

local function unchanged(request, etag)
  local known = request.headers["if-none-match"]
  return known ~= nil and (known == "*" or known:find(etag, 1, true) ~= nil)
end

local function with_etag(api, request, response, checksum)
  local readable = request.method == "GET" or request.method == "HEAD"
  if not readable or response.status ~= 200 or not api.settings.etag then return response end
  local etag = '"' .. (checksum or hash.checksum(response.body)) .. '"'
  response.headers.ETag = etag
  if not unchanged(request, etag) then return response end
  local headers = { ETag = etag, ["X-Has-More"] = response.headers["X-Has-More"] }
  headers["X-Next-Offset"] = response.headers["X-Next-Offset"]
  return { status = 304, headers = headers, body = "" }
end

function Api:_answer(context)
  local ok, status, value, headers, checksum = pcall(run, context)
  if ok then
    headers = copy(headers)
    local text = shaped(self, headers, value, getmetatable(value) and value.text)
    return with_etag(self, context.request, answers.text(status, text, headers), checksum)
  end
  if answers.is_refusal(status) then return answers.refusal(status, context.request_id) end
  self.log("sandbox: " .. tostring(status))
  return answers.refusal({ status = 500, code = "internal", detail = tostring(status) }, context.request_id)
end

---@param request dpg.sandbox.Request
---@return dpg.sandbox.Response
function Api:handle(request)
  local context = {
    api = self, request = request, query = request.query, request_id = "req-" .. random.hex(8),
    numbers_as_strings = self.settings.variants.numbers == "strings",
  }
  local response = self:_answer(context)
  response.headers["X-Request-Id"] = context.request_id
  response.no_body = request.method == "HEAD"
  return response
end

return M
