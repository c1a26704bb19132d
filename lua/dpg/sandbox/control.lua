-- The control port: JSON over HTTP on loopback, for box methods and for tests in other languages. POST to the control
-- URL plus a verb with a JSON object (or nothing) as the body; 200 answers {"result": …}, 400 answers {"error": "…"}.
-- The verbs and what their bodies hold stand at `verbs` below. For example:
-- curl -d '{"path":"/me","status":503}' CONTROL_URL/fault

local answers = require "dpg.sandbox.answers"
local blob = require "dpg.sandbox.blob"
local cdn = require "dpg.sandbox.cdn"
local content = require "dpg.sandbox.content"
local downloads = require "dpg.sandbox.downloads"
local faults = require "dpg.sandbox.faults"
local http = require "dpg.sandbox.http"
local json = require "dpg.sandbox.json"
local options = require "dpg.sandbox.options"
local record = require "dpg.sandbox.record"
local tokens = require "dpg.sandbox.tokens"
local totp = require "dpg.sandbox.totp"
local uploads = require "dpg.sandbox.uploads"

local M = {}

local function refuse(message)
  error({ message = message }, 0)
end

local function find_person(api, key)
  return api.people[key] or refuse("there is no person '" .. tostring(key) .. "'")
end

-- Each verb gets the sandbox (of process.lua) and the body, and returns the result:
--   fault {path, method, nth, times, …: see faults.lua}   clear_faults   release
--   set {option: value, …}   advance {seconds}   now
--   revoke_family {person?}   revoke_access_tokens   mint {name, scopes, expires_in, account}   code {person}
--   add_blob {size, seed, filename, title, account}   change_file {image, account}   file {image, version, account}
--   uploads
--   seen, count {server, path, method, status, connection, refresh_token, reused}   reset_seen
--   wait_seen {filter, n, timeout}   refresh_tokens   report   stop
local verbs = {}

function verbs.fault(sandbox, fault)
  local problem = faults.problem(fault)
  if problem then refuse(problem) end
  sandbox.faults:add(fault)
end

function verbs.clear_faults(sandbox) sandbox.faults:clear() end

function verbs.release(sandbox) sandbox.faults:release() end

function verbs.set(sandbox, values)
  local problem = options.problem(values, "set")
  if problem then refuse(problem) end
  for name, value in pairs(values) do
    sandbox.settings[name] = value
  end
  sandbox.api:reshape()
end

function verbs.advance(sandbox, body)
  if type(body.seconds) ~= "number" then refuse "advance needs seconds" end
  sandbox.clock.offset = sandbox.clock.offset + body.seconds
end

function verbs.now(sandbox) return sandbox.clock.now() end

function verbs.revoke_family(sandbox, body)
  local person = body.person and find_person(sandbox.api, body.person)
  return sandbox.api.tokens:revoke_families(person and person.login)
end

function verbs.revoke_access_tokens(sandbox) return sandbox.api.tokens:revoke_access_tokens() end

function verbs.mint(sandbox, body)
  return sandbox.api.tokens:mint_service {
    name = body.name or "Minted by a test", scopes = body.scopes or tokens.scopes, expires_in = body.expires_in,
    account = sandbox.api.accounts[body.account or 1] or refuse "there is no such account",
  }
end

function verbs.code(sandbox, body)
  local person = find_person(sandbox.api, body.person)
  if not person.totp_secret then refuse "this person has no two-factor" end
  return totp.code(person.totp_secret, sandbox.clock.now())
end

local function checked(filter)
  local problem = record.filter_problem(filter)
  if problem then refuse(problem) end
  return filter
end

local function find_library(sandbox, body)
  return sandbox.api:library(sandbox.api.accounts[body.account or 1] or refuse "there is no such account")
end

local function find_image(sandbox, body)
  local library = find_library(sandbox, body)
  return library.image[body.image] or refuse("there is no image " .. tostring(body.image)), library
end

function verbs.add_blob(sandbox, body)
  local seed, size = body.seed or 1, body.size
  if not blob.is_seed(seed) then refuse "a seed is a whole number from 0 to 9999999999" end
  if type(size) ~= "number" or size < 0 or size % 1 ~= 0 then refuse "add_blob needs a size in bytes" end
  local filename = body.filename or ("blob-%d.bin"):format(seed)
  local image = uploads.add_image(find_library(sandbox, body), content.blob(seed, size), {
    filename = filename, title = body.title,
  }, sandbox.clock.now())
  return { public_uuid = image.public_uuid, filename = filename, size = size, seed = seed }
end

function verbs.change_file(sandbox, body)
  local image, library = find_image(sandbox, body)
  cdn.change_file(library, image)
end

-- What is behind a version: a blob's seed, or a path where its bytes are.
function verbs.file(sandbox, body)
  local image, library = find_image(sandbox, body)
  local name = body.version or "original"
  for _, version in ipairs(image.versions) do
    if version.version == name then
      local file = downloads.file(library, image, version)
      local path = file.kind ~= "blob" and content.export(file, sandbox.folder .. "/export") or nil
      return { kind = file.kind, size = file.size, seed = file.seed, path = path, etag = file.etag }
    end
  end
  refuse("there is no version " .. tostring(name))
end

function verbs.uploads(sandbox) return json.array(sandbox.api.uploads:history()) end

-- Encoded by cjson, since there may be very many.
function verbs.seen(sandbox, filter)
  local entries = sandbox.record:find(checked(filter))
  return entries[1] and json.raw(json.encode_quickly(entries)) or json.array {}
end

function verbs.count(sandbox, filter) return sandbox.record:count(checked(filter)) end

function verbs.reset_seen(sandbox) sandbox.record:reset() end

function verbs.refresh_tokens(sandbox) return json.array(sandbox.api.tokens:history()) end

function verbs.report(sandbox)
  local report = sandbox.api.tokens:totals()
  report.connections = sandbox.listener.accepted
  report.requests = #sandbox.record.list + sandbox.record.dropped
  report.operations = sandbox.api.operations.made
  report.authorization_on_processor = sandbox.record.authorized.processor or 0
  report.authorization_on_cdn = sandbox.record.authorized.cdn or 0
  return report
end

function verbs.wait_seen(sandbox, body) return sandbox.record:count(checked(body.filter or {})) end

function verbs.stop(sandbox) sandbox.stop() end

-- What happens before a verb's own turn: waiting, which no pcall may surround on PUC 5.1.
local before = {
  wait_seen = function(sandbox, body, connection)
    local count, wanted = sandbox.record:counter(body.filter or {}), body.n or 1
    connection:sleep(body.timeout or 10, function() return count() >= wanted end)
  end,
}

local function run(verb, sandbox, body)
  local ok, result = pcall(verb, sandbox, body)
  if ok then return answers.text(200, json.encode { result = result == nil and json.null or result }) end
  local message = type(result) == "table" and result.message or tostring(result)
  return answers.text(400, json.encode { error = message })
end

---Makes the handler of the control port's connections.
---@param sandbox table  api, settings, clock, faults, record, listener, stop()
---@param secret string  the path that the control URL has: pages in a browser can't guess it
---@return fun(connection: table)
function M.handler(sandbox, secret)
  local function answer(request, connection)
    local name = request.path:match("^/" .. secret .. "/([%w_]+)$")
    local verb = name and verbs[name]
    if not verb then return answers.text(404, json.encode { error = "no such verb" }) end
    local body = request.body == "" and {} or json.decode_object(request.body)
    if not body then return answers.text(400, json.encode { error = "the body must be a JSON object" }) end
    if before[name] then before[name](sandbox, body, connection) end
    return run(verb, sandbox, body)
  end
  return function(connection)
    while true do
      local request = http.read_request(connection)
      if not request then return end
      local response = answer(request, connection)
      if not connection:send(http.format(response, request.keep_alive, sandbox.clock.now())) then return end
      if not request.keep_alive then return end
    end
  end
end

return M
