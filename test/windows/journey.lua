-- A session's life on Windows: run by lua.exe, against a sandbox that speaks TLS and runs elsewhere
-- (tools/windows/journey starts it). In two parts, so that the second is another process: "first" signs in, "next"
-- resumes. What it needs comes in the environment; what went right is printed, one line each.
local dpg = require "dpg"

local part = arg[1]
local base_url, ca_file = os.getenv "JOURNEY_BASE_URL", os.getenv "JOURNEY_CA"
local folder = os.getenv "JOURNEY_FOLDER" .. "\\Fotos – Jürgen"
local store = dpg.store.file(os.getenv "JOURNEY_HOME" .. "\\session") -- as it comes: in the code page of the system
local rotations = 0

local function said(what) print("ok " .. what) end

local function common(more)
  more.base_url, more.ca_file, more.store = base_url, ca_file, store
  more.on_event = function(name) if name == "rotated" then rotations = rotations + 1 end end
  return more
end

-- Calls until the token has been replaced: those that the sandbox gives live for two seconds.
local function use(user)
  local work = dpg.assert(user:account(user.accounts[1].uuid))
  local before = rotations
  repeat
    dpg.assert(work.images:list { limit = 1 })
  until rotations > before + 1
  return work
end

if part == "first" then
  assert(package.config:sub(1, 1) == "\\", "this is not Windows")

  -- nobody whose certificate another authority has signed is spoken to
  for _, wrong in ipairs { os.getenv "JOURNEY_WRONG_CA", false } do
    local gallery = dpg.assert(dpg.service { base_url = base_url, ca_file = wrong or nil, token = "t", retry = false })
    local me, err = gallery:me()
    assert(not me and err.kind == "tls" and err.code == "certificate_invalid", tostring(err))
    said("a certificate of another authority is refused: " .. (wrong and "ca_file" or "Windows' own authorities"))
    if os.getenv "JOURNEY_WINE" then break end -- wine takes any certificate when no ca_file is given
  end
  local nobody, err = dpg.service { base_url = base_url, ca_file = "C:\\none\\ca.pem", token = "t" }
  if nobody then nobody, err = nobody:me() end
  assert(not nobody and err.code == "ca_file_unreadable", tostring(err))

  local user = dpg.assert(dpg.sign_in(common {
    login = os.getenv "JOURNEY_LOGIN", password = os.getenv "JOURNEY_PASSWORD",
    device = { identifier = "journey", name = "A journey", platform = "windows" },
    mfa = function() return os.getenv "JOURNEY_CODE" end,
  }))
  said("signed in with two factors")
  use(user)
  said("rotated")
else
  local user = dpg.assert(dpg.resume(common {}))
  said("resumed in another process")
  local work = use(user)
  said("rotated again")

  local path = folder .. "\\bild ö.jpg"
  local bytes = {}
  for i = 1, 300000 do bytes[i] = string.char(i * 7 % 251) end
  bytes = table.concat(bytes)
  local file = assert(require "dpg.disk".open(path, "wb"))
  file:write(bytes)
  file:close()
  local sent = dpg.assert(work.uploads:send(path, { title = "Journey" }))
  local got = dpg.assert(work.downloads:save(sent.public_uuid, folder .. "\\zurück.jpg", { version = "original" }))
  file = assert(require "dpg.disk".open(got, "rb"))
  assert(file:read "*a" == bytes, "what came back is not what was sent")
  file:close()
  got = dpg.assert(work.downloads:save(sent.public_uuid, folder, { version = "original", overwrite = true }))
  assert(require "dpg.disk".size(got) == #bytes)
  said("a file went up and came back, under names with umlauts, and into a folder")

  -- the same, with the engine on a thread of its own
  local loop, names = dpg.loop(), nil
  loop:spawn(function() names = dpg.assert(work.keywords:list()) end)
  local until_ = os.time() + 60
  while not names and os.time() < until_ do loop:step() end
  assert(names, "the loop came to no end")
  said("called from a game's loop")

  user:sign_out()
  local none, problem = dpg.resume(common {})
  assert(not none and problem.code == "sign_in_required")
  said("signed out")
end
