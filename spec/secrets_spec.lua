-- No secret is ever in an error, an event, a tostring or a field: everything that sessions raise, return and emit is
-- searched for the tokens, passwords and codes in use.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"

local function search(value, secrets, where, seen)
  local text = type(value) == "string" and value or tostring(value)
  for name, secret in pairs(secrets) do
    assert(not text:find(secret, 1, true), where .. " shows " .. name)
  end
  if type(value) ~= "table" or seen[value] then return end
  seen[value] = true
  local meta = getmetatable(value)
  if type(meta) == "table" then search(meta, secrets, where .. " (metatable)", seen) end
  for key, one in pairs(value) do
    search(key, secrets, where .. " (key)", seen)
    search(one, secrets, where .. "." .. tostring(key), seen)
  end
end

describe("secrets", function()
  local box, events, secrets, folder

  local function listen(name, event) events[#events + 1] = { name, event } end
  local function look(where, ...)
    for i = 1, select("#", ...) do search((select(i, ...)), secrets, where, {}) end
  end

  before_each(function()
    box = boxes.start()
    events = {}
    folder = client.folder()
    secrets = { ["the service token"] = box.token, ["a read token"] = box.tokens.read }
    for name, person in pairs(box.people) do
      secrets["the password of " .. name] = person.password
      if person.code then secrets["the code of " .. name] = person.code end
    end
  end)
  after_each(function()
    for _, event in ipairs(events) do look("an event", event) end
    client.close()
    box:stop()
    os.execute("rm -rf '" .. folder .. "'")
  end)

  local faults = {
    { status = 401 }, { status = 403 }, { status = 429, retry_after = "300" }, { status = 500 }, { html = true },
    { garbage = true }, { reset = true }, { drop = "half" }, { status = 200, body = "{" },
  }

  it("are not in what a service session shows, whatever goes wrong", function()
    local gallery = client.service(box, { on_event = listen, retry = { base = 0.001, attempts = 2 }, deadline = 5 })
    look("the session", gallery, tostring(gallery))
    for _, fault in ipairs(faults) do
      fault.path, fault.times = "/me", 2
      box:fault(fault)
      look("an error", gallery:me())
      box:clear_faults()
      client.close() -- no closed gate is left
    end
    look("answers", gallery:me())
    look("a page", gallery.images:list { limit = 2 })
    look("an iterator", gallery.images:each())
    assert.is_true(#events > 10)
  end)

  it("are not in an error when the server echoes them", function()
    local gallery = client.service(box, { on_event = listen, retry = false })
    local words = '{"error":{"code":"unauthorized","message":"no ' .. box.token .. '","detail":"' .. box.token .. '"}}'
    box:fault { path = "/me", status = 401, body = words }
    look("an error", gallery:me())
    local person = box.people.jane
    words = '{"error":{"code":"unauthorized","message":"wrong: ' .. person.password .. '"}}'
    box:fault { path = "/auth/sign_in", status = 401, body = words }
    look("an error of signing in", client.sign_in(box, "jane", { on_event = listen }))
  end)

  it("are not in what signing in shows, whatever goes wrong", function()
    for _, path in ipairs { "/auth/sign_in", "/auth/mfa" } do
      for _, fault in ipairs(faults) do
        fault.path, fault.times = path, 1
        box:fault(fault)
        look("an error of " .. path, client.sign_in(box, "omar", {
          on_event = listen, deadline = 1, mfa = function() return box.people.omar.code end,
        }))
        box:clear_faults()
        client.close()
      end
    end
  end)

  it("are not in what a person shows, and no refresh or access token is", function()
    local store = dpg.store.file(folder .. "/session")
    local session, user = client.person(box, "jane", { store = store, on_event = listen })
    dpg.assert(session:me())
    local file = assert(io.open(folder .. "/session"))
    local record = file:read "*a"
    file:close()
    local n = 0
    for token in record:gmatch '"(dpg_[%w_%-%.]+)"' do
      n = n + 1
      secrets["token " .. n .. " of the record"] = token
    end
    assert.is_true(n >= 2) -- the refresh token and an access token
    look("the user", user, tostring(user), store, tostring(store))
    look("the session", session, tostring(session))
    box:fault { path = "/auth/token", status = 500, times = 3 }
    box:revoke_family "jane"
    box:revoke_access_tokens()
    look("an error", session:me { deadline = 3 })
    look("signing out", user:sign_out())
    look("what is left", session:me())
  end)
end)
