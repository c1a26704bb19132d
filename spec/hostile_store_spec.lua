-- Disks and files that misbehave: what each is called, that nothing was spent, and that the session goes on once the
-- cause is gone.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local notes = require "support.notes"
local process = require "support.process"
local record_of = require "support.record".read

local function exists(path)
  return process.read_file(path) ~= nil
end

describe("a file store", function()
  local box, folder, path

  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)
  before_each(function()
    folder = process.folder()
    path = folder .. "/session"
    box:reset_seen()
  end)
  after_each(function()
    box:clear_faults()
    box:set { access_token_life = 900 }
    client.nothing_left()
    client.close()
  end)

  local function sign_in(at, more)
    more = more or {}
    more.store = dpg.store.file(at or path)
    return client.sign_in(box, "jane", more)
  end

  local function resume(more)
    more = more or {}
    more.store = dpg.store.file(path)
    return dpg.resume(client.options(box, more))
  end

  local function account(user)
    return dpg.assert(user:account(user.accounts[1].uuid))
  end

  local function assert_error(input, err, kind, code)
    notes.row(input, err)
    assert.same({ kind, code }, { err.kind, err.code }, tostring(err))
    assert.is_nil(tostring(err):find("[%c]"))
  end

  -- --- places that are no place for a session ---

  local places = { -- what, how it is made ($F is the folder, $P the path), code
    { "a symbolic link as the file", 'touch "$F/other"; ln -s "$F/other" "$P"', "store_symlink" },
    { "a link that leads nowhere as the file", 'ln -s "$F/nothing" "$P"', "store_symlink" },
    { "a folder as the file", 'mkdir "$P"', "store_not_a_file" },
    { "a pipe as the file", 'mkfifo "$P"', "store_not_a_file" },
    { "a folder that all can write to", 'chmod 777 "$F"', "store_folder_writable_by_others" },
    { "a folder that its group can write to", 'chmod 770 "$F"', "store_folder_writable_by_others" },
    { "a symbolic link as the lock", 'ln -s "$F/other" "$P.lock"', "store_symlink" },
    { "a folder as the lock", 'mkdir "$P.lock"', "store_not_a_file" },
  }
  for _, case in ipairs(places) do
    it("refuses " .. case[1] .. " before the password leaves", function()
      process.shell("F='" .. folder .. "' P='" .. path .. "'; " .. case[2])
      local user, err = sign_in()
      assert.is_nil(user)
      assert_error("store: " .. case[1], err, "storage", case[3])
      assert.equal(0, box:count {})
      process.shell("chmod 700 '" .. folder .. "'; rm -rf '" .. folder .. "'/*")
      dpg.assert(sign_in())
    end)
  end

  it("refuses a file where a folder should be before the password leaves", function()
    process.write_file(folder .. "/file", "")
    local _, err = sign_in(folder .. "/file/session")
    assert_error("store: a file where a folder should be", err, "storage", "store_not_a_folder")
    assert.equal(0, box:count {})
  end)

  it("makes missing folders, for its owner alone", function()
    path = folder .. "/a/b/session"
    dpg.assert(sign_in())
    local function mode(name) return process.shell("ls -ld '" .. name .. "'"):sub(1, 10) end
    assert.same({ "drwx------", "drwx------", "-rw-------" }, {
      mode(folder .. "/a"), mode(folder .. "/a/b"), mode(path),
    })
  end)

  -- --- records that can't be used ---

  it("without a session says so, and makes nothing", function()
    local _, err = resume()
    assert_error("resume: there is nothing", err, "auth", "sign_in_required")
    assert.equal("no_session", err.reason)
    assert.is_false(exists(path))
    assert.equal(0, box:count {})
  end)

  it("whose folder is missing says that there is no session", function()
    path = folder .. "/none/session"
    local _, err = resume()
    assert_error("resume: there is no folder", err, "auth", "sign_in_required")
  end)

  local damages = { -- what, record -> bytes
    { "empty", function() return "" end },
    { "cut in half", function(bytes) return bytes:sub(1, math.floor(#bytes / 2)) end },
    { "without its last byte", function(bytes) return bytes:sub(1, -2) end },
    { "followed by something", function(bytes) return bytes .. "\n" end },
    { "with one letter changed", function(bytes) return (bytes:gsub("dpg_rt_", "dpg_rT_", 1)) end },
    { "something else", function() return '{"refresh_token":"dpg_rt_123"}' end },
    { "zeros", function(bytes) return ("\0"):rep(#bytes) end },
    { "2 MB long", function(bytes) return bytes .. (" "):rep(2 ^ 21) end },
  }
  for _, case in ipairs(damages) do
    it("whose record is " .. case[1] .. " keeps it beside, says where, and can be signed in to", function()
      dpg.assert(sign_in())
      client.close()
      process.shell("rm '" .. path .. ".spare' '" .. path .. ".mark'")
      local bytes = case[2](process.read_file(path))
      process.write_file(path, bytes)
      local _, err = resume()
      assert_error("resume: the record is " .. case[1], err, "storage", "store_damaged")
      local kept = assert(tostring(err):match "session%.damaged%-[%d%-]+")
      assert.equal(bytes, process.read_file(folder .. "/" .. kept))
      _, err = resume()
      assert.equal("sign_in_required", err.code)
      dpg.assert(account(dpg.assert(sign_in())):me())
      assert.equal(bytes, process.read_file(folder .. "/" .. kept))
    end)
  end

  it("whose record is damaged under a running session goes on with the tokens in memory", function()
    local session = account(dpg.assert(sign_in()))
    process.write_file(path, "damaged")
    local _, err = session:me()
    assert_error("a call that needs an exchange: the record was damaged meanwhile", err, "storage", "store_damaged")
    dpg.assert(session:me())
    client.close()
    dpg.assert(account(dpg.assert(resume())):me())
    assert.equal(1, box:count { path = "/auth/token" })
  end)

  it("whose record is taken away under a running session goes on with the tokens in memory", function()
    local session = account(dpg.assert(sign_in()))
    os.remove(path)
    dpg.assert(session:me())
    assert.is_not_nil(record_of(path))
  end)

  it("with a record from a newer version leaves it as it is, and sends nothing", function()
    local body = '{"anything":"new"}'
    local sum = process.shell("printf %s '" .. body .. "' | sha256sum"):match "^%x+"
    local bytes = ("dpg-record 2 %d %s\n%s"):format(#body, sum, body)
    process.write_file(path, bytes)
    local _, err = resume()
    assert_error("resume: the record is from a newer version", err, "storage", "store_newer")
    _, err = sign_in()
    assert_error("dpg.sign_in: the record is from a newer version", err, "storage", "store_newer")
    assert.equal(bytes, process.read_file(path))
    assert.equal(0, box:count {})
  end)

  it("with a session of another origin does not give it to this one", function()
    local other = boxes.start()
    dpg.assert(client.sign_in(other, "jane", { store = dpg.store.file(path) }))
    client.close()
    local bytes = process.read_file(path)
    local _, err = resume()
    assert_error("resume: the record is of another origin", err, "usage", "store_other_origin")
    _, err = sign_in()
    assert_error("dpg.sign_in: the record is of another origin", err, "usage", "store_other_origin")
    assert.equal(bytes, process.read_file(path))
    assert.equal(0, box:count {})
    other:stop()
  end)

  it("that another process holds is an error when the call's time is up, which names it; nothing is stolen", function()
    local session = account(dpg.assert(sign_in()))
    box:fault { path = "/auth/token", hold = true }
    local child = process.start([[
      local dpg = require "dpg"
      local base_url, path = ...
      local user = dpg.assert(dpg.resume{ base_url = base_url, store = dpg.store.file(path) })
      dpg.assert(dpg.assert(user:account(user.accounts[1].uuid)):me())
      print "served"
    ]], box.base_url, path)
    assert(box:wait_seen { path = "/auth/token" })
    local _, err = session:me { deadline = 0.3 }
    assert_error("a call that needs an exchange: another process holds the lock", err, "storage", "store_busy")
    assert.truthy(tostring(err):find("process " .. child.pid, 1, true))
    box:release()
    child:expect "served"
    dpg.assert(session:me())
    assert.equal(1, box:count { path = "/auth/token" })
  end)

  it("with a mark that somebody left loses the session at once where replay is off, and says why", function()
    dpg.assert(sign_in())
    client.close()
    box:fault { path = "/auth/token", hold = true }
    local child = process.start([[
      local dpg = require "dpg"
      local base_url, path = ...
      local user = dpg.assert(dpg.resume{ base_url = base_url, store = dpg.store.file(path) })
      user:account(user.accounts[1].uuid):me()
    ]], box.base_url, path)
    assert(box:wait_seen { path = "/auth/token" })
    child:stop()
    box:release()
    local _, err = account(dpg.assert(resume { replay = false })):me()
    assert_error("a call: somebody's mark, and replay = false", err, "auth", "sign_in_required")
    assert.equal("answer_lost", err.reason)
    assert.equal(1, box:count { path = "/auth/token" })
  end)
end)

-- --- disks ---------------------------------------------------------------------------------------------------------

local is_root = process.shell "id -u" == "0"
local can_mount = is_root and process.shell "unshare -m true && echo fine" == "fine"

describe("a disk that", function()
  local box, folder, person

  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)
  before_each(function()
    folder, person = process.folder(), box.people.jane
    box:reset_seen()
  end)

  -- Signs in, then prints what a call comes to while `break` has been done to the disk, and again after `mend`.
  local script = [[
    local dpg = require "dpg"
    local base_url, folder, login, password, damage, mend, first = ...
    local user = dpg.assert(dpg.sign_in{ base_url = base_url, login = login, password = password,
      device = { identifier = "a", name = "b", platform = "c" }, store = dpg.store.file(folder .. "/session") })
    local session = dpg.assert(user:account(user.accounts[1].uuid))
    if first == "with a token" then dpg.assert(session:me()) end
    os.execute("cd '" .. folder .. "'; " .. damage)
    local me, err = session:me()
    print(me and "served" or err.kind .. " " .. err.code .. " " .. tostring(err))
    os.execute("cd '" .. folder .. "'; " .. mend)
    me, err = session:me()
    print(me and "served" or tostring(err))
  ]]

  -- A disk of its own, which vanishes with the process.
  local function small_disk()
    return [[unshare -m sh -c 'mount -t tmpfs -o size=128k tmpfs "$0" && chmod 700 "$0" && exec "$@"' ]] .. folder
  end

  -- Root may write anywhere, unless it gives that up.
  local function plain_user()
    local caps = "-dac_override,-dac_read_search"
    return is_root and "setpriv --bounding-set=" .. caps .. " --inh-caps=" .. caps or ""
  end

  local function try(through, damage, mend, first)
    local child = process.start_through(through, script, box.base_url, folder, person.login, person.password,
      damage, mend, first or "")
    local _, lines = child:wait()
    return lines[1], lines[2], child:stderr()
  end

  local disks = { -- what, through what, damage, mend, code, whether it needs mounts
    { "is full", small_disk, "cat /dev/zero >fill 2>/dev/null", "rm fill", "store_full", true },
    { "is read-only", small_disk, "mount -o remount,ro .", "mount -o remount,rw .", "store_read_only", true },
    { "has a folder that can't be written to", plain_user, "chmod 500 .", "chmod 700 .", "store_denied" },
  }
  for _, case in ipairs(disks) do
    local what, through, damage, mend, code = case[1], case[2], case[3], case[4], case[5]
    local test = case[6] and not can_mount and pending or it

    test(what .. " is an error before the token is spent, and the session goes on once it is mended", function()
      local said, after, trouble = try(through(), damage, mend)
      assert.equal("", trouble)
      assert.equal("storage " .. code, said and said:match "^%S+ %S+", said)
      notes.row("a call that needs an exchange: a disk that " .. what, said:match "^%S+ %S+ (.*)$")
      assert.equal("served", after)
      assert.equal(1, box:count { path = "/auth/token" })
    end)

    test(what .. " takes nothing from who has an access token that lives", function()
      assert.same({ "served", "served", "" }, { try(through(), damage, mend, "with a token") })
      assert.equal(1, box:count { path = "/auth/token" })
    end)
  end
end)
