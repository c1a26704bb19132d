-- Reads LuaLS annotations (`---@class`, `---@param` …) as the sources and types/ have them, into a model: classes with
-- their fields and functions, aliases, and where each stands. It knows the annotations that this tree uses.
local M = {}

---Where a type that begins at `at` ends. Types may hold blanks: fun(a: b): c, { a: b }, (a|b)[].
local function type_end(text, at)
  local function atom(i)
    i = text:match("^%s*()", i)
    local c = text:sub(i, i)
    if c == "{" or c == "(" then
      i = text:match(c == "{" and "^%b{}()" or "^%b()()", i)
    elseif c == '"' or c == "'" then
      i = text:match('^%b""()', i) or text:match("^%b''()", i)
    elseif text:match("^fun%s*%(", i) then
      i = text:match("^fun%s*%b()()", i)
      local returns = text:match("^%s*:%s*()", i)
      while returns do
        i = type_end(text, returns)
        returns = text:match("^,%s*()", i)
      end
      return i
    else
      i = text:match("^%.%.%.()", i) or text:match("^[%w_.-]+()", i)
      if i and text:sub(i, i) == "<" then i = text:match("^%b<>()", i) end
    end
    return i
  end
  while true do
    local stop = atom(at)
    if not stop then return at end
    while true do
      local more = text:match("^%[%]()", stop) or text:match("^%?()", stop)
      if not more then break end
      stop = more
    end
    local bar = text:match("^%s?|()", stop)
    if not bar then return stop end
    at = bar
  end
end

---Splits "type rest".
function M.split_type(text)
  local stop = type_end(text, 1)
  return text:sub(1, stop - 1), (text:sub(stop):gsub("^%s+", "")), text:sub(stop)
end

local function new_function(comment)
  return {
    text = comment.text, params = comment.params, returns = comment.returns, generics = comment.generics,
    overloads = comment.overloads, deprecated = comment.deprecated,
  }
end

local TAGS = {}

function TAGS.param(comment, rest)
  local name, optional, after = rest:match "^([%w_.]+)(%??)%s+(.*)$"
  if not name then return end
  local kind, text = M.split_type(after)
  local param = { name = name, optional = optional == "?", type = kind, text = text }
  comment.params[#comment.params + 1] = param
  return param
end

TAGS["return"] = function(comment, rest)
  local kind, after, raw = M.split_type(rest)
  local value = { type = kind, text = after }
  -- "type name  text", "type  text"
  local name, text = raw:match "^ ([%w_.]+)%s*(.*)$"
  if name and not raw:find "^  " then value.name, value.text = name, text end
  comment.returns[#comment.returns + 1] = value
  return value
end

function TAGS.field(comment, rest)
  local name, optional, after = rest:match "^([%w_]+)(%??)%s+(.*)$"
  if not name then
    name, after = rest:match "^(%b[])%s+(.*)$"
    optional = ""
  end
  if not name then return end
  local kind, text = M.split_type(after)
  local field = { name = name, optional = optional == "?", type = kind, text = text, line = comment.line }
  comment.fields[#comment.fields + 1] = field
  return field
end

function TAGS.class(comment, rest)
  local name, bases = rest:match "^([%w_.]+):?%s*(.*)$"
  comment.class = { name = name, bases = {} }
  for base in bases:gmatch "[%w_.]+" do table.insert(comment.class.bases, base) end
end

function TAGS.alias(comment, rest)
  local name, after = rest:match "^([%w_.]+)%s*(.*)$"
  local kind, text = "", "" -- what it may be comes in lines of its own, each behind a bar
  if after ~= "" then kind, text = M.split_type(after) end
  comment.alias = { name = name, type = kind, text = text }
  return comment.alias
end

function TAGS.overload(comment, rest) comment.overloads[#comment.overloads + 1] = rest end
function TAGS.generic(comment, rest) comment.generics[#comment.generics + 1] = rest end
function TAGS.deprecated(comment) comment.deprecated = true end
function TAGS.type(comment, rest) comment.type = rest end

local function new_comment(line)
  return { line = line, text = "", params = {}, returns = {}, fields = {}, generics = {}, overloads = {} }
end

local function joined(text, more)
  if text == "" then return more end
  if more == "" then return text .. "\n" end
  return text .. (text:find "\n$" and "" or " ") .. more
end

-- What a class has been found to be, in whichever file: types/dpg.lua and the sources add to the same one.
local function class_of(model, name, path, line)
  local class = model.classes[name]
  if not class then
    class = {
      name = name, bases = {}, fields = {}, functions = {}, overloads = {}, text = "", path = path, line = line,
    }
    model.classes[name] = class
  end
  return class
end

local function enter(model, path, comment)
  local class
  if comment.class then
    class = class_of(model, comment.class.name, path, comment.line)
    if class.text == "" then class.text = comment.text end
    for _, base in ipairs(comment.class.bases) do table.insert(class.bases, base) end
    for _, overload in ipairs(comment.overloads) do table.insert(class.overloads, overload) end
    for _, field in ipairs(comment.fields) do
      field.path = path
      table.insert(class.fields, field)
    end
  end
  if comment.alias then
    local alias = comment.alias
    model.aliases[alias.name] = {
      name = alias.name, type = alias.type, text = comment.text ~= "" and comment.text or alias.text, path = path,
      line = comment.line,
    }
  end
  return class
end

---Reads one file into the model.
---@param model { classes: table, aliases: table, functions: table }  functions by "path:line"
---@param path string
---@param text string
function M.read(model, path, text)
  local comment, target, locals, number = nil, nil, {}, 0
  local last_class
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    local said = line:match "^%-%-%-(.*)$"
    if said and not said:find "^%-" then
      comment = comment or new_comment(number)
      comment.last = number
      local tag, rest = said:match "^@(%a+)%s*(.*)$"
      if tag then
        comment.tag_line = number
        target = TAGS[tag] and TAGS[tag](comment, rest) or false
        if tag == "class" then comment.class_line = number end
      elseif comment.alias and said:find "^|" then
        local alias = comment.alias
        alias.type = alias.type .. (alias.type == "" and "" or " | ") .. said:match "^|%s*(.-)%s*$"
      elseif target then
        target.text = joined(target.text, said:gsub("^%s+", ""))
      elseif target == nil then
        comment.text = joined(comment.text, (said:gsub("^%s+", "")))
      end
    else
      local class = comment and enter(model, path, comment)
      local owner, colon, name, args = line:match "^function ([%w_]+)([.:])([%w_]+)%((.-)%)"
      local variable = line:match "^local ([%w_]+) = "
      if class and variable then locals[variable] = class end
      if class then last_class = class end
      if owner then
        local made = new_function(comment or new_comment(number))
        made.name, made.is_method, made.path, made.line = name, colon == ":", path, number
        made.args = args
        made.is_documented = comment ~= nil
        model.functions[path .. ":" .. number] = made
        local of = locals[owner]
        if of then
          made.class = of.name
          table.insert(of.functions, made)
        end
      elseif line:find "^local function " or line:find "^M%.[%w_]+ = function" then
        model.functions[path .. ":" .. number] = comment and new_function(comment) or nil
      end
      comment, target = nil, nil
    end
  end
  return last_class
end

---@return table model
function M.new()
  return { classes = {}, aliases = {}, functions = {} }
end

---The names of classes and aliases in a type.
function M.names_in(kind)
  local names = {}
  for name in kind:gsub('"[^"]*"', ""):gmatch "dpg[%w_.]*" do names[#names + 1] = name end
  return names
end

return M
