-- Who may do what: service tokens, people, families of refresh tokens, access tokens. The exchange and its rotation
-- (contract section 3, RFC 9700 section 4.14.2) live here and nowhere else. Answers are auth.lua's; the time is
-- handed in.

local hash = require "dpg.sandbox.hash"
local random = require "dpg.sandbox.random"

local M = {}

M.scopes = {
  "api.images.read", "api.images.write", "api.images.delete", "api.keywords.write", "api.ratings.write",
  "api.metadata.write", "api.sets.write", "api.upload", "api.download",
}

local Tokens = {}
Tokens.__index = Tokens
Tokens.__name = "dpg.sandbox.tokens"

---@param settings table  the sandbox's options, read at each use
---@param now fun(): number
---@return table tokens
function M.new(settings, now)
  return setmetatable({
    settings = settings, now = now, service = {}, access = {}, refresh = {}, refresh_order = {}, families = {},
    rotations = 0, families_revoked = 0, presented_spent = 0, sign_ins = 0,
  }, Tokens)
end

---@param options { name: string, scopes: string[], account: table, expires_in?: number, revoked?: boolean }
---@return string token
function Tokens:mint_service(options)
  local token = "dpg_api_live_" .. random.hex(20)
  local granted = {}
  for _, scope in ipairs(options.scopes) do
    granted[scope] = true
  end
  self.service[token] = {
    kind = "service", id = hash.token_id(token), uuid = random.uuid(), name = options.name, account = options.account,
    scopes = options.scopes, granted = granted, revoked = options.revoked or false,
    expires_at = options.expires_in and self.now() + options.expires_in or math.huge,
  }
  return token
end

---@param token string
---@return table? bearer
---@return string? reason  why it isn't accepted
function Tokens:bearer(token)
  local bearer = self.service[token] or self.access[token]
  if not bearer then return nil, "unknown token" end
  if bearer.revoked or bearer.family and bearer.family.revoked then return nil, "the token was revoked" end
  if self.now() >= bearer.expires_at then return nil, "the token has expired" end
  return bearer
end

function Tokens:_mint_refresh(family)
  local token = "dpg_rt_" .. random.hex(24)
  family.generation = family.generation + 1
  local record = {
    token = token, id = hash.token_id(token), family = family, generation = family.generation, presented = 0,
    state = "current", expires_at = self.now() + self.settings.refresh_token_life,
  }
  self.refresh[token] = record
  self.refresh_order[#self.refresh_order + 1] = record
  return record
end

function Tokens:_mint_access(family, account)
  local token = "dpg_at_" .. random.hex(24)
  local granted = {}
  for _, scope in ipairs(M.scopes) do
    granted[scope] = true
  end
  local life = self.settings.access_token_life
  self.access[token] = {
    kind = "user", id = hash.token_id(token), family = family, person = family.person, account = account,
    scopes = M.scopes, granted = granted, revoked = false, expires_at = self.now() + life,
  }
  return token, life
end

---A new family, for a sign-in that has been proven.
---@param person table
---@return string refresh_token
function Tokens:begin(person)
  local family = { id = random.uuid(), person = person, generation = 0, revoked = false }
  table.insert(self.families, family)
  self.sign_ins = self.sign_ins + 1
  return self:_mint_refresh(family).token
end

---@param family table
function Tokens:revoke(family)
  if family.revoked then return end
  family.revoked = true
  self.families_revoked = self.families_revoked + 1
  for _, record in ipairs(self.refresh_order) do
    if record.family == family and record.state == "current" then record.state = "revoked" end
  end
end

-- Within its grace a spent token answers the successor that it already has, as long as that one is unused.
function Tokens:_graced(record)
  return self.settings.rotation == "grace" and record.state == "spent" and record.successor.state == "current"
    and self.now() - record.spent_at <= self.settings.grace
end

---Why a presented refresh token gets no exchange. Counts the presentation, and revokes the family where one is reused.
---@param record table?
---@return string? reason
function Tokens:_refusal(record)
  if not record then return "unknown refresh token" end
  record.presented = record.presented + 1
  local spent = record.state == "spent"
  if spent then self.presented_spent = self.presented_spent + 1 end
  if record.family.revoked then return "the refresh token was revoked" end
  if self.now() >= record.expires_at then return "the refresh token has expired" end
  if spent and not self:_graced(record) then
    self:revoke(record.family)
    return "the refresh token was used before; its family is revoked"
  end
  return nil
end

---Looks at a presented refresh token without spending it.
---@param token string
---@return table? record
---@return string? reason
function Tokens:present(token)
  local record = self.refresh[token]
  local reason = self:_refusal(record)
  if reason then return nil, reason end
  return record
end

---Spends a record that present() has let pass, and commits: from here on only the successor works.
---@param record table
---@param account table
---@return table granted  access_token, life, refresh_token
function Tokens:exchange(record, account)
  if record.state == "current" then
    record.state, record.spent_at = "spent", self.now()
    record.successor = self:_mint_refresh(record.family)
    self.rotations = self.rotations + 1
  end
  local access_token, life = self:_mint_access(record.family, account)
  return { access_token = access_token, life = life, refresh_token = record.successor.token }
end

---@param login? string  one person's families; nil: everybody's
---@return integer count
function Tokens:revoke_families(login)
  local count = 0
  for _, family in ipairs(self.families) do
    if not family.revoked and (not login or family.person.login == login) then
      self:revoke(family)
      count = count + 1
    end
  end
  return count
end

---@return integer count
function Tokens:revoke_access_tokens()
  local count = 0
  for _, bearer in pairs(self.access) do
    if not bearer.revoked then
      bearer.revoked = true
      count = count + 1
    end
  end
  return count
end

---What became of each refresh token, oldest first; ids instead of tokens.
---@return table[]
function Tokens:history()
  local list = {}
  for index, record in ipairs(self.refresh_order) do
    list[index] = {
      id = record.id, person = record.family.person.key, family = record.family.id, generation = record.generation,
      presented = record.presented, state = record.state, successor = record.successor and record.successor.id,
    }
  end
  return list
end

---@return table
function Tokens:totals()
  local more_than_once = 0
  for _, record in ipairs(self.refresh_order) do
    if record.presented > 1 then more_than_once = more_than_once + 1 end
  end
  return {
    presented_more_than_once = more_than_once, presented_spent = self.presented_spent, rotations = self.rotations,
    families_revoked = self.families_revoked, sign_ins = self.sign_ins,
  }
end

return M
