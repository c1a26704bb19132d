-- The endpoints under /auth and /me (contract sections 2 and 3): sign-in, two-factor, the exchange of a refresh token.
-- What a token is worth is decided in tokens.lua; here requests are checked and answers shaped, near variants included.

local answers = require "dpg.sandbox.answers"
local dates = require "dpg.sandbox.dates"
local json = require "dpg.sandbox.json"
local random = require "dpg.sandbox.random"
local totp = require "dpg.sandbox.totp"

local M = {}

local MFA_LIFE_S = 300
local MFA_ATTEMPTS = 5
local PER_ADDRESS = 5 -- an address may try this many times as often as a login

local function text_field(body, name)
  if type(body[name]) ~= "string" or body[name] == "" then answers.invalid(name, name .. " is required") end
  return body[name]
end

local function check_device(device)
  if type(device) ~= "table" then answers.invalid("device", "device is required") end
  for _, name in ipairs { "identifier", "name", "platform" } do
    if type(device[name]) ~= "string" or device[name] == "" then
      answers.invalid("device", "device." .. name .. " is required")
    end
  end
end

local function unauthorized(detail)
  answers.reject(401, "unauthorized", detail)
end

-- Limited by address and by login; both windows count, also where one of them refuses.
local function check_limit(context, login)
  local api, now = context.api, context.api.now()
  local limit = api.settings.sign_in_limit
  local by_address = limit and { limit[1] * PER_ADDRESS, limit[2] }
  local wait = api.limits:take("login " .. login, limit, now)
  local address_wait = api.limits:take("address", by_address, now)
  if wait or address_wait then
    local seconds = string.format("%d", math.max(wait or 0, address_wait or 0))
    answers.reject(429, "rate_limited", "wait " .. seconds .. " s", nil, { ["Retry-After"] = seconds })
  end
end

local function account_json(account)
  return { uuid = account.uuid, name = account.name, unique_id = account.unique_id }
end

local function signed_in(context, person)
  local accounts = json.array {}
  for index, account in ipairs(person.accounts) do
    accounts[index] = account_json(account)
  end
  return 200, { refresh_token = context.api.tokens:begin(person), accounts = accounts }
end

---POST /auth/sign_in
function M.sign_in(context)
  local body, api = context.body, context.api
  local login, password = text_field(body, "login"), text_field(body, "password")
  check_device(body.device)
  check_limit(context, login)
  local person = api.logins[login]
  if not person or person.password ~= password then unauthorized "unknown login or wrong password" end
  if not person.totp_secret then return signed_in(context, person) end
  local mfa_token = "dpg_mfa_" .. random.hex(20)
  api.challenges[mfa_token] = { person = person, expires_at = api.now() + MFA_LIFE_S, attempts = 0 }
  return 200, { mfa_token = mfa_token }
end

---POST /auth/mfa
function M.mfa(context)
  local body, api = context.body, context.api
  local mfa_token, code = text_field(body, "mfa_token"), text_field(body, "code")
  local challenge = api.challenges[mfa_token]
  check_limit(context, challenge and challenge.person.login or "unknown")
  if not challenge or api.now() >= challenge.expires_at then unauthorized "the mfa_token is unknown or has expired" end
  local person = challenge.person
  if code ~= person.code and not totp.accepts(person.totp_secret, api.now(), code) then
    challenge.attempts = challenge.attempts + 1
    if challenge.attempts >= MFA_ATTEMPTS then api.challenges[mfa_token] = nil end
    unauthorized "wrong code"
  end
  api.challenges[mfa_token] = nil
  return signed_in(context, person)
end

local expiries = { -- contract section 9
  expires_in = function(answer, _, life) answer.expires_in = life end,
  unix = function(answer, now, life) answer.expires_at = math.floor(now + life) end,
  iso = function(answer, now, life) answer.expires_at = dates.iso(now + life) end,
  none = function() end,
}

local function find_account(person, uuid)
  for _, account in ipairs(person.accounts) do
    if account.uuid == uuid then return account end
  end
  answers.reject(403, "forbidden", "this person does not work on that account", "account_uuid")
end

---POST /auth/token
function M.token(context)
  local body, api = context.body, context.api
  local refresh_token, account_uuid = text_field(body, "refresh_token"), text_field(body, "account_uuid")
  local record, reason = api.tokens:present(refresh_token)
  if not record then unauthorized(reason) end
  local granted = api.tokens:exchange(record, find_account(record.family.person, account_uuid))
  local variants = api.settings.variants
  local answer = { token_type = "Bearer", refresh_token = granted.refresh_token }
  answer[variants.token or "access_token"] = granted.access_token
  expiries[variants.expiry or "expires_in"](answer, api.now(), granted.life)
  return 200, answer
end

---GET /me
function M.me(context)
  local bearer = context.bearer
  local answer = { account = account_json(bearer.account), capabilities = json.array {} }
  for index, scope in ipairs(bearer.scopes) do
    answer.capabilities[index] = scope
  end
  if bearer.kind == "service" then
    answer.service_token = { uuid = bearer.uuid, name = bearer.name }
  else
    answer.user = { uuid = bearer.person.uuid, name = bearer.person.name, login = bearer.person.login }
  end
  return 200, answer
end

return M
