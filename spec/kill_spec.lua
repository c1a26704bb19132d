-- kill -9 at random moments while tokens rotate without a pause, each followed by a resume in a new process. SEED=n
-- repeats the moments of a run.
describe("a session whose process is killed at random moments", function()
  local box = require "support.box"
  local client = require "support.client"
  local dpg = require "dpg"
  local process = require "support.process"
  local record_of = require "support.record".read
  local socket = require "socket"

  local KILLS = process.name == "lua5.4" and 200 or 40 -- 200 take half a minute
  local LATEST_S = 0.06 -- a rotation takes some 10 ms

  -- Resumes, says "running" after the first call, and goes on. A token that died on its way is no news here.
  local rotate = process.script [[
    local dpg = require "dpg"
    local base_url, path = ...
    local user, err = dpg.resume{ base_url = base_url, store = dpg.store.file(path) }
    local session = user and dpg.assert(user:account(user.accounts[1].uuid))
    local said
    while true do
      local me
      if session then me, err = session:me() end
      if not me and err.code ~= "unauthorized" then
        print(err.code == "sign_in_required" and "lost " .. tostring(err.reason) or "failed " .. tostring(err))
        return
      end
      if not said then print "running" end
      said = true
    end
  ]]

  local sandbox, path, seed

  before_each(function()
    path = process.folder() .. "/session"
    seed = tonumber(os.getenv "SEED") or os.time()
    math.randomseed(seed)
  end)

  after_each(function()
    client.close()
    sandbox:stop()
  end)

  local function sign_in()
    dpg.assert(client.sign_in(sandbox, "jane", { store = dpg.store.file(path) }))
    client.close()
  end

  local function find(id)
    for _, token in ipairs(sandbox:refresh_tokens()) do
      if token.id == id then return token end
    end
  end

  -- Nobody could have kept it: the server had made a successor, whose answer never reached the disk.
  local function assert_unavoidable(reason, record, spare)
    assert.equal("answer_lost", reason)
    assert.is_true(record.marked)
    local token = assert(find(record.id))
    assert.equal("spent", token.state)
    local successor = assert(find(token.successor))
    assert.equal(0, successor.presented)
    assert.is_true(not spare or spare.id ~= successor.id, "the successor was on disk, and was not found")
  end

  -- Kills KILLS times and resumes; `on_loss` decides about a session that is gone. Returns the counts.
  local function run(on_loss)
    local counts = { marked = 0, spare = 0, lost = 0 }
    local child = process.start(rotate, sandbox.base_url, path)
    child:expect "running"
    for _ = 1, KILLS do
      socket.sleep(math.random() * LATEST_S) -- the random moment itself; nothing is waited for
      child:stop()
      assert.equal(128 + 9, child.status)
      local record, spare = record_of(path), record_of(path .. ".spare")
      assert(record, "what is on disk is no whole record")
      if record.marked then counts.marked = counts.marked + 1 end
      if spare and spare.id ~= record.id then counts.spare = counts.spare + 1 end
      child = process.start(rotate, sandbox.base_url, path)
      local said = child:read()
      if said ~= "running" then
        counts.lost = counts.lost + 1
        local reason = said and said:match "^lost (.*)$"
        if not reason then error(("the child said %s; %s"):format(tostring(said), child:stderr())) end
        on_loss(reason, record, spare)
        child:stop()
        sign_in()
        child = process.start(rotate, sandbox.base_url, path)
        child:expect "running"
      end
    end
    child:stop()
    return counts
  end

  local function tell(mode, counts)
    local text = "# %s, seed %d: %d kills, %d rotations; %d found a mark, %d a successor beside the record; %d lost\n"
    io.write(text:format(mode, seed, KILLS, sandbox:exchanges(), counts.marked, counts.spare, counts.lost))
  end

  it(("is never lost where the server has a grace (%d kills) #heavy"):format(KILLS), function()
    sandbox = box.start { rotation = "grace", access_token_life = 0.01 }
    sign_in()
    local counts = run(function(reason) error("lost: " .. reason .. ", seed " .. seed) end)
    tell("grace", counts)
    assert.equal(0, sandbox:report().families_revoked)
  end)

  it(("is lost at a strict server only where the successor never reached the disk (%d kills) #heavy"):format(KILLS),
    function()
      sandbox = box.start { rotation = "strict", access_token_life = 0.01 }
      sign_in()
      local counts = run(assert_unavoidable)
      tell("strict", counts)
      assert.equal(counts.lost, sandbox:report().families_revoked)
    end)
end)
