-- Runs the same specs in another host: as a helper of busted (busted --helper=spec/support/every_host.lua), it lets the
-- body of each test run as a task of the host that DPG_SPEC_HOST names. The specs' text stays as it is.
local busted = require "busted"
local dpg = require "dpg"
local socket = require "socket"

local hosts = {}

hosts.run = dpg.run

-- Outside of tasks, but the engines have threads.
function hosts.threads(body)
  dpg.assert(dpg.loop()):close()
  body()
end

-- A program with an event loop: it sleeps until the loop's descriptor is readable.
function hosts.loop(body)
  local failure
  local loop = dpg.assert(dpg.loop { on_error = function(problem) failure = failure or { problem } end })
  local readable = { { getfd = function() return loop:fd() end, dirty = function() return false end } }
  loop:spawn(body)
  while loop:step() > 0 do socket.select(readable, nil, 10) end
  loop:close()
  if failure then error(failure[1], 0) end
end

local run_in = assert(hosts[os.getenv "DPG_SPEC_HOST" or "loop"], "DPG_SPEC_HOST: run, threads or loop expected")

busted.subscribe({ "test", "start" }, function(element)
  local body = element.run
  element.run = function() return run_in(body) end
  return nil, true -- others hear of it, too
end)
