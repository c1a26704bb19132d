-- Files of any size pass through without being kept: a process of its own moves them and looks at its own memory.
-- DPG_TRANSFER_MIB=2048 moves 2 GiB; 64 MiB are enough to see that memory does not grow with them.
local boxes = require "support.box"
local process = require "support.process"
local sandbox = require "dpg.sandbox"

local MIB = tonumber(os.getenv "DPG_TRANSFER_MIB" or "") or 64
local SIZE = MIB * 1024 * 1024
local MOST_KIB = 16 * 1024

-- VmHWM is the peak; writing 5 to clear_refs sets it back to what is in use (proc(5)).
local SCRIPT = [[
  local dpg = require "dpg"
  local sandbox = require "dpg.sandbox"
  local gallery = dpg.assert(dpg.service { base_url = arg[1], token = arg[2] })
  local folder, small, large, size = arg[3], arg[4], arg[5], tonumber(arg[6])

  local function kib()
    for line in io.lines "/proc/self/status" do
      local n = line:match "^VmHWM:%s*(%d+)"
      if n then return tonumber(n) end
    end
  end

  local function reader(seed, length)
    local from = 0
    return function()
      local n = math.min(65536, length - from)
      if n == 0 then return nil end
      from = from + n
      return sandbox.blob_bytes(seed, from - n, n)
    end
  end

  local ways = {
    { "save", function(uuid) dpg.assert(gallery.downloads:save(uuid, folder .. "/down", { overwrite = true })) end },
    { "chunks", function(uuid)
      local it = gallery.downloads:chunks(uuid)
      local n = 0
      while true do
        local bytes, err = it:next()
        if err then error(err, 0) end
        if not bytes then break end
        n = n + #bytes
      end
    end },
    { "path", function()
      local image = dpg.assert(gallery.uploads:send(folder .. "/down"))
      return image.public_uuid
    end },
    { "reader", function(_, length)
      local source = { reader = reader(7, length), size = length, filename = "up.jpg" }
      return dpg.assert(gallery.uploads:send(source)).public_uuid
    end },
    { "journal", function()
      local report = dpg.assert(gallery.uploads:send_many({ folder .. "/down" }, { journal = os.tmpname() .. ".j" }))
      return report.files[1].image_public_uuid
    end },
  }
  for _, way in ipairs(ways) do
    way[2](small, 1000000) -- what is loaded and made once
    if way[1] == "path" or way[1] == "journal" then dpg.assert(gallery.downloads:save(large, folder .. "/down",
      { overwrite = true })) end
    collectgarbage()
    collectgarbage()
    local clear = assert(io.open("/proc/self/clear_refs", "w"))
    clear:write "5"
    clear:close()
    local before = kib()
    local uuid = way[2](large, size)
    print(way[1], kib() - before, uuid or large)
    if way[1] == "chunks" then dpg.assert(gallery.downloads:save(small, folder .. "/down", { overwrite = true })) end
  end
]]

describe("memory", function()
  local box, said

  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)

  it("does not grow with " .. MIB .. " MiB that go up and down", function()
    if not io.open "/proc/self/clear_refs" then return pending "the kernel does not tell" end
    local small = box:add_blob { size = 1000000, seed = 6 }
    local large = box:add_blob { size = SIZE, seed = 7 }
    -- The address sanitizer keeps what was freed, 256 MiB of it unless told otherwise: that would be measured, too.
    local asan = os.getenv "ASAN_OPTIONS"
    local through = asan and "env 'ASAN_OPTIONS=" .. asan .. ":quarantine_size_mb=1'" or ""
    local child = process.start_through(through, SCRIPT, box.base_url, box.token, process.folder(),
      small.public_uuid, large.public_uuid, SIZE)
    local status
    status, said = child:wait()
    assert.equal(0, status, child:stderr())
    assert.equal(5, #said)
    local wanted = sandbox.blob_sha256(7, SIZE)
    for _, line in ipairs(said) do
      local way, grown, uuid = line:match "^(%S+)%s+(%-?%d+)%s+(%S+)$"
      assert.is_true(tonumber(grown) <= MOST_KIB, way .. ": memory has grown by " .. grown .. " KiB")
      assert.equal(wanted, box:sha256(uuid), way)
    end
  end)
end)
