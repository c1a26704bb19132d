-- dpg api: any request that the API takes, for what has no command.
local dpg = require "dpg"
local failure = require "dpg.cli.failure"
local json = require "dpg.json"
local out = require "dpg.cli.out"
local session = require "dpg.cli.session"
local takes = require "dpg.cli.takes"

local M = {}

local METHODS = { GET = true, HEAD = true, POST = true, PUT = true, PATCH = true, DELETE = true, OPTIONS = true }

-- k=text or k:=JSON; a name that comes twice is a list.
local function read_fields(words)
  local fields, count = {}, {}
  for _, word in ipairs(words) do
    local name, is_json, text = word:match "^([^=:]+)(:?)=(.*)$"
    if not name then failure.usage "a field is name=text or name:=JSON" end
    local value = text
    if is_json == ":" then
      local problem
      value, problem = json.decode(text)
      if value == nil then failure.usage("the field %s is no JSON: %s", out.plain(name), out.plain(problem)) end
    end
    count[name] = (count[name] or 0) + 1
    if count[name] == 1 then
      fields[name] = value
    else
      if count[name] == 2 then fields[name] = dpg.array { fields[name] } end
      table.insert(fields[name], value)
    end
  end
  return fields
end

local function read_input(path)
  local file = path == "-" and io.stdin or io.open(path, "rb")
  local text = file and file:read "*a" -- nil of a folder, and of an input that is closed
  if not text then
    failure.usage(path == "-" and "the standard input can't be read: pipe the body in, or name its file"
      or out.plain(path) .. " can't be read: is it there, and a file?")
  end
  file:close()
  local value, problem = json.decode(text)
  if value == nil then failure.usage("the body is no JSON: %s", out.plain(problem)) end
  return text
end

local function api(args)
  local method = args.method:upper()
  if not METHODS[method] then failure.usage "the method is GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS" end
  if args.path:find("?", 1, true) then failure.usage "the path can't hold a query: say -f NAME=TEXT for each field" end
  local has_body = method ~= "GET" and method ~= "HEAD" and method ~= "OPTIONS"
  local fields, options = #args.field > 0 and read_fields(args.field) or nil, {}
  if args.input then
    if fields and has_body then failure.usage "a body is --field or --input, not both" end
    if not has_body then failure.usage("a %s has no body: leave --input out", method) end
    options.body = read_input(args.input)
  end
  if fields then options[has_body and "body" or "query"] = fields end
  local value = dpg.assert(session.open(args):request(method, args.path, options))
  if value == true then return end
  if type(value) == "string" then return out.text(value) end
  out.json(value)
end

function M.add(parser)
  local command = takes.command(parser, "api", "Send any request, for what has no command",
    "Prints the JSON that it is answered with. A write carries an Idempotency-Key, and is answered with an Operation: "
      .. "dpg api GET /operations/UUID shows it.",
    { "dpg api GET /images -f limit=3 -f query=sunset", "dpg api PUT /images/UUID/rating -f rating:=4" })
  takes.argument(command, "method", "METHOD", "GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")
  takes.argument(command, "path", "PATH", "behind the base URL: /facets")
  command:option "-f --field":argname "NAME=TEXT":count "*":description("a field of the query (GET) or of the "
    .. "JSON body; NAME:=JSON for what is no text")
  command:option "--input":argname "FILE":description "the JSON body; - for the standard input"
  command:action(function(args) args.run = api end)
end

return M
