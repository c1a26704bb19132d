-- dpg upload, download, archive: files, at a terminal and in pipes, cut and gone on with.
local compat = require "dpg.compat"
local process = require "support.process"
local terminal = require "support.terminal"

if process.name ~= "lua5.4" or (os.getenv "CHECKER" or "") ~= "" then return end -- Lua alone: one says it all

describe("dpg", function()
  local box, environment, folder

  before_each(function() box, environment, folder = terminal.world() end)
  after_each(function() box:stop() end)

  local function at_terminal(words)
    if not terminal.is_there() then pending "there is no `script` (bsdutils) to make a terminal" end
    return terminal.start(words, environment)
  end
  local function pipe(...) return terminal.pipe({ ... }, environment) end
  local function ids(...)
    local list, words = {}, { "ls", ... }
    for id in select(2, terminal.pipe(words, environment)):gmatch "([^\t\n]+)\t[^\n]*\n" do list[#list + 1] = id end
    return list
  end
  local function write(name, bytes) terminal.put(environment, name, bytes) end
  local function journals()
    return process.shell("ls " .. environment.XDG_STATE_HOME .. "/dpg/.journals 2>/dev/null")
  end

  describe("upload", function()
    it("prints a line for each file in a pipe, and gives them set, keywords and title", function()
      write("a.jpg", 5000)
      write("b.jpg", 6000)
      local status, said, talk = pipe("upload", "a.jpg", "b.jpg", "--set", "Press kit", "-k", "live", "-k",
        "day:friday")
      assert.equal(0, status, talk)
      assert.equal(2, select(2, said:gsub("%x+%-[%x-]+\tsent\t[ab]%.jpg\n", "")))
      assert.equal("2 files are there\n", talk)
      assert.equal(2, #ids("-k", "day:friday", "-k", "live"))
      assert.truthy(select(2, pipe("set", "images", "Press kit")):find(said:match "^[%x-]+", 1, true))
      assert.equal("", journals())
      assert.equal(0, box:report().authorization_on_processor)
    end)

    it("shows a bar at a terminal", function()
      write("one.jpg", 300000)
      local screen = at_terminal { "upload", "one.jpg", "--title", "Sound check" }
      local status, shown = screen:wait()
      assert.equal(0, status, shown)
      assert.truthy(shown:find("\r\27[K\27[?7l[####################] 100%  0/1", 1, true), shown)
      assert.truthy(shown:find("1 file is there", 1, true))
      assert.truthy(select(2, pipe("search", "Sound check")):find("Sound check", 1, true))
    end)

    it("is cut by Ctrl-C, says how to go on, and sends nothing twice", function()
      for i = 1, 4 do write(("x"):rep(i) .. ".jpg", 200000) end
      local names = { "x.jpg", "xx.jpg", "xxx.jpg", "xxxx.jpg" }
      box:fault { server = "processor", nth = 3, times = 2, read_rate = 1000 }
      local screen = at_terminal { "upload", names[1], names[2], names[3], names[4] }
      screen:expect "sent"
      screen:expect "sent"
      screen:type "\3"
      local status, shown = screen:wait()
      assert.equal(130, status, shown)
      assert.truthy(shown:find("interrupted: what has arrived is noted; the same command goes on there", 1, true),
        shown)
      box:clear_faults()
      local said, talk
      status, said, talk = pipe("upload", names[1], names[2], names[3], names[4])
      local _, already = said:gsub("already there", "")
      local _, sent = said:gsub("\tsent\t", "")
      assert.equal(2, already)
      if status ~= 0 then -- bytes had left when it was cut: whether they were taken is not known, and is said
        assert.truthy(talk:find("--resend", 1, true), talk)
        status, said, talk = pipe("upload", "--resend", names[1], names[2], names[3], names[4])
        assert.equal(0, status, talk)
        sent = sent + select(2, said:gsub("\tsent\t", ""))
      end
      assert.equal(2, sent)
      assert.equal("", journals())
    end)

    it("knows each file by itself, whatever others are named with it", function()
      for _, name in ipairs { "b.jpg", "cc.jpg", "ddd.jpg" } do write(name, 20000) end
      box:fault { server = "processor", nth = 3, drop = "after" }
      assert.equal(4, (pipe("upload", "--concurrency", "1", "b.jpg", "cc.jpg", "ddd.jpg")))
      write("a-new-one.jpg", 1000)
      local status, said, talk = pipe("upload", "a-new-one.jpg", "b.jpg", "cc.jpg", "ddd.jpg")
      assert.equal(1, status)
      assert.truthy(said:find("\tsent\ta-new-one.jpg\n", 1, true), said)
      for _, name in ipairs { "b", "cc" } do
        assert.truthy(said:find("\talready there\t" .. name .. ".jpg\n", 1, true), said)
      end
      assert.truthy(talk:find("ddd.jpg: an earlier run ended before it learnt", 1, true), talk)
      status, said, talk = pipe("upload", "cc.jpg", "--resend", "ddd.jpg")
      assert.equal(0, status, talk)
      assert.truthy(said:find("already there\tcc.jpg\n", 1, true), said)
      assert.truthy(said:find("\tsent\tddd.jpg\n", 1, true), said)
      assert.truthy(select(2, pipe("upload", "cc.jpg")):find "sent") -- that run was whole: it is meant anew
      status, said = pipe("upload", "b.jpg", "a-new-one.jpg")
      assert.equal(0, status)
      assert.equal(2, select(2, said:gsub("already there", "")))
      assert.equal("", journals())
    end)

    it("goes on with what an older version has noted, which had all names in a journal's", function()
      write("a.jpg", 500)
      write("bb.jpg", 600)
      box:fault { server = "processor", drop = "after" }
      assert.equal(4, (pipe("upload", "a.jpg", "bb.jpg", "-k", "live", "--concurrency", "1")))
      local state = environment.XDG_STATE_HOME .. "/dpg/.journals/"
      local system = require "dpg.cli.system"
      local old = system.digest(table.concat({ "default", "", "", environment.DPG_BASE_URL, "token",
        process.shell("cd " .. folder .. " && pwd -P"), "upload", "", "", "", "", "--", "live", "--", "a.jpg",
        "bb.jpg" }, "\0"))
      process.shell(("mv %s* %s"):format(state, state .. old))
      local _, said, talk = pipe("upload", "a.jpg", "bb.jpg", "-k", "live")
      assert.truthy(talk:find("a.jpg: an earlier run ended", 1, true), talk)
      assert.truthy(said:find("already there\tbb.jpg\n", 1, true), said)
    end)

    it("of other files goes on beside one that is at work", function()
      write("large.jpg", 300000)
      write("b.jpg", 100)
      box:fault { server = "processor", nth = 1, times = 1, hold = true }
      local screen = at_terminal { "upload", "large.jpg" }
      assert(box:wait_seen({ server = "processor" }, 1))
      local status, _, talk = pipe("upload", "b.jpg")
      assert.equal(0, status, talk)
      status, _, talk = pipe("upload", "large.jpg")
      assert.equal(1, status)
      assert.truthy(talk:find "another dpg %(process %d+%) is doing this")
      screen:type "\3"
      assert.equal(130, (screen:wait()))
    end)

    it("refuses what is no file before anything is sent", function()
      process.shell("mkfifo " .. folder .. "/pipe.jpg")
      local cases = { { "not-there.jpg" }, { "." }, { "a.jpg", "a.jpg" }, { "pipe.jpg" }, { "a.jpg", "line\nend.jpg" } }
      for _, words in ipairs(cases) do
        process.write_file(folder .. "/line\nend.jpg", "x")
        write("a.jpg", 10)
        local status, said, talk = pipe("upload", words[1], words[2])
        assert.equal(2, status, talk)
        assert.equal("", said)
      end
      assert.equal(0, box:count { path = "/uploads" })
    end)

    it("says that the same command tries again only what it may do better", function()
      local function last_of(talk) return talk:match "([^\n]+)\n$" end
      process.write_file(folder .. "/empty.jpg", "")
      write("a.jpg", 100)
      write("bb.jpg", 100)
      local cases = { -- words, fault, the last line
        { { "empty.jpg" }, nil, "1 of 1 files failed: see above" },
        { { "a.jpg", "--taken", "never" }, nil, "1 of 1 files failed: see above" },
        { { "a.jpg" }, { server = "processor", drop = "after" }, "1 of 1 files failed: see above" },
        { { "--resend", "a.jpg" }, { path = "/uploads", status = 401, code = "unauthorized" },
          "1 of 1 files failed: the same command tries these again" },
        { { "empty.jpg", "bb.jpg", "--concurrency", "1" }, { path = "/uploads", status = 401, code = "unauthorized" },
          "2 of 2 files failed: the same command tries 1 of them again; for the others see above" },
      }
      for i, case in ipairs(cases) do
        if case[2] then box:fault(case[2]) end
        local status, _, talk = terminal.pipe({ "upload", compat.unpack(case[1]) }, environment)
        box:clear_faults()
        assert.is_true(status ~= 0)
        assert.equal("dpg: " .. case[3], last_of(talk), i .. ": " .. talk)
      end
      local id = ids("-n", "1")[1]
      local _, _, talk = pipe("download", id, "--size", "no-such-version")
      assert.equal("dpg: 1 of 1 files failed: see above", last_of(talk), talk)
      pipe("download", id)
      talk = select(3, pipe("download", id))
      assert.equal("dpg: 1 of 1 files failed: see above", last_of(talk), talk)
    end)

    it("says once what stops all of them", function()
      for _, name in ipairs { "a.jpg", "bb.jpg", "ccc.jpg" } do write(name, 100) end
      environment.DPG_TOKEN = box.tokens.revoked
      local status, said, talk = pipe("upload", "--concurrency", "1", "a.jpg", "bb.jpg", "ccc.jpg")
      assert.equal(3, status)
      assert.equal("", said)
      assert.equal(1, select(2, talk:gsub("was revoked", "")), talk)
      assert.truthy(talk:find("dpg: a.jpg: ", 1, true))
      assert.truthy(talk:find("\ndpg: 2 more files were not tried\ndpg: 3 of 3 files failed", 1, true), talk)
    end)

    it("ends with 1 when one of them fails, names it, and tries that one again", function()
      write("a.jpg", 100)
      write("bb.jpg", 100)
      box:fault { path = "/uploads", method = "POST", status = 413, code = "payload_too_large" }
      local status, said, talk = pipe("upload", "a.jpg", "bb.jpg", "--concurrency", "1")
      assert.equal(1, status)
      assert.truthy(said:find("\tsent\tbb.jpg", 1, true))
      assert.truthy(talk:find("dpg: a.jpg: ", 1, true))
      assert.truthy(talk:find("1 of 2 files failed", 1, true))
      status, said = pipe("upload", "a.jpg", "bb.jpg", "--concurrency", "1")
      assert.equal(0, status)
      assert.truthy(said:find("\talready there\tbb.jpg", 1, true))
    end)
  end)

  describe("download", function()
    it("takes the lines of dpg ls, and saves each under its name", function()
      local _, list = pipe("ls", "-n", "3")
      local status, said, talk = terminal.pipe({ "download", "-", "--size", "original" }, environment, list)
      assert.equal(0, status, talk)
      for id, path in said:gmatch "(%S+)\tsaved\t(%S+)\n" do
        assert.equal(box:sha256(id), process.shell("sha256sum " .. folder .. "/" .. path):match "^%x+")
      end
      assert.equal(3, select(2, said:gsub("\tsaved\t", "")))
      status, said, talk = terminal.pipe({ "download", "-", "--size", "original" }, environment, list)
      assert.equal(1, status)
      assert.equal("", said)
      assert.truthy(talk:find("--overwrite replaces it", 1, true))
      assert.equal(0, (terminal.pipe({ "download", "-", "--size", "original", "--overwrite" }, environment, list)))
    end)

    it("is cut by Ctrl-C, and goes on within the file", function()
      local id = ids("-n", "1")[1]
      box:fault { server = "cdn", times = 1, send_rate = 60000 }
      local screen = at_terminal { "download", id, "--size", "original" }
      screen:expect "left"
      screen:type "\3"
      local status, shown = screen:wait()
      assert.equal(130, status, shown)
      assert.truthy(shown:find("interrupted: what has arrived is noted", 1, true))
      assert.truthy(process.shell("ls " .. folder):find(".part", 1, true))
      local said
      status, said = pipe("download", id, "--size", "original")
      assert.equal(0, status)
      local path = folder .. "/" .. said:match "saved\t(%S+)"
      assert.equal(box:sha256(id), process.shell("sha256sum " .. path):match "^%x+")
      assert.is_true(box:count { server = "cdn", status = 206 } >= 1)
    end)

    it("is not done twice at a time, and goes on where one was killed", function()
      local id = ids("-n", "1")[1]
      box:fault { server = "cdn", times = 1, send_rate = 60000 }
      local screen = at_terminal { "download", id, "--size", "original" }
      screen:expect "left"
      local status, said, talk = pipe("download", id, "--size", "original")
      assert.equal(1, status)
      assert.equal("", said)
      local pid = talk:match "^dpg: another dpg %(process (%d+)%) is doing this: wait for it\n$"
      assert.truthy(pid, talk)
      process.shell("kill -KILL " .. pid)
      assert.equal(137, (screen:wait()))
      status, said, talk = pipe("download", id, "--size", "original")
      assert.equal(0, status, talk)
      assert.truthy(said:find("\tsaved\t", 1, true))
      assert.equal("", journals())
    end)

    it("refuses what is no UUID or no folder", function()
      assert.equal(2, (pipe("download", "IMG_1")))
      assert.equal(2, (pipe("download", ids("-n", "1")[1], "-o", "nowhere")))
    end)
  end)

  it("archive makes none where its file can't go", function()
    local one = ids("-n", "1")[1]
    for _, name in ipairs { "archive.zip", "press.zip", "pair" } do write(name, 10) end
    for _, words in ipairs { {}, { "--name", "press.zip" }, { "--name", "press" }, { "--name", "pair" } } do
      local status, said, talk = pipe("archive", "create", one, "-o", ".", words[1], words[2])
      assert.equal(2, status)
      assert.equal("", said)
      assert.truthy(talk:find "^dpg: the file %./%w+[.zip]* is there: %-%-overwrite replaces it", talk)
    end
    assert.equal(0, box:count { path = "/archives" })
    local status, said = pipe("archive", "create", one, "-o", folder .. "/", "--overwrite")
    assert.equal(0, status)
    assert.equal(folder .. "/archive.zip\n", said)
    assert.equal("PK", process.read_file(folder .. "/archive.zip"):sub(1, 2))
    -- what has come there meanwhile is no reason to have it made again
    box:set { operation_polls = 2 }
    box:fault { path = "/operations/[^/]+", status = 429, retry_after = "1", times = "always" }
    local screen = at_terminal { "archive", "create", one, "-o", ".", "--name", "late.zip" }
    assert(box:wait_seen({ path = "/operations/[^/]+" }, 1))
    process.write_file(folder .. "/late.zip", "mine")
    box:clear_faults()
    local ended, shown = screen:wait()
    assert.equal(1, ended, shown)
    local uuid = shown:match "overwrite replaces it; the archive is ready: dpg archive download (%S+)\n"
    assert.truthy(uuid and select(2, pipe("archive", "ls")):find(uuid, 1, true), shown)
  end)

  it("archive makes, lists and fetches one", function()
    local some = ids("-n", "2")
    local status, said, talk = pipe("archive", "create", some[1], some[2], "--name", "pair.zip", "-o", folder)
    assert.equal(0, status, talk)
    assert.equal("PK", process.read_file(said:match "^[^\n]+"):sub(1, 2))
    status, said = pipe("archive", "ls")
    assert.equal(0, status)
    local uuid = said:match "^%S+"
    assert.truthy(said:find("\t2\t", 1, true))
    assert.truthy(said:find "\t%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ\t", said)
    process.shell("mkdir " .. folder .. "/more")
    status, said = pipe("archive", "download", uuid, "-o", "more")
    assert.equal(0, status)
    assert.truthy(process.read_file(folder .. "/" .. said:match "^[^\n]+"))
    assert.equal(1, (pipe("archive", "download", "nosuch")))
    assert.truthy(select(2, pipe("archive", "ls", "--json")):find '^%[{')
  end)
end)
