-- Makes spec/golden/messages.txt: every text for people that the sources can put into an error, under its kind and code
-- where they stand beside it. For `make check` it says whether the file still agrees; `lua tools/messages.lua --write`
-- writes it, so that whoever changes a message, and whoever reads the change, sees it among its sisters.
--
-- It reads the sources as a lexer does, and takes each string that has two words in it, with what it is joined to:
-- `"a " .. x .. " b"` is one text, `a {x} b`. So none can be forgotten. What is no error is left out by name, below.
-- Run from the top of the tree.

package.path = "tools/?.lua;" .. package.path

local made = require "made"

local FILE = "spec/golden/messages.txt"

-- Where texts are data, or speak of something else than errors.
local NOT_READ = { ["lua/dpg/sandbox/"] = true, ["lua/dpg/catalog.lua"] = true, ["csrc/core/dpg.h"] = true }
-- Scripts, paths, what an object shows of itself, and the examples of the command's help.
local NO_TEXT = {
  "redis%.call", "/dev/", "^cd ", "^sh %-c", "^flock ", "^dpg%.%u%w+ %(", "^%%s%%d %%zu", "^{\"", "HTTP/1", "mktemp",
  "^rm %-rf", "^package%.path", "^{paths}", "^TZ=", "^{enter", "^dpg [^n]%l+ [%l%-\\]", "^eval ",
}
-- What is called with text that is no error: help, output, patterns, scripts for a store.
local NO_ERROR = {}
for name in ([[description help option flag argument command epilog mutex summary match gmatch gsub find
  eval say line print write check require include log trace head]]):gmatch "%S+" do
  NO_ERROR[name] = true
end

-- ---- tokens -----------------------------------------------------------------------------------------------------
-- { kind, text }: "string" (its value, as written), "name", "op".

local function lua_tokens(text)
  local tokens, at = {}, 1
  local function add(kind, value) tokens[#tokens + 1] = { kind = kind, text = value } end
  while at <= #text do
    local long = text:match("^%-%-%[(=*)%[", at) or text:match("^%[(=*)%[", at)
    if long then
      local is_comment = text:sub(at, at) == "-"
      local from = text:find("[", text:find("[", at, true) + 1, true) + 1
      local to, last = text:find("]" .. long .. "]", from, true)
      if not is_comment then add("string", text:sub(from, to - 1)) end
      at = last + 1
    elseif text:find("^%-%-", at) then
      at = text:find("\n", at, true) or #text + 1
    elseif text:find("^[\"']", at) then
      local quote, last = text:sub(at, at), at + 1
      while text:sub(last, last) ~= quote do last = last + (text:sub(last, last) == "\\" and 2 or 1) end
      add("string", text:sub(at + 1, last - 1))
      at = last + 1
    else
      local word = text:match("^[%a_][%w_]*", at) or text:match("^%d[%w.]*", at)
      local op = text:match("^%.%.%.", at) or text:match("^%.%.", at) or text:match("^[=~<>]=", at) or text:sub(at, at)
      if word then add("name", word) elseif not op:find "%s" then add("op", op) end
      at = at + #(word or op)
    end
  end
  return tokens
end

local function c_tokens(text)
  text = text:gsub("\n%s*#%s*include[^\n]*", "\n")
  local tokens, at = {}, 1
  while at <= #text do
    local here = text:sub(at, at)
    local kind, last
    if text:find("^/%*", at) then
      last = select(2, text:find("*/", at + 2, true))
    elseif text:find("^//", at) then
      last = (text:find("\n", at, true) or #text + 1) - 1
    elseif here == '"' or here == "'" then
      last = at + 1
      while text:sub(last, last) ~= here do last = last + (text:sub(last, last) == "\\" and 2 or 1) end
      kind = here == '"' and "string" or "name"
    elseif here:find "[%a_]" then
      kind, last = "name", select(2, text:find("^[%w_]+", at))
    else
      kind, last = not here:find "%s" and "op" or nil, at
    end
    if kind == "string" then
      tokens[#tokens + 1] = { kind = kind, text = text:sub(at + 1, last - 1) }
    elseif kind then
      tokens[#tokens + 1] = { kind = kind, text = text:sub(at, last) }
    end
    at = last + 1
  end
  return tokens
end

-- ---- what belongs together --------------------------------------------------------------------------------------

local CLOSES = { ["("] = ")", ["{"] = "}", ["["] = "]" }
local OPENS = { [")"] = "(", ["}"] = "{", ["]"] = "[" }

-- The bracket that belongs to the one at `i`, in that direction.
local function partner(tokens, i, step)
  local depth = 0
  repeat
    local token = tokens[i]
    if token.kind == "op" then
      if CLOSES[token.text] then depth = depth + step elseif OPENS[token.text] then depth = depth - step end
    end
    if depth == 0 then return i end
    i = i + step
  until not tokens[i]
end

local function is_op(token, ...)
  for _, text in ipairs { ... } do
    if token and token.kind == "op" and token.text == text then return true end
  end
  return false
end

-- The last token of the operand that begins at `i`, and the first of the one that ends at `i`.
local function operand_end(tokens, i)
  while is_op(tokens[i], "#", "-") or (tokens[i].kind == "name" and tokens[i].text == "not") do i = i + 1 end
  if is_op(tokens[i], "(", "{") then i = partner(tokens, i, 1) end
  while true do
    local after = tokens[i + 1]
    if is_op(after, ".", ":") then i = i + 2
    elseif is_op(after, "(", "[") then i = partner(tokens, i + 1, 1)
    elseif after and after.kind == "string" and tokens[i].kind == "name" then i = i + 1
    else return i end
  end
end

local function operand_start(tokens, i)
  while true do
    if is_op(tokens[i], ")", "]") then
      i = partner(tokens, i, -1)
      local before = tokens[i - 1]
      if not (before and (before.kind == "name" or is_op(before, ")", "]"))) then return i end
      i = i - 1
    elseif is_op(tokens[i - 1], ".", ":") then
      i = i - 2
    else
      return is_op(tokens[i - 1], "#") and i - 1 or i
    end
  end
end

local function source_of(tokens, first, last)
  local words = {}
  for i = first, last do
    local token = tokens[i]
    local word = token.kind == "string" and '"' .. token.text .. '"' or token.text
    local glue = i > first and (token.kind ~= "op" or is_op(token, ".."))
      and not is_op(tokens[i - 1], ".", ":", "(", "#", "[")
    words[#words + 1] = (glue and " " or "") .. word
  end
  return table.concat(words)
end

-- The text around the string at `i`: its first and last token, and how it reads.
local function lua_chain(tokens, i)
  local first, last = i, i
  while is_op(tokens[first - 1], "..") do first = operand_start(tokens, first - 2) end
  while is_op(tokens[last + 1], "..") do last = operand_end(tokens, last + 2) end
  local parts, at = {}, first
  while at <= last do
    if tokens[at].kind == "string" then
      parts[#parts + 1] = tokens[at].text
      at = at + 2
    else
      local to = operand_end(tokens, at)
      parts[#parts + 1] = "{" .. source_of(tokens, at, to) .. "}"
      at = to + 2
    end
  end
  return first, last, table.concat(parts)
end

-- C joins strings that stand side by side; between them may be a macro, as PRIu64.
local function c_chain(tokens, i)
  local parts, last = { tokens[i].text }, i
  while true do
    local after = tokens[last + 1]
    local skipped = after and after.kind == "name" and after.text:find "^[%u%d_]+$" or after and after.text:find "^PRI"
    local next_one = skipped and tokens[last + 2] or after
    if not (next_one and next_one.kind == "string") then break end
    if skipped then parts[#parts + 1] = "{" .. after.text .. "}" end
    parts[#parts + 1] = next_one.text
    last = last + (skipped and 2 or 1)
  end
  return i, last, table.concat(parts)
end

-- ---- what it is said by -------------------------------------------------------------------------------------------

-- For each token the bracket that it stands in.
local function enclosing(tokens)
  local stack, within = {}, {}
  for i, token in ipairs(tokens) do
    if token.kind == "op" and OPENS[token.text] then stack[#stack] = nil end
    within[i] = stack[#stack]
    if token.kind == "op" and CLOSES[token.text] then stack[#stack + 1] = i end
  end
  return within
end

local KEYWORDS = {}
for name in ("and or not return then else elseif if in do while until"):gmatch "%S+" do KEYWORDS[name] = true end

-- The name before a bracket, or before a string or table that is a call's only argument.
local function caller(tokens, bracket)
  local before = tokens[bracket - 1]
  if not before or before.kind ~= "name" or KEYWORDS[before.text] then return nil end
  return source_of(tokens, operand_start(tokens, bracket - 1), bracket - 1)
end

-- `kind = "api"` within the braces at `open`.
local function field(tokens, within, open, name)
  for i = open + 1, partner(tokens, open, 1) do
    if within[i] == open and tokens[i].text == name and is_op(tokens[i + 1], "=") then
      local to = operand_end(tokens, i + 2)
      return tokens[i + 2].kind == "string" and tokens[i + 2].text or source_of(tokens, i + 2, to)
    end
  end
end

-- The first argument that looks like a code, and a kind of C's.
local function arguments(tokens, within, open, stop)
  local kind, code
  for i = open + 1, stop - 1 do
    if within[i] == open then
      local token = tokens[i]
      kind = kind or (token.kind == "name" and token.text:match "^DPG_KIND_(%u+)$")
      if token.kind == "string" and token.text:find "^[%l_]+$" and not code then code = token.text end
    end
  end
  return kind and kind:lower(), code
end

local KINDS = {
  usage = true, network = true, timeout = true, tls = true, protocol = true, api = true, auth = true, operation = true,
  cancelled = true, storage = true,
}
-- Functions that make an error of one kind, given its code.
local MAKERS = { usage = "usage", refuse = "storage", failure = "storage" }
local RAISES = { raise = true, error = true, luaL_error = true, luaL_argerror = true, luaL_argcheck = true }

local function heading(tokens, within, first, path)
  local open = within[first]
  local called = caller(tokens, first) or open and caller(tokens, open) -- `raise "text"`, `raise("text")`
  local name = called and called:match "[%w_]+$"
  if name and NO_ERROR[name] then return nil end
  local is_command = path:find "^lua/dpg/cli/"
  if is_command and (name == "usage" or name == "raise" or name == "warn") then return "the command" end
  if open then
    local kind, code = arguments(tokens, within, open, first)
    if is_op(tokens[open], "{") then -- { kind = "api", code = … }, or a row: { DPG_KIND_TLS, "code", "text" }
      kind = kind or field(tokens, within, open, "kind")
      code = field(tokens, within, open, "code") or code
    elseif name and MAKERS[name] then
      kind = kind or MAKERS[name]
    end
    if kind and KINDS[kind] then return kind .. " " .. (code or "…") end
  end
  if name and RAISES[name] then return "raised" end
  return (is_command and "the command, " or "parts, ") .. path
end

-- ---- the file ---------------------------------------------------------------------------------------------------

local function has_words(text)
  for _, pattern in ipairs(NO_TEXT) do
    if text:find(pattern) then return false end
  end
  local plain = text:gsub("{.-}", "x"):gsub("%%[%d.*]*[%a]+", "x"):gsub("\\.", " ")
  return plain:find "%a%a+,? +%a%a+" or plain:find "%a%a+:? +'?x" or plain:find "x'?,? %a%a+"
end

local function collect(path, sections)
  local is_c = path:find "%.[ch]$"
  local tokens = (is_c and c_tokens or lua_tokens)(made.read(path))
  local within, i = enclosing(tokens), 1
  while i <= #tokens do
    if tokens[i].kind == "string" then
      local first, last, text = (is_c and c_chain or lua_chain)(tokens, i)
      if has_words(text) then
        local under = heading(tokens, within, first, path)
        if under then
          sections[under] = sections[under] or {}
          sections[under][(text:gsub("\n", "\\n"):match "^%s*(.-)%s*$")] = true
        end
      end
      i = last
    end
    i = i + 1
  end
end

local function sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function page()
  local sections = {}
  local files = assert(io.popen "find csrc lua -name '*.[ch]' -o -name '*.lua' | LC_ALL=C sort")
  for path in files:lines() do
    local is_read = true
    for prefix in pairs(NOT_READ) do is_read = is_read and path:sub(1, #prefix) ~= prefix end
    if is_read then collect(path, sections) end
  end
  files:close()
  local lines = {}
  for _, name in ipairs(sorted(sections)) do
    lines[#lines + 1] = "\n[" .. name .. "]"
    for _, text in ipairs(sorted(sections[name])) do lines[#lines + 1] = text end
  end
  return "# Every text that an error can hold; made by tools/messages.lua --write, compared by make check.\n"
    .. table.concat(lines, "\n") .. "\n"
end

made.keep({ [FILE] = page() }, "the sources")
