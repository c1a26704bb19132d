-- Who acts: a service token of the environment, or a person's profile. Tokens come from DPG_TOKEN, a profile's file
-- or a prompt, never from the command line, which any user of the machine can read.
local dpg = require "dpg"
local failure = require "dpg.cli.failure"
local out = require "dpg.cli.out"
local system = require "dpg.cli.system"

local M = {}

local function environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

---Where sessions and journals are.
---@return string folder
function M.folder()
  local state = environment "XDG_STATE_HOME"
  if state and state:sub(1, 1) == "/" then return state .. "/dpg" end -- others are to be ignored
  local home = environment "HOME"
  if not home then failure.usage "there is no HOME to keep the session in: set XDG_STATE_HOME" end
  return home .. "/.local/state/dpg"
end

---@return string name
---@return boolean is_chosen  said by --profile
function M.profile(args)
  local name = args.profile or environment "DPG_PROFILE" or "default"
  if not name:match "^[%w_][%w_-]*$" or #name > 64 then
    failure.usage "the profile's name can't be used: letters, digits, - and _ only"
  end
  return name, args.profile ~= nil
end

---@return string path
function M.path(args)
  return M.folder() .. "/" .. M.profile(args)
end

---Does DPG_TOKEN say who acts? A profile that is named on the command line goes before it.
function M.has_token(args)
  local _, is_chosen = M.profile(args)
  return not is_chosen and environment "DPG_TOKEN" ~= nil
end

-- What --verbose tells of a call: never a header or a body.
local function tell(name, event)
  local words = { name }
  for _, field in ipairs { "method", "path", "attempt", "status", "code", "generation" } do
    if event[field] ~= nil then words[#words + 1] = field .. "=" .. out.plain(event[field]) end
  end
  for _, field in ipairs { "wait", "elapsed" } do
    if event[field] ~= nil then words[#words + 1] = ("%s=%.3f"):format(field, event[field]) end
  end
  out.warn(table.concat(words, " "))
end

local DEADLINE_S = 120 -- the library's own: a wait that would pass it is not begun

-- A long wait that nobody explains looks like a program that hangs. A gate that a call has closed (it has a path) is
-- told by the call's next try, if there is one; who waits for a person's token has no event but the gate.
local function tell_waits(name, event)
  local wait = event.wait or 0
  local is_told = name == "gate_closed" and not event.path and wait < DEADLINE_S
  if wait < 2 or not (name == "retry" or is_told) then return end
  local is_asked = is_told or event.status == 429
  out.say(("waiting %d s, as %s"):format(math.ceil(wait), is_asked and "the server asks" or "the last try failed"))
end

---The library's options of where a session begins.
---@return table
function M.settings(args)
  return {
    base_url = environment "DPG_BASE_URL", ca_file = environment "DPG_CA_FILE",
    on_event = args.verbose and tell or tell_waits,
  }
end

function M.store(args)
  return dpg.store.file(M.path(args))
end

---@return dpg.User
function M.user(args)
  local settings = M.settings(args)
  settings.store = M.store(args)
  return dpg.assert(dpg.resume(settings))
end

local function names(accounts)
  local list = {}
  for i, account in ipairs(accounts) do list[i] = account.unique_id or account.uuid end
  return table.concat(list, ", ")
end

---The account that is meant: by --account, DPG_ACCOUNT, what dpg login was told, or the only one.
---@param user dpg.User
---@return dpg.Account
function M.account(user, args)
  local wanted = args.account or environment "DPG_ACCOUNT" or system.read_file(M.path(args) .. ".account")
  if not wanted then
    if #user.accounts == 1 then return user.accounts[1] end
    failure.usage("this person has %d accounts (%s): say --account NAME, or set DPG_ACCOUNT", #user.accounts,
      names(user.accounts))
  end
  for _, account in ipairs(user.accounts) do
    if account.uuid == wanted or account.unique_id == wanted or account.name == wanted then return account end
  end
  failure.usage("this person has no such account: choose one of %s", names(user.accounts))
end

---@return dpg.Session
function M.open(args)
  if M.has_token(args) then
    local settings = M.settings(args)
    settings.token = environment "DPG_TOKEN"
    return dpg.assert(dpg.service(settings))
  end
  local user = M.user(args)
  return dpg.assert(user:account(M.account(user, args).uuid))
end

---Where a run that was cut goes on: the same words, in the same folder, for the same account.
---@param args table
---@param words string[]
---@return string path
function M.journal(args, words)
  local folder = M.folder() .. "/.journals"
  if not system.make_private_folder(folder) then
    failure.raise(failure.FAILED, "the folder " .. folder .. " can't be made: look at the modes of those above it")
  end
  local all = { M.profile(args), args.account or "", environment "DPG_ACCOUNT" or "", environment "DPG_BASE_URL" or "",
    M.has_token(args) and "token" or "person", system.read "pwd -P" }
  for _, word in ipairs(words) do all[#all + 1] = word end
  return folder .. "/" .. system.digest(table.concat(all, "\0"))
end

return M
