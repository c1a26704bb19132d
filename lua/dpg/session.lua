-- A session: what people call. Builds requests, gives them an Idempotency-Key, and turns answers into values or
-- errors. The resources are thin fronts of `_call`; waiting is dpg.call's.
local ahead = require "dpg.ahead"
local archives = require "dpg.resources.archives"
local batch = require "dpg.batch"
local call = require "dpg.call"
local catalog = require "dpg.catalog"
local compat = require "dpg.compat"
local config = require "dpg.config"
local downloads = require "dpg.resources.downloads"
local errors = require "dpg.errors"
local shape = require "dpg.fields"
local images = require "dpg.resources.images"
local json = require "dpg.json"
local keywords = require "dpg.resources.keywords"
local metadata_profiles = require "dpg.resources.metadata_profiles"
local methods = require "dpg.methods"
local objects = require "dpg.objects"
local operation = require "dpg.operation"
local operations = require "dpg.resources.operations"
local page = require "dpg.page"
local sets = require "dpg.resources.sets"
local uploads = require "dpg.resources.uploads"
local url = require "dpg.url"
local uuid = require "dpg.uuid"
local wire = require "dpg.wire"

local M = {}

---@class dpg.Session
---@field images dpg.Images
---@field keywords dpg.Keywords
---@field sets dpg.Sets
---@field metadata_profiles dpg.MetadataProfiles
---@field uploads dpg.Uploads
---@field downloads dpg.Downloads
---@field archives dpg.Archives
---@field operations dpg.Operations
---@field prepare dpg.Prepare  the same resources, with writes that are checked and kept for a batch
local Session = {}
Session.__index = Session
Session.__name = "dpg.Session"

---@param connection dpg.Connection
---@param settings table  the session's config
---@param account? string  for a person: which account
---@param secrets? string[]  what must never be seen in an error
---@return dpg.Session
function M.new(connection, settings, account, secrets)
  local self = setmetatable({ _connection = connection, _config = settings, _account = account }, Session)
  self._secrets = function() return secrets end -- in a function, where no dump of the table shows them
  self.images = images.new(self)
  self.keywords = keywords.new(self)
  self.sets = sets.new(self)
  self.metadata_profiles = metadata_profiles.new(self)
  self.uploads = uploads.new(self)
  self.downloads = downloads.new(self)
  self.archives = archives.new(self)
  self.operations = operations.new(self)
  self.prepare = batch.prepare { images = images, keywords = keywords, sets = sets, archives = archives }
  self._objects = objects.new(self.images, self.sets)
  return self
end

function Session:__tostring()
  return string.format("dpg.Session (%s, %s)", self._account and "account " .. self._account or "service",
    self._connection.base_url)
end

-- --- sending -------------------------------------------------------------------------------------------------------

local SAFE_TO_REPEAT = { GET = true, HEAD = true, PUT = true, DELETE = true }
local READS = { GET = true, HEAD = true, OPTIONS = true }

local function idempotency_key(options, settings)
  local key = options.idempotency_key or settings.idempotency_key
  if type(key) == "function" then
    key = key()
    if type(key) ~= "string" or not key:match("^[\33-\126][\32-\126]*$") then
      errors.raise("option 'idempotency_key': the function must return printable text")
    end
  end
  return key or uuid()
end

-- What the cache holds of a read, and under which key, where the session has a cache and the caller no ETag.
function Session:_kept(request, options, headers, whole_url)
  local cache = self._config.cache
  if not cache or request.method ~= "GET" or request.headers or options.if_none_match then return nil end
  local key = cache:_key(self._connection, self._account, whole_url)
  local kept = cache:_get(key)
  headers["If-None-Match"] = kept and kept.headers.etag
  return kept, key
end

-- A kept answer whose ETag still holds: newer headers go over its own (RFC 9111 section 4.3.4).
local function revived(kept, head)
  local headers = {}
  for name, value in pairs(kept.headers) do headers[name] = value end
  for name, value in pairs(head) do
    if name ~= "content-length" then headers[name] = value end
  end
  return 200, headers, kept.body
end

-- What a request { method, path, query, body (text), headers, scope } is sent as: a spec for the engine, and what its
-- answer is read by.
function Session:_build(request, options)
  local headers = { Accept = wire.ACCEPT }
  if request.body then headers["Content-Type"] = "application/json" end
  for name, value in pairs(request.headers or {}) do headers[name] = value end
  headers["If-None-Match"] = options.if_none_match or headers["If-None-Match"]
  local key
  if not READS[request.method] and not wire.is_auth_path(request.path) then
    key = idempotency_key(options, self._config)
    headers["Idempotency-Key"] = key
  end
  local whole_url = self._connection.base_url .. request.path .. url.query(request.query)
  local kept, cache_key = self:_kept(request, options, headers, whole_url)
  return {
    method = request.method,
    url = whole_url,
    headers = headers,
    body = request.body,
    account = self._account,
    repeats = (key or SAFE_TO_REPEAT[request.method]) and "always" or "unsent",
  }, {
    method = request.method, path = request.path, scope = request.scope, idempotency_key = key,
    secrets = self._secrets(), cache_key = cache_key, kept = kept,
  }
end

-- What the call came to: the answer's parts, or an error object.
local function judge(context, status, head, body, info)
  if not status then return nil, errors.from_core(head, context) end
  context.attempts, context.retry_after, context.request_id = info.attempts, info.retry_after, wire.request_id(head)
  local is_hit = context.kept and status == 304
  if is_hit then status, head, body = revived(context.kept, head) end
  if status < 200 or status > 299 then return nil, errors.from_response(status, body, context) end
  return {
    status = status, etag = head.etag, request_id = context.request_id, attempts = info.attempts,
    retry_after = info.retry_after, idempotency_key = context.idempotency_key, cached = is_hit or nil, date = head.date,
  }, head, body
end

-- --- understanding -------------------------------------------------------------------------------------------------

local readers = {}

function readers.object(self, value, _, _, request)
  if not json.is_object(value) then return nil, "an object is expected" end
  if request.of then self._objects:dress(request.of, value) end
  return value
end

function readers.list(self, value, _, _, request)
  local list = page.list(value)
  if list and request.of then self._objects:dress_all(request.of, list) end
  return list, "a list is expected"
end

function readers.page(self, value, head, _, request)
  local read = page.read(value, head, request.query and request.query.offset)
  if read and request.of then self._objects:dress_all(request.of, read.items) end
  return read, "a list is expected"
end

function readers.operation(self, value, _, answer)
  return operation.read(self, value, answer), "an Operation is expected"
end

function readers.link(_, value)
  return wire.link(value), "a link is expected"
end

function readers.batch(self, value, _, answer)
  local read = wire.batch(value)
  for i, one in ipairs(read and read.operations or {}) do
    read.operations[i] = operation.read(self, one, { retry_after = answer.retry_after })
    if not read.operations[i] then return nil, "a batch of Operations is expected" end
  end
  return read, "a batch of Operations is expected"
end

-- What a raw request is answered with: JSON as values; another kind of text as it is; nothing as true.
local function read_any(body, head)
  if body == "" then return true end
  local value, problem = json.decode(body)
  if value ~= nil then return value end
  local kind = (head["content-type"] or ""):lower()
  if kind == "" or kind:find("json", 1, true) or kind:find("html", 1, true) then return nil, problem end
  return body
end

function Session:_read(request, answer, head, body, context)
  if not request.result then
    local value, problem = read_any(body, head)
    if value ~= nil then return value, answer end
    context.problem = problem
    return nil, errors.from_response(answer.status, body, context)
  end
  local value, problem = json.decode(body, request.wanted, request.result ~= "object" and wire.LISTS or nil)
  if value ~= nil then
    value, problem = readers[request.result](self, value, head, answer, request)
    if value ~= nil then return value, answer end
  end
  context.problem = body == "" and "it is empty" or problem
  return nil, errors.from_response(answer.status, body, context)
end

-- What came of a request, by what the call came to.
function Session:_conclude(request, context, ...)
  local answer, head, body = judge(context, ...)
  if not answer then return nil, head end
  local value, more = self:_read(request, answer, head, body, context)
  if context.cache_key and not answer.cached then -- what can't be read is not kept
    if value ~= nil and answer.status == 200 and head.etag then
      self._config.cache:_set(context.cache_key, body, head)
    else
      self._config.cache:_forget(context.cache_key)
    end
  end
  return value, more
end

function Session:_exchange(request, options)
  local spec, context = self:_build(request, options)
  return self:_conclude(request, context, call.http(self._connection, spec, config.merge(options, self._config)))
end

-- One row of the catalog as a request: the path's names in `values`, fields of the body in `fields` (a table of the
-- method's own where the row has `in_options`), all else in `options`. Gives the options, too.
local function to_request(where, row, values, fields, options)
  local more = row.method == "GET" and config.READ or config.WRITE
  local has_shape = catalog.has_shape(row)
  options = config.check(where, options, catalog.names(row), config.CALL, more, has_shape and config.SHAPE or nil)
  config.check_call_retry(where, options)
  for _, name in ipairs(row.in_options or {}) do fields[name] = options[name] end
  local request, err = catalog.request(where, row, values, fields, options)
  if not request then return nil, err end
  request.wanted = has_shape and shape.wanted(options.fields, row.of) or nil
  if request.body then
    local problem
    request.body, problem = json.encode(request.body)
    if not request.body then errors.raise("%s: %s", where, problem) end
  end
  return request, options
end

function Session:_call(where, row, values, fields, options)
  local request, checked_or_err = to_request(where, row, values, fields, options)
  if not request then return nil, checked_or_err end
  return self:_exchange(request, checked_or_err)
end

-- Begins to read a page that nobody waits for yet.
function Session:_begin(where, row, values, options)
  local request, checked_or_err = to_request(where, row, values, nil, options)
  if not request then return nil, checked_or_err end
  local spec, context = self:_build(request, checked_or_err)
  local stream, err = call.stream(self._connection, spec, config.merge(checked_or_err, self._config), {})
  if not stream then return nil, err end
  return ahead.new(stream, function(...) return self:_conclude(request, context, ...) end)
end

-- An iterator over all pages of a row: 200 items a page unless `limit` says otherwise.
function Session:_each(where, row, values, options)
  options = config.check(where, options, catalog.names(row), config.CALL, config.SHAPE, config.WALK)
  config.check_call_retry(where, options)
  local all, prefetch = { limit = 200 }, options.prefetch
  for name, value in pairs(options) do all[name] = value end
  all.prefetch = nil
  catalog.check(where, row.query, all) -- a wrong type raises here, at the line that says it, not in the loop
  if prefetch == nil then prefetch = self._config.prefetch end
  return compat.for_values(page.iterator(function(offset, is_ahead)
    all.offset = offset
    if is_ahead then return self:_begin(where, row, values, all) end
    return self:_call(where, row, values, nil, all)
  end, all.offset, prefetch ~= false))
end

-- --- the public face -----------------------------------------------------------------------------------------------

---Who is calling and what they may do: `account`, `service_token` or `user`, `capabilities`. Kept for `can`.
---@param options? dpg.ReadOptions
---@return dpg.Me? me
---@return dpg.Answer|dpg.Error answer_or_err
function Session:me(options)
  local value, answer = self:_call("session:me", catalog.me, {}, nil, options)
  if value == nil then return nil, answer end
  local me = wire.me(value)
  if not me then
    return nil, errors.from_response(answer.status, nil, {
      method = "GET", path = catalog.me.path, request_id = answer.request_id, problem = "it names no capabilities",
    })
  end
  self._capabilities = {}
  for _, scope in ipairs(me.capabilities) do self._capabilities[scope] = true end
  return me, answer
end

---May this session do what `scope` grants? Asked of the server once (GET /me), then kept; `me` asks anew.
---@param scope string  "api.sets.write" …
---@return boolean? can
---@return dpg.Error? err
function Session:can(scope)
  if type(scope) ~= "string" then errors.raise("session:can: a scope expected, got %s", type(scope)) end
  if not self._capabilities then
    local me, err = self:me()
    if not me then return nil, err end
  end
  return self._capabilities[scope] == true
end

local METHODS = { GET = true, HEAD = true, POST = true, PUT = true, PATCH = true, DELETE = true, OPTIONS = true }
local OURS = { ["authorization"] = true, ["idempotency-key"] = true, ["host"] = true, ["content-length"] = true,
  ["transfer-encoding"] = true }

local function is_table(value)
  if type(value) ~= "table" then return "a table" end
end

local RAW = { query = is_table, body = true, headers = is_table }

local function raw_query(fields)
  for name, value in pairs(fields or {}) do
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      local kind = type(one)
      if type(name) ~= "string" or (kind ~= "string" and kind ~= "number" and kind ~= "boolean") then
        errors.raise("session:request: query field '%s' can't be a %s", tostring(name), kind)
      end
    end
  end
  return fields
end

local function raw_headers(fields)
  if fields == nil then return nil end
  local headers = {}
  for name, value in pairs(fields) do
    if type(name) ~= "string" or (type(value) ~= "string" and type(value) ~= "number") then
      errors.raise("session:request: headers: names with texts expected, got %s with a %s", tostring(name), type(value))
    end
    if OURS[name:lower()] then
      errors.raise("session:request: the header %s is set by dpg itself%s", name,
        name:lower() == "idempotency-key" and ": say idempotency_key = …" or "")
    end
    headers[name:lower():gsub("^%l", string.upper):gsub("%-%l", string.upper)] = tostring(value)
  end
  return headers
end

local function raw_body(body)
  if body == nil or type(body) == "string" then return body end
  if type(body) ~= "table" then
    errors.raise("session:request: body: a table or a string expected, got %s", type(body))
  end
  local text, problem = json.encode(body)
  if not text then errors.raise("session:request: body: %s", problem) end
  return text
end

-- What is wrong with a raw path, if anything.
local function path_problem(path, base_url)
  if path:sub(1, 1) ~= "/" then return "must begin with a slash, as in /images: it goes on where base_url ends" end
  if path:find("?", 1, true) then return "can't hold a query: say query = { … }" end
  local version = base_url:match("/v%d+$")
  if path == version or path:sub(1, #version + 1) == version .. "/" then
    return string.format("begins with %s, where base_url ends already: say %s", version, path:sub(#version + 1))
  end
  if not url.is_path(path) then
    return "can't hold blanks, control characters, #, \\, // or dots that climb; percent-encode what stands for a name"
  end
end

---Any request that the API takes: for what has no method here yet. A write carries an Idempotency-Key, as all
---others do.
---@param method string  "GET", "POST" …
---@param path string  behind the base URL: "/facets"; what stands for a name in it must be percent-encoded
---@param options? dpg.RequestOptions  `query` (a table), `body` (a table, sent as JSON, or a string), `headers` …
---@return any? value  JSON as values; another text as it is; true for an empty answer
---@return dpg.Answer|dpg.Error answer_or_err
function Session:request(method, path, options)
  if type(method) ~= "string" or not METHODS[method:upper()] then
    errors.raise("session:request: a method expected (GET, POST …), got %s", tostring(method))
  end
  method = method:upper()
  options = config.check("session:request", options, RAW, config.CALL, READS[method] and config.READ or config.WRITE)
  config.check_call_retry("session:request", options)
  if type(path) ~= "string" then errors.raise("session:request: a path expected, got %s", type(path)) end
  local problem = path_problem(path, self._connection.base_url)
  if problem then
    return nil, errors.usage("invalid_value", "session:request: the path " .. problem,
      { field = "path", method = method })
  end
  return self:_exchange({
    method = method, path = path, query = raw_query(options.query), headers = raw_headers(options.headers),
    body = raw_body(options.body), scope = catalog.scope(method, path),
  }, options)
end

methods(Session, "session")

return M
