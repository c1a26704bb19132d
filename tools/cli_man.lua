-- Makes share/man/man1/dpg.1 of the command line itself (argparse's parser, so of what --help says) and of the tables
-- in doc/cli.md. For `make check` it says whether the page still agrees; `lua tools/cli_man.lua --write` writes it. Run
-- from the top of the tree, with the module built and argparse there.
package.path = "tools/?.lua;lua/?.lua;lua/?/init.lua;" .. package.path

local made = require "made"

local FILE, GUIDE = "share/man/man1/dpg.1", "doc/cli.md"

-- ---- roff ---------------------------------------------------------------------------------------------------------

local lines = {}
local function put(text) lines[#lines + 1] = text end

-- Text as it is to be seen: no request, no escape, and a hyphen that can be copied into a shell.
local function plain(text)
  text = text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("…", "...")
  return (text:gsub("^(['.])", "\\&%1"))
end

local function bold(text) return "\\fB" .. plain(text) .. "\\fR" end
local function italic(text) return "\\fI" .. plain(text) .. "\\fR" end

local function paragraph(text)
  put ".PP"
  put(plain(text))
end

local function item(head, text)
  put ".TP"
  put(head)
  put(plain(text))
end

local function block(text)
  put ".PP"
  put ".nf"
  for line in text:gmatch "[^\n]+" do put(plain(line)) end
  put ".fi"
end

-- ---- the command line ---------------------------------------------------------------------------------------------

-- "-k, --keyword KEYWORD"
local function head_of(option)
  local names = {}
  for i, name in ipairs(option._public_aliases) do names[i] = bold(name) end
  local value = option:_get_argument_list()
  return table.concat(names, ", ") .. (#value > 0 and " " .. italic(table.concat(value, " ")) or "")
end

local function put_options(command)
  for _, option in ipairs(command._options) do
    if option._name ~= "-h" then item(head_of(option), option:_get_description() .. ".") end
  end
end

local function put_command(command, before)
  local name = before .. command._name
  local usage = {}
  for _, argument in ipairs(command._arguments) do usage[#usage + 1] = argument:_get_usage() end
  if #command._commands > 0 then usage[1] = "COMMAND" end
  put('.SS "' .. plain(name .. (#command._options > 1 and #command._commands == 0 and " [OPTIONS]" or "")
    .. (#usage > 0 and " " .. table.concat(usage, " ") or "")) .. '"')
  paragraph(command._description)
  for _, argument in ipairs(command._arguments) do
    if argument._description then item(italic(argument._name), argument._description .. ".") end
  end
  put_options(command)
  local examples = (command._epilog or ""):match "^Examples:\n(.-)\n\n"
  if examples then block(examples) end
  for _, one in ipairs(command._commands) do put_command(one, name .. " ") end
end

-- ---- the guide ----------------------------------------------------------------------------------------------------

-- The rows of the table in doc/cli.md whose head begins with `head`.
local function put_table(guide, head)
  local rows = guide:match("\n| " .. head .. " | |\n|[-|]+|\n(.-)\n\n")
  assert(rows, GUIDE .. " has no table with the head '" .. head .. "'")
  for row in (rows .. "\n"):gmatch "| (.-) |\n" do
    local name, text = row:match "^(.-) | (.*)$"
    text = text:gsub("%[([^%]]*)%]%([^)]*%)", "%1"):gsub("`", ""):gsub("\\|", "|")
    item(bold((name:gsub("`", ""))), text:gsub("^%l", string.upper) .. ".")
  end
end

local function page()
  local main = require "dpg.cli.main"
  local parser, guide, version = main.parser(), assert(made.read(GUIDE)), require "dpg"._VERSION
  put '.\\" Made by tools/cli_man.lua of the command line itself and of doc/cli.md.'
  put('.TH DPG 1 "" "dpg ' .. version .. '" "Digital Photo Gallery"')
  put ".SH NAME"
  put "dpg \\- Digital Photo Gallery from a terminal"
  put ".SH SYNOPSIS"
  put(bold "dpg" .. " [" .. italic "options" .. "] " .. italic "command" .. " [" .. italic "arguments" .. "]")
  put ".SH DESCRIPTION"
  put(plain(guide:match "\n\n(Signs .-)\n\n":gsub("\n", " "):gsub("`", "")))
  put ".SH OPTIONS"
  put "Every command takes these:"
  put_options(parser)
  put ".SH COMMANDS"
  for _, command in ipairs(parser._commands) do
    if command._name ~= "help" then put_command(command, "dpg ") end
  end
  for _, section in ipairs { { "EXIT STATUS", "status" }, { "ENVIRONMENT", "variable" }, { "FILES", "file" } } do
    put(".SH " .. section[1])
    put_table(guide, section[2])
  end
  put ".SH SEE ALSO"
  put(bold "dpg help" .. " " .. italic "COMMAND" .. ", " .. bold "dpg\\-sandbox" .. "(1)")
  return table.concat(lines, "\n") .. "\n"
end

made.keep({ [FILE] = page() }, "the command line with " .. GUIDE)
