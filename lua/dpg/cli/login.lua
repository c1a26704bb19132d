-- dpg login, logout, whoami: who acts.
local dpg = require "dpg"
local failure = require "dpg.cli.failure"
local out = require "dpg.cli.out"
local prompt = require "dpg.cli.prompt"
local session = require "dpg.cli.session"
local system = require "dpg.cli.system"
local takes = require "dpg.cli.takes"

local M = {}

local function device()
  local host = system.read "uname -n 2>/dev/null"
  if host == "" then host = "unknown" end
  local platform = system.read("uname -s 2>/dev/null"):lower()
  return { identifier = "dpg-cli-" .. host, name = "dpg on " .. host, platform = platform ~= "" and platform or "unix" }
end

local function ask(question, is_secret)
  local answer = prompt.ask(question, is_secret)
  if not answer or answer == "" then
    failure.raise(failure.AUTH, "nobody has answered '" .. question .. "': run dpg login at a terminal, or give "
      .. "a line for each answer")
  end
  return answer
end

local function sign_in(args, settings)
  settings.login = args.login or ask "Login"
  settings.password = ask("Password", true)
  settings.device = device()
  settings.mfa = function(try)
    return ask(try == 1 and "Two-factor code" or "That was not it. Two-factor code", true)
  end
  local user, err = dpg.sign_in(settings)
  if user then return user end
  if err.kind == "auth" then
    failure.raise(failure.AUTH, failure.text(err):match "^[^:]*" .. ": look at the login, the password and the "
      .. "code, and try again")
  end
  dpg.assert(nil, err)
end

-- Where a session of another server is kept: that one goes once the person is signed in, and stays where they are not.
local function sign_in_instead(args, settings)
  local path = session.path(args)
  local new = path .. ".new"
  local function sweep() os.execute("rm -f " .. system.quote(new) .. " " .. system.quote(new) .. ".*") end
  sweep()
  settings.store = dpg.store.file(new)
  local ok, user = pcall(sign_in, args, settings)
  local moved, problem
  if ok then moved, problem = os.rename(new, path) end
  sweep()
  if not ok then error(user, 0) end
  if not moved then failure.raise(failure.FAILED, "the session can't be kept: " .. tostring(problem)) end
  return user
end

-- The account that later commands are for, where there is a choice. It is said once for all, and goes with its person.
local function remember_account(args, user)
  local path = session.path(args) .. ".account"
  if not args.account then
    local kept = system.read_file(path)
    for _, account in ipairs(user.accounts) do
      if account.uuid == kept then return end
    end
    return os.remove(path)
  end
  local account = session.account(user, args)
  local written, problem = system.write_file(path, account.uuid)
  if not written then failure.raise(failure.FAILED, "the account can't be noted: " .. tostring(problem)) end
end

-- The person of a session that is kept, unless another one is asked for: whoever signs in as somebody would go on as
-- somebody else.
local function whom_it_is_of(user, args)
  local first = user.accounts[1]
  if not args.login or not first then return user end
  local me, err = dpg.assert(user:account(first.uuid)):me()
  if not me and err.kind == "api" then return user end -- the account tells nobody, as where its API access is off
  if not me then return nil, err end
  local who = type(me.user) == "table" and me.user or {}
  if type(who.login) == "string" and who.login:lower() ~= args.login:lower() then
    failure.raise(failure.AUTH, ("%s is signed in here: --again signs %s in instead, --profile NAME keeps both"):format(
      who.login, args.login))
  end
  return user
end

local function login(args)
  local profile = session.profile(args)
  if not system.make_private_folder(session.folder()) then
    failure.raise(failure.FAILED, "the folder " .. session.folder() .. " can't be made: look at the modes of "
      .. "those above it")
  end
  local settings = session.settings(args)
  settings.store = session.store(args)
  local user, err = dpg.resume(settings)
  if user and not args.again then user, err = whom_it_is_of(user, args) end
  if user and not args.again then
    out.say("signed in already; --again signs in anew")
  elseif user or err.code == "sign_in_required" then
    user = sign_in(args, settings)
    out.say "signed in"
  elseif err.code == "store_other_origin" and args.again then
    out.say(err.message .. ": signing in replaces it")
    user = sign_in_instead(args, settings)
    out.say "signed in"
  else
    dpg.assert(nil, err)
  end
  remember_account(args, user)
  if session.has_token(args) then
    out.say("DPG_TOKEN is set, and goes before this session: unset it, or say --profile " .. profile)
  end
  local rows = {}
  for i, account in ipairs(user.accounts) do rows[i] = { account.unique_id, account.name } end
  out.table({ "ACCOUNT", "NAME" }, rows)
end

local function logout(args)
  local settings = session.settings(args)
  settings.store = session.store(args)
  local user, err = dpg.resume(settings)
  if user then
    dpg.assert(user:sign_out())
  elseif err.code == "store_other_origin" then
    os.remove(session.path(args)) -- another server's; to forget it needs nobody's leave
  else
    dpg.assert(nil, err)
  end
  os.remove(session.path(args) .. ".account")
  out.say "signed out"
end

local function whoami(args)
  local me = dpg.assert(session.open(args):me())
  if args.json then return out.json(me) end
  local who = me.user or me.service_token or {}
  out.table({ "WHAT", "WHO" }, {
    { me.user and "person" or "service token", who.name },
    { "account", me.account and me.account.name },
    { "capabilities", table.concat(me.capabilities, " ") },
  }, true)
end

function M.add(parser)
  local command = takes.command(parser, "login", "Sign in, and keep the session for later commands",
    "Asks for the login, the password (not shown) and the two-factor code where it is on; later commands ask for "
      .. "nothing. Who has several accounts says --account NAME, once for all later commands. Where the input is no "
      .. "terminal, each answer is a line of it.",
    { "dpg login jane@example.com", "dpg login --profile work --account northlight" })
  takes.argument(command, "login", "LOGIN", "whom to sign in; else it is asked for"):args "?"
  command:flag "--again":description "sign in anew, in place of the session that is kept"
  command:action(function(args) args.run = login end)
  takes.command(parser, "logout", "Forget the session"):action(function(args) args.run = logout end)
  command = takes.command(parser, "whoami", "Show who acts, and what they may do")
  command:flag "--json":description "as JSON"
  command:action(function(args) args.run = whoami end)
end

return M
