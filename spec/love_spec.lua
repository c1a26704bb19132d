-- LÖVE: the slideshow of examples/love, played by a person who looks at the screen and types; and programs without a
-- window that make, use and leave things. LOVE_ROUNDS and LOVE_QUITS say how often (fewer in the suite).
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local loves = require "support.love"
local process = require "support.process"
local record_of = require "support.record".read
local socket = require "socket"

if not loves.is_here then return end

local ROUNDS, QUITS = tonumber(os.getenv "LOVE_ROUNDS") or 100, tonumber(os.getenv "LOVE_QUITS") or 3

describe("LÖVE", function()
  local missing = loves.missing()
  if missing then
    it("shows sets as a slideshow", function() pending(missing) end)
    return
  end

  describe("with the slideshow", function()
    local box, home

    before_each(function()
      box = boxes.start { images = 12, rotation = "strict" }
      home = process.folder()
    end)
    after_each(function() box:stop() end)

    local function play(script)
      local person = box.people.omar
      return loves.play("examples/love", "local person = ...\n" .. script, {
        DPG_BASE_URL = box.base_url, XDG_DATA_HOME = home, HOME = home, LOGIN = person.login,
        PASSWORD = person.password, CODE = person.code, FOLDER = home,
      })
    end

    local store = function() return home .. "/love/dpg-slideshow/session" end

    local SIGN_IN = [[
      person.look_for "Login"
      person.type(os.getenv "LOGIN")
      person.press "tab"
      person.type(os.getenv "PASSWORD")
      person.press "return"
      person.look_for "Two-factor code"
      person.type(os.getenv "CODE")
      person.press "return"
      person.look_for "Choose a set"
    ]]

    local function assert_no_harm(sign_ins)
      local report = box:report()
      assert.same({ 0, 0, sign_ins }, { report.presented_more_than_once, report.families_revoked, report.sign_ins })
    end

    it("says in the form what is wrong, takes a code, and shows pictures in little memory", function()
      local game = play([[
        person.look_for "Login"
        person.type(os.getenv "LOGIN" .. "ß")
        person.look_for(os.getenv "LOGIN" .. "ß")
        person.press "backspace"
        person.wait_for(function() return not person.sees "ß" and person.sees(os.getenv "LOGIN") end)
        person.press "return"
        person.type "not it"
        person.press "return"
        person.look_for "That login and password don't belong together."
        assert(person.sees(os.getenv "LOGIN"), "the login is still there")
        person.type(os.getenv "PASSWORD")
        person.wait()
        assert(not person.screen():find(os.getenv "PASSWORD", 1, true), "the password can be read")
        person.click "Sign in"
        person.look_for "Two-factor code"
        person.type "00 00-00"
        person.press "return"
        person.look_for "That code is not right"
        person.type(os.getenv "CODE")
        person.click "Confirm"
        person.look_for "Choose a set"
        person.look_for "Friday"
        person.press "return"
        person.look_for "©"
        for _ = 1, 5 do
          person.press "right"
          person.wait_for(function() return not person.sees "©" end)
          person.look_for "©"
        end
        -- the one that is shown, those that come, and what fades away
        local megabytes = love.graphics.getStats().texturememory / 2 ^ 20
        assert(megabytes < 8, "the textures take " .. megabytes .. " MiB")
        person.press "space"
        person.press "escape"
        person.look_for "Choose a set"
        person.say "seen"
        person.quit()
      ]])
      game:expect "seen"
      assert.equal(0, game:wait(), game:said())
      assert.truthy(process.shell("stat -c %a " .. store()) == "600")
      assert.is_true(box:count { server = "cdn", status = 200 } >= 6)
      assert_no_harm(1)
    end)

    it("quits in the middle of an exchange, goes on without a password, and out when it is told to", function()
      box:set { access_token_life = 1 } -- the next visit begins with an exchange
      local game = play(SIGN_IN .. "person.quit()")
      assert.equal(0, game:wait(), game:said())
      box:set { access_token_life = 900 }
      local old = record_of(store())

      box:fault { path = "/auth/token", hold = true }
      box:reset_seen()
      game = play [[
        person.wait_for_file(os.getenv "FOLDER" .. "/go")
        person.say "leaving"
        person.quit()
      ]]
      assert(box:wait_seen { path = "/auth/token" })
      assert.is_true(record_of(store()).marked)
      process.write_file(home .. "/go", "")
      game:expect "leaving"
      socket.sleep(0.1) -- it gets on with its end; however far, the answer comes behind its decision
      box:release()
      assert.equal(0, game:wait(), game:said())
      local new = record_of(store())
      assert.is_false(new.marked)
      assert.are_not.equal(old.id, new.id)

      game = play [[
        person.look_for "Friday"
        person.say "resumed"
        person.wait_for_file(os.getenv "FOLDER" .. "/revoked")
        person.press "return"
        person.look_for "You have been signed out. Please sign in again."
        person.look_for "Password"
        person.quit()
      ]]
      game:expect "resumed"
      assert_no_harm(1)
      box:revoke_family "omar"
      box:revoke_access_tokens()
      process.write_file(home .. "/revoked", "")
      assert.equal(0, game:wait(), game:said())
      assert.equal(0, box:report().presented_more_than_once)
    end)
  end)

  describe("without a window", function()
    local box, environment

    setup(function()
      box = boxes.start { images = 1, tls = true }
      box:add_blob { size = 50 * 1024 * 1024, seed = 3 }
      environment = { DPG_TOKEN = box.token, DPG_BASE_URL = box.base_url, DPG_CA_FILE = box.ca_file }
    end)
    teardown(function() box:stop() end)

    local function bare(more)
      for name, value in pairs(environment) do more[name] = value end
      return loves.bare(more)
    end

    it("leaves no thread, no descriptor and no memory behind", function()
      local game = bare { LOVE_DOES = "rounds", LOVE_TIMES = ROUNDS }
      for _, most in ipairs { { "threads", 0 }, { "descriptors", 0 }, { "KiB of Lua", 512 }, { "KiB in all", 6144 } } do
        local more, what = (game:read() or ""):match "^(%-?%d+) more (.+)$"
        assert.equal(most[1], what, game:said())
        assert.is_true(tonumber(more) <= most[2], game:said())
      end
      assert.equal(0, game:wait(), game:said())
    end)

    it("wakes up from a long sleep without a storm", function()
      box:set { access_token_life = 1 }
      box:fault { path = "/images", hold = true, times = 8 }
      box:fault { path = "/sets", hold = true, times = 8 }
      local person = box.people.jane
      local game = bare { LOVE_DOES = "sleeps", LOGIN = person.login, PASSWORD = person.password }
      local pid = game:read():match "^pid (%d+)$"
      assert(box:wait_seen({ path = "/images" }, 8))
      os.execute("kill -STOP " .. pid)
      socket.sleep(1.5) -- the lid is shut: its calls' deadlines pass, and its access token runs out
      box:set { access_token_life = 900 }
      local exchanges = box:exchanges()
      box:reset_seen()
      os.execute("kill -CONT " .. pid)
      game:expect "8 timed out"
      box:clear_faults()
      game:expect "8 went on"
      assert.equal(0, game:wait(), game:said())
      -- Those who go on ask who they are, and one exchange serves them all: 9 requests. On a slow machine a second one
      -- was under way when the lid shut, and what its token does not live long enough for is asked once more.
      assert.equal(8, box:count { path = "/me", status = 200 })
      assert.is_true(box:exchanges() - exchanges <= 2)
      assert.is_true(box:count {} <= 2 + 8 + 8 + 8)
    end)

    -- restart: six Lua states, one after the other, in one process
    local endings = { { "quit", 7 }, { "exit", 7 }, { "error", 1 }, { "restart", 7 } }

    for i = 1, 3 do
      local ending = endings[i]
      it("ends in the middle of an exchange (" .. ending[1] .. "), and its successor is saved", function()
        local folder = process.folder()
        local store = folder .. "/session"
        dpg.assert(client.sign_in(box, "solo", { store = dpg.store.file(store) }))
        client.close()
        local old = record_of(store)
        box:fault { path = "/auth/token", hold = true }
        box:reset_seen()
        local game = bare { LOVE_DOES = "rotates", LOVE_ENDING = ending[1], LOVE_STORE = store,
          LOVE_FILE = folder .. "/go" }
        assert(box:wait_seen { path = "/auth/token" })
        process.write_file(folder .. "/go", "")
        game:expect "leaving in the middle"
        socket.sleep(0.1) -- it gets on with its end; however far, the answer comes behind its decision
        box:release()
        assert.equal(ending[2], game:wait(), game:said())
        local new = record_of(store)
        assert.is_false(new.marked)
        assert.are_not.equal(old.id, new.id)
      end)
    end

    for _, ending in ipairs(endings) do
      it("ends in the middle of transfers (" .. ending[1] .. ")", function()
        for _ = 1, ending[1] == "restart" and math.ceil(QUITS / 6) or QUITS do
          local game = bare { LOVE_DOES = "quits", LOVE_ENDING = ending[1], LOVE_FILE = process.folder() .. "/count" }
          game:expect "leaving in the middle"
          assert.equal(ending[2], game:wait(), game:said())
        end
      end)
    end
  end)
end)
