-- The words of a command line that many commands take, each said once: in the usage, the help and the man page alike.
local out = require "dpg.cli.out"

local M = {}

local ALL_TAKE = "Every command also takes -p, --account, -q and -v: see dpg --help."

---argparse's own does not look whether what it prints arrives.
---@param parser table  argparse's, of a command or of all
function M.help(parser)
  parser:add_help { action = function() out.last(parser:get_help()) end }
end

---A command.
---@param parent table  argparse's
---@param name string
---@param summary string  a line, for the list of commands
---@param more? string  sentences that go on from there
---@param examples? string[]  command lines
---@return table command  argparse's
function M.command(parent, name, summary, more, examples)
  local lines = {}
  for i, example in ipairs(examples or {}) do lines[i] = "   " .. example end
  local shown = #lines > 0 and "Examples:\n" .. table.concat(lines, "\n") .. "\n\n" or ""
  local command = parent:command(name):summary(summary):description(summary .. "." .. (more and " " .. more or ""))
    :epilog(shown .. ALL_TAKE)
  M.help(command)
  return command
end

---An argument, shown by its name.
---@param command table  argparse's
---@param target string  where its value goes in the table of arguments
---@param name string
---@param description string
---@return table argument  argparse's
function M.argument(command, target, name, description)
  return command:argument(name):argname(name):target(target):description(description)
end

---Images, for dpg.cli.images.ids.
---@param args? string  how many ("+")
---@param said? string  which they are ("images")
---@param otherwise? string  which where none are named
function M.images(command, args, said, otherwise)
  local text = (said or "images") .. ", or - for those of the standard input"
  if otherwise then text = text .. "; else " .. otherwise end
  M.argument(command, "images", "UUID", text):args(args or "+")
end

---A set, for dpg.cli.images.set.
function M.set(command)
  M.argument(command, "set", "SET", "the set: its UUID, name, or path in the tree")
end

---@return table option  argparse's
function M.keyword(command, description)
  return command:option "-k --keyword":argname "KEYWORD":description(description)
end

function M.output(command)
  command:option "-o --output":argname "DIR":description "into this folder (the current one)"
end

---Reads a whole number.
---@param name string  whose value it is
---@param least integer
---@param most number
---@return fun(text: string): integer?, string?
function M.whole(name, least, most)
  local range = most == math.huge and ("from %d on"):format(least) or ("from %d to %d"):format(least, most)
  return function(text)
    local number = text:match "^%d+$" and tonumber(text)
    if number and number >= least and number <= most then return number end
    return nil, ("%s takes a whole number %s, not '%s'"):format(name, range, text)
  end
end

function M.concurrency(command)
  command:option "--concurrency":argname "N":description "files at a time (4)":convert(M.whole("--concurrency", 1, 16))
end

return M
