-- A whole program that shows whatever it gets hold of: every object with its fields and metatables, every event, error
-- and traceback, on stdout and stderr. No token, password or code is in it, known or told by its looks.
-- (secrets_spec.lua looks at single objects; test/run searches the output of every suite.)
describe("a program that prints everything", function()
  local process = require "support.process"

  local script = [==[
    local known_path, folder = ...
    local dpg = require "dpg"
    local box = require "dpg.sandbox".start{}
    local known = assert(io.open(known_path, "w"))
    for _, token in pairs(box.tokens) do known:write(token, "\n") end
    for _, person in pairs(box.people) do known:write(person.password, "\n") end
    local omar = box.people.omar
    known:write(omar.code, "\n")

    local seen = {}
    local function dump(value, indent)
      io.write(indent, tostring(value), "\n")
      if type(value) ~= "table" or seen[value] then return end
      seen[value] = true
      for key, one in pairs(value) do
        io.write(indent, tostring(key), " =\n")
        dump(one, indent .. " ")
      end
      local meta = getmetatable(value)
      if type(meta) == "table" then dump(meta, indent .. " meta ") end
    end

    local shown = 0
    local function show(what, ...)
      shown = shown + 1
      print("== " .. what)
      for i = 1, select("#", ...) do
        local value = select(i, ...)
        dump(value, "")
        io.stderr:write(tostring(value), "\n")
      end
      print(select(2, xpcall(function(...) dpg.assert(nil, (select(select("#", ...), ...))) end,
        function(problem) return debug.traceback(tostring(problem)) end, ...)))
    end

    local function on_event(name, event)
      print("event " .. name)
      dump(event, " ")
      if name == "rotated" then error(event) end -- said once on stderr
    end

    local path = folder .. "/session"
    local function sign_in(password, mfa)
      return dpg.sign_in{
        base_url = box.base_url, login = omar.login, password = password, mfa = mfa, on_event = on_event,
        device = { identifier = "a", name = "b", platform = "c" }, store = dpg.store.file(path),
      }
    end
    local function note() -- what the store holds by now
      for token in (io.open(path):read "*a"):gmatch '"(dpg_[%w_]+)"' do known:write(token, "\n") end
    end

    show("a wrong password", sign_in "not-this-password")
    local _, question = sign_in(omar.password)
    show("a question", question, question.challenge)
    show("a wrong code", question.challenge:answer "000001")
    show("wrong codes from a function", sign_in(omar.password, function() return "000001" end))
    local user, err = sign_in(omar.password, function() return omar.code end)
    show("a person", user, err)
    local session = user:account(user.accounts[1].uuid)
    show("a session", session, session.images, session.sets)
    box:set{ access_token_life = 0 } -- whatever is given is dead: each call makes two exchanges, and a 401
    for _ = 1, 3 do
      note()
      show("a call", session:me())
    end
    box:set{ access_token_life = 900 }
    show("a call", session:me())
    show("a page", session.images:list{ limit = 2 })
    show("an iterator", session.images:each{ limit = 1 })
    show("an error", session.images:get "nothing")
    show("an update", session.images:update(session.images:list{ limit = 1 }.items[1].public_uuid, { title = "x" }))
    note()

    os.remove(path)
    os.execute("mkdir '" .. path .. "'")
    box:revoke_access_tokens()
    show("a folder in the file's place", session:me())
    os.execute("rmdir '" .. path .. "'")
    show("resuming from nothing", dpg.resume{ base_url = box.base_url, store = dpg.store.file(path) })
    local gallery = dpg.service{ base_url = box.base_url, token = box.token, on_event = on_event }
    show("a service session", gallery)
    show("a call", gallery:me())
    show("a token that was withdrawn", dpg.service{ base_url = box.base_url, token = box.tokens.revoked }:me())
    show("a token that is none", dpg.service{ base_url = box.base_url, token = box.token .. "\n" })
    show("a token that is none", pcall(dpg.service, { base_url = box.base_url, token = { box.token } }))

    box:set{ access_token_life = 0 }
    user = dpg.assert(sign_in(omar.password, function() return omar.code end))
    session = user:account(user.accounts[1].uuid)
    note()
    box:fault{ path = "/auth/token", html = true, times = 2 }
    show("an exchange that is answered by HTML", session:me())
    note()
    box:revoke_family "omar"
    show("a family that was revoked", session:me())
    show("signing out", user:sign_out())
    show("a call after that", session:me())
    show("everything", dpg)
    print("shown " .. shown)
    known:close()
    box:stop()
    error(select(2, session:me())) -- lua itself prints this one
  ]==]

  local LOOKS = {
    "dpg_api_live_%x+", "dpg_rt_%x+", "dpg_at_%x+", "dpg_mfa_%x+", "%f[%x-]%x%x%x%x%x%x%-%x%x%x%x%x%x%-%x",
  }

  it("prints no token, password or code", function()
    local folder = process.folder()
    local child = process.start(script, folder .. "/known", folder)
    local status, lines = child:wait()
    local text = table.concat(lines, "\n") .. "\n" .. child:stderr()
    assert.equal(1, status, text)
    assert.truthy(text:find("shown 26", 1, true), text)
    assert.truthy(child:stderr():find("on_event raised", 1, true))
    local count = 0
    for secret in assert(process.read_file(folder .. "/known")):gmatch "[^\n]+" do
      count = count + 1
      local at = text:find(secret, 1, true)
      assert(not at, at and "it shows a secret behind: " .. text:sub(at - 200, at - 1))
    end
    assert.is_true(count > 15) -- 6 service tokens, 3 passwords, a code, and what the store held
    for _, look in ipairs(LOOKS) do
      local at = text:find(look)
      assert(not at, at and "it shows what looks like a secret behind: " .. text:sub(at - 200, at - 1))
    end
  end)
end)
