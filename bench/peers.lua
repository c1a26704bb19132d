-- Who is measured. Each peer is a process that stays: it prints "ready VERSION", and for each line
--   COUNT AT_ONCE plain|tls|h2 decoded|bare|fields URL
-- makes that many calls and prints the seconds of processor time that they took (user and system, all its threads), or
-- "no", where it has no way to do it ("stuck": it has, but came to a halt). So all are measured in turns, warm, within
-- one run.
local M = {}

local LUA = os.getenv "PEER_LUA" or "luajit"
local LUA_PATH = "LUA_PATH='bench/clients/?.lua;lua/?.lua;lua/?/init.lua;;'"

-- The Python that has this module: Debian's, or one that comes first in PATH.
local function python(module)
  local look = "for p in /usr/bin/python3 python3; do $p -c 'import %s' && { echo $p; break; }; done 2>/dev/null"
  local found = io.popen(look:format(module)):read "*l"
  return ("exec %s bench/clients/with_%s.py"):format(found or "false", module)
end

---@param build string
---@return table[]  name, key, command (without the CA file, which is its last word), is_dpg, is_reference
function M.list(build)
  local function lua(which, script)
    local form = "exec env %s LUA_CPATH='%s/%s/?.so;;' %s bench/clients/with_%s.lua"
    return form:format(LUA_PATH, build, which, which, script)
  end
  local native = ("exec %s/bench/native"):format(build)
  return {
    { key = "easy", name = "C, libcurl easy", command = native .. " easy", is_reference = true },
    { key = "multi", name = "C, libcurl multi", command = native .. " multi", is_reference = true },
    { key = "dpg", name = "dpg, " .. LUA, command = lua(LUA, "dpg"), is_dpg = true },
    { key = "dpg54", name = "dpg, lua5.4", command = lua("lua5.4", "dpg"), is_dpg = true },
    { key = "luacurl", name = "Lua-cURL", command = lua(LUA, "luacurl") },
    { key = "luasocket", name = "LuaSocket", command = lua(LUA, "luasocket") },
    { key = "luahttp", name = "lua-http", command = lua(LUA, "luahttp") },
    { key = "copas", name = "copas", command = lua(LUA, "copas") },
    { key = "fetch", name = "Node's fetch", command = "exec node bench/clients/with_fetch.mjs" },
    { key = "requests", name = "requests", command = python "requests" },
    { key = "aiohttp", name = "aiohttp", command = python "aiohttp" },
  }
end

---The whole command line of a peer.
---@param peer table
---@param ca_file string
---@return string
function M.command(peer, ca_file)
  return ("NODE_EXTRA_CA_CERTS='%s' sh -c \"%s '%s'\""):format(ca_file, peer.command:gsub('[\\"$]', "\\%0"), ca_file)
end

---Starts it. Nil where it is not installed.
---@param peer table
---@param server table
---@return table? running  version, ask
function M.start(peer, server)
  local fifo = ("%s/%s.fifo"):format(server.folder, peer.key)
  os.execute("mkfifo " .. fifo)
  local answers = assert(io.popen(("%s <%s 2>%s/%s.err"):format(M.command(peer, server.ca_file), fifo, server.folder,
    peer.key)))
  local orders = assert(io.open(fifo, "w"))
  orders:setvbuf "no"
  local version = (answers:read "*l" or ""):match "^ready%s*(.*)$"
  if not version then
    orders:close()
    answers:close()
    return nil
  end
  local running = { version = version }
  ---@return number? seconds  nil: it can't
  ---@return boolean? is_stuck  it came to a halt
  function running.ask(count, at_once, protocol, what, url)
    orders:write(("%d %d %s %s %s\n"):format(count, at_once, protocol, what, url))
    local said = answers:read "*l"
    if said == "no" then return nil end
    if said == "stuck" then return nil, true end
    if not tonumber(said) then
      running.is_gone = true
      local log = io.open(("%s/%s.err"):format(server.folder, peer.key)):read "*a"
      error(("%s failed at %s %d %s: %s"):format(peer.name, protocol, at_once, url, log:sub(-600)), 0)
    end
    return tonumber(said)
  end
  -- First all hear that it is over, then each is waited for: those that were started later hold the earlier ones'
  -- ends of the pipes, too.
  function running.tell() orders:close() end
  function running.wait() answers:close() end
  return running
end

return M
