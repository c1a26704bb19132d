-- The part that all clients in Lua share: they are told on their standard input what to do, and answer with the
-- processor time (user and system, all threads) that it took. See bench/peers.lua.
return function(version, perform)
  print("ready " .. version)
  io.flush()
  for line in io.lines() do
    local count, at_once, protocol, what, url = line:match "^(%d+) (%d+) (%S+) (%S+) (%S+)$"
    collectgarbage()
    collectgarbage()
    local from = os.clock()
    local can = perform(tonumber(count), tonumber(at_once), protocol, what, url)
    print(can == false and "no" or can == "stuck" and can or ("%.9f"):format(os.clock() - from))
    io.flush()
  end
end
