-- dpg doctor: looks at all that can be wrong between this machine and DPG. Each line says ok, or what to do.
local dpg = require "dpg"
local failure = require "dpg.cli.failure"
local out = require "dpg.cli.out"
local session = require "dpg.cli.session"
local system = require "dpg.cli.system"
local takes = require "dpg.cli.takes"

local M = {}

local SCOPES = {
  "api.images.read", "api.images.write", "api.images.delete", "api.keywords.write", "api.ratings.write",
  "api.metadata.write", "api.sets.write", "api.upload", "api.download",
}
local CLOCK_OFF_S = 30

-- Findings: { name, "ok" | "note" | "bad", text }.
local function new_findings()
  local findings, is_bad = {}, {}
  local function add(name, state, text)
    if is_bad[name] then return end -- what comes of it needs no line of its own
    is_bad[name] = state == "bad"
    findings[#findings + 1] = { name = name, state = state, text = text }
  end
  return findings, add
end

-- --- here ----------------------------------------------------------------------------------------------------------

-- curl takes a proxy without a scheme as well, and reads the name and the password up to the last @.
local function without_password(text)
  local scheme = text:match "^%a[%w+.-]*://" or ""
  return scheme .. text:sub(#scheme + 1):gsub("^.*@", "…@")
end

local SCHEMES = { http = true, https = true, socks4 = true, socks4a = true, socks5 = true, socks5h = true }

local function look_at_proxy(add)
  local found, wrong = {}, nil
  for _, name in ipairs { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY" } do
    local value = os.getenv(name)
    if value and value ~= "" then
      found[#found + 1] = name .. "=" .. without_password(value)
      local scheme = value:match "^(.-)://"
      if scheme and not SCHEMES[scheme:lower()] and not name:lower():find "^no" then wrong = name end
    end
  end
  if wrong then return add("proxy", "bad", wrong .. " names none that curl knows: http://HOST:PORT, or socks5h://…") end
  add("proxy", "ok", #found == 0 and "none is set" or table.concat(found, " "))
end

local function look_at_ca(add)
  local path = os.getenv "DPG_CA_FILE"
  if not path or path == "" then return add("certificates", "ok", "the system's") end
  local bytes = system.read_file(path)
  if not bytes then
    add("certificates", "bad", "DPG_CA_FILE names " .. path .. ", which can't be read: mend or unset it")
  elseif not bytes:find("-----BEGIN [%u ]*CERTIFICATE-----") then
    add("certificates", "bad", "DPG_CA_FILE names " .. path .. ", which holds no certificate (PEM): mend or unset it")
  else
    add("certificates", "ok", path .. " (DPG_CA_FILE)")
  end
end

local function is_private(letters)
  return letters:sub(5, 10) == "------"
end

local function look_at_lock(add, path)
  if not system.size(path .. ".lock") then return add("lock", "ok", "nobody has the session") end
  if not system.run "command -v flock >/dev/null 2>&1" then
    return add("lock", "note", "not looked at: there is no flock command here")
  end
  if system.run("flock -n " .. system.quote(path .. ".lock") .. " true") then
    return add("lock", "ok", "nobody has the session")
  end
  add("lock", "note", "another process has the session at this moment: should it stay so, look for a dpg that hangs")
end

local function look_at_file(add, args, path)
  local letters = system.mode(path)
  if not letters and session.has_token(args) then return add("session", "ok", "none is needed: DPG_TOKEN acts") end
  if not letters then return add("session", "note", "none is kept in " .. path .. ": dpg login makes one") end
  if letters:sub(1, 1) ~= "-" then return add("session", "bad", path .. " is no plain file: move it away") end
  if not is_private(letters) then
    return add("session", "bad", "others may read " .. path .. ": chmod 600 it, and sign in anew with dpg login "
      .. "--again")
  end
  add("session", "ok", path .. " is private")
end

-- A record is written, locked and replaced beside the session, the way the session is.
local function look_at_store(add, folder)
  if not system.make_private_folder(folder) then
    return add("store", "bad", folder .. " can't be made: look at the modes of the folders above it")
  end
  local letters = system.mode(folder) or ""
  if letters:sub(6, 6) == "w" or letters:sub(9, 9) == "w" then
    return add("store", "bad", "others may write in " .. folder .. ": chmod 700 it")
  end
  local trial = folder .. "/.doctor"
  local function sweep() os.execute("rm -f " .. system.quote(trial) .. " " .. system.quote(trial) .. ".*") end
  sweep()
  local ok, report = pcall(dpg.store.check, dpg.store.file(trial))
  sweep()
  if not ok then
    return add("store", "bad", (select(2, failure.describe(report, true))))
  end
  if report.ok then return add("store", "ok", ("%s keeps its %d promises"):format(folder, #report)) end
  for _, one in ipairs(report) do
    if not one.ok then
      return add("store", "bad", ("%s is no place for a session: %s (expected: %s): use a folder on a local disk with "
        .. "room (XDG_STATE_HOME)"):format(folder, tostring(one.message), one.name))
    end
  end
end

-- --- there ---------------------------------------------------------------------------------------------------------

local MONTHS = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12,
}

---Unix seconds of an HTTP date (RFC 9110 section 5.6.7).
---@param text string
---@return integer? seconds
function M.http_date(text)
  local day, month, year, hour, minute, second = text:match "^%a+, (%d+) (%a+) (%d+) (%d+):(%d+):(%d+) GMT$"
  if not MONTHS[month] then return nil end
  local y, m = tonumber(year), MONTHS[month]
  if m <= 2 then y, m = y - 1, m + 12 end
  local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400)
    + math.floor((153 * (m - 3) + 2) / 5) + tonumber(day) - 719469
  return ((days * 24 + tonumber(hour)) * 60 + tonumber(minute)) * 60 + tonumber(second)
end

local function look_at_clock(add, date)
  local there = date and M.http_date(date)
  if not there then return add("clock", "note", "the server's answer has no date to compare with") end
  local off = os.time() - there
  if math.abs(off) <= CLOCK_OFF_S then return add("clock", "ok", "as the server's") end
  add("clock", "bad", ("%d s %s the server's: turn on time synchronisation (timedatectl set-ntp true)"):format(
    math.abs(off), off > 0 and "ahead of" or "behind"))
end

local function look_at_scopes(add, me)
  local has, missing = {}, {}
  for _, scope in ipairs(me.capabilities) do has[scope] = true end
  for _, scope in ipairs(SCOPES) do
    if not has[scope] then missing[#missing + 1] = scope end
  end
  if #missing == 0 then return add("scopes", "ok", "all " .. #SCOPES) end
  add("scopes", "note", "not granted: " .. table.concat(missing, " ") .. "; commands that need them will say so")
end

local NAMES = {
  tls = "TLS", network = "line", timeout = "line", protocol = "line", storage = "session", base_url = "line",
  ca_file = "certificates",
}

local function look_at_refusal(add, err)
  local name = type(err) == "table" and (err.code == "api_not_enabled" and "API access" or NAMES[err.kind]
    or NAMES[err.field]) or "who"
  local _, text = failure.describe(err, true)
  add(name, "bad", text)
end

-- Who is asking? Where nobody can, whether DPG answers is seen from how it refuses a stranger.
local function ask(args)
  local once = { deadline = 20, timeout = 10, retry = false }
  local ok, gallery = pcall(session.open, args)
  if ok then return gallery:me(once) end
  local settings = session.settings(args)
  settings.token = "nobody"
  local stranger, err = dpg.service(settings)
  if not stranger then return nil, err end -- the address itself is wrong
  return nil, select(2, stranger:me(once)), gallery
end

local function look_at_line(add, args, base_url)
  local me, answer, nobody = ask(args)
  if me or answer.kind == "auth" or answer.kind == "api" then
    add("line", "ok", base_url)
    add("TLS", "ok", base_url:match "^https:" and "the certificate is trusted" or "none, on this machine alone")
  end
  if me then
    add("API access", "ok", "turned on for " .. tostring(me.account and me.account.name))
    look_at_clock(add, answer.date)
    add("who", "ok", me.user and "signed in as " .. tostring(me.user.name)
      or "a service token, " .. tostring(me.service_token and me.service_token.name))
    return look_at_scopes(add, me)
  end
  if not nobody or answer.kind ~= "auth" then look_at_refusal(add, answer) end
  if nobody then look_at_refusal(add, nobody) end
end

-- --- the report ----------------------------------------------------------------------------------------------------

local MARKS = { ok = "ok", note = "note", bad = "BAD" }
local PAINT = { ok = out.green, note = out.bold, bad = out.red }

local function doctor(args)
  local findings, add = new_findings()
  local base_url = session.settings(args).base_url or "https://api.digitalphotogallery.com/v1"
  local path, folder = session.path(args), session.folder()
  add("dpg", "ok", dpg._VERSION .. ", " .. (rawget(_G, "jit") and rawget(_G, "jit").version or _VERSION))
  look_at_proxy(add)
  look_at_ca(add)
  look_at_store(add, folder)
  look_at_file(add, args, path)
  look_at_lock(add, path)
  look_at_line(add, args, base_url)
  local bad = 0
  for _, one in ipairs(findings) do
    if one.state == "bad" then bad = bad + 1 end
  end
  if args.json then
    out.json(dpg.array(findings))
  else
    for _, one in ipairs(findings) do
      out.line(("%s%s  %-13s %s"):format(PAINT[one.state](MARKS[one.state]), (" "):rep(4 - #MARKS[one.state]), one.name,
        out.plain(one.text)))
    end
  end
  if bad > 0 then failure.raise(failure.FAILED, ("%d of %d things are to be mended: see "
    .. "above"):format(bad, #findings)) end
end

function M.add(parser)
  local command = takes.command(parser, "doctor", "Look at what can be wrong between this machine and DPG",
    "The proxy, certificates, the session's file, its folder and its lock, the line, TLS, API access, the clock, the "
      .. "scopes. Each line says ok, note or BAD, and what to do. The status is 1 where something is BAD.")
  command:flag "--json":description "as JSON"
  command:action(function(args) args.run = doctor end)
end

return M
