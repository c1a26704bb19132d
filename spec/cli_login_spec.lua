-- dpg login, logout, whoami: a person at a real terminal, and lines in a pipe.
local boxes = require "support.box"
local process = require "support.process"
local terminal = require "support.terminal"

if process.name ~= "lua5.4" or (os.getenv "CHECKER" or "") ~= "" then return end -- Lua alone: one says it all

describe("dpg login", function()
  local box, environment

  setup(function() box = boxes.start { images = 3 } end)
  teardown(function() box:stop() end)
  before_each(function()
    environment = { DPG_BASE_URL = box.base_url, XDG_STATE_HOME = process.folder() }
  end)

  local function at_terminal(words, options)
    if not terminal.is_there() then pending "there is no `script` (bsdutils) to make a terminal" end
    return terminal.start(words, environment, options)
  end

  local function lines(...) return table.concat({ ... }, "\n") .. "\n" end

  it("shows neither the password nor the code, and later commands ask for nothing", function()
    local omar, screen = box.people.omar, at_terminal { "login" }
    screen:expect "Login: "
    screen:type(omar.login .. "\n")
    screen:expect "Password: "
    screen:type(omar.password .. "\n")
    screen:expect "Two-factor code: "
    screen:type "000000\n"
    screen:expect "That was not it. Two-factor code: "
    screen:type(omar.code .. "\n")
    local status, shown = screen:wait()
    assert.equal(0, status)
    assert.truthy(shown:find("signed in", 1, true))
    assert.truthy(shown:find("northlight", 1, true))
    assert.is_nil(shown:find(omar.password, 1, true))
    assert.is_nil(shown:find(omar.code, 1, true))
    assert.is_nil(shown:find("000000", 1, true))

    local code, said = terminal.pipe({ "whoami" }, environment)
    assert.equal(0, code)
    assert.truthy(said:find("person\tOmar Haddad\n", 1, true))
    assert.equal("-rw-------", process.shell("ls -l " .. environment.XDG_STATE_HOME .. "/dpg/default"):sub(1, 10))
  end)

  it("gives the echo back after Ctrl-C", function()
    local screen = at_terminal { "login", "jane@example.com" }
    screen:expect "Password: "
    screen:type "secr\3"
    local status, shown = screen:wait()
    assert.equal(130, status)
    assert.truthy(shown:find("dpg: interrupted", 1, true))
    assert.is_nil(shown:find("secr", 1, true))
    assert.is_nil(shown:find("THE ECHO IS OFF", 1, true))
  end)

  it("asks again after Ctrl-Z and fg, and shows the password then neither", function()
    local jane = box.people.solo
    local screen = at_terminal({ "login", jane.login }, { is_stopped = true })
    screen:expect "Password: "
    screen:type "secr\26"
    screen:expect "STOPPED"
    screen:expect "Password: "
    screen:type(jane.password .. "\n")
    local status, shown = screen:wait()
    assert.equal(0, status, shown)
    assert.is_nil(shown:find("secr", 1, true))
    assert.is_nil(shown:find(jane.password, 1, true))
    assert.is_nil(shown:find("THE ECHO IS OFF", 1, true))
  end)

  it("takes a line for each answer where there is no terminal", function()
    local jane = box.people.jane
    local status, _, talk = terminal.pipe({ "login" }, environment, lines(jane.login, jane.password))
    assert.equal(0, status, talk)
    assert.equal(2, (terminal.pipe({ "whoami" }, environment))) -- two accounts: which?
    assert.equal(0, (terminal.pipe({ "whoami", "--account", "harbourstreet" }, environment)))
    assert.equal(0, (terminal.pipe({ "login", "--account", "northlight" }, environment)))
    assert.equal(0, (terminal.pipe({ "whoami" }, environment)))
  end)

  it("keeps the account that was said once for all, as long as it is the person's", function()
    local jane, omar = box.people.jane, box.people.omar
    local function login(...) return (terminal.pipe({ "login", "--again" }, environment, lines(...))) end
    local account = environment.XDG_STATE_HOME .. "/dpg/default.account"
    assert.equal(0, (terminal.pipe({ "login", "--account", "harbourstreet" }, environment,
      lines(jane.login, jane.password))))
    assert.equal(0, (terminal.pipe({ "login" }, environment)))
    assert.equal(0, (terminal.pipe({ "whoami" }, environment)))
    assert.equal(0, login(jane.login, jane.password))
    assert.equal(0, (terminal.pipe({ "whoami" }, environment)))
    assert.equal(0, login(omar.login, omar.password, omar.code)) -- who has another one
    assert.is_nil(process.read_file(account))
  end)

  it("does not go on as one person for another", function()
    local jane, omar = box.people.jane, box.people.omar
    assert.equal(0, (terminal.pipe({ "login" }, environment, lines(jane.login, jane.password))))
    assert.equal(0, (terminal.pipe({ "login", jane.login:upper() }, environment)))
    box:fault { path = "/me", status = 403, body = '{"error":{"code":"api_not_enabled","message":"Off."}}' }
    assert.equal(0, (terminal.pipe({ "login", jane.login }, environment)))
    local status, said, talk = terminal.pipe({ "login", omar.login }, environment)
    assert.equal(3, status)
    assert.equal("", said)
    assert.equal("dpg: jane@example.com is signed in here: --again signs omar@example.com in instead, --profile NAME "
      .. "keeps both\n", talk)
    assert.equal(0, (terminal.pipe({ "login", "--again", omar.login }, environment, lines(omar.password, omar.code))))
    assert.truthy(select(2, terminal.pipe({ "whoami" }, environment)):find("Omar Haddad", 1, true))
  end)

  it("says that DPG_TOKEN goes before the session, and how to come to it", function()
    local jane = box.people.solo
    environment.DPG_TOKEN = box.token
    local status, _, talk = terminal.pipe({ "login" }, environment, lines(jane.login, jane.password))
    assert.equal(0, status)
    assert.truthy(talk:find("DPG_TOKEN is set, and goes before this session: unset it, or say --profile default\n", 1,
      true), talk)
    assert.truthy(select(2, terminal.pipe({ "whoami", "--profile", "default" }, environment)):find("person\t", 1, true))
    _, _, talk = terminal.pipe({ "login", "--profile", "default" }, environment)
    assert.is_nil(talk:find("DPG_TOKEN", 1, true))
  end)

  it("says how to get on where a session of another server is kept, and takes its place", function()
    local jane, there = box.people.solo, boxes.start { images = 1 }
    finally(function() there:stop() end)
    assert.equal(0, (terminal.pipe({ "login" }, environment, lines(jane.login, jane.password))))
    local elsewhere = { DPG_BASE_URL = there.base_url, XDG_STATE_HOME = environment.XDG_STATE_HOME }
    for _, words in ipairs { { "ls" }, { "login" } } do
      local status, _, talk = terminal.pipe(words, elsewhere)
      assert.equal(2, status)
      assert.truthy(talk:find("is DPG_BASE_URL right? --profile NAME keeps another session beside it, dpg login "
        .. "--again replaces it, dpg logout forgets it", 1, true), talk)
    end
    assert.equal(3, (terminal.pipe({ "login", "--again" }, elsewhere, lines(jane.login, "not-her-word"))))
    assert.equal(0, (terminal.pipe({ "whoami" }, environment))) -- the old one is there still
    local omar = there.people.omar
    local answers = lines(omar.login, omar.password, omar.code)
    local status, _, talk = terminal.pipe({ "login", "--again" }, elsewhere, answers)
    assert.equal(0, status, talk)
    assert.truthy(talk:find("signing in replaces it\n", 1, true), talk)
    assert.truthy(select(2, terminal.pipe({ "whoami" }, elsewhere)):find("Omar Haddad", 1, true))
    assert.equal("default\ndefault.lock", process.shell("ls -A " .. environment.XDG_STATE_HOME .. "/dpg"))
    assert.equal(0, (terminal.pipe({ "logout" }, environment)))
    assert.equal(3, (terminal.pipe({ "whoami" }, environment)))
  end)

  it("keeps profiles apart, and forgets the one that logs out", function()
    local jane, omar = box.people.solo, box.people.omar
    assert.equal(0, (terminal.pipe({ "login", "-p", "one" }, environment, lines(jane.login, jane.password))))
    assert.equal(0, (terminal.pipe({ "login", "-p", "two" }, environment, lines(omar.login, omar.password, omar.code))))
    assert.equal(0, (terminal.pipe({ "logout", "-p", "one" }, environment)))
    local status, _, talk = terminal.pipe({ "whoami", "-p", "one" }, environment)
    assert.equal(3, status)
    assert.truthy(talk:find("sign in with dpg login", 1, true))
    environment.DPG_PROFILE = "two"
    assert.truthy(select(2, terminal.pipe({ "whoami" }, environment)):find("Omar Haddad", 1, true))
  end)

  it("says that a password is wrong, by its status as well, and never repeats it", function()
    local status, _, talk = terminal.pipe({ "login" }, environment, lines("jane@example.com", "not-her-word"))
    assert.equal(3, status)
    assert.truthy(talk:find("try again", 1, true))
    assert.is_nil(talk:find("not-her-word", 1, true))
    status = terminal.pipe({ "login", "-p", "../x" }, environment)
    assert.equal(2, status)
  end)

  it("says so when nobody answers", function()
    local status, _, talk = terminal.pipe({ "login" }, environment)
    assert.equal(3, status)
    assert.truthy(talk:find("nobody has answered 'Login'", 1, true))
  end)
end)

describe("whoami", function()
  local box
  setup(function() box = boxes.start { images = 3 } end)
  teardown(function() box:stop() end)

  it("shows a service token's name and scopes; as JSON, too; a profile that is named goes before DPG_TOKEN", function()
    local environment = { DPG_BASE_URL = box.base_url, XDG_STATE_HOME = process.folder(), DPG_TOKEN = box.token }
    local status, said = terminal.pipe({ "whoami" }, environment)
    assert.equal(0, status)
    assert.truthy(said:find("^service token\tMy integration\naccount\tNorthlight Festival\ncapabilities\tapi%."))
    status, said = terminal.pipe({ "whoami", "--json" }, environment)
    assert.equal(0, status)
    assert.truthy(said:find('^{"account":{'))
    assert.equal(3, (terminal.pipe({ "whoami", "--profile", "nobody" }, environment)))
  end)
end)
