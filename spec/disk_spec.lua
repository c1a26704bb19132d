-- dpg.disk, and what it asks of the core. What differs on Windows is tried by test/windows/journey.lua.
describe("dpg.disk", function()
  local core = require "dpg.core"
  local disk = require "dpg.disk"
  local process = require "support.process"
  local folder

  setup(function() folder = process.folder() end)

  it("opens, reads and measures a file under any name", function()
    local path = folder .. "/Bühne – 1.jpg"
    assert.is_nil(disk.size(path))
    local file = assert(disk.open(path, "wb"))
    file:write "12345"
    file:close()
    assert.equal(5, disk.size(path))
    assert.equal("12345", disk.read(path))
    assert.is_true(os.remove(core.io_path(path)))
    assert.is_nil(disk.size(path))
    assert.is_nil(disk.read(path))
    assert.is_nil(disk.read(folder)) -- a folder opens, on most systems
  end)

  it("knows a folder from a file, and from nothing", function()
    local file = assert(disk.open(folder .. "/file", "wb"))
    file:close()
    assert.is_true(disk.is_folder(folder))
    assert.is_false(disk.is_folder(folder .. "/file"))
    assert.is_false(disk.is_folder(folder .. "/none"))
    process.shell("mkfifo " .. folder .. "/pipe")
    assert.same({ "file", "folder", "other" }, { core.kind(folder .. "/file"), core.kind(folder),
      core.kind(folder .. "/pipe") })
    assert.is_nil(core.kind(folder .. "/none"))
    assert.is_nil(disk.size(folder .. "/pipe"))
  end)

  it("takes a path as it is, where the system does", function()
    for _, path in ipairs { "", "/a", "ä/\255", ("x"):rep(5000) } do assert.equal(path, core.io_path(path)) end
    assert.has_error(function() core.io_path {} end)
  end)

  it("tells contents apart by a fingerprint, taken whole or piece by piece", function()
    assert.equal("85944171f73967e8", core.fingerprint "foobar") -- of the FNV-1a test vectors
    assert.equal("85944171f73967e8", core.fingerprint("bar", core.fingerprint("foo", (core.fingerprint ""))))
    for _, before in ipairs { "", "123", ("x"):rep(16), ("1"):rep(17) } do
      assert.has_error(function() core.fingerprint("foo", before) end)
    end
  end)

  it("locks a file for one at a time, and lets go of it when its holder is gone", function()
    local path = folder .. "/lock"
    process.write_file(path, "999999999\n") -- a number says nothing
    local lock = assert(core.lock(path))
    assert.same({ nil, process.shell "echo $PPID" }, { core.lock(path) })
    os.remove(path)
    lock:close()
    lock:close()
    assert.equal("dpg.lock (closed)", tostring(lock))
    local child = process.start('lock = assert(require "dpg.core".lock(arg[1]))\nprint "up"\nwhile true do end', path)
    child:expect "up"
    assert.same({ nil, tostring(child.pid) }, { core.lock(path) })
    child:stop()
    assert(core.lock(path)):close()
    local none, pid, problem = core.lock(folder)
    assert.same({ nil, nil, "string" }, { none, pid, type(problem) })
    assert.has_error(function() core.lock {} end)
    assert.has_error(function() lock.close {} end)
  end)
end)
