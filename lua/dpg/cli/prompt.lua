-- Questions to the person at the terminal. A child reads the answer, since a shell can turn the echo off and put it
-- back on every way out (an answer, Ctrl-C, the end of the input, a hangup); its signals reach it, as it is in our
-- process group. Where the input is no terminal, each answer is a line of it.
local out = require "dpg.cli.out"
local system = require "dpg.cli.system"

local M = {}

-- $1 is the question; the answer goes through the pipe, so no process list shows it. A person who comes back (fg) after
-- Ctrl-Z is asked again, as their shell has put the echo back, and the terminal has dropped what was typed. Some shells
-- then end the read, others go on with it.
local ASK = [[exec 3</dev/tty || exit 1
old=$(stty -g <&3) || exit 1
ask() { %s printf '%%s: ' "$1" >/dev/tty; }
trap 'stty "$old" <&3' EXIT
trap 'exit 130' INT TERM HUP
again=
trap 'again=yes; ask "$1"' CONT
ask "$1"
until IFS= read -r answer <&3; do
  [ "$again" ] || exit 1
  again=
done
printf '%%s' "$answer"
printf x]]

local function from_terminal(question, is_secret)
  local script = ASK:format(is_secret and "stty -echo <&3;" or "")
  local answer = system.read("sh -c " .. system.quote(script) .. " sh " .. system.quote(out.plain(question)))
  if is_secret then io.stderr:write "\n" end
  return answer:match "^(.*)x$"
end

---@param question string
---@param is_secret? boolean  shown by nothing while it is typed
---@return string? answer  nil: there is none
function M.ask(question, is_secret)
  if system.is_terminal(0) then return from_terminal(question, is_secret) end
  local line = io.read "*l"
  return line and (line:gsub("\r$", ""))
end

---@return boolean
function M.confirm(question)
  local answer = M.ask(question .. " [y/N]")
  return answer ~= nil and answer:match "^%s*[yY]" ~= nil
end

return M
