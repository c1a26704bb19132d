-- Names that a server gives to files: none leads out of the folder, and each can be made on every system.
local filename = require "dpg.filename"

if (os.getenv "CHECKER" or "") ~= "" then return end -- there is nothing in C here for a checker to see

local UUID = "7c6f0a52-1d7e-4a55-9a3e-5f3d0c1b2a99"

describe("dpg.filename.safe", function()
  local long = ("x"):rep(300)
  local cases = { -- what the server says, what the file is called
    { "IMG_0001.JPG", "IMG_0001.JPG" },
    { "Bühne am Abend.jpg", "Bühne am Abend.jpg" },
    { "日本.heic", "日本.heic" },
    { "a b (2).tar.gz", "a b (2).tar.gz" },
    -- separators, and what climbs
    { "../../etc/passwd", "passwd" },
    { "..\\..\\windows\\win.ini", "win.ini" },
    { "/etc/shadow", "shadow" },
    { "C:\\Users\\x.jpg", "x.jpg" },
    { "C:x.jpg", "C_x.jpg" },
    { "photos/", "photos" },
    { "..", UUID }, { ".", UUID }, { "...", UUID }, { "/", UUID }, { "\\", UUID }, { "../", UUID }, { "", UUID },
    { "   ", UUID }, { "_", UUID }, { "\n \255._", UUID }, { "\0", UUID }, { "\127\1\2", UUID },
    -- what shells and systems read otherwise
    { ".bashrc", "_.bashrc" },
    { "~root", "_~root" },
    { "-rf", "_-rf" },
    { "x.jpg:stream", "x.jpg_stream" },
    { 'a<b>c"d|e?f*g', "a_b_c_d_e_f_g" },
    { "trailing. . .", "trailing" },
    { " leading.jpg", "leading.jpg" },
    -- control characters, and those that turn a name round or hide in it
    { "a\0b\r\nc\27[31m.jpg", "abc[31m.jpg" },
    { "holiday\226\128\174gpj.exe", "holidaygpj.exe" },
    { "a\226\128\139b\239\187\191.jpg", "ab.jpg" },
    { "a\194\133b.jpg", "ab.jpg" },
    -- bytes that are no UTF-8: alone, too long a form, a surrogate, beyond the end
    { "\255\254.jpg", "__.jpg" },
    { "\192\175etc.jpg", "__etc.jpg" },
    { "\237\160\128.jpg", "___.jpg" },
    { "\244\144\128\128.jpg", "____.jpg" },
    { "a\195", "a_" },
    -- Windows' devices
    { "con", "_con" }, { "CON.jpg", "_CON.jpg" }, { "Nul.tar.gz", "_Nul.tar.gz" }, { "aux .txt", "_aux.txt" },
    { "COM1", "_COM1" }, { "lpt9.png", "_lpt9.png" }, { "com\194\185.jpg", "_com\194\185.jpg" },
    { "console.jpg", "console.jpg" }, { "com10.jpg", "com10.jpg" },
    { "conin$", "_conin$" }, { "CONOUT$.jpg", "_CONOUT$.jpg" }, { "clock$", "_clock$" }, { "prn", "_prn" },
    { "com0", "_com0" }, { "lpt\194\178", "_lpt\194\178" }, { "com\194\179", "_com\194\179" },
    -- names of our own
    { "a.part", "a.part_" }, { "a.PART", "a.PART_" }, { "a.part.json", "a.part.json_" },
    -- too long
    { long .. ".jpg", ("x"):rep(196) .. ".jpg" },
    { ("é"):rep(150) .. ".jpg", ("é"):rep(98) .. ".jpg" },
    { long, ("x"):rep(200) },
    { "x." .. ("y"):rep(300), "x." .. ("y"):rep(198) },
    { ("x"):rep(198) .. "é", ("x"):rep(198) .. "é" },
    { ("x"):rep(199) .. "é", ("x"):rep(199) },
    { ("x"):rep(198) .. "日", ("x"):rep(198) },
    { ("x"):rep(199) .. "\195\128", ("x"):rep(199) }, { ("x"):rep(199) .. "\195\191", ("x"):rep(199) },
    { long .. "." .. ("y"):rep(15), ("x"):rep(184) .. "." .. ("y"):rep(15) },
    { long .. "." .. ("y"):rep(16), ("x"):rep(200) },
  }
  for _, case in ipairs(cases) do
    it(("calls %q %q"):format(#case[1] < 60 and case[1] or case[1]:sub(1, 20) .. "…", #case[2] < 60 and case[2] or "…"),
      function() assert.equal(case[2], filename.safe(case[1], UUID)) end)
  end

  it("leaves out what can't be seen, to the very ends of its ranges, and nothing beside", function()
    local function utf8(code)
      if code < 0x80 then return string.char(code) end
      local tail = string.char(0x80 + code % 64)
      local rest = math.floor(code / 64)
      if code < 0x800 then return string.char(0xC0 + rest) .. tail end
      tail = string.char(0x80 + rest % 64) .. tail
      rest = math.floor(rest / 64)
      if code < 0x10000 then return string.char(0xE0 + rest) .. tail end
      return string.char(0xF0 + math.floor(rest / 64), 0x80 + rest % 64) .. tail
    end
    local seen = {
      0x20, 0x7E, 0xA0, 0xAC, 0xAE, 0x61B, 0x61D, 0x7FF, 0x800, 0x200A, 0x2010, 0x2027, 0x202F, 0x205F, 0x2070,
      0xD7FF, 0xE000, 0xFEFE, 0xFF00, 0xFFFF, 0x10000, 0x10FFFF,
    }
    for _, code in ipairs(seen) do
      assert.equal("a" .. utf8(code) .. "b", filename.safe("a" .. utf8(code) .. "b", UUID), ("%x"):format(code))
    end
    local unseen = {
      0x1F, 0x7F, 0x80, 0x9F, 0xAD, 0x61C, 0x200B, 0x200F, 0x2028, 0x202E, 0x2060, 0x206F, 0xFEFF,
    }
    for _, code in ipairs(unseen) do
      assert.equal("ab", filename.safe("a" .. utf8(code) .. "b", UUID), ("%x"):format(code))
    end
    assert.equal("a___b", filename.safe("a" .. utf8(0xD800) .. "b", UUID))
    assert.equal("a___b", filename.safe("a" .. utf8(0xDFFF) .. "b", UUID))
  end)

  it("takes the other name when the server gives none", function()
    for _, value in ipairs { false, 7, {} } do assert.equal(UUID, filename.safe(value, UUID)) end
    assert.equal(UUID, filename.safe(nil, UUID))
  end)

  it("trusts the other name no more than the server's", function()
    assert.equal("passwd", filename.safe(nil, "../passwd"))
    assert.equal("download", filename.safe("..", "../.."))
  end)

  it("gives a name that is safe, whatever bytes come", function()
    local seed = os.time()
    math.randomseed(seed)
    for _ = 1, 3000 do
      local bytes = {}
      for i = 1, math.random(0, 40) do bytes[i] = string.char(math.random(0, 255)) end
      local given = table.concat(bytes)
      local name = filename.safe(given, UUID)
      local told = ("seed %d: %q gives %q"):format(seed, given, name)
      assert.falsy(name:find "[/\\%c:]", told)
      assert.falsy(name:find "^[.~-]", told)
      assert.falsy(name:find "[. ]$", told)
      assert.is_true(#name >= 1 and #name <= 210, told)
      assert.equal(name, filename.safe(name, UUID), told)
    end
  end)

  it("gives a name that is safe, of 64 KiB of anything", function()
    for byte = 1, 255 do
      local name = filename.safe(("a" .. string.char(byte)):rep(32768), UUID)
      assert.is_true(#name >= 1 and #name <= 210)
    end
  end)
end)

describe("dpg.filename", function()
  it("numbers files that would bear the same name", function()
    assert.equal("IMG_1.jpg", filename.numbered("IMG_1.jpg", 1))
    assert.equal("IMG_1 (2).jpg", filename.numbered("IMG_1.jpg", 2))
    assert.equal("README (3)", filename.numbered("README", 3))
  end)

  it("finds the last component of a path", function()
    assert.equal("c.jpg", filename.base "/a/b/c.jpg")
    assert.equal("c.jpg", filename.base "a\\c.jpg")
    assert.equal("b", filename.base "/a/b/")
  end)
end)
