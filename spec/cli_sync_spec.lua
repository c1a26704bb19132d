-- dpg sync: what each side is given, what is left, and that a dry run tells what a run then does.
local known = require "dpg.cli.known"
local process = require "support.process"
local terminal = require "support.terminal"

if process.name ~= "lua5.4" or (os.getenv "CHECKER" or "") ~= "" then return end -- Lua alone: one says it all

describe("dpg.cli.known", function()
  it("loses no pair to a line that was cut", function()
    local folder = process.folder()
    local function pair(image) return { image = image, name = image .. ".jpg", print = "1-2", stamp = "3 4" } end
    known.open(folder, "set"):note(pair "A")
    local file = assert(io.open(folder .. "/.dpg-sync", "ab"))
    file:write "set\tB\t1-2\t3"
    file:close()
    known.open(folder, "set"):note(pair "C")
    local list = known.open(folder, "set")
    assert.same({ pair "A", pair "C" }, { list.by_image.A, list.by_image.C })
    assert.is_nil(list.by_image.B)
  end)
end)

describe("dpg.cli.known.plan", function()
  local STAMPS = { [""] = "new", [","] = "old", [",?"] = "?" }
  -- file "name=print", stamped "old" where a comma is behind it ("?": ",?"); image "uuid:filename"; pair
  -- "image:name=print"
  local function plan(files, images, pairs_)
    local list, there, list_of, prints = {}, {}, { by_image = {}, by_name = {} }, {}
    for word in files:gmatch "%S+" do
      local name, print, old = word:match "^(.-)=([^,]*)(.*)$"
      prints[name] = print
      list[#list + 1] = { name = name, size = #print, stamp = STAMPS[old] }
    end
    for word in images:gmatch "%S+" do
      local image, name = word:match "^(.-):(.*)$"
      there[#there + 1] = { public_uuid = image, filename = name }
    end
    for word in pairs_:gmatch "%S+" do
      local image, name, print = word:match "^(.-):(.-)=(.*)$"
      local stamp = files:find(name .. "=[^ ]*,%?") and "?" or "old"
      local pair = { image = image, name = name, print = print, stamp = stamp }
      list_of.by_image[image], list_of.by_name[name] = pair, pair
    end
    local asked = {}
    local found = known.plan(list, there, list_of, function(names)
      for _, name in ipairs(names) do asked[#asked + 1] = name end
      return prints
    end)
    local said = {}
    for _, kind in ipairs { "up", "down", "same", "moved", "noted", "left" } do
      for _, one in ipairs(found[kind]) do
        said[#said + 1] = kind .. " " .. (kind == "down" and one.public_uuid or one.name)
          .. (kind == "moved" and " was " .. one.from or "") .. (one.why and " " .. one.why or "")
      end
    end
    return table.concat(said, "; "), table.concat(asked, " ")
  end

  local cases = { -- files, images, pairs, plan, files that are read
    { "a=1", "", "", "up a", "a" },
    { "", "A:a", "", "down A", "" },
    { "a=1", "A:a", "", "same a", "a" },
    { "a=1,", "A:a", "A:a=1", "", "" },
    { "a=1", "A:a", "A:a=1", "noted a", "a" },
    { "a=2", "A:a", "A:a=1", "left a changed here since; DPG has what it was", "a" },
    { "", "A:a", "A:a=1", "down A", "" },
    { "b=1", "A:a", "A:a=1", "moved b was a", "b" },
    { "a=1,", "", "A:a=1", "left a no longer in the set", "" },
    { "b=1", "", "A:a=1", "moved b was a; left b no longer in the set", "b" },
    { "a=2 b=1", "A:a B:b", "A:a=1 B:b=2", "moved a was b; moved b was a", "a b" },
    { "a=2 b=1", "A:a", "A:a=1", "up a; moved b was a", "a b" },
    { "a=1, b=1", "A:a", "A:a=1", "up b", "b" },
    { "a=", "", "", "left a empty", "a" },
    { "a=1 b=1", "A:a B:a", "", "up b; down B; same a", "a b" },
    { "c=1", "A:x B:y", "A:a=1 B:b=1", "down B; moved c was a", "c" },
    { "a=1,", "A:a B:a", "A:a=1", "down B", "" },
    { "c=1 d=1", "A:a B:b", "A:a=1 B:b=1", "moved c was a; moved d was b", "c d" },
    { "a=2,?", "A:a", "A:a=1", "left a changed here since; DPG has what it was", "a" },
  }
  for _, case in ipairs(cases) do
    it(("gives %q and %q, of which %q are known: %s"):format(case[1], case[2], case[3], case[4]), function()
      local said, asked = plan(case[1], case[2], case[3])
      assert.equal(case[4], said)
      assert.equal(case[5], asked)
    end)
  end
end)

describe("dpg sync", function()
  local box, environment, folder

  before_each(function() box, environment, folder = terminal.world() end)
  after_each(function() box:stop() end)

  local function at_terminal(words)
    if not terminal.is_there() then pending "there is no `script` (bsdutils) to make a terminal" end
    return terminal.start(words, environment)
  end
  local function pipe(...) return terminal.pipe({ ... }, environment) end
  local function write(name, bytes) terminal.put(environment, name, bytes) end
  local function in_set()
    local _, count = select(2, pipe("set", "images", "Press kit", "--all")):gsub("\n", "")
    return count
  end

  it("shows what would happen, and does nothing, with --dry-run", function()
    write("new.jpg", 100)
    local status, said, talk = pipe("sync", ".", "Press kit", "--dry-run")
    assert.equal(0, status, talk)
    assert.truthy(said:find("upload\t\tnew.jpg\n", 1, true))
    assert.truthy(said:find("download\t", 1, true))
    assert.equal("new.jpg", process.shell("ls -A " .. folder))
    assert.equal(0, box:count { path = "/uploads" })
    assert.equal(2, (pipe("sync", ".", "Press kit"))) -- nobody there to ask
    assert.equal("new.jpg", process.shell("ls -A " .. folder))
  end)

  it("gives each side what the other has, once", function()
    write("new.jpg", 100)
    local before = in_set()
    local status, said, talk = pipe("sync", "-y", folder, "Press kit")
    assert.equal(0, status, talk)
    assert.truthy(said:find("\tsent\t" .. folder .. "/new.jpg\n", 1, true))
    assert.equal(before, select(2, said:gsub("\tsaved\t", "")))
    status, said, talk = pipe("sync", "-y", folder .. "/", "Press kit")
    assert.equal(0, status, talk)
    assert.equal("", said)
    assert.equal("the same on both sides\n", talk)
    assert.equal(before + 1, in_set())
    assert.equal(".dpg-sync", process.shell("cd " .. folder .. " && ls -d .[!.]*"))
    -- what somebody has taken out of the set is not put back
    local uploaded = process.read_file(folder .. "/.dpg-sync"):match "\t(%x+%-[%x-]+)\t[^\n]*\tnew.jpg\n"
    assert.equal(0, (pipe("set", "rm", "Press kit", uploaded)))
    assert.equal("left\t\tnew.jpg (no longer in the set)\n", (select(2, pipe("sync", "-n", folder, "Press kit"))))
  end)

  it("knows what was renamed, deleted and changed, under any name", function()
    local names = { "it's \"q\" $x `y` \\z.jpg", "-rf.jpg", " Bühne – ☃ ", "*", "plain.jpg" }
    for i, name in ipairs(names) do process.write_file(folder .. "/" .. name, ("x"):rep(i * 10)) end
    process.write_file(folder .. "/empty.jpg", "")
    process.write_file(folder .. "/line\nend.jpg", "x")
    process.shell("cd " .. folder .. " && mkdir below && ln -s nowhere broken.jpg")
    environment.CDPATH = "/" -- whoever exports it does not mean us
    local status, said, talk = pipe("sync", "-y", ".", "Press kit")
    assert.equal(0, status, talk)
    for _, name in ipairs(names) do assert.truthy(said:find("\tsent\t./" .. name .. "\n", 1, true), said) end
    assert.truthy(talk:find("left as it is: empty.jpg (empty)", 1, true))
    assert.truthy(talk:find("left as it is: line end.jpg (a name with a line end", 1, true))
    assert.truthy(talk:find("but for 2 files left as they are", 1, true))
    local count = in_set()
    process.shell("cd " .. folder .. " && mv ./-rf.jpg renamed.jpg && rm plain.jpg && printf more >>'*' && touch ' B'*")
    local _, dry = pipe("sync", "-n", ".", "Press kit")
    for _, line in ipairs { "renamed\t[%x-]+\t%-rf%.jpg %-> renamed%.jpg\n", "download\t[%x-]+\tplain%.jpg\n",
      "left\t[%x-]+\t%* %(changed here since" } do
      assert.truthy(dry:find(line), dry)
    end
    assert.is_nil(dry:find("upload\t", 1, true))
    assert.equal(dry, (select(2, pipe("sync", "-n", ".", "Press kit"))))
    status, said = pipe("sync", "-y", ".", "Press kit")
    assert.equal(0, status)
    assert.truthy(said:find "^[%x-]+\tsaved\t%./plain%.jpg\n$", said)
    assert.equal(count, in_set())
    assert.is_nil(select(2, pipe("sync", "-n", ".", "Press kit")):find "load\t")
  end)

  it("gives two images of one name two names, and keeps to them", function()
    for _ = 1, 2 do
      write("twin.jpg", 50)
      assert.equal(0, (pipe("upload", "twin.jpg", "--resend", "--set", "Press kit")))
      process.shell("rm -r " .. environment.XDG_STATE_HOME .. "/dpg/.journals")
    end
    write("twin.jpg", 70)
    local status, said, talk = pipe("sync", "-y", ".", "Press kit")
    assert.equal(0, status, talk)
    assert.truthy(said:find("\tsaved\t./twin (2).jpg\n", 1, true), said)
    assert.equal("", (select(2, pipe("sync", "-n", ".", "Press kit"))))
  end)

  it("gives each set its own, also after a run that failed in part", function()
    write("a.jpg", 50)
    write("bb.jpg", 60)
    assert.equal(0, (pipe("set", "create", "Other")))
    box:fault { path = "/uploads", method = "POST", status = 413, code = "payload_too_large" }
    assert.equal(1, (pipe("sync", "-y", ".", "Press kit")))
    local status, said, talk = pipe("sync", "-y", ".", "Other")
    assert.equal(0, status, talk)
    assert.truthy(said:find("\tsent\t./a.jpg\n", 1, true), said)
    assert.truthy(said:find("\tsent\t./bb.jpg\n", 1, true), said)
    local _, sent = said:gsub("\tsent\t", "") -- what came from the first set goes there, too
    assert.equal(sent, select(2, select(2, pipe("set", "images", "Other")):gsub("\n", "")))
  end)

  it("sends a new file in the place of one that was renamed, though it is as large", function()
    write("up.tif", 500)
    process.write_file(folder .. "/latin\233.tif", "whose name never goes, so that the journal stays")
    assert.equal(1, (pipe("sync", "-y", ".", "Press kit")))
    process.shell("mv " .. folder .. "/up.tif " .. folder .. "/up2.tif")
    process.write_file(folder .. "/up.tif", ("x"):rep(500))
    local _, said = pipe("sync", "-y", ".", "Press kit")
    assert.truthy(said:find("\tsent\t./up.tif\n", 1, true), said)
    assert.is_nil(said:find("up2.tif", 1, true))
  end)

  it("goes on where it was under another path of the same folder, and sends nothing twice", function()
    write("a.jpg", 50)
    box:fault { server = "processor", drop = "after" }
    assert.not_equal(0, (pipe("sync", "-y", ".", "Press kit")))
    local taken = select(2, pipe("ls", "--limit", "1")):match "^[%x-]+" -- else it is known by its name
    assert.equal(0, (pipe("set", "rm", "Press kit", taken)))
    local count = box:count { server = "processor" }
    local status, _, talk = pipe("sync", "-y", folder, "Press kit")
    assert.not_equal(0, status)
    assert.truthy(talk:find("earlier run", 1, true), talk)
    assert.equal(count, box:count { server = "processor" })
  end)

  it("says that a file changed while it was sent", function()
    write("big.jpg", 4000000)
    box:fault { server = "processor", times = 1, read_rate = 1500000 }
    local screen = at_terminal { "sync", "-y", ".", "Press kit" }
    screen:expect "%  0/1"
    local file = assert(io.open(folder .. "/big.jpg", "r+b"))
    file:seek("set", 3999990)
    file:write "changed"
    file:close()
    local status, shown = screen:wait()
    assert.equal(1, status, shown)
    assert.truthy(shown:find("big.jpg: changed while it was sent", 1, true), shown)
    assert.truthy(select(2, pipe("sync", "-n", ".", "Press kit")):find("big.jpg (changed here since", 1, true))
  end)

  it("takes the lock of a run that is gone, though its number is another program's by now", function()
    local set = select(2, pipe("set", "tree")):match "([%x-]+)\t%d+\tPress kit\n"
    process.write_file(("%s/.dpg-sync.%s.lock"):format(folder, set), process.shell "echo $PPID" .. "\n")
    local status, _, talk = pipe("sync", "-y", ".", "Press kit")
    assert.equal(0, status, talk)
    assert.is_nil(process.shell("ls -A " .. folder):find(".lock", 1, true))
  end)

  it("changes nothing where the folder can't be read or entered", function()
    assert.is_nil(require "dpg.cli.system".files(folder .. "/gone"))
    local through = {}
    if process.shell "id -u" == "0" then -- who may enter everything
      through = { "setpriv", "--bounding-set", "-all", "--inh-caps", "-all" }
      if process.shell(table.concat(through, " ") .. " echo fine") ~= "fine" then
        pending "nobody can be kept out of a folder here"
      end
    end
    local below = environment.PWD .. "/below"
    process.shell(("mkdir %s && touch %s/a.jpg"):format(below, below))
    for _, mode in ipairs { "000", "111", "444" } do
      process.shell(("chmod %s %s"):format(mode, below))
      local status, said, talk = terminal.pipe({ "sync", "-y", "below", "Press kit" }, environment, nil, through)
      process.shell("chmod 755 " .. below)
      assert.equal(1, status, mode .. talk)
      assert.equal("", said)
      assert.equal("dpg: below can't be read: is it still there? Whoever runs dpg must be allowed to read and enter it "
        .. "(chmod u+rx)\n", talk)
      assert.equal("a.jpg", process.shell("ls -A " .. below))
    end
    process.shell("mkdir " .. below .. "/.dpg-sync")
    assert.equal(1, (pipe("sync", "-y", "below", "Press kit")))
    assert.equal(0, box:count { path = "/uploads" })
  end)

  it("asks at a terminal", function()
    write("new.jpg", 100)
    local screen = at_terminal { "sync", ".", "Press kit" }
    screen:expect "Go on? [y/N]: "
    screen:type "n\n"
    local status, shown = screen:wait()
    assert.equal(0, status, shown)
    assert.truthy(shown:find("nothing was done", 1, true))
    assert.equal("new.jpg", process.shell("ls -A " .. folder))
  end)
end)
