-- What dpg's bar says: reckoned in bytes, on a clock that is handed in.
local process = require "support.process"

if process.name ~= "lua5.4" or (os.getenv "CHECKER" or "") ~= "" then return end -- Lua alone: one says it all

describe("dpg.cli.progress", function()
  local progress = require "dpg.cli.progress"

  it("reckons in bytes where sizes are known", function()
    local one = progress.reckoning(2, { a = 9000000, b = 1000000 }, 100)
    assert.equal("[                    ]   0%  0/2", progress.text(one, 100, 100))
    one:move("b", 100000, 1000000, 100.1)
    assert.equal("[                    ]   1%  0/2", progress.text(one, 100.2, 100))
    one:move("b", 1000000, 1000000, 101)
    one:finish "b"
    assert.equal("[##                  ]  10%  1/2  900.0 kB/s  0:10 left", progress.text(one, 101, 100))
    one:move("a", 4000000, 9000000, 103)
    one:move("a", 8000000, 9000000, 104)
    assert.equal("[##################  ]  90%  1/2  1.2 MB/s  0:00 left", progress.text(one, 104, 100))
    one:finish "a"
    assert.equal("[####################] 100%  2/2  1.2 MB/s", progress.text(one, 104, 100))
  end)

  it("guesses those that have not begun by the others, and never goes back", function()
    local one = progress.reckoning(4, nil, 0)
    assert.equal("[                    ]   0%  0/4", progress.text(one, 1, 40):match "^.- 0/4")
    one:move("a", 500, 1000, 1)
    assert.equal(500 / 4000, (one:state(1)))
    one:move("b", 1, 9000, 2)
    assert.equal(500 / 4000, (one:state(2)))
    for _, file in ipairs { "a", "b", "c", "d" } do one:finish(file) end
    assert.equal(1, (one:state(3)))
  end)

  it("counts what an earlier run has left as done, but not as moved", function()
    local one = progress.reckoning(1, nil, 0)
    one:move("a", 8000, 10000, 1)
    one:move("a", 9000, 10000, 2)
    local part, rate, left = one:state(2)
    assert.equal(0.9, part)
    assert.equal(500, rate)
    assert.equal(2, left)
  end)

  it("shows the rate of the last seconds", function()
    local one = progress.reckoning(1, { a = 1e9 }, 0)
    one:move("a", 0, 1e9, 0)
    for second = 1, 100 do one:move("a", second * 1000, 1e9, second) end
    for second = 101, 120 do one:move("a", 100000 + (second - 100) * 50000, 1e9, second) end
    assert.equal(50000, (select(2, one:state(120))))
    assert.is_true(#one.samples < 20)
  end)

  it("fits into narrow terminals: the bar goes first, then what matters least", function()
    local one = progress.reckoning(12, { a = 1000000 }, 0)
    one:move("a", 0, 1000000, 0)
    one:move("a", 100000, 1000000, 2)
    assert.equal("  0%  0/12  50.0 kB/s  3:58 left", progress.text(one, 2, 40))
    assert.equal("  0%  0/12  50.0 kB/s", progress.text(one, 2, 30))
    assert.equal("  0%  0/12", progress.text(one, 2, 15))
    assert.equal("  0%", progress.text(one, 2, 1))
  end)

  it("does not mind empty files, nor none", function()
    local one = progress.reckoning(1, { a = 0 }, 0)
    one:move("a", 0, 0, 1)
    assert.equal(0, (one:state(1)))
    one:finish "a"
    assert.equal(1, (one:state(1)))
  end)
end)
