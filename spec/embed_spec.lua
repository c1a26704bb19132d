-- examples/embed: built as its first lines and examples/embed/README.md say, and run for two seconds.
-- It measures; what it measures is asserted nowhere, since that is the machine's.
local boxes = require "support.box"
local process = require "support.process"

-- The program embeds Lua 5.4. A checker would have to be in it, too.
if process.name ~= "lua5.4" or (os.getenv "CHECKER" or "") ~= "" then return end

describe("the embedded program", function()
  local box, folder

  setup(function()
    box = boxes.start { images = 1 }
    for seed = 1, 8 do box:add_blob { size = 300000, seed = seed } end
    folder = process.folder()
  end)
  teardown(function() box:stop() end)

  local function play(token, seconds)
    local paths = ("LUA_PATH='%s' LUA_CPATH='%s' "):format(package.path, package.cpath)
    return process.shell(("(%s DPG_TOKEN=%s DPG_BASE_URL=%s timeout 60 %s/game %d; echo exit $?)"):format(paths, token,
      box.base_url, folder, seconds))
  end

  it("draws its frames with and without transfers, and prints both", function()
    local said = process.shell("${CC:-cc} -O2 -Wall -Werror -o " .. folder .. "/game examples/embed/game.c "
      .. "$(pkg-config --cflags --libs lua5.4)")
    assert.equal("", said)
    said = play(box.token, 2)
    assert.truthy(said:find("exit 0$"), said)
    for _, name in ipairs { "quiet", "transfers" } do
      local row = "\n  frame" .. (" +[%d.]+"):rep(5) .. "\n  loop:step" .. (" +[%d.]+"):rep(5) .. "\n  its own"
      local frames = ("\n" .. said):match("\n" .. name .. " [^\n]*%(ms, (%d+) frames%)" .. row)
      assert.equal("60", frames, said)
    end
    local files, reads = said:match "MiB in (%d+) files; (%d+) reads"
    assert.is_true(tonumber(files) > 0 and tonumber(reads) > 0, said)
    assert.equal(0, box:count { status = 500 })
  end)

  it("says what is wrong, and ends", function()
    local said = play("''", 1)
    assert.truthy(said:find("game: .*option 'token' is empty.*exit 1$"), said)
  end)
end)
