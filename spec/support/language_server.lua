-- A lua-language-server to talk to, as an editor does: the language server protocol over a pipe and a fifo, each
-- message with its length before it.
local json = require "dpg.json"
local process = require "support.process"
local socket = require "socket"

local M = {}

---The command, and its version; nil where it is not installed.
---@return string? command
---@return string? version
function M.find()
  local command = os.getenv "LUA_LANGUAGE_SERVER" or "lua-language-server"
  local pipe = assert(io.popen(command .. " --version 2>/dev/null", "r"))
  local version = pipe:read "*l"
  pipe:close()
  if version and version:find "^%d" then return command, version end
end

local Server = {}
Server.__index = Server

---Starts it on a folder.
function M.start(folder)
  local fifo = process.folder() .. "/answers"
  assert(os.execute("mkfifo " .. fifo))
  local self = setmetatable({ _folder = folder, _last = 0 }, Server)
  self._asks = assert(io.popen(("%s --logpath=%s.log --metapath=%s.meta >%s 2>/dev/null"):format(M.find(), fifo, fifo,
    fifo), "w"))
  self._answers = assert(io.open(fifo, "rb"))
  local root = { uri = "file://" .. folder, name = "here" }
  self:ask("initialize", { processId = json.null, rootUri = root.uri, workspaceFolders = { root }, capabilities = {
    textDocument = { completion = { contextSupport = true } } } })
  self:_send { method = "initialized", params = { is_ready = true } }
  return self
end

function Server:_send(message)
  message.jsonrpc = "2.0"
  local body = assert(json.encode(message))
  self._asks:write("Content-Length: ", #body, "\r\n\r\n", body)
  self._asks:flush()
end

function Server:_receive()
  local length
  repeat
    local head = assert(self._answers:read "*l", "the language server has ended")
    length = length or head:match "^Content%-Length: (%d+)"
  until head == "\r"
  return assert(json.decode(self._answers:read(tonumber(length))))
end

function Server:ask(method, params)
  self._last = self._last + 1
  self:_send { id = self._last, method = method, params = params }
  while true do
    local message = self:_receive()
    if not message.method and message.id == self._last then return message.result end
    if message.method and message.id then -- what it asks of the editor
      local result = json.null
      if message.method == "workspace/configuration" then
        result = json.array {}
        for i in ipairs(message.params.items) do result[i] = json.null end
      end
      self:_send { id = message.id, result = result }
    end
  end
end

---What it offers at the end of `text`: names.
---@return table<string, boolean>
function Server:completions(name, text)
  local uri, last, column = "file://" .. self._folder .. "/" .. name, 0, 0
  for line in (text .. "\n"):gmatch "(.-)\n" do last, column = last + 1, #line end
  self:_send { method = "textDocument/didOpen", params = {
    textDocument = { uri = uri, languageId = "lua", version = 1, text = text } } }
  local result
  for _ = 1, 600 do -- as long as it reads the workspace it answers null, and tells nobody when it has
    result = self:ask("textDocument/completion", {
      textDocument = { uri = uri }, position = { line = last - 1, character = column }, context = { triggerKind = 1 } })
    if result ~= json.null then break end
    socket.sleep(0.05)
  end
  local names = {}
  for _, item in ipairs(result.items or result) do names[item.label:match "^[%w_]+" or item.label] = true end
  return names
end

function Server:close()
  self:ask "shutdown"
  self:_send { method = "exit" }
  self._asks:close()
  self._answers:close()
end

return M
