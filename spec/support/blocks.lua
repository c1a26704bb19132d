-- The code blocks of README and doc: finds them, and runs those in Lua and in the shell as a reader would, against a
-- sandbox. Each block is of a page, and a page's blocks go together: those in Lua share their locals like one program,
-- one whose first line is "-- name.lua" is kept as that file (and "/* name.c */" is built), the shell's stand in the
-- folder where it lies and share what they export, and a block "output" is what the block before it must have printed
-- ("…" stands for anything).
--
-- An HTML comment before a block, which no reader sees, may say "not run: REASON" or "run by spec/…_spec.lua".
local process = require "support.process"

local M = {}

---@class spec.Block
---@field page string
---@field line integer  of its first line
---@field language string
---@field text string
---@field heading string  the last one above it
---@field reason? string  why it is not run
---@field by? string  the spec that runs it instead
---@field file? string  the file that it is

-- What is no code: nothing to run.
M.NO_CODE = { text = true, mermaid = true }

---README, doc and the examples' own pages.
---@return string[] paths
function M.pages()
  local list = {}
  local found = process.shell "find README.md CONTRIBUTING.md doc examples -name '*.md' | LC_ALL=C sort"
  for path in found:gmatch "[^\n]+" do list[#list + 1] = path end
  return list
end

---@param page string  a path
---@return spec.Block[]
function M.read(page)
  local blocks, block, heading, said, number = {}, nil, "", "", 0
  for line in (assert(process.read_file(page), page .. " is not there") .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local fence = line:match "^%s*```(.*)$"
    if fence and not block then
      block = { page = page, line = number + 1, language = fence:match "^%S*", heading = heading, lines = {},
        reason = said:match "<!%-%- not run: (.-)%s*%-%->", by = said:match "<!%-%- run by (%S+)%s*%-%->" }
    elseif fence then
      block.text = table.concat(block.lines, "\n") .. "\n"
      block.file = block.text:match "^%-%- ([%w_]+%.lua)" or block.text:match "^/%* ([%w_]+%.c) %*/" or nil
      blocks[#blocks + 1], block, said = block, nil, ""
    elseif block then
      block.lines[#block.lines + 1] = line
    elseif line:find "^<!%-%-" then
      said = line
    elseif said ~= "" and not said:find "%-%->%s*$" then
      said = said .. " " .. line
    elseif line ~= "" then
      said = ""
    end
    if not block then heading = line:match "^#+ (.*)$" or heading end
  end
  assert(not block, page .. ": a block has no end")
  return blocks
end

-- --- running -------------------------------------------------------------------------------------------------------

local function quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

---package.path as seen from another folder.
function M.absolute(path)
  local here = process.shell "pwd"
  return (path:gsub("[^;]+", function(one) return one:find "^[/;]" and one or here .. "/" .. one end))
end

---Text that reaches the sandbox where it names nothing else: the address is the one thing that a page leaves out.
---@param text string
---@param base_url string
function M.at(text, base_url)
  return (text:gsub("(dpg%.(%w+_?%w*) {)", function(opening, name)
    if name ~= "service" and name ~= "sign_in" and name ~= "resume" then return nil end
    return ("%s base_url = %q,"):format(opening, base_url)
  end))
end

-- Names at the left margin belong to the whole page.
local function shared(text)
  text = ("\n" .. text):gsub("\nlocal function ", "\nfunction "):gsub("\nlocal ([%w_, ]+)\n", "\n%1 = nil\n")
  return (text:gsub("\nlocal ([%w_, ]+=)", "\n%1"):sub(2))
end

---Compiles a block, whose errors then name the page and the line.
---@param block spec.Block
---@param text string  of it
---@param environment table
---@return function
function M.compile(block, text, environment)
  text = ("\n"):rep(block.line - 1) .. text
  if not rawget(_G, "setfenv") then return assert(load(text, "@" .. block.page, "t", environment)) end
  return rawget(_G, "setfenv")(assert(rawget(_G, "loadstring")(text, "@" .. block.page)), environment)
end

---@class spec.Page
---@field folder string  where its files are
---@field names table  what its Lua sees
---@field printed string  by the last block
local Page = {}
Page.__index = Page

---@param page string
---@param box dpg.sandbox.Box
---@param given? { names?: table, environment?: table<string, string>, input?: string[] }  what its Lua blocks know
---  without being told, the environment beside the sandbox's, and the lines that are typed
---@param folder? string  where it is
---@return spec.Page
function M.open(page, box, given, folder)
  given = given or {}
  local self = setmetatable({ page = page, box = box, folder = folder or process.folder(), printed = "" }, Page)
  local values = { DPG_TOKEN = box.token, DPG_BASE_URL = box.base_url, HOME = self.folder }
  for name, value in pairs(given.environment or {}) do values[name] = value end
  self.environment = values

  local function out(...)
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    return table.concat(words, "\t")
  end
  local input, at = given.input or {}, 0
  local names = {
    dpg = require "dpg",
    print = function(...) self.printed = self.printed .. out(...) .. "\n" end,
    io = setmetatable({
      write = function(...) self.printed = self.printed .. table.concat({ ... }) end,
      read = function()
        at = at + 1
        return input[at]
      end,
    }, { __index = io }),
    os = setmetatable({ getenv = function(name) return values[name] end }, { __index = os }),
  }
  for name, value in pairs(given.names or {}) do names[name] = value end
  self.names = setmetatable(names, { __index = _G })

  -- The commands that a page names, of this tree and on the Lua that runs the suite.
  self.bin = process.folder()
  local here, lua = process.shell "pwd", process.shell("command -v " .. quote(process.lua))
  for name, line in pairs {
    ["lua5.4"] = '"$@"', dpg = here .. '/bin/dpg "$@"',
    ["dpg-sandbox"] = here .. '/bin/dpg-sandbox "$@" --port 0 --until-eof </dev/null',
  } do
    process.write_file(self.bin .. "/" .. name, ("#!/bin/sh\nexec %s %s\n"):format(quote(lua), line))
  end
  process.shell("chmod +x " .. quote(self.bin) .. "/*")
  return self
end

---Runs a command in its folder. Raises unless it exits with the status that the page says ("exit status N" in its
---last comment), or 0.
---@param command string
---@return string printed
function Page:shell(command)
  local wanted = command:match "# exit status (%d+)[^\n]*\n?$" or "0"
  local lines = { ("cd %s; LUA_PATH=%s; LUA_CPATH=%s; PATH=%s:$PATH; export LUA_PATH LUA_CPATH PATH"):format(
    quote(self.folder), quote(M.absolute(package.path)), quote(M.absolute(package.cpath)), quote(self.bin)) }
  for name, value in pairs(self.environment) do lines[#lines + 1] = ("export %s=%s"):format(name, quote(value)) end
  table.sort(lines)
  lines[#lines + 1] = ("if [ -f %s/exported ]; then . %s/exported; fi"):format(self.bin, self.bin)
  -- tokens and addresses are the sandbox's of this run
  lines[#lines + 1] = command:gsub("http://127%.0%.0%.1:8080/v1", self.box.base_url):gsub("dpg_api_live_…",
    self.box.token)
  lines[#lines + 1] = "export -p >" .. self.bin .. "/exported"
  local said = process.shell("{ sh -ec " .. quote(table.concat(lines, "\n")) .. " </dev/null; echo exit=$?; }")
  local status
  said, status = said:match "^(.-)exit=(%d+)$"
  if status ~= wanted then error(("it ended with %s:\n%s"):format(status, said), 0) end
  return said
end

-- The lines of `wanted`, in their order and without a gap; a line "…" stands for any number of lines.
local function check_output(block, printed)
  local rest, line = printed, block.line - 1
  local may_skip = false
  for wanted in block.text:gmatch "(.-)\n" do
    line = line + 1
    if wanted == "…" then
      may_skip = true
    else
      local pattern = "^" .. wanted:gsub("%p", "%%%0"):gsub("…", ".*") .. "$"
      local found
      repeat
        local one
        one, rest = rest:match "^([^\n]*)\n?(.*)$"
        found = one:find(pattern)
      until found or rest == "" or not may_skip
      if not found then
        error(("%s:%d: '%s' is not what was printed:\n%s"):format(block.page, line, wanted, printed), 0)
      end
      may_skip = false
    end
  end
  if rest:find "%S" and not may_skip then
    error(("%s:%d: more was printed:\n%s"):format(block.page, block.line, rest), 0)
  end
end

local run = {}

function run.lua(self, block)
  if block.file then
    process.write_file(self.folder .. "/" .. block.file, block.text)
    return
  end
  self.printed = ""
  M.compile(block, M.at(shared(block.text), self.box.base_url), self.names)()
end

function run.sh(self, block)
  local ok, said = pcall(self.shell, self, block.text)
  if not ok then error(("%s:%d: %s"):format(block.page, block.line, said), 0) end
  self.printed = said
end

function run.output(self, block) check_output(block, self.printed) end

function run.json(_, block) require "dpg.json".decode(block.text) end

-- Where this build has the core's objects; they are there once any Lua's module is.
local function objects()
  local build = M.absolute(package.cpath):match "([^;]*)/lua[%w.]*/%?%.so"
  return build .. "/obj/csrc/core/*.o"
end

-- A program in C is built, and left in the folder.
function run.c(self, block)
  process.write_file(self.folder .. "/" .. block.file, block.text)
  local here = process.shell "pwd"
  self:shell(("${CC:-cc} -std=c11 -Wall -Wextra -Werror -I %s -o %s %s %s -lcurl -pthread\n"):format(
    quote(here .. "/csrc/core"), block.file:match "^[^.]*", block.file, objects()))
end

---The languages that are run here.
M.RUN = run

---Runs a block.
---@param block spec.Block
function Page:run(block)
  run[block.language](self, block)
end

return M
