-- Colours for code: a lexer for each language that the pages use, in spans whose classes style.css knows. The text
-- within the spans is the code, byte for byte, and no span goes over a line's end.
local html = require "site.html"

local M = {}

local function words(list)
  local set = {}
  for word in list:gmatch "%S+" do set[word] = true end
  return set
end

local LUA_WORDS = words [[and break do else elseif end for function goto if in local not or repeat return then until
  while]]
local LUA_VALUES = words "nil true false self"
local C_WORDS = words [[break case const continue default do else enum extern for goto if inline register restrict
  return sizeof static struct switch typedef union volatile while]]
local C_VALUES = words [[void char short int long float double signed unsigned bool size_t int64_t int32_t uint64_t
  uint32_t uint8_t NULL true false]]
local SH_WORDS = words "if then else elif fi for while until do done case esac function return exit export local trap"

-- A language is a list of { pattern, class }, tried in this order at each place. The pattern is anchored, or a function
-- of the code and the place that says where it ends; the class may be a function of the word, the code and the place.
local function lua_name(word)
  return LUA_WORDS[word] and "k" or LUA_VALUES[word] and "v" or nil
end

local function long_bracket(code, at)
  local _, stop, level = code:find("^%[(=*)%[", at)
  if not stop then return nil end
  local _, last = code:find("]" .. level .. "]", stop + 1, true)
  return last or #code
end

local function lua_long_comment(code, at)
  if code:sub(at, at + 1) ~= "--" then return nil end
  return long_bracket(code, at + 2)
end

local function quoted(code, at)
  local quote = code:match("^[\"']", at)
  if not quote then return nil end
  local i = at + 1
  while i <= #code do
    local c = code:sub(i, i)
    if c == "\\" then
      i = i + 1
    elseif c == quote then
      return i
    elseif c == "\n" then
      return i - 1
    end
    i = i + 1
  end
  return #code
end

local function shell_quoted(code, at)
  local quote = code:match("^[\"']", at)
  if not quote then return nil end
  local i = at + 1
  while i <= #code do
    local c = code:sub(i, i)
    if c == "\\" and quote == '"' then
      i = i + 1
    elseif c == quote then
      return i
    end
    i = i + 1
  end
  return nil -- an apostrophe
end

local function c_comment(code, at)
  if code:sub(at, at + 1) ~= "/*" then return nil end
  local _, last = code:find("*/", at + 2, true)
  return last or #code
end

local NUMBER = { "^0[xX]%x+", "n" }
local DECIMAL = { "^%d+%.?%d*[eE]?%d*", "n" }
local BLANKS = { "^%s+" }

local LANGUAGES = {
  lua = {
    BLANKS, { lua_long_comment, "c" }, { "^%-%-[^\n]*", "c" }, { quoted, "s" }, { long_bracket, "s" }, NUMBER, DECIMAL,
    { "^[%a_][%w_]*", function(word, code, _, last)
      return lua_name(word) or code:find("^ ?[({\"']", last + 1) and "f" or nil
    end },
  },
  c = {
    BLANKS, { c_comment, "c" }, { "^//[^\n]*", "c" }, { "^#[ \t]*%a+", "k" }, { quoted, "s" }, NUMBER, DECIMAL,
    { "^[%a_][%w_]*%f[(]", function(word) return C_WORDS[word] and "k" or "f" end },
    { "^[%a_][%w_]*", function(word) return C_WORDS[word] and "k" or C_VALUES[word] and "v" or nil end },
  },
  sh = {
    BLANKS, { "^#[^\n]*", "c", after = "^[%s;]$" }, { shell_quoted, "s" }, { "^%$[%w_]+", "v" },
    { "^%${[^}\n]*}", "v" },
    { "^%-%-?[%w][%w-]*", "n", after = "^%s$" },
    { "^[%w_./+-]+", function(word) return SH_WORDS[word] and "k" or nil end },
  },
  nginx = {
    BLANKS, { "^#[^\n]*", "c" }, { quoted, "s" }, { "^%$[%w_]+", "v" },
    { "^[%a_]+", function(_, code, at) -- a directive is what begins
      return code:sub(math.max(1, at - 200), at - 1):find "[{};\n]%s*$" and "k" or at == 1 and "k" or nil
    end },
    { "^[%w_./:-]+" },
  },
  json = {
    BLANKS, { quoted, function(_, code, _, last) return code:match("^%s*:", last + 1) and "f" or "s" end },
    { "^%-?%d+%.?%d*[eE]?[+-]?%d*", "n" }, { "^%a+", "v" },
  },
  console = { { "^%$ [^\n]*", "p", after = "\n" }, { "^[^\n]+" }, BLANKS }, -- what was typed, and what came
  text = { { "^[^\n]+" }, BLANKS },
}

local ALIASES = { bash = "sh", conf = "nginx", h = "c", output = "text", [""] = "text" }

---Is this a language that we know?
function M.knows(language)
  return (LANGUAGES[language] or ALIASES[language]) ~= nil
end

local function put(out, text, class)
  if not class then
    out[#out + 1] = html.escape(text)
    return
  end
  for line, ending in (text .. "\0"):gmatch "([^\n%z]*)([\n%z])" do
    if line ~= "" then out[#out + 1] = '<span class="' .. class .. '">' .. html.escape(line) .. "</span>" end
    if ending == "\n" then out[#out + 1] = "\n" end
  end
end

-- Lua within nginx's configuration: content_by_lua_block { … }. Its braces are balanced, as nginx itself wants them.
local function with_lua(code)
  local out, at = {}, 1
  while true do
    local from, to = code:find("_by_lua_block%s*%b{}", at)
    if not from then break end
    local open = code:find("{", from, true)
    out[#out + 1] = M.html(code:sub(at, open), "nginx")
    out[#out + 1] = M.html(code:sub(open + 1, to - 1), "lua")
    out[#out + 1] = "}"
    at = to + 1
  end
  if at == 1 then return nil end
  out[#out + 1] = M.html(code:sub(at), "nginx")
  return table.concat(out)
end

---@param code string
---@param language string
---@return string html
function M.html(code, language)
  local mixed = ALIASES[language] == "nginx" or language == "nginx"
  mixed = mixed and with_lua(code)
  if mixed then return mixed end
  local rules = LANGUAGES[language] or LANGUAGES[ALIASES[language] or "text"]
  local out, at = {}, 1
  while at <= #code do
    local last, class
    for _, rule in ipairs(rules) do
      if not rule.after or at == 1 or code:sub(at - 1, at - 1):find(rule.after) then
        if type(rule[1]) == "function" then
          last = rule[1](code, at)
        else
          last = select(2, code:find(rule[1], at))
        end
        if last and last >= at then
          class = rule[2]
          break
        end
        last = nil
      end
    end
    last = last or at
    local text = code:sub(at, last)
    if type(class) == "function" then class = class(text, code, at, last) end
    put(out, text, class)
    at = last + 1
  end
  return table.concat(out)
end

---The language of a file, by its name.
function M.language_of(path)
  local extension = path:match "%.(%w+)$"
  if extension == "rockspec" then return "lua" end
  if extension and (LANGUAGES[extension] or ALIASES[extension]) then return extension end
  local name = path:match "[^/]+$"
  if name == "dev" or name == "Makefile" or path == ".ci/run" then return "sh" end
  return path:find "^bin/" and "lua" or "text"
end

return M
