-- One person's session, shared: by processes and by coroutines, over a strict sandbox that revokes a family when a
-- refresh token is presented twice.
describe("a shared session", function()
  local box = require "support.box"
  local client = require "support.client"
  local dpg = require "dpg"
  local process = require "support.process"

  local sandbox, path

  before_each(function()
    sandbox = box.start { rotation = "strict" }
    path = process.folder() .. "/session"
  end)

  after_each(function()
    client.nothing_left()
    client.close()
    sandbox:stop()
  end)

  local function sign_in()
    dpg.assert(client.sign_in(sandbox, "jane", { store = dpg.store.file(path) }))
  end

  -- Every refresh token but the last was presented once, and that one never. Returns how many there were.
  local function assert_each_presented_once()
    local tokens = sandbox:refresh_tokens()
    for index, token in ipairs(tokens) do
      local wanted = index < #tokens and 1 or 0
      assert(token.presented == wanted,
        ("refresh token %d of %d was presented %d times"):format(index, #tokens, token.presented))
    end
    assert.equal(0, sandbox:report().families_revoked)
    return #tokens
  end

  -- `DPG_PROCESSES=64 DPG_EXPIRIES=500` takes some minutes.
  local processes = tonumber(os.getenv "DPG_PROCESSES") or 2
  local expiries = tonumber(os.getenv "DPG_EXPIRIES") or process.is_heavy and 50 or 12
  local tasks = processes > 8 and 2 or 8

  -- Tasks that call until there is a file `stop`, half of them for the person's second account.
  local workers = [[
    local died_on_its_way = require "support.died_on_its_way"
    local dpg = require "dpg"
    local base_url, path, stop, tasks = ...
    local user = dpg.assert(dpg.resume{ base_url = base_url, store = dpg.store.file(path) })
    local calls, served, failed, why = 0, 0, 0, ""
    local function is_to_stop()
      local file = io.open(stop)
      if file then file:close() end
      return file ~= nil
    end
    dpg.run(function()
      for i = 1, tonumber(tasks) do
        local session = dpg.assert(user:account(user.accounts[i % 2 + 1].uuid))
        dpg.spawn(function()
          while not is_to_stop() do
            local me, err = session:me()
            calls = calls + 1
            if me then served = served + 1 end
            if not me and not died_on_its_way(err) then failed, why = failed + 1, tostring(err) end
          end
        end)
      end
    end)
    print(calls .. " calls")
    print(failed .. " failed " .. why)
    print(served > 0 and "served" or "never served")
  ]]

  it(("goes through %d expiries in %d processes of %d tasks; each refresh token is presented once #heavy")
    :format(expiries, processes, tasks), function()
    sandbox:set { access_token_life = processes > 8 and 1 or 0.4 }
    sandbox:fault { path = "/me", delay = 0.01 * processes, times = "always" } -- the work of a server that is busy
    sign_in()
    local stop = path .. ".stop"
    local children = {}
    for i = 1, processes do children[i] = process.start(workers, sandbox.base_url, path, stop, tasks) end
    assert(sandbox:wait_seen({ path = "/auth/token" }, expiries, 60 + 2 * expiries))
    process.write_file(stop, "")
    for _, child in ipairs(children) do
      local status, lines = child:wait()
      assert.same({ 0, "0 failed ", "served", "" }, { status, lines[2], lines[3], child:stderr() })
      assert.is_true(tonumber(lines[1]:match "%d+") > expiries)
    end
    assert.is_true(assert_each_presented_once() > expiries)
  end)

  it("makes one exchange when a second process needs a token while the first one's exchange is out", function()
    local one_call = [[
      local dpg = require "dpg"
      local base_url, path = ...
      print "running"
      local user = dpg.assert(dpg.resume{ base_url = base_url, store = dpg.store.file(path) })
      dpg.assert(dpg.assert(user:account(user.accounts[1].uuid)):me())
      print "served"
    ]]
    sign_in()
    sandbox:fault { path = "/auth/token", hold = true, times = "always" }
    local first = process.start(one_call, sandbox.base_url, path)
    assert(sandbox:wait_seen { path = "/auth/token" })
    local second = process.start(one_call, sandbox.base_url, path)
    second:expect "running"
    sandbox:clear_faults()
    first:expect "served"
    second:expect "served"
    assert.equal(1, sandbox:exchanges())
    assert.equal(2, assert_each_presented_once())
  end)
end)
