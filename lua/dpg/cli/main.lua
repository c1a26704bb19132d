-- The command: reads the command line, runs what it names, and ends with a status. Each subcommand has a file beside
-- this one, which adds itself to the parser.
local argparse = require "argparse"
local compat = require "dpg.compat"
local dpg = require "dpg"
local failure = require "dpg.cli.failure"
local out = require "dpg.cli.out"
local takes = require "dpg.cli.takes"

local M = {}

local PARTS = {}
for i, name in ipairs { "login", "images", "files", "edit", "keywords", "sets", "archives", "sync", "api", "doctor" } do
  PARTS[i] = require("dpg.cli." .. name)
end

-- What argparse writes for each shell, mended.
local SHELLS = {
  -- names of files with blanks in them stay whole when readline completes them
  bash = function(parser)
    return (parser:get_bash_complete():gsub('COMPREPLY=%(%$%(compgen %-f %-%- "%$cur"%)%)', "COMPREPLY=()"))
  end,
  -- it may be called in a completion only; from ~/.zshrc it is to be made known
  zsh = function(parser)
    return (parser:get_zsh_complete():gsub("\n_dpg\n*$",
      "\nif (( $+functions[_main_complete] && $#compstate )); then _dpg; else compdef _dpg dpg; fi\n"))
  end,
  fish = function(parser) return (parser:get_fish_complete()) end,
}

local function add_completion(parser)
  local command = takes.command(parser, "completion", "Print what a shell completes dpg with",
    "Debian's package and make install-cli have it done already.", {
      "eval \"$(dpg completion bash)\"    in ~/.bashrc",
      "eval \"$(dpg completion zsh)\"     in ~/.zshrc",
      "dpg completion fish | source      in ~/.config/fish/config.fish" })
  command:argument "shell":choices { "bash", "zsh", "fish" }
  command:action(function(args)
    args.run = function() out.line(SHELLS[args.shell](parser)) end
  end)
end

---The whole command line.
---@return table parser  argparse's
function M.parser()
  local parser = argparse "dpg"
    :description "Digital Photo Gallery from a terminal. Data goes to the standard output, talk to the standard error."
    :epilog("Who acts: DPG_TOKEN, or the profile that dpg login made. Exit status: 0 done, 1 failed, 2 wrong usage, "
      .. "3 sign in, 4 network or timeout, 130 interrupted. dpg COMMAND --help tells a command's options, man dpg all.")
    :help_max_width(100)
    :require_command(true)
  takes.help(parser)
  parser:option "-p --profile":argname "NAME":description "whose session (DPG_PROFILE, else default)"
  parser:option "--account":argname "NAME":description "which of the person's accounts (DPG_ACCOUNT)"
  parser:flag "-q --quiet":description "no talk, errors alone"
  parser:flag "-v --verbose":description "tell each request, without secrets"
  parser:flag "--version":description "print the version":action(function() out.last("dpg " .. dpg._VERSION) end)
  for _, part in ipairs(PARTS) do part.add(parser) end
  add_completion(parser)
  parser:add_help_command()
  return parser
end

-- What others on the machine could read in the list of processes, and a shell keeps in its history. It is not repeated.
-- Each is longer than what captions and names of files have in these places: a word, a day, a number.
local SECRETS = {
  "dpg_api_%l+_" .. ("[%w_-]"):rep(16), -- a service token (contract section 2)
  "dpg_[ar]t_" .. ("%x"):rep(40), -- what the sandbox gives a person
  "[Bb]earer%s+" .. ("[%w._~+/-]"):rep(20),
  "eyJ[%w_-]+%.eyJ[%w_-]+%.", -- a JSON web token
}

local function refuse_secrets(words)
  for _, word in ipairs(words) do
    local is_secret = word:match "^%-%-token" or word:match "^%-%-password"
    for _, pattern in ipairs(SECRETS) do is_secret = is_secret or word:match(pattern) end
    if is_secret then
      failure.usage("what looks like a token or a password is on the command line, where others can read it: "
        .. "set DPG_TOKEN, "
        .. "or sign in with dpg login")
    end
  end
end

-- What argparse does not understand, and whose help is of use.
local function refuse(at, message)
  message = message:gsub("\nDid you mean (.*)%?$", " (did you mean %1?)")
  failure.usage("%s: see %s --help", out.plain(message), at:get_usage():match "^Usage: (.-) %[%-h%]")
end

local function run(words)
  refuse_secrets(words)
  local parser = M.parser()
  parser.error = refuse
  if words[1] == "help" then -- argparse's own knows commands alone, and not those below them
    words = { compat.unpack(words, 2) }
    words[#words + 1] = "--help"
  end
  local args = parser:parse(words)
  out.set_quiet(args.quiet)
  args.run(args)
  out.flush()
end

---Runs a command line; the status that the process is to end with.
---@param words string[]
---@return integer status
function M.main(words)
  local ok, err = pcall(run, words)
  if ok then return failure.OK end
  io.stdout:flush()
  local status, message = failure.describe(err)
  out.warn(message)
  return status
end

return M
