-- The subcommands that read and change a library, in a pipe and at a terminal; the command line itself.
local boxes = require "support.box"
local json = require "dpg.json"
local process = require "support.process"
local terminal = require "support.terminal"

if process.name ~= "lua5.4" or (os.getenv "CHECKER" or "") ~= "" then return end -- Lua alone: one says it all

describe("dpg", function()
  local box, environment, id, other

  setup(function()
    box = boxes.start { images = 60, operation_polls = 0 }
    environment = { DPG_BASE_URL = box.base_url, XDG_STATE_HOME = process.folder(), DPG_TOKEN = box.token }
    id, other = select(2, terminal.pipe({ "ls", "-n", "2" }, environment)):match "^(%S+)[^\n]*\n(%S+)"
  end)
  teardown(function() box:stop() end)

  local function pipe(...) return terminal.pipe({ ... }, environment) end
  local function fine(...)
    local status, said, talk = terminal.pipe({ ... }, environment)
    assert.equal(0, status, talk)
    return said, talk
  end
  local function image(which) return json.decode((fine("show", "--json", which or id))) end
  local function at_terminal(words, options)
    if not terminal.is_there() then pending "there is no `script` (bsdutils) to make a terminal" end
    return terminal.start(words, environment, options):wait()
  end
  local function count_lines(text) return select(2, text:gsub("\n", "")) end

  describe("ls and search", function()
    it("print lines with tabs in a pipe: 50 at most, --limit or --all", function()
      local said, talk = fine "ls"
      assert.equal(50, count_lines(said))
      assert.truthy(said:find("^[%x-]+\t%d%d%d%d%-%d%d%-%d%d\t[0-5]\t[^\t\n]+\n"))
      assert.equal("there are more: --limit N, or --all\n", talk)
      assert.equal(3, count_lines((fine("ls", "-n", "3"))))
      said, talk = fine("ls", "--all")
      assert.equal(60, count_lines(said))
      assert.equal("", talk)
    end)

    it("print a table with heads at a terminal, in colour unless NO_COLOR is set", function()
      local status, shown = at_terminal { "ls", "-n", "2" }
      assert.equal(0, status)
      assert.truthy(shown:find("\27[1mUUID", 1, true))
      assert.is_nil(shown:find("\t", 1, true))
      environment.NO_COLOR = "1"
      status, shown = at_terminal { "ls", "-n", "2" }
      environment.NO_COLOR = nil
      assert.equal(0, status)
      assert.truthy(shown:find("TITLE", 1, true))
      assert.is_nil(shown:find("\27", 1, true))
    end)

    it("are as wide as the terminal says, else as COLUMNS", function()
      local title = ("x"):rep(180)
      fine("caption", id, "--title", title)
      environment.COLUMNS = "300"
      local _, narrow = at_terminal({ "ls", "-n", "1" }, { columns = 100 })
      local _, wide = at_terminal { "ls", "-n", "1" }
      environment.COLUMNS = nil
      assert.equal(100, #narrow:match "([^\n]*)…\n" + 1)
      assert.truthy(wide:find(title, 1, true))
    end)

    it("take the API's filters, and print JSON", function()
      for title in fine("search", "sunset", "--all"):gmatch "\t([^\t\n]+)\n" do assert.truthy(#title > 0) end
      for stars in fine("ls", "--min-rating", "4", "--all"):gmatch "\t([0-5])\t" do
        assert.is_true(tonumber(stars) >= 4)
      end
      local list = json.decode((fine("ls", "--json", "--rating", "3", "-n", "2")))
      assert.equal(2, #list)
      assert.equal(3, list[1].rating)
      assert.equal("[]\n", (fine("search", "nothing-is-called-so", "--json")))
      assert.equal("", (fine("search", "nothing-is-called-so")))
    end)

    it("let a broken pipe end them, and say nothing", function()
      for _, trap in ipairs { "", "trap '' PIPE; " } do -- by the signal, and where it is ignored by what write() says
        local said = process.shell("(" .. trap .. "env DPG_BASE_URL='" .. box.base_url .. "' DPG_TOKEN='" .. box.token
          .. "' LUA_PATH='" .. package.path .. "' LUA_CPATH='" .. package.cpath .. "' " .. process.lua
          .. " bin/dpg ls --all --json) | head -n 1 | wc -l")
        assert.equal("1", said)
      end
    end)

    it("show what the server sent without letting it steer the terminal", function()
      assert.equal(0, (pipe("caption", other, "--title", "red\27[31m\tand\194\155 more")))
      for _, line in ipairs { fine("search", "red"), fine("show", other) } do
        assert.is_nil(line:find("\27", 1, true))
        assert.is_nil(line:find("\194\155", 1, true))
      end
      assert.truthy(fine("search", "red"):find("red [31m and  more", 1, true))
    end)

    it("show it so in JSON as well, which stays the same, and as the text that it is", function()
      local title = "a\194\155" .. "31mb\226\128\174c\226\129\166d\127e"
      fine("caption", other, "--title", title)
      local said = fine("show", "--json", other)
      assert.truthy(said:find('"a\\u009b31mb\\u202ec\\u2066d\\u007fe"', 1, true), said)
      assert.equal(title, json.decode(said).title)
      assert.truthy(fine("ls", "--json", "-n", "2"):find("a\\u009b31mb", 1, true))
      local function answer_text()
        box:fault { path = "/facets", body = "\27[31mred\nline", headers = { ["Content-Type"] = "text/plain" } }
      end
      answer_text()
      assert.equal("\27[31mred\nline\n", (fine("api", "GET", "/facets")))
      answer_text()
      local _, shown = at_terminal { "api", "GET", "/facets" }
      assert.truthy(shown:find(" [31mred\nline\n", 1, true), shown)
      assert.is_nil(shown:find("\27", 1, true))
    end)
  end)

  it("show prints what is known, and takes ids from a pipe", function()
    local said = fine("show", id)
    assert.truthy(said:find("uuid\t" .. id .. "\n", 1, true))
    assert.truthy(said:find("\nversions\t", 1, true))
    local status, all = terminal.pipe({ "show", "-" }, environment, id .. "\t2025\n" .. other .. "\n" .. id .. "\n")
    assert.equal(0, status)
    assert.equal(2, select(2, all:gsub("uuid\t", "")))
    assert.equal(1, (pipe("show", "00000000-0000-4000-8000-000000000000")))
  end)

  it("show and whoami cut nothing at a terminal", function()
    local text = ("words "):rep(60) .. "END"
    fine("caption", id, "--description", text)
    local _, shown = at_terminal({ "show", id }, { columns = 80 })
    assert.truthy(shown:find("description  " .. text .. "\n", 1, true), shown)
    _, shown = at_terminal({ "whoami" }, { columns = 80 })
    assert.truthy(shown:find(" api%.download\n"), shown)
  end)

  it("rate gives stars, to one and to many", function()
    fine("rate", "5", id)
    assert.equal("1 star: 2 images\n", select(2, fine("rate", "1", other, id)))
    assert.equal(1, image().rating)
    assert.equal(1, image(other).rating)
    assert.equal(2, (pipe("rate", "6", id)))
  end)

  it("says what to do about what is not there, or is empty", function()
    local nowhere = "00000000-0000-4000-8000-000000000000"
    for _, case in ipairs {
      { 1, ": dpg set tree shows them\n", "set", "images", nowhere },
      { 1, ": dpg set snapshots shows them\n", "set", "restore", "Press kit", nowhere },
      { 1, ": dpg keyword ls shows what there is\n", "keyword", "rm", id, "-k", "no-image-bears-it" },
      { 2, "dpg: name must be a text with something in it, not an empty one\n", "set", "create", "" },
    } do
      local status, _, talk = pipe(case[3], case[4], case[5], case[6], case[7])
      assert.equal(case[1], status, talk)
      assert.truthy(talk:find(case[2], 1, true), talk)
    end
  end)

  it("rate ends with 1 and names the image that is not there", function()
    local status, _, talk = pipe("rate", "2", id, "00000000-0000-4000-8000-000000000000")
    assert.equal(1, status)
    local lines = {}
    for line in talk:gmatch "[^\n]+" do lines[#lines + 1] = line:gsub(" %(request [^)]+%)", "") end
    assert.same({
      "dpg: 00000000-0000-4000-8000-000000000000: There is no such image: look for it with dpg search",
      "dpg: 2 images, " .. id .. " to 00000000-0000-4000-8000-000000000000, were not changed: all of them are, or "
        .. "none; leave that one out",
      "dpg: 2 of 2 images were not changed: see above",
    }, lines)
  end)

  it("rate says once what is true of all of a batch", function()
    local ids = {}
    for i = 1, 101 do ids[i] = ("00000000-0000-4000-8000-%012d"):format(i) end
    environment.DPG_TOKEN = box.tokens.revoked
    local status, _, talk = terminal.pipe({ "rate", "2", "-" }, environment, table.concat(ids, "\n"))
    environment.DPG_TOKEN = box.token
    assert.equal(3, status)
    assert.equal(3, select(2, talk:gsub("\n", "")), talk)
    assert.truthy(talk:find(("51 images, %s to %s, were not tried: nothing is sent after"):format(ids[51], ids[101]), 1,
      true), talk)
  end)

  it("caption sets a title, a description and an alt text, and empties them", function()
    fine("caption", id, "--title", "Main Stage", "--description", "At night", "--alt", "A stage")
    local now = image()
    assert.same({ "Main Stage", "At night", "A stage" }, { now.title, now.description, now.alt_text })
    fine("caption", id, "--alt", "")
    assert.equal(json.null, image().alt_text)
    assert.equal(2, (pipe("caption", id)))
    local status, _, talk = pipe("caption", id, "--title", ("x"):rep(192))
    assert.equal(2, status)
    assert.truthy(talk:find("191", 1, true))
  end)

  it("keyword adds, lists, renames and removes", function()
    fine("keyword", "add", id, other, "-k", "spec:one", "-k", "spec two")
    assert.truthy(fine("keyword", "ls", "--namespace", "spec"):find("spec:one\t2\n", 1, true))
    assert.equal("spec:one\t2\n", (fine("keyword", "ls", "PEC:O")))
    assert.equal("one", json.decode((fine("keyword", "ls", "spec:one", "--json")))[1].value)
    assert.equal("", (fine("keyword", "ls", "no.keyword*")))
    fine("keyword", "rename", "spec:one", "spec:three")
    assert.equal(2, count_lines((fine("ls", "-k", "spec:three"))))
    fine("keyword", "rename", "spec:three", "spec:four", other)
    assert.equal(1, count_lines((fine("ls", "-k", "spec:three"))))
    fine("keyword", "rm", id, other, "-k", "spec two")
    assert.equal(0, count_lines((fine("ls", "-k", "spec two"))))
    assert.equal(1, (pipe("keyword", "rename", "nobody-has-it", "x")))
    assert.truthy(json.decode((fine("keyword", "ls", "--json")))[1])
    assert.equal(2, (pipe "keyword"))
  end)

  describe("set", function()
    it("tree shows the tree to people, and paths to a pipe", function()
      assert.truthy(fine("set", "tree"):find("\tNorthlight 2025/Friday\n", 1, true))
      local _, shown = at_terminal { "set", "tree" }
      assert.truthy(shown:find("    Friday\n", 1, true))
      assert.truthy(json.decode((fine("set", "tree", "--json")))[1].children)
    end)

    it("makes, fills, orders, renames and restores one", function()
      fine("set", "create", "Evening", "--parent", "Northlight 2025", "--description", "After dark")
      local set = fine("set", "tree"):match "(%S+)\t0\tNorthlight 2025/Evening\n"
      fine("set", "add", set, id, other)
      fine("set", "order", "Evening", other)
      local first, second = fine("set", "images", "Evening"):match "^(%S+)[^\n]*\n(%S+)"
      assert.same({ other, id }, { first, second })
      fine("set", "rm", "Northlight 2025/Evening", other)
      assert.equal(1, count_lines((fine("set", "images", set))))
      local snapshots = fine("set", "snapshots", set)
      fine("set", "restore", set, snapshots:match "^%S+")
      assert.equal(2, count_lines((fine("set", "images", set))))
      fine("set", "rename", set, "Night")
      assert.equal(1, (pipe("set", "images", "Evening")))
      assert.equal(2, (pipe("set", "order", set, "00000000-0000-4000-8000-000000000000")))
    end)

    it("embargoes, hides and publishes: all of it, or some", function()
      local function hidden(set)
        local count = 0
        for _, one in ipairs(json.decode((fine("set", "images", set, "--json", "--all")))) do
          if one.hidden then count = count + 1 end
        end
        return count
      end
      local _, talk = fine("set", "embargo", "Press kit", "2035-07-01T18:00:00+02:00")
      assert.truthy(talk:find("hidden until 2035-07-01T18:00:00+02:00: ", 1, true))
      local all = hidden "Press kit"
      assert.is_true(all > 1)
      fine("set", "publish", "Press kit", fine("set", "images", "Press kit"):match "^%S+")
      assert.equal(all - 1, hidden "Press kit")
      fine("set", "publish", "Press kit")
      assert.equal(0, hidden "Press kit")
      fine("set", "hide", "Press kit")
      assert.equal(all, hidden "Press kit")
      assert.equal(2, (pipe("set", "embargo", "Press kit", "tomorrow")))
    end)

    it("hides nothing until a moment that is over, which would show it at once", function()
      local ours, count = fine("set", "images", "Press kit", "--json", "--all"), box:count { method = "PUT" }
      -- by the clock of the moment's own zone
      local function moment(seconds, zone) return os.date("!%Y-%m-%dT%H:%M:%S", os.time() + seconds) .. zone end
      for _, over in ipairs { "2020-07-01T18:00:00+02:00", "2020-07-01T18:00Z", moment(-60, "Z"),
        moment(-60 + 7200, "+02:00"), moment(-60 - 12600, ".250-0330") } do
        local status, said, talk = pipe("set", "embargo", "Press kit", over)
        assert.equal(2, status, over)
        assert.equal("", said)
        assert.truthy(talk:find("the moment " .. over .. " is over", 1, true), talk)
      end
      assert.equal(count, box:count { method = "PUT" })
      assert.equal(ours, (fine("set", "images", "Press kit", "--json", "--all")))
      for _, coming in ipairs { moment(600, "Z"), moment(600 + 7200, "+02:00"), moment(600 - 12600, "-03:30") } do
        fine("set", "embargo", "Press kit", coming)
      end
    end)

    it("asks which, where two have the same name", function()
      fine("set", "create", "Friday")
      local status, _, talk = pipe("set", "images", "Friday")
      assert.equal(0, status, talk) -- the whole path is "Friday", which goes before a name further down
      fine("set", "create", "Twins", "--parent", "Landscapes")
      fine("set", "create", "Twins", "--parent", "Portfolio")
      status, _, talk = pipe("set", "images", "Twins")
      assert.equal(2, status)
      assert.truthy(talk:find("Landscapes/Twins", 1, true))
    end)
  end)

  describe("api", function()
    it("sends fields as a query or a body, and prints JSON", function()
      assert.equal(2, #json.decode((fine("api", "get", "/images", "-f", "limit=2"))))
      local operation = json.decode((fine("api", "PUT", "/images/" .. id .. "/rating", "-f", "rating:=4")))
      assert.truthy(operation.uuid)
      assert.equal(4, image().rating)
    end)

    it("takes a body from the standard input", function()
      local status = terminal.pipe({ "api", "PATCH", "/images/" .. id, "--input", "-" }, environment, '{"title":"Raw"}')
      assert.equal(0, status)
      assert.equal("Raw", image().title)
      assert.equal(2, (terminal.pipe({ "api", "PATCH", "/images/" .. id, "--input", "-" }, environment, "{")))
      assert.equal(2, (pipe("api", "GET", "/images", "--input", "x")))
      assert.equal(2, (pipe("api", "BREW", "/coffee")))
      assert.equal(2, (pipe("api", "GET", "images")))
    end)
  end)

  describe("the command line", function()
    it("refuses what looks like a token or a password, and never repeats it", function()
      for _, word in ipairs {
        box.token, "--token=abc", "--token", "--password", "x=" .. box.token,
        "Authorization: Bearer abc/56789+12345.678~0", "dpg_rt_" .. ("abc0"):rep(12),
        "eyJhbGciOiJub25lIn0.eyJhYmMiOjF9.",
      } do
        local status, said, talk = pipe("api", "GET", "/me", word)
        assert.equal(2, status)
        assert.equal("", said)
        assert.truthy(talk:find("others can read it", 1, true))
        assert.is_nil(talk:find("abc", 1, true))
        assert.is_nil(talk:find(box.token, 1, true))
      end
    end)

    it("takes captions and names of files that a token only begins like", function()
      local title = "Flag bearer leads the team in, dpg_api_live_demo on her shirt, dpg_at_20250614"
      fine("caption", id, "--title", title)
      assert.equal(title, image().title)
      for _, name in ipairs { "dpg_press_kit_20250614.jpg", "dpg_photo_3f2504e04f8941d39a0c0305e82c3301.jpg" } do
        process.write_file(environment.XDG_STATE_HOME .. "/" .. name, "bytes")
        assert.truthy(fine("upload", environment.XDG_STATE_HOME .. "/" .. name):find("\tsent\t", 1, true))
      end
    end)

    it("says in its own words what can't be read or sent", function()
      local unread = "dpg: the standard input can't be read: "
      local rating = "/images/" .. id .. "/rating"
      for _, case in ipairs {
        { unread .. "give UUIDs, or pipe them in", "rate 3 - <&-" },
        { unread .. "give UUIDs, or pipe them in", "show - </" },
        { unread .. "pipe the body in, or name its file", "api PUT " .. rating .. " --input - <&-" },
        { "dpg: / can't be read: is it there, and a file?", "api PUT " .. rating .. " --input /" },
        { "dpg: /no/such can't be read: is it there, and a file?", "api PUT " .. rating .. " --input /no/such" },
        { "dpg: the path can't hold a query: say -f NAME=TEXT for each field", "api GET '/images?limit=1'" },
        { "dpg: query field 'a' can't be a table", "api GET /images -f 'a:=[{\"b\":1}]'" },
        { "dpg: body: JSON can't hold the number inf", "api PUT " .. rating .. " -f rating:=1e999" },
      } do
        local said = process.shell("env DPG_BASE_URL='" .. box.base_url .. "' DPG_TOKEN='" .. box.token
          .. "' LUA_PATH='" .. package.path .. "' LUA_CPATH='" .. package.cpath .. "' " .. process.lua .. " bin/dpg "
          .. case[2] .. " 2>&1; echo status $?")
        assert.equal(case[1] .. "\nstatus 2", said, case[2])
      end
      fine("set", "embargo", "Press kit", "2066335200", (fine("set", "images", "Press kit"):match "^%S+"))
    end)

    it("says once that it waits, and only where it does", function()
      local function limit(path, seconds)
        box:fault { path = path, status = 429, headers = { ["Retry-After"] = seconds } }
      end
      limit("/me", "2")
      local _, talk = fine "whoami"
      assert.equal("waiting 2 s, as the server asks\n", talk)
      limit("/me", "300")
      local status
      status, _, talk = pipe "whoami"
      assert.equal(1, status)
      assert.truthy(talk:find("^dpg: [^\n]+: try again in 300 s\n$"), talk)
    end)

    it("says that it waits for a person's token", function()
      local person = { DPG_BASE_URL = box.base_url, XDG_STATE_HOME = environment.XDG_STATE_HOME }
      local solo = box.people.solo
      assert.equal(0, (terminal.pipe({ "login" }, person, solo.login .. "\n" .. solo.password .. "\n")))
      box:fault { path = "/auth/token", status = 429, headers = { ["Retry-After"] = "2" } }
      local status, _, talk = terminal.pipe({ "whoami" }, person)
      assert.equal(0, status, talk)
      assert.equal("waiting 2 s, as the server asks\n", talk)
    end)

    it("says that a failure is DPG's, and what to do", function()
      box:fault { path = "/me", status = 503, times = 6 }
      local status, _, talk = pipe "whoami"
      assert.equal(1, status)
      assert.truthy(talk:find("dpg: DPG has failed (status 503, request req-fault): this is DPG's to mend: try again "
        .. "later\n", 1, true), talk)
    end)

    it("has documented statuses", function()
      assert.equal(2, (pipe "nonsense"))
      assert.equal(2, (pipe()))
      local status, _, talk = terminal.pipe({ "whoami" }, { DPG_BASE_URL = "http://127.0.0.1:1/v1",
        DPG_TOKEN = box.token, XDG_STATE_HOME = environment.XDG_STATE_HOME })
      assert.equal(4, status)
      assert.truthy(talk:find("is this machine online", 1, true))
      status = terminal.pipe({ "whoami" }, { DPG_BASE_URL = box.base_url, DPG_TOKEN = "wrong",
        XDG_STATE_HOME = environment.XDG_STATE_HOME })
      assert.equal(3, status)
    end)

    it("says that its output finds no room, and fails", function()
      local room = io.open("/dev/full", "w")
      if not room then return pending "there is no /dev/full" end
      room:close()
      for _, words in ipairs {
        "show " .. id, "ls --all --json", "show --json " .. id, "api GET /me", "--version", "--help", "set add -h",
        "help", "help ls", "completion bash",
      } do
        local said = process.shell("env DPG_BASE_URL='" .. box.base_url .. "' DPG_TOKEN='" .. box.token
          .. "' LUA_PATH='" .. package.path .. "' LUA_CPATH='" .. package.cpath .. "' " .. process.lua .. " bin/dpg "
          .. words .. " 2>&1 >/dev/full; echo status $?")
        assert.equal("dpg: the output can't be written (No space left on device): make room for it, or send it "
          .. "elsewhere\nstatus 1", said, words)
      end
    end)

    it("says what it sends with --verbose, and no secret; nothing with --quiet", function()
      local _, talk = fine("whoami", "-v")
      assert.truthy(talk:find("dpg: response ", 1, true))
      assert.truthy(talk:find("path=/v1/me", 1, true))
      assert.is_nil(talk:find(box.token, 1, true))
      _, talk = fine("rate", "3", id, "--quiet")
      assert.equal("", talk)
    end)

    it("tells its version, and helps", function()
      assert.equal("dpg " .. require "dpg"._VERSION .. "\n", (fine "--version"))
      assert.truthy(fine("help", "upload"):find("--keyword", 1, true))
      assert.truthy(fine("set", "embargo", "--help"):find("MOMENT", 1, true))
      assert.equal(fine("set", "embargo", "--help"), (fine("help", "set", "embargo")))
    end)

    it("runs in a checkout that is built, from any folder, and says what is missing", function()
      local root = process.shell "pwd"
      if not process.read_file(root .. "/build/lua5.4/dpg/core.so") then return pending "build/lua5.4 is not built" end
      local version = "dpg " .. require "dpg"._VERSION
      local before = "env -u LUA_PATH -u LUA_CPATH " .. process.quote(process.lua) .. " "
      assert.equal(version, process.shell("cd / && " .. before .. process.quote(root .. "/bin/dpg") .. " --version"))
      assert.equal(version, process.shell("cd bin && " .. before .. "dpg --version"))
      for _, case in ipairs {
        { "argparse", "apt-get install lua-argparse, or luarocks install argparse" },
        { "dpg.core", "install dpg (doc/cli.md), or in a checkout build it: make LUA=lua5.4" },
      } do
        local missing = ("package.preload[%q] = function() error(%q, 0) end"):format(case[1],
          "module '" .. case[1] .. "' not found")
        assert.equal("dpg: the Lua module " .. case[1] .. " is not installed for Lua 5.4: " .. case[2],
          process.shell(before .. "-e " .. process.quote(missing) .. " bin/dpg --version"))
      end
    end)

    it("says whose help is of use, and what a value may be", function()
      for _, case in ipairs {
        { "dpg: unknown command 'frob': see dpg set --help\n", "set", "frob" },
        { "dpg: unknown command 'frob': see dpg --help\n", "help", "frob" },
        { "dpg: unknown option '--limt' (did you mean '--limit'?): see dpg ls --help\n", "ls", "--limt", "3" },
        { "dpg: --limit takes a whole number from 1 on, not '0': see dpg ls --help\n", "ls", "-n", "0" },
        { "dpg: --rating takes a whole number from 0 to 5, not 'x': see dpg ls --help\n", "ls", "--rating", "x" },
        { "dpg: missing argument 'MOMENT': see dpg set embargo --help\n", "set", "embargo", "x" },
      } do
        local status, said, talk = pipe(case[2], case[3], case[4])
        assert.equal(2, status)
        assert.equal("", said)
        assert.equal(case[1], talk)
      end
      local _, _, talk = pipe("ls", "--taken-from", "then")
      assert.truthy(talk:find("--taken-from must be a date", 1, true), talk)
    end)

    it("completes in bash, zsh and fish", function()
      local folder = process.folder()
      for _, shell in ipairs { "bash", "zsh", "fish" } do
        process.write_file(folder .. "/" .. shell, (fine("completion", shell)))
        if process.shell("command -v " .. shell) ~= "" then
          assert.equal("", process.shell(shell .. " -n " .. folder .. "/" .. shell))
        end
      end
      local said = process.shell("bash -c '. " .. folder
        .. "/bash; COMP_WORDS=(dpg se); COMP_CWORD=1; _dpg; echo ${COMPREPLY[@]}'")
      assert.equal("search set", said)
    end)
  end)
end)

describe("dpg doctor", function()
  local box, environment

  before_each(function()
    box = boxes.start { images = 3 }
    environment = { DPG_BASE_URL = box.base_url, XDG_STATE_HOME = process.folder(), DPG_TOKEN = box.token }
  end)
  after_each(function() box:stop() end)

  local function doctor(...) return terminal.pipe({ "doctor", ... }, environment) end

  it("finds all well, in a pipe and at a terminal", function()
    local status, said = doctor()
    assert.equal(0, status, said)
    for _, name in ipairs { "proxy", "certificates", "store", "session", "lock", "line", "TLS", "API access", "clock",
      "who", "scopes" } do
      assert.truthy(said:find("ok    " .. name, 1, true), name .. ": " .. said)
    end
    assert.equal("", process.shell("ls -A " .. environment.XDG_STATE_HOME .. "/dpg"))
    if terminal.is_there() then
      local shown
      status, shown = terminal.start({ "doctor" }, environment):wait()
      assert.equal(0, status)
      assert.truthy(shown:find("\27[32mok\27[0m", 1, true))
    end
    status, said = doctor "--json"
    assert.equal(0, status)
    assert.equal("ok", json.decode(said)[1].state)
  end)

  it("says what to do about each thing that is wrong", function()
    local function bad(expected)
      local status, said = doctor()
      assert.equal(1, status)
      assert.truthy(said:find("BAD   " .. expected), said)
    end
    box:set { api_enabled = false }
    bad "API access    "
    box:set { api_enabled = true }
    box:fault { path = "/me", headers = { Date = "Sun, 06 Nov 1994 08:49:37 GMT" } }
    bad "clock         %d+ s ahead of the server's: "
    box:fault { path = "/me", headers = { Date = "Sun, 06 Nov 2094 08:49:37 GMT" } }
    bad "clock         %d+ s behind the server's: "
    environment.DPG_CA_FILE = "/nowhere.pem"
    bad "certificates  "
    environment.DPG_CA_FILE = environment.XDG_STATE_HOME .. "/no.pem"
    process.write_file(environment.DPG_CA_FILE, "none\n")
    bad "certificates  .- holds no certificate"
    environment.DPG_CA_FILE = nil
    environment.https_proxy = "gopher://proxy.example:70"
    bad "proxy         https_proxy names none"
    environment.https_proxy = nil
    environment.DPG_BASE_URL = "nonsense"
    bad "line          DPG_BASE_URL: it is no absolute URL"
    environment.DPG_BASE_URL = box.base_url
    environment.DPG_TOKEN = "two words"
    bad "who           DPG_TOKEN is empty, or holds blanks"
    environment.DPG_TOKEN = "wrong"
    bad "who           "
    environment.DPG_TOKEN = nil
    bad "who           nobody is signed in"
    local jane = box.people.solo
    assert.equal(0, (terminal.pipe({ "login" }, environment, jane.login .. "\n" .. jane.password .. "\n")))
    local session = environment.XDG_STATE_HOME .. "/dpg/default"
    process.shell("chmod 644 " .. session)
    bad "session       others may read"
    process.shell("chmod 600 " .. session)
    assert.equal(0, (doctor()))
    process.shell("cd " .. session:match "^(.*)/" .. " && mv default kept && echo x >default && chmod 600 default")
    bad "session       the stored session was damaged"
    process.shell("ln -s /etc/passwd " .. session)
    bad "session       .- is no plain file"
    process.shell("cd " .. session:match "^(.*)/" .. " && mv kept default")
    process.shell("chmod 777 " .. environment.XDG_STATE_HOME .. "/dpg")
    bad "store         others may write"
    process.shell("chmod 700 " .. environment.XDG_STATE_HOME .. "/dpg")
    environment.DPG_BASE_URL = "http://127.0.0.1:1/v1"
    bad "line          "
  end)

  it("names the scopes that a token lacks", function()
    environment.DPG_TOKEN = box:mint { scopes = { "api.images.read" } }
    local _, said = doctor()
    assert.truthy(said:find("api.upload", 1, true), said)
  end)

  it("hides a proxy's password, however it is written", function()
    for _, proxy in ipairs {
      "http://me:hidden-word@proxy.example:3128", "me:hidden-word@proxy.example:3128",
      "http://me:a/hidden-word@proxy.example:3128", "http://me:a@hidden-word@proxy.example:3128",
      "socks5h://me:a://hidden-word@proxy.example:3128",
    } do
      environment.https_proxy = proxy
      local _, said, talk = doctor()
      assert.truthy(said:find("…@proxy.example:3128", 1, true), said)
      assert.is_nil((said .. talk):find("hidden-word", 1, true), said)
    end
  end)
end)

describe("dpg's reading of dates", function()
  it("takes those of HTTP alone", function()
    local read = require "dpg.cli.doctor".http_date
    assert.equal(784111777, read "Sun, 06 Nov 1994 08:49:37 GMT")
    assert.equal(951782400, read "Tue, 29 Feb 2000 00:00:00 GMT")
    assert.equal(0, read "Thu, 01 Jan 1970 00:00:00 GMT")
    assert.is_nil(read "yesterday")
    assert.is_nil(read "Sun, 06 Foo 1994 08:49:37 GMT")
  end)
end)
