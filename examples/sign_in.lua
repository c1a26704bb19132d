-- A person signs in once: login, password and, where two-factor is on, the authenticator's code. The next run goes on
-- from the store without asking for anything.
--
--   lua5.4 examples/sign_in.lua [STORE]        the store is a file, ~/.local/state/dpg/session by default
--   lua5.4 examples/sign_in.lua STORE out      signs out
--
-- DPG_BASE_URL points it somewhere else than at the real API, DPG_CA_FILE at another authority.
local dpg = require "dpg"

local path = arg[1] or (assert(os.getenv "HOME", "give a file for the session") .. "/.local/state/dpg/session")
local settings = {
  store = dpg.store.file(path), base_url = os.getenv "DPG_BASE_URL", ca_file = os.getenv "DPG_CA_FILE",
}

local function ask(question)
  io.write(question, ": ")
  io.flush()
  return io.read "*l" or os.exit(1)
end

-- The terminal shows no password while it is typed; where input comes from a pipe, stty has nothing to do.
local function ask_secret(question)
  os.execute "stty -echo 2>/dev/null"
  local answer = ask(question)
  os.execute "stty echo 2>/dev/null"
  print()
  return answer
end

local function with(more)
  for name, value in pairs(settings) do more[name] = value end
  return more
end

local function sign_in()
  return dpg.sign_in(with {
    login = ask "Login",
    password = ask_secret "Password",
    device = { identifier = "example-sign-in", name = "dpg example", platform = "lua" },
    mfa = function(try) return ask(try == 1 and "Code" or "That was not it. Code") end,
  })
end

local user, err = dpg.resume(settings)
if user then
  print "resumed: no password needed"
elseif err.code == "sign_in_required" then
  user = dpg.assert(sign_in())
  print "signed in"
else
  error(err, 0) -- the store can't be read, say: signing in again would not help
end

if arg[2] == "out" then
  dpg.assert(user:sign_out())
  print "signed out"
  os.exit(0)
end

for _, account in ipairs(user.accounts) do
  local work = dpg.assert(user:account(account.uuid))
  local page = dpg.assert(work.images:list { limit = 3 })
  print(account.name)
  for _, image in ipairs(page.items) do print("  " .. image.title) end
end
