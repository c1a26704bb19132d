-- Every example is run as its first lines say, by the Lua that runs this suite.
local boxes = require "support.box"
local sandbox = require "dpg.sandbox"

-- The interpreter that runs this suite.
local function interpreter()
  local i = 0
  while arg[i - 1] do i = i - 1 end
  return arg[i]
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Runs a command: its output, and whether it exited with 0.
local function run(environment, command)
  local line = {}
  for name, value in pairs(environment) do line[#line + 1] = name .. "=" .. quoted(value) end
  table.sort(line)
  local pipe = assert(io.popen("env " .. table.concat(line, " ") .. " sh -c " .. quoted(command .. "; echo exit=$?")
    .. " 2>&1", "r"))
  local output = pipe:read "*a"
  pipe:close()
  return output, output:match "exit=(%d+)\n$" == "0"
end

local function lua(script, ...)
  local words = { interpreter(), "examples/" .. script }
  for _, word in ipairs { ... } do words[#words + 1] = word end
  for i, word in ipairs(words) do words[i] = quoted(word) end
  return table.concat(words, " ")
end

describe("the examples", function()
  local box, folder, environment

  setup(function()
    box = boxes.start()
    environment = { DPG_BASE_URL = box.base_url, DPG_TOKEN = box.token }
    local pipe = assert(io.popen("mktemp -d", "r"))
    folder = pipe:read "*l"
    pipe:close()
  end)
  teardown(function()
    box:stop()
    os.execute("rm -rf " .. quoted(folder))
  end)

  it("quickstart lists, captions, and shows what an error is", function()
    local output, fine = run(environment, lua("quickstart.lua", "stage"))
    assert.is_true(fine, output)
    assert.truthy(output:find("captioned: ", 1, true))
    assert.truthy(output:find("as expected: api image_not_found", 1, true))
    assert.equal(1, box:count { method = "PATCH" })
  end)

  it("many_at_once reads a hundred images and fails none", function()
    local output, fine = run(environment, lua "many_at_once.lua")
    assert.is_true(fine, output)
    assert.truthy(output:find("100 images read, 0 failed", 1, true))
  end)

  it("sign_in asks for everything once, resumes without a password, and signs out", function()
    local store, person = folder .. "/session", box.people.omar
    local typed = quoted(table.concat({ person.login, person.password, "000", person.code }, "\n") .. "\n")
    local output, fine = run(environment, "printf %s " .. typed .. " | " .. lua("sign_in.lua", store))
    assert.is_true(fine, output)
    assert.truthy(output:find("That was not it. Code: signed in", 1, true))
    assert.truthy(output:find("Northlight Festival", 1, true))

    output, fine = run(environment, lua("sign_in.lua", store))
    assert.is_true(fine, output)
    assert.truthy(output:find("resumed: no password needed", 1, true))

    output, fine = run(environment, lua("sign_in.lua", store, "out"))
    assert.is_true(fine, output)
    assert.truthy(output:find("signed out", 1, true))
    output = run(environment, "printf '' | " .. lua("sign_in.lua", store))
    assert.truthy(output:find("Login: ", 1, true))
  end)

  describe("with files", function()
    local small, place

    setup(function()
      small = boxes.start { images = 6 }
      place = { DPG_BASE_URL = small.base_url, DPG_TOKEN = small.token }
    end)
    teardown(function() small:stop() end)

    it("festival_golive uploads, keywords, arranges and sets the embargo; a second run sends nothing again", function()
      local evening = folder .. "/evening"
      os.execute("mkdir " .. quoted(evening))
      for i = 1, 5 do
        local file = assert(io.open(evening .. "/" .. i .. ".jpg", "wb"))
        file:write(sandbox.blob_bytes(i, 0, 5000))
        file:close()
      end
      local command = lua("festival_golive.lua", evening, "Main Stage", "2030-07-01T22:00:00Z", "festival:2030", "live")
      for _, said in ipairs { "5 sent, 0 there already", "0 sent, 5 there already" } do
        local output, fine = run(place, command)
        assert.is_true(fine, output)
        assert.truthy(output:find(said, 1, true), output)
        assert.truthy(output:find("5 images bear festival:2030, live", 1, true), output)
        assert.truthy(output:find("to be seen from 2030-07-01T22:00:00Z on", 1, true), output)
      end
      assert.equal(5, small:count { server = "processor", status = 200 })
      assert.equal(1, small:count { path = "/sets", method = "POST" })
      assert.equal(0, small:report().authorization_on_processor)
    end)

    it("rename_keyword renames wherever it stands", function()
      local output, fine = run(place, lua("rename_keyword.lua", "live", "on stage"))
      assert.is_true(fine, output)
      assert.truthy(output:find("live is on stage now, on 5 images", 1, true), output)
      output, fine = run(place, lua("rename_keyword.lua", "live", "on stage"))
      assert.is_true(fine, output)
      assert.truthy(output:find("on 0 images", 1, true), output)
    end)

    it("backup mirrors the library, and goes on where it stopped", function()
      local mirror = folder .. "/mirror"
      local command = lua("backup.lua", mirror)
      small:fault { server = "cdn", cut = 1000, times = 3 }
      local output, fine = run(place, command)
      assert.is_true(fine, output)
      assert.truthy(output:find("11 images: 11 saved, 0 there already, 0 failed", 1, true), output)
      output, fine = run(place, command)
      assert.is_true(fine, output)
      assert.truthy(output:find("11 images: 0 saved, 11 there already, 0 failed", 1, true), output)
      local sums = io.popen("cd " .. quoted(mirror) .. " && sha256sum *.original")
      for line in sums:lines() do
        local sum, uuid = line:match "^(%x+) [ *](.*)%.original$"
        assert.equal(small:sha256(uuid), sum)
      end
      sums:close()
    end)
  end)

  it("the demo tells its story to the end", function()
    local output, fine = run({}, lua "demo.lua")
    assert.is_true(fine, output)
    assert.truthy(output:find("Omar Haddad is still signed in", 1, true))
    assert.truthy(output:match "waited [2-9]%.%d+ s, then got 5 keywords")
    assert.truthy(output:find("0 families revoked", 1, true))
  end)
end)
