-- The journal of a long run: what stands in it after a crash, and what it refuses.
local journal = require "dpg.journal"
local process = require "support.process"

describe("a journal", function()
  local path

  before_each(function() path = process.folder() .. "/uploads.journal" end)

  local function open()
    return assert(journal.open(path, "uploads"))
  end

  it("tells the next run each file's newest step", function()
    local book = open()
    assert(book:write("a.jpg", { step = "ticket", key = "k-1" }))
    assert(book:write("b.jpg", { step = "ticket", key = "k-2" }))
    assert(book:write("a.jpg", { step = "done", image_public_uuid = "u-1" }))
    book:close()
    local entries = open().entries
    assert.equal("done", entries["a.jpg"].step)
    assert.equal("u-1", entries["a.jpg"].image_public_uuid)
    assert.equal("ticket", entries["b.jpg"].step)
  end)

  it("has written a step down when write returns", function()
    local book = open()
    book:write("a.jpg", { step = "sending" })
    assert.truthy(process.read_file(path):find('"step":"sending"}\n', 1, true))
    book:close()
  end)

  it("keeps names of any bytes", function()
    local name = "a\nb\r\t\"\\/é\0.jpg"
    local book = open()
    book:write(name, { step = "done" })
    book:close()
    assert.equal("done", open().entries[name].step)
  end)

  it("goes on behind a line that a crash has cut, at every byte", function()
    local book = open()
    book:write("a.jpg", { step = "ticket" })
    local before = #process.read_file(path)
    book:write("a.jpg", { step = "sending" })
    book:close()
    local whole = process.read_file(path)
    for length = before, #whole - 2 do
      process.write_file(path, whole:sub(1, length))
      local again = open()
      assert.equal("ticket", again.entries["a.jpg"].step)
      again:write("b.jpg", { step = "done" })
      again:close()
      local third = open()
      assert.equal("ticket", third.entries["a.jpg"].step)
      assert.equal("done", third.entries["b.jpg"].step)
      third:close()
    end
  end)

  it("begins anew when not even its first line was written whole", function()
    open():close()
    local whole = process.read_file(path)
    for length = 0, #whole - 1 do
      process.write_file(path, whole:sub(1, length))
      if length == 0 or length >= 13 then
        local book = open()
        book:write("a.jpg", { step = "done" })
        book:close()
        assert.equal("done", open().entries["a.jpg"].step)
      end
    end
  end)

  it("writes nothing to a file that is no journal", function()
    for _, text in ipairs { "\255\216\255\224 a picture", "[1]\n", "{}\n", '{"dpg_journal":"downloads","version":1}\n',
      '{"dpg_journal":"uploads","version":2}\n' } do
      process.write_file(path, text)
      local book, err = journal.open(path, "uploads")
      assert.is_nil(book)
      assert.equal("storage", err.kind)
      assert.equal("not_a_journal", err.code)
      assert.equal(text, process.read_file(path))
    end
  end)

  it("says that it can't be read, as a folder can't", function()
    local _, err = journal.open(process.folder(), "uploads")
    assert.same({ "storage", "journal_unreadable" }, { err.kind, err.code })
  end)

  it("says where it can't be written", function()
    local book, err = journal.open(path .. "/nowhere/x", "uploads")
    assert.is_nil(book)
    assert.equal("journal_unwritable", err.code)
    assert.truthy(err.message:find(path, 1, true))
  end)

  it("says that the disk is full, and is not taken in by half a line", function()
    if not io.open("/dev/full", "w") then return pending "there is no /dev/full here" end
    local book = open()
    book._file:close()
    book._file = io.open("/dev/full", "ab")
    book._file:setvbuf "no"
    local ok, err = book:write("a.jpg", { step = "sending" })
    assert.is_nil(ok)
    assert.equal("storage", err.kind)
    assert.is_nil(book.entries["a.jpg"])
    book._file:close()
    book._file = io.open(path, "ab")
    assert(book:write("b.jpg", { step = "done" }))
    book:close()
    assert.equal("done", open().entries["b.jpg"].step)
  end)

  it("is closed once and for all", function()
    local book = open()
    book:close()
    book:close()
    assert.is_nil(book:write("a.jpg", { step = "done" }))
  end)
end)
