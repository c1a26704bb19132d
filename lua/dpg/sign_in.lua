-- Signing a person in: password, second factor, and going on from a store. The core takes the tokens out of the
-- answers and keeps them; here are the requests, the question for the code, and the errors. Contract: section 3.
local call = require "dpg.call"
local config = require "dpg.config"
local connection = require "dpg.connection"
local errors = require "dpg.errors"
local json = require "dpg.json"
local methods = require "dpg.methods"
local store = require "dpg.store"
local user = require "dpg.user"
local wire = require "dpg.wire"

local M = {}

-- How often the callback is asked for a code before the refusal is handed on.
local MFA_TRIES = 3

---A second factor is asked for.
---@class dpg.Challenge
local Challenge = {}
Challenge.__index = Challenge
Challenge.__name = "dpg.Challenge"

-- challenge -> function that answers it. The mfa_token lives in there, where nothing shows it.
local answers = setmetatable({}, { __mode = "k" })

function Challenge:__tostring()
  return "dpg.Challenge (" .. (answers[self] and "open" or "closed") .. ")"
end

---Answers with the current code of the authenticator. After a wrong code it can be answered again.
---@param code string  blanks in it don't matter
---@return dpg.User? user
---@return dpg.Error? err  kind "auth" for a wrong code (`err.challenge` is this one, as long as it can be answered)
function Challenge:answer(code)
  if type(code) ~= "string" then
    errors.raise("challenge:answer: the code as a string expected, got %s (a number has lost its zeros)", type(code))
  end
  if not answers[self] then
    return nil, errors.usage("challenge_closed", "this challenge is over: sign in again")
  end
  return answers[self](self, (code:gsub("%s", "")))
end

methods(Challenge, "challenge")

local function mfa_required(challenge, request_id)
  return errors.new {
    kind = "auth", code = "mfa_required", challenge = challenge, request_id = request_id, status = 200,
    message = "two-factor is on: answer err.challenge with the authenticator's code, or give an `mfa` function",
  }
end

-- Sends one step of signing in: { path, body, secrets }. A user, or nil and an error, whose `challenge` may be
-- answered.
local step

local function new_challenge(attempt, mfa_token)
  local challenge = setmetatable({}, Challenge)
  answers[challenge] = function(self, code)
    local person, err = step(attempt, wire.MFA_PATH, wire.mfa_body(mfa_token, code), { mfa_token, code })
    if person or wire.MFA_TOKEN_GONE[err.code] then
      answers[self] = nil
    elseif not err.challenge then
      err.challenge = self
    end
    return person, err
  end
  return challenge
end

-- Why there is no user: what was answered, or that the answer can't be read.
local function refusal(attempt, status, body, context)
  local value = status < 300 and json.decode(body)
  local mfa_token = value and wire.mfa_token(value)
  if mfa_token then return mfa_required(new_challenge(attempt, mfa_token), context.request_id) end
  context.problem = "it holds neither a refresh_token nor an mfa_token"
  return errors.from_response(status, body, context)
end

function step(attempt, path, body, secrets)
  local text, problem = json.encode(body)
  if not text then errors.raise("dpg.sign_in: %s", problem) end
  for _, secret in ipairs(attempt.secrets) do secrets[#secrets + 1] = secret end
  local context = { method = "POST", path = path, secrets = secrets }
  local status, head, answer, info = call.credential(attempt.connection, "sign_in", {
    method = "POST",
    url = attempt.connection.base_url .. path,
    headers = { ["Accept"] = wire.ACCEPT, ["Content-Type"] = "application/json" },
    body = text,
    gate = attempt.gate,
    repeats = "unsent",
  }, config.merge({}, attempt.config))
  if not status then return nil, errors.from_core(head, context) end
  context.attempts, context.retry_after, context.request_id = info.attempts, info.retry_after, wire.request_id(head)
  if status >= 200 and status <= 299 and answer == "" then return user.new(attempt.connection, attempt.config) end
  return nil, refusal(attempt, status, answer, context)
end

local function device(value)
  if type(value) ~= "table" then return "a table { identifier, name, platform }" end
  for name, one in pairs(value) do
    if type(name) ~= "string" then
      return "a table { identifier, name, platform }", "one with the key " .. tostring(name)
    end
    if type(one) ~= "string" then return "a string", type(one), name end
  end
  for _, name in ipairs(wire.DEVICE) do
    if (value[name] or "") == "" then return "a string", value[name] and "an empty one" or "nothing", name end
  end
end

local STORE = { store = true, replay = config.is "boolean" }
local SIGN_IN = { login = config.text, password = config.text, device = device, mfa = config.is "function" }

local function required(where, options, ...)
  for _, name in ipairs { ... } do
    if options[name] == nil then errors.raise("%s: option '%s' is missing", where, name) end
  end
end

-- Asks the callback for codes until one is right, the person gives up, or the server has had enough.
local function ask(mfa, err)
  for try = 1, MFA_TRIES do
    local code = mfa(try, err)
    if code == nil or code == false then return nil, err end
    if type(code) ~= "string" then
      errors.raise("dpg.sign_in: the `mfa` function must return the code as a string, got %s (a number has lost its "
        .. "zeros)", type(code))
    end
    local person, refused = err.challenge:answer(code)
    if person then return person end
    if refused.kind ~= "auth" or not refused.challenge then return nil, refused end
    err = refused
  end
  return nil, err
end

---Signs a person in. The store is tried out before the password leaves.
---@param options dpg.SignInOptions
---@return dpg.User? user
---@return dpg.Error? err  kind "auth": code "unauthorized" (wrong password), or "mfa_required" with `err.challenge`
---  when no `mfa` function is given; kind "api", code "rate_limited" with `retry_after`; kind "storage": nothing was
---  sent
function M.sign_in(options)
  local where = "dpg.sign_in"
  options = config.check(where, options, SIGN_IN, STORE, config.SESSION)
  required(where, options, "login", "password", "device")
  store.accept(where, options.store)
  local settings, err = config.session(where, options)
  if not settings then return nil, err end
  local attempt = {
    connection = connection.person(settings, options.store, options.replay),
    config = settings,
    gate = settings.origin .. "\nlogin " .. options.login,
    secrets = { options.password },
  }
  local person
  person, err = step(attempt, wire.SIGN_IN_PATH, wire.sign_in_body(options.login, options.password, options.device), {})
  if person or not (options.mfa and err.challenge) then return person, err end
  return ask(options.mfa, err)
end

---Goes on with the session that a store keeps: no password.
---@param options dpg.ResumeOptions
---@return dpg.User? user
---@return dpg.Error? err  kind "auth", code "sign_in_required" when there is nothing to go on with; kind "storage"
function M.resume(options)
  local where = "dpg.resume"
  options = config.check(where, options, STORE, config.SESSION)
  store.accept(where, options.store)
  local settings, err = config.session(where, options)
  if not settings then return nil, err end
  local kept = connection.person(settings, options.store, options.replay)
  local status, failure = call.credential(kept, "load", nil, config.merge({}, settings))
  if not status then return nil, errors.from_core(failure) end
  return user.new(kept, settings)
end

return M
