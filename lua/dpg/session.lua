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
---@field images dpg.Images  read and edit images
---@field keywords dpg.Keywords  the vocabulary
---@field sets dpg.Sets  sets and their images
---@field metadata_profiles dpg.MetadataProfiles  the account's master profiles
---@field uploads dpg.Uploads  files on their way there
---@field downloads dpg.Downloads  files on their way here
---@field archives dpg.Archives  many images as one ZIP file
---@field operations dpg.Operations  what writes become; batches
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
  local self = setmetatable({ _connection = connection, _config = settings, _account = account,
    _with_body = {}, _without_body = {} }, Session)
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

-- What the cache holds of a read, where the session has a cache and the caller no ETag.
local function look_up(self, cache, request)
  request.cache_key = cache:_key(self._connection, self._account, request.url)
  request.kept = cache:_get(request.cache_key)
  request.etag = request.kept and request.kept.headers.etag
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

-- What all requests of a method have in common is put together once, unless one has settings or headers of its own.
local function prepared(self, request, options)
  local method = request.method
  local kept = request.body and self._with_body or self._without_body
  local is_own = request.headers or request.is_auth or not (options == config.NONE or config.is_plain(options))
  if kept[method] and not is_own then return kept[method] end
  local headers = { Accept = wire.ACCEPT }
  if request.body then headers["Content-Type"] = "application/json" end
  for name, value in pairs(request.headers or {}) do headers[name] = value end
  if request.etag then headers["If-None-Match"] = nil end -- which comes with the call
  local can_repeat = SAFE_TO_REPEAT[method] or not (READS[method] or request.is_auth)
  local one = call.prepare({
    method = method, headers = headers, account = self._account, repeats = can_repeat and "always" or "unsent",
  }, config.merge(options, self._config))
  if not is_own then kept[method] = one end
  return one
end

-- How the engine hands out answers: what goes into dpg.Answer, and of the other headers those that are read. An answer
-- that is to be kept is handed out whole.
local AS_PAGE = { answer = wire.ANSWER_HEADERS, headers = wire.PAGE_HEADERS }
local AS_RAW = { answer = wire.ANSWER_HEADERS, headers = wire.RAW_HEADERS }
local AS_ANY = { answer = wire.ANSWER_HEADERS }

-- Where the members are that a choice of `fields` counts for.
local function lists_in(request)
  return request.row.result ~= "object" and wire.LISTS or nil
end

local function chosen(as, request)
  return { answer = as.answer, headers = as.headers, wanted = request.wanted, lists = lists_in(request) }
end

-- Adds to a request { row, method, path, query, body (text), headers } what it takes to send it and to read its answer:
-- one table goes through all of it.
local function complete(self, request, options)
  local settings, query = self._config, request.query
  request.url = settings.base_url .. request.path .. (query and url.query(query) or "")
  local etag = options.if_none_match
  if etag then request.etag = etag end
  if not READS[request.method] then
    request.is_auth = wire.is_auth_path(request.path)
    request.idempotency_key = not request.is_auth and idempotency_key(options, settings) or nil
  end
  if settings.cache and request.method == "GET" and not (etag or request.headers) then
    look_up(self, settings.cache, request)
  else
    local result = request.row.result
    local as = result == "page" and AS_PAGE or result and AS_ANY or AS_RAW
    request.as = request.wanted and chosen(as, request) or as
  end
  return prepared(self, request, options)
end

-- --- understanding -------------------------------------------------------------------------------------------------

-- The error that an answer is, or what could not be read.
local function refusal(self, request, status, body, answer)
  request.attempts, request.retry_after, request.request_id = answer.attempts, answer.retry_after, answer.request_id
  request.scope, request.secrets = request.row.scope, self._secrets()
  return errors.from_response(status, body, request)
end

-- By what a row's answer is; of a raw request there is none.
local readers = {}

function readers.object(self, value, _, _, request)
  if not json.is_object(value) then return nil, "an object is expected" end
  if request.row.of then self._objects:dress(request.row.of, value) end
  return value
end

function readers.list(self, value, _, _, request)
  local list = page.list(value)
  if list and request.row.of then self._objects:dress_all(request.row.of, list) end
  return list, "a list is expected"
end

function readers.page(self, value, head, _, request)
  local read = page.read(value, head, request.query and request.query.offset)
  if read and request.row.of then self._objects:dress_all(request.row.of, read.items) end
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

-- What a raw request is answered with, where it is no JSON: another kind of text as it is; nothing as true.
local function read_text(body, head)
  if body == "" then return true end
  local kind = (head["content-type"] or ""):lower()
  if kind == "" or kind:find("json", 1, true) or kind:find("html", 1, true) then return nil end
  return body
end

-- The value of a body that the engine has not read, or could not.
local function parse(request, body, head)
  local value, problem = json.decode(body, request.wanted, lists_in(request))
  if value ~= nil then return value end
  if not request.row.result then return read_text(body, head), problem end
  return nil, body == "" and "it is empty" or problem
end

-- An answer that is to be kept, or that says that what is kept still holds.
local function from_cache(request, status, head, body, answer)
  answer.cached = request.kept and status == 304 or nil
  if answer.cached then status, head, body = revived(request.kept, head) end
  answer.etag, answer.date, answer.request_id = head.etag, head.date, wire.request_id(head)
  return status, head, body
end

local function keep(cache, key, is_read, answer, head, body)
  if answer.cached then return end
  if is_read and answer.status == 200 and head.etag then
    cache:_set(key, body, head)
  else -- what can't be read is not kept
    cache:_forget(key)
  end
end

-- What came of a request, by what the call came to.
function Session:_conclude(request, status, head, body, answer, value)
  if not status then
    request.secrets = self._secrets()
    return nil, errors.from_core(head, request)
  end
  local cache_key = request.cache_key
  if cache_key then status, head, body = from_cache(request, status, head, body, answer) end
  if status < 200 or status > 299 then return nil, refusal(self, request, status, body, answer) end
  answer.status = status
  if request.idempotency_key then answer.idempotency_key = request.idempotency_key end
  local reader, problem = readers[request.row.result], nil
  if value == nil then value, problem = parse(request, body, head) end
  if value ~= nil and reader then value, problem = reader(self, value, head, answer, request) end
  if cache_key then keep(self._config.cache, cache_key, value ~= nil, answer, head, body) end
  if value ~= nil then return value, answer end
  request.problem = problem
  return nil, refusal(self, request, status, body, answer)
end

function Session:_exchange(request, options)
  local spec = complete(self, request, options)
  return self:_conclude(request, call.http(self._connection, spec, request))
end

-- The options that each row takes, as one set.
local allowed = setmetatable({}, { __mode = "k" })

local function allowed_for(row)
  local all = allowed[row]
  if not all then
    all = config.union(catalog.names(row), config.CALL, row.method == "GET" and config.READ or config.WRITE,
      catalog.has_shape(row) and config.SHAPE or {})
    allowed[row] = all
  end
  return all
end

-- One row of the catalog as a request: the path's names in `values`, fields of the body in `fields` (a table of the
-- method's own where the row has `in_options`), all else in `options`. Gives the options, too.
local function to_request(where, row, values, fields, options)
  if options == nil then
    options = config.NONE
  else
    options = config.check(where, options, allowed_for(row))
    config.check_call_retry(where, options)
  end
  if row.in_options then
    for _, name in ipairs(row.in_options) do fields[name] = options[name] end
  end
  local request, err = catalog.request(where, row, values, fields, options)
  if not request then return nil, err end
  if options.fields then request.wanted = shape.wanted(options.fields, row.of) end
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
  local stream, err = call.begin(self._connection, complete(self, request, checked_or_err), request)
  if not stream then return nil, err end
  return ahead.new(stream, request.as, function(...) return self:_conclude(request, ...) end)
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
  local value, answer = self:_call("session:me", catalog.me, nil, nil, options)
  if value == nil then return nil, answer end
  local me = wire.me(value)
  if not me then
    return nil, errors.from_response(answer.status, nil, {
      method = "GET", path = catalog.me.path, request_id = answer.request_id, problem = "it names no capabilities",
    })
  end
  self._capabilities = {}
  for i = 1, #me.capabilities do self._capabilities[me.capabilities[i]] = true end
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
    row = { scope = catalog.scope(method, path) }, method = method, path = path, query = raw_query(options.query),
    headers = raw_headers(options.headers), body = raw_body(options.body),
  }, options)
end

methods(Session, "session")

return M
