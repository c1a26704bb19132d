-- A local stand-in for the Digital Photo Gallery API: start{} runs it in a process of its own, which ends with this
-- one, and returns the box that steers it. For tests, demos and work without a network. What it serves begins in
-- sandbox/api.lua, what it can be told in sandbox/options.lua and sandbox/faults.lua; box methods speak to
-- sandbox/control.lua.

local blob = require "dpg.sandbox.blob"
local hash = require "dpg.sandbox.hash"
local json = require "dpg.sandbox.json"
local options = require "dpg.sandbox.options"
local socket = require "socket"

local M = {}

---@class dpg.sandbox.Box
---@field base_url string  ends in /v1
---@field port integer  of the API
---@field processor_url string  the origin that uploads go to
---@field cdn_url string  the origin that files come from
---@field ca_file string?  with TLS: the authority that signed the server's certificate
---@field control_url string  where it is steered
---@field pid integer  of its process
---@field token string  a service token with every scope
---@field tokens table<string, string>  full, read, none, expired, revoked, other_account
---@field people table<string, table>  jane, omar (two-factor), solo: login, password, accounts, code, totp_secret
---@field accounts table[]  whom it knows: `uuid`, `name`
local Box = {}
Box.__index = Box
Box.__name = "dpg.sandbox.box"

function Box:__tostring()
  return ("dpg.sandbox.box (%s, %s)"):format(self.base_url, self._pipe and "running" or "stopped")
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Where this file's modules are found, for a child that has another package.path.
local function module_root()
  local source = debug.getinfo(1, "S").source
  return (source:match "^@(.*)dpg[/\\]sandbox%.lua$" or "./lua/")
end

-- The interpreter that runs this program: the first word of its command line, which `arg` holds at its lowest index.
-- A host that is no interpreter (a game, nginx) gets the one of its version.
local function own_interpreter()
  local lowest
  for index = -1, -20, -1 do
    local word = type(arg) == "table" and arg[index]
    if not word then break end
    lowest = word
  end
  local name = lowest and lowest:match "[^/\\]+$"
  if name and name:find "^lua" then return lowest end
  return rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match "%d%.%d"
end

-- The child looks for modules where we do, unless it is another Lua: then its own places, and ours for the sandbox.
local function bootstrap(other_lua)
  local paths = "package.path = " .. ("%q"):format(module_root() .. "?.lua;") .. " .. package.path"
  if not other_lua then
    paths = ("package.path, package.cpath = %q, %q"):format(module_root() .. "?.lua;" .. package.path, package.cpath)
  end
  return paths .. " require('dpg.sandbox.process').child()"
end

-- The child's stdin is our pipe; its stderr is the FIFO, through which "ready" comes, or what went wrong; descriptor
-- 3 is our stderr, for errors later on. `exec` keeps the shell's pid and gives the child us as its parent. What is
-- preloaded into the program under test (a sanitizer, a shim that fails) stays with it.
local script = [[
unset LD_PRELOAD
export DPG_SANDBOX_FOLDER=%s DPG_SANDBOX_PID=$$ DPG_SANDBOX_PARENT=$PPID
exec 3>&2 2>"$DPG_SANDBOX_FOLDER/ready" >/dev/null
exec %s -e %s]]

local make_folder = [[
d=$(mktemp -d "${TMPDIR:-/tmp}/dpg-sandbox.XXXXXX") && mkfifo -m 600 "$d/ready" && printf %s "$d"]]

local function prepare_folder(given)
  local pipe = io.popen(make_folder)
  local folder = pipe and pipe:read "*a"
  if pipe then pipe:close() end
  if not folder or folder == "" then error("the sandbox can't make its temporary folder", 0) end
  local file = assert(io.open(folder .. "/options.json", "w"))
  file:write(json.encode(given))
  file:close()
  return folder
end

-- Blocks until the child is ready or gone; no polling.
local function read_ready(folder)
  local fifo = assert(io.open(folder .. "/ready", "r"))
  local said = {}
  for line in fifo:lines() do
    local facts = line:match "^ready (.*)$"
    if facts then
      fifo:close()
      return json.decode(facts)
    end
    said[#said + 1] = line
  end
  fifo:close()
  return nil, table.concat(said, "\n")
end

local function own_pid()
  local file = io.open("/proc/self/stat", "r")
  local pid = file and file:read "*n"
  if file then file:close() end
  return pid
end

-- At the end of the Lua state the box is ended before its pipe is closed: closing waits for the child, and a pipe
-- whose other end somebody inherited would not tell it. Not by its control port: a socket made now would outlive
-- LuaSocket's own code on LuaJIT, which crashes then. A fork of this process that ends ends nothing.
local function guard(box, folder)
  local parent = own_pid()
  local command = "kill " .. string.format("%d", box.pid) .. " 2>/dev/null; rm -rf " .. quote(folder)
  local function finish()
    local pipe = own_pid() == parent and box._pipe
    if not pipe then return end
    box._pipe = nil
    os.execute(command)
    pcall(pipe.close, pipe)
  end
  local newproxy = rawget(_G, "newproxy")
  if not newproxy then return setmetatable({}, { __gc = finish }) end
  local proxy = newproxy(true)
  getmetatable(proxy).__gc = finish
  return proxy
end

local function copy_options(given)
  local copy = {}
  for name, value in pairs(given or {}) do
    copy[name] = value
  end
  return copy
end

---Starts a sandbox. Raises where an option is unknown or wrong, and where it can't start (with what its process
---said).
---@param given? table  see sandbox/options.lua, and `lua`: the interpreter to run it (this program's)
---@return dpg.sandbox.Box box
function M.start(given)
  local problem = options.problem(given or {}, "start")
  if problem then error(problem, 2) end
  local chosen = copy_options(given)
  local lua = chosen.lua or own_interpreter()
  local other_lua = chosen.lua ~= nil
  chosen.lua = nil
  local folder = prepare_folder(chosen)
  local pipe = assert(io.popen(script:format(quote(folder), quote(lua), quote(bootstrap(other_lua))), "w"))
  local facts, said = read_ready(folder)
  if not facts then
    pipe:close()
    os.execute("rm -rf " .. quote(folder))
    error("the sandbox did not start: " .. (said ~= "" and said or lua .. " ended without a word"), 2)
  end
  facts._pipe = pipe
  local box = setmetatable(facts, Box)
  box._guard = guard(box, folder)
  return box
end

---The name under which a token appears in seen() and refresh_tokens().
---@param token string
---@return string id  12 hex digits
function M.digest(token)
  return hash.token_id(token)
end

local function control_request(path, body)
  return ("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    .. "Connection: close\r\n\r\n%s"):format(path, #body, body)
end

function Box:_exchange(verb, body)
  local port, path = self.control_url:match ":(%d+)(/.*)$"
  local client = socket.tcp()
  local ok, err = client:connect("127.0.0.1", tonumber(port))
  local answer
  if ok then
    client:send(control_request(path .. "/" .. verb, body))
    answer, err = client:receive "*a"
  end
  client:close()
  return answer, err
end

function Box:_ask(verb, body)
  if not self._pipe then error("the sandbox is stopped", 3) end
  local text, err = self:_exchange(verb, json.encode(body or {}))
  local answer = text and json.decode(text:match "\r\n\r\n(.*)$" or "")
  if not answer then error("the sandbox does not answer: " .. tostring(err or "it closed the connection"), 3) end
  if answer.error then error(answer.error, 3) end
  if answer.result == json.null then return nil end
  return answer.result
end

---Ends the sandbox and waits for that. A second call does nothing.
function Box:stop()
  if not self._pipe then return end
  local pipe = self._pipe
  self._pipe = nil
  self:_exchange("stop", "{}")
  pipe:close()
end

---Makes matching requests go wrong: from the `nth` (1) on, `times` (1; math.huge or "always") in a row.
---@param fault table  `path`, `method`, and what goes wrong: see sandbox/faults.lua
function Box:fault(fault)
  local sent = copy_options(fault)
  if sent.times == math.huge then sent.times = "always" end
  self:_ask("fault", sent)
end

---Takes all faults back and lets go what they hold.
function Box:clear_faults() self:_ask "clear_faults" end

---Lets go the requests that a fault with `hold` or `hold_work` holds.
function Box:release() self:_ask "release" end

---Changes options while it runs; `port`, `tls` and `images` can't.
---@param values table
function Box:set(values) self:_ask("set", copy_options(values)) end

---Moves the sandbox's own clock, so that tokens and windows run out without waiting.
---@param seconds number  how far it jumps ahead, in seconds
function Box:advance(seconds) self:_ask("advance", { seconds = seconds }) end

---What time it is there.
---@return number time  Unix seconds on the sandbox's clock
function Box:now() return self:_ask "now" end

---Revokes the families of a person, or of all.
---@param person? string  "jane", "omar", "solo"
---@return integer count
function Box:revoke_family(person) return self:_ask("revoke_family", { person = person }) end

---Revokes every access token that people have; refresh tokens stay good.
---@return integer count
function Box:revoke_access_tokens() return self:_ask "revoke_access_tokens" end

---Makes another service token.
---@param wanted? { name?: string, scopes?: string[], expires_in?: number, account?: integer }
---@return string token
function Box:mint(wanted)
  local sent = copy_options(wanted)
  if sent.scopes then sent.scopes = json.array(copy_options(sent.scopes)) end
  return self:_ask("mint", sent)
end

---The authenticator code of the moment.
---@param person string
---@return string code
function Box:code(person) return self:_ask("code", { person = person }) end

---The requests seen, in order: server, method, path (without /v1), query, headers (lower case; the bearer as its
---digest), body_length, body_digest, status, received and sent (bytes, heads included), at, connection, reused, fault,
---and for /auth/token the digest `refresh_token`.
---@param filter? table  server ("api", "processor", "cdn"; nil: all), path (itself or a Lua pattern), method, status,
---connection, refresh_token, reused; other fields raise
---@return table[] entries
function Box:seen(filter) return self:_ask("seen", filter) end

---How many requests `seen` would tell of.
---@param filter? table
---@return integer
function Box:count(filter) return self:_ask("count", filter) end

---Blocks until n matching requests have been seen.
---@param filter? table
---@param n? integer  1
---@param timeout? number  seconds (10)
---@return integer? count  nil when the time has run out
---@return string? err  "timeout"
function Box:wait_seen(filter, n, timeout)
  local count = self:_ask("wait_seen", { filter = filter or {}, n = n or 1, timeout = timeout or 10 })
  if count < (n or 1) then return nil, "timeout" end
  return count
end

---Forgets the requests seen so far.
function Box:reset_seen() self:_ask "reset_seen" end

---Every refresh token that was made, oldest first.
---@return table[] list  id, person, family, generation, presented, state (current, spent, revoked), successor (id)
function Box:refresh_tokens() return self:_ask "refresh_tokens" end

---Adds an image whose original is a big file that nobody keeps: its bytes are M.blob_bytes(seed, …).
---@param wanted { size: integer, seed?: integer, filename?: string, title?: string, account?: integer }
---@return table image  public_uuid, filename, size, seed
function Box:add_blob(wanted) return self:_ask("add_blob", copy_options(wanted)) end

---Makes the original of an image another file of the same size, with another ETag.
---@param image string  its public_uuid
function Box:change_file(image) self:_ask("change_file", { image = image }) end

---What became of each ticket for an upload, oldest first: transaction_uuid, state (issued, used), attempts, filename,
---and once used image_public_uuid, bytes, kind ("bytes", "file", or "blob" where the file was one).
---@return table[]
function Box:uploads() return self:_ask "uploads" end

-- Names a temporary file to use; it exists already.
local function with_temporary(use)
  local path = os.tmpname()
  local result = use(path)
  os.remove(path)
  return result
end

local sum_command = [[
if command -v sha256sum >/dev/null; then sha256sum; elif command -v shasum >/dev/null; then shasum -a 256
else openssl dgst -sha256 -r; fi]]

-- Feeds a command that sums up its input.
local function sha256_of(feed)
  return with_temporary(function(path)
    local pipe = assert(io.popen(("{ %s\n} >%s"):format(sum_command, quote(path)), "w"))
    feed(pipe)
    pipe:close()
    local file = assert(io.open(path, "r"))
    local text = file:read "*a"
    file:close()
    return text:match "^(%x+)"
  end)
end

---The bytes of a blob; for tests that send one, or check one.
---@param seed integer
---@param offset integer  from 0
---@param count integer
---@return string
function M.blob_bytes(seed, offset, count)
  return blob.bytes(seed, offset, count)
end

---The SHA-256 of such a file.
---@param seed integer
---@param size integer
---@return string hex
function M.blob_sha256(seed, size)
  return sha256_of(function(pipe)
    for offset = 0, size - 1, 65536 do
      pipe:write(blob.bytes(seed, offset, math.min(65536, size - offset)))
    end
  end)
end

---The SHA-256 of what the CDN serves for an image.
---@param image string  its public_uuid
---@param version? string  "original"
---@return string hex
function Box:sha256(image, version)
  local facts = self:_ask("file", { image = image, version = version })
  if facts.seed then return M.blob_sha256(facts.seed, facts.size) end
  return sha256_of(function(pipe)
    local file = assert(io.open(facts.path, "rb"))
    local piece = file:read(65536)
    while piece do
      pipe:write(piece)
      piece = file:read(65536)
    end
    file:close()
  end)
end

---How often a refresh token was exchanged for its successor.
---@return integer rotations
function Box:exchanges() return self:report().rotations end

---What it has seen go right and wrong, in numbers.
---@return table report  presented_more_than_once, presented_spent, families_revoked, rotations, sign_ins, connections,
---requests, operations, authorization_on_processor, authorization_on_cdn
function Box:report() return self:_ask "report" end

return M
