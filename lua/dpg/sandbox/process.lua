-- The sandbox as a process: puts clock, API, record, faults and the four ports together and runs the loop. main()
-- serves a shell command; child() serves a Lua program that started it, and ends when that program does.

local api = require "dpg.sandbox.api"
local cdn = require "dpg.sandbox.cdn"
local certificate = require "dpg.sandbox.certificate"
local control = require "dpg.sandbox.control"
local faults = require "dpg.sandbox.faults"
local json = require "dpg.sandbox.json"
local options = require "dpg.sandbox.options"
local processor = require "dpg.sandbox.processor"
local random = require "dpg.sandbox.random"
local record = require "dpg.sandbox.record"
local server = require "dpg.sandbox.server"
local service = require "dpg.sandbox.service"
local socket = require "socket"
local tokens = require "dpg.sandbox.tokens"
local totp = require "dpg.sandbox.totp"

local M = {}

local PARENT_CHECK_S = 0.5
local STDIN = 0
-- select() takes descriptors below 1,024; an upload may need one more for its file.
local API_CONNECTIONS, PROCESSOR_CONNECTIONS, CDN_CONNECTIONS, CONTROL_CONNECTIONS = 760, 64, 64, 60

---Makes a folder that nobody else can read.
---@return string path
function M.make_folder()
  local pipe = assert(io.popen [[mktemp -d "${TMPDIR:-/tmp}/dpg-sandbox.XXXXXX"]])
  local path = pipe:read "*l"
  pipe:close()
  if not path then error("no temporary folder can be made", 0) end
  return path
end

-- A folder outlives a kill -9, so somebody else removes it: a shell that waits for our end of its pipe to close,
-- whatever closes it. It is started before any socket is open, since it inherits what is.
local function remove_at_the_end(folder)
  return assert(io.popen(("trap '' INT TERM HUP; cat >/dev/null; rm -rf '%s'"):format(folder), "w"))
end

local function new_clock()
  local clock = { offset = 0 }
  function clock.now() return socket.gettime() + clock.offset end
  return clock
end

local function mint_tokens(world)
  local store, north, harbour = world.tokens, world.accounts[1], world.accounts[2]
  local function mint(name, scopes, more)
    more = more or {}
    return store:mint_service {
      name = name, scopes = scopes, account = more.account or north, expires_in = more.expires_in,
      revoked = more.revoked,
    }
  end
  return {
    full = mint("My integration", tokens.scopes), read = mint("Website", { "api.images.read" }),
    none = mint("Nothing yet", {}), expired = mint("Last year's", tokens.scopes, { expires_in = -1 }),
    revoked = mint("Withdrawn", tokens.scopes, { revoked = true }),
    other_account = mint("The agency's", tokens.scopes, { account = harbour }),
  }
end

-- What a test needs to know about the people; the fields of box.people.
local function describe_people(everybody)
  local described = {}
  for key, person in pairs(everybody) do
    described[key] = {
      uuid = person.uuid, name = person.name, login = person.login, password = person.password, code = person.code,
      accounts = person.accounts, totp_secret = person.totp_secret and totp.to_base32(person.totp_secret),
    }
  end
  return described
end

local function api_site(sandbox)
  return { name = "api", answer = function(request) return sandbox.api:handle(request) end }
end

local function listen(loop, wanted)
  local listener, err = loop:listen(wanted)
  if not listener then error(err, 0) end
  return listener
end

---Builds a sandbox with its ports open.
---@param given table  options, checked
---@param folder string  private; for the certificate and large uploads
---@param log fun(line: string)
---@return table sandbox  `loop` runs it, `facts` describe it
function M.build(given, folder, log)
  local settings, clock, loop = options.defaults(), new_clock(), server.new(log)
  for name, value in pairs(given) do
    settings[name] = value
  end
  local sandbox = {
    folder = folder, settings = settings, clock = clock, loop = loop, record = record.new(), faults = faults.new(),
    api = api.new(settings, clock.now, log), stop = function() loop.stopped = true end,
  }
  local context, ca_file
  if settings.tls then context, ca_file = certificate.make(folder, random.hex(8)) end
  local scheme = settings.tls and "https" or "http"
  local function open(site, port, capacity)
    local handler = service.handler(sandbox, site)
    local listener = listen(loop, { port = port, context = context, capacity = capacity, handler = handler })
    return listener, ("%s://127.0.0.1:%d"):format(scheme, listener.port)
  end
  local origin
  sandbox.listener, origin = open(api_site(sandbox), settings.port, API_CONNECTIONS)
  sandbox.api.uploads.url = select(2, open(processor.site(sandbox), 0, PROCESSOR_CONNECTIONS))
  sandbox.api.cdn_url = select(2, open(cdn.site(sandbox), 0, CDN_CONNECTIONS))
  local secret = random.hex(8)
  local handler = control.handler(sandbox, secret)
  local control_port = listen(loop, { port = 0, capacity = CONTROL_CONNECTIONS, handler = handler }).port
  local minted = mint_tokens(sandbox.api)
  sandbox.facts = {
    base_url = origin .. "/v1", port = sandbox.listener.port, processor_url = sandbox.api.uploads.url,
    cdn_url = sandbox.api.cdn_url, ca_file = ca_file,
    control_url = ("http://127.0.0.1:%d/%s"):format(control_port, secret), token = minted.full, tokens = minted,
    people = describe_people(sandbox.api.people), accounts = sandbox.api.accounts,
  }
  return sandbox
end

-- Runs the loop; the first Ctrl-C, which a terminal sends to the whole group, ends it only where `interruptible`.
local function run(loop, interruptible, log)
  while not loop.stopped do
    local ok, err = pcall(loop.run, loop)
    if not ok then
      local interrupted = tostring(err):find("interrupted!", 1, true)
      if not interrupted then
        log("sandbox: " .. tostring(err))
        return
      end
      if interruptible then return end
    end
  end
end

-- The parent's pid as the system has it now; nil where there is no /proc.
local function parent_now()
  local file = io.open("/proc/self/stat", "r")
  local line = file and file:read "*l"
  if file then file:close() end
  return line and line:match "^.*%) %a (%d+)"
end

-- A pipe tells of the parent's end at once, but its other end may have been inherited by processes that live on; so the
-- parent is watched as well.
local function end_with_parent(loop, parent)
  loop:watch(STDIN, function() loop.stopped = true end)
  if not parent or not parent_now() then return end
  loop:every(PARENT_CHECK_S, function()
    if parent_now() ~= parent then loop.stopped = true end
  end)
end

local function read_all(path)
  local file = assert(io.open(path, "r"))
  local text = file:read "*a"
  file:close()
  return text
end

-- The parent's own stderr, which the shell that started us keeps as descriptor 3 (see sandbox.lua).
local function log_to_parent(line)
  local file = io.open("/dev/fd/3", "a")
  if not file then return end
  file:write(line, "\n")
  file:close()
end

---Runs as the child of a Lua program. The environment tells the folder, our pid and our parent's.
function M.child()
  local folder = os.getenv "DPG_SANDBOX_FOLDER"
  local given = json.decode(read_all(folder .. "/options.json"))
  os.remove(folder .. "/options.json")
  local janitor = remove_at_the_end(folder)
  local sandbox = M.build(given, folder, log_to_parent)
  sandbox.facts.pid = tonumber(os.getenv "DPG_SANDBOX_PID")
  end_with_parent(sandbox.loop, os.getenv "DPG_SANDBOX_PARENT")
  io.stderr:write("ready ", json.encode(sandbox.facts), "\n")
  run(sandbox.loop, false, log_to_parent)
  janitor:close()
  os.exit(0, true)
end

---Runs in the foreground for the shell command, until Ctrl-C.
---@param given table  options, checked
---@param extras { until_eof?: boolean, announce: fun(facts: table) }
function M.main(given, extras)
  local function log(line) io.stderr:write(line, "\n") end
  local folder = M.make_folder()
  local janitor = remove_at_the_end(folder)
  local sandbox = M.build(given, folder, log)
  if extras.until_eof then end_with_parent(sandbox.loop, nil) end
  extras.announce(sandbox.facts)
  run(sandbox.loop, true, log)
  sandbox.loop:close()
  janitor:close()
end

return M
