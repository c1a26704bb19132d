-- A child made by fork: a session goes on there with handles of its own.
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local fork = require "support.fork"
local process = require "support.process"
local socket = require "socket"

-- Runs `fn` in a child; its text comes back.
local function in_child(fn)
  local path = os.tmpname()
  local pid = assert(fork.fork())
  if pid == 0 then
    local ok, said = pcall(fn)
    local file = io.open(path, "w")
    file:write(ok and said or "raised " .. tostring(said))
    file:close()
    fork.exit(0)
  end
  fork.wait(pid)
  local file = io.open(path)
  local said = file:read "*a"
  file:close()
  os.remove(path)
  return said
end

describe("after fork", function()
  local box, folder
  before_each(function()
    box = boxes.start()
    folder = client.folder()
  end)
  after_each(function()
    client.close()
    box:stop()
    os.execute("rm -rf '" .. folder .. "'")
  end)

  it("a service session works in the child, and goes on working in the parent", function()
    local gallery = client.service(box)
    dpg.assert(gallery:me())
    assert.equal("Northlight Festival", in_child(function() return dpg.assert(gallery:me()).account.name end))
    dpg.assert(gallery:me())
    client.nothing_left()
  end)

  it("a person's session with a file goes on in both, and no refresh token is presented twice", function()
    local session, user = client.person(box, "jane", { store = dpg.store.file(folder .. "/session") })
    local function ask(one) return dpg.assert(one:me()).account.name end
    local function exchange(one) return tostring(select(2, one:me()).status) end
    box:set { access_token_life = 0 } -- whatever is given is dead, on the fastest machine as well: each call exchanges
    assert.equal("401", exchange(session)) -- so that there is something to inherit
    local before = box:exchanges()
    for _ = 1, 3 do
      assert.equal("401", in_child(function() return exchange(session) end))
      assert.equal("401", exchange(session))
      assert.equal("401", exchange(user:account(user.accounts[2].uuid)))
    end
    assert.is_true(box:exchanges() >= before + 9)
    box:set { access_token_life = 900 }
    assert.equal("Northlight Festival", in_child(function() return ask(session) end))
    assert.equal("Northlight Festival", ask(session))
    ask(user:account(user.accounts[2].uuid))
    assert.equal(0, box:report().presented_more_than_once)
  end)

  it("a person's session in memory is refused in the child: it would spend the parent's token", function()
    local session = client.person(box, "jane")
    dpg.assert(session:me())
    assert.truthy(in_child(function()
      local _, err = session:me()
      return err.kind .. " " .. tostring(err)
    end):find("^usage "))
    dpg.assert(session:me())
  end)

  it("a loop belongs to the process that made it, and a child makes one of its own", function()
    local gallery = client.service(box)
    local loop, names = dpg.assert(dpg.loop()), {}
    local function ask() names[#names + 1] = dpg.assert(gallery:me()).account.name end
    local function finish(one)
      local readable = { getfd = function() return one:fd() end, dirty = function() return false end }
      while one:step() > 0 do socket.select({ readable }, nil, 10) end
    end
    box:fault { path = "/me", hold = true }
    loop:spawn(ask)
    while box:count { path = "/me" } == 0 do loop:step() end
    local said = in_child(function()
      local _, problem = pcall(loop.step, loop)
      loop:close()
      local own = dpg.assert(dpg.loop())
      own:spawn(ask)
      finish(own)
      own:close()
      return #names .. " " .. names[1] .. ", " .. problem
    end)
    assert.truthy(said:find("^1 Northlight Festival, .*belongs to the process that made it"), said)
    box:release()
    finish(loop)
    loop:close()
    assert.same({ "Northlight Festival" }, names)
    client.nothing_left()
  end)

  it("a child that closes its Lua state leaves the parent's TLS connection alone", function()
    local tls = boxes.start { tls = true }
    local child = process.start([[
      local base_url, ca_file, token = ...
      local dpg = require "dpg"
      local fork = require "support.fork"
      local gallery = dpg.assert(dpg.service{ base_url = base_url, ca_file = ca_file, token = token })
      dpg.assert(gallery:me())
      local pid = fork.fork()
      if pid == 0 then os.exit(0, true) end
      fork.wait(pid)
      dpg.assert(gallery:me())
      print "served"
    ]], tls.base_url, tls.ca_file, tls.token)
    assert.same({ 0, { "served" } }, { child:wait() }, child:stderr())
    assert.equal(1, tls:report().connections)
    tls:stop()
  end)
end)
