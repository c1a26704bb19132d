-- dpg.cli.edit: what the command says of a write that takes long.
local edit = require "dpg.cli.edit"
local errors = require "dpg.errors"
local failure = require "dpg.cli.failure"
local out = require "dpg.cli.out"

describe("dpg.cli.edit", function()
  local said, warned, say, warn

  before_each(function()
    say, warn, said, warned = out.say, out.warn, {}, {}
    out.say = function(text) said[#said + 1] = text end
    out.warn = function(text) warned[#warned + 1] = text end
  end)
  after_each(function() out.say, out.warn = say, warn end)

  local function late()
    return errors.new { kind = "timeout", code = "operation_timeout", message = "the Operation has not ended" }
  end

  -- An Operation whose waits end so, one after the other; `waited` has their seconds.
  local function operation(...)
    local ends, waited = { ... }, {}
    return { uuid = "op-1", waited = waited, wait = function(self, options)
      waited[#waited + 1] = options.timeout
      local one = ends[#waited]
      if one == "done" then return self end
      if type(one) == "string" then error(one, 0) end
      return nil, one
    end }
  end

  it("waits in silence for what ends soon", function()
    local one = operation "done"
    assert.equal(one, edit.done(one))
    assert.same({}, said)
  end)

  it("says that it waits, and for what, when it takes long", function()
    local one = operation(late(), "done")
    assert.equal(one, edit.done(one))
    assert.same({ "DPG is still at it (operation op-1): waiting; after Ctrl-C it goes on there" }, said)
    assert.same({ 10, 110 }, one.waited)
  end)

  local lines = { -- what happens, status, message
    { "it is not finished", late(), failure.NETWORK, "DPG has not finished yet, and goes on (operation op-1): later" },
    { "of Ctrl-C", "interrupted!", failure.INTERRUPTED, "interrupted: it goes on at DPG (operation op-1): later" },
    { "the line is cut", errors.new { kind = "network", code = "x", message = "cut" }, failure.NETWORK,
      "cut: is this machine online, and the proxy right, if there is one? dpg doctor looks; DPG has the change, and "
        .. "goes on (operation op-1): later" },
    { "it fails", errors.new { kind = "operation", code = "x", message = "no room" }, failure.FAILED, "no room" },
  }
  for _, line in ipairs(lines) do
    it("names the operation, and how to go on, when " .. line[1], function()
      local ok, err = pcall(edit.done, operation(late(), line[2]), nil, { limit = 60, later = "later" })
      assert.is_false(ok)
      assert.same({ line[3], line[4] }, { failure.describe(err) })
    end)
  end

  it("says where to look, where nobody says more", function()
    local _, err = pcall(edit.done, operation(late(), late()))
    assert.truthy(select(2, failure.describe(err)):find(": dpg api GET /operations/op-1 shows how far it is", 1, true))
  end)

  it("waits on for those of a batch, and names what is not finished", function()
    local waits = { operation "done", operation(late()),
      operation(errors.new { kind = "operation", code = "x", message = "no room" }) }
    local gallery = { prepare = { images = {} }, operations = { batch_all = function(_, _, options)
      assert.equal(10, options.wait)
      local items = {}
      for i, one in ipairs(waits) do items[i] = { outcome = "running", operation = one, err = late() } end
      return { items = items }
    end } }
    local _, err = pcall(edit.each, gallery, { "a", "b", "c" }, "rated", function() return {} end)
    assert.same({ failure.NETWORK, "2 of 3 images were not changed, or not yet: see above" }, { failure.describe(err) })
    assert.same({ "DPG is still at it: waiting; after Ctrl-C it goes on there" }, said)
    assert.same({ "b: DPG has not finished yet, and goes on (operation op-1): dpg api GET /operations/op-1 shows how "
      .. "far it is", "c: no room" }, warned)
  end)
end)
