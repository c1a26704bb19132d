-- What the LuaLS annotations of the sources say: classes with their fields, functions with their doc comments. For the
-- specs that compare it with the running library. Reads, and knows nothing of what it reads.
local M = {}

local function lines_of(path)
  local all = {}
  for line in io.lines(path) do all[#all + 1] = line end
  return all
end

-- "dpg.ReadOptions? the rest": a type ends at the first blank outside of brackets and quotes.
local function split_type(text)
  local depth, at = 0, 1
  while at <= #text do
    local c = text:sub(at, at)
    if c:find "[%(<{%[]" then depth = depth + 1
    elseif c:find "[%)>}%]]" then depth = depth - 1
    elseif c == " " and depth == 0 then
      -- `fun(): a, b` and `a | b` go on behind their blanks
      if not (text:sub(at - 1, at - 1):find "[:,|]" or text:find("^%s*|", at)) then break end
    end
    at = at + 1
  end
  return text:sub(1, at - 1), (text:sub(at):match "^%s*(.-)%s*$")
end

local function new_doc()
  return { summary = {}, params = {}, returns = {}, fields = {} }
end

-- One line of a doc comment, put into `doc`; `last` is what a line of more text belongs to.
local function read_line(doc, text, last)
  local tag, rest = text:match "^@([%w]+)%s*(.*)$"
  if not tag then
    local into = last or doc.summary
    into[#into + 1] = text
    return last
  end
  if tag == "param" then
    local name, mark, more = rest:match "^([%w_.]+)(%??)%s+(.*)$"
    local kind, says = split_type(more or "")
    local param = { name = name, optional = mark == "?", type = kind, says }
    doc.params[#doc.params + 1] = param
    return param
  elseif tag == "return" then
    local kind, says = split_type(rest)
    local one = { type = kind, says }
    doc.returns[#doc.returns + 1] = one
    return one
  elseif tag == "field" then
    local name, mark, more = rest:match "^([%w_]+)(%??)%s+(.*)$"
    if not name then return last end
    local kind, says = split_type(more)
    local field = { name = name, optional = mark == "?", type = kind, says }
    doc.fields[name] = field
    return field
  elseif tag == "class" then
    local name, bases = rest:match "^([%w_.]+):?%s*(.*)$"
    doc.class = { name = name, bases = bases }
  elseif tag == "alias" then
    doc.alias = { rest:match "^([%w_.]+)%s*(.*)$" }
  end
  return nil
end

-- The lines of the function that begins at line `at`, without its own first one.
local function body_of(lines, at)
  if lines[at]:find "%f[%w]end%s*$" then return lines[at] end
  local indent, body = lines[at]:match "^%s*", {}
  for i = at + 1, #lines do
    if lines[i]:find("^" .. indent .. "end") then break end
    body[#body + 1] = lines[i]
  end
  return table.concat(body, "\n")
end

local function read_file(path, found)
  local lines, doc, last, class_of = lines_of(path), nil, nil, {}
  for i, line in ipairs(lines) do
    local text = line:match "^%s*%-%-%-(.*)$"
    if text then
      doc = doc or new_doc()
      last = read_line(doc, text, last)
    else
      if doc and doc.class then
        local class = found.classes[doc.class.name] or { fields = {}, methods = {}, bases = "" }
        found.classes[doc.class.name] = class
        if doc.class.bases ~= "" then class.bases = doc.class.bases end
        for name, field in pairs(doc.fields) do class.fields[name] = field end
        local variable = line:match "^local ([%w_]+)"
        if variable then class_of[variable] = doc.class.name end
      elseif doc and doc.alias then
        found.aliases[doc.alias[1]] = doc.alias[2]
      end
      local owner, colon, name, parameters = line:match "^function ([%w_]+)([.:])([%w_]+)%((.-)%)"
      if owner then
        local one = {
          doc = doc or new_doc(), path = path, line = i, name = name, is_method = colon == ":", class = class_of[owner],
          body = body_of(lines, i), parameters = {},
        }
        for parameter in parameters:gmatch "[%w_.]+" do one.parameters[#one.parameters + 1] = parameter end
        found.functions[path .. ":" .. i] = one
        local class = found.classes[one.class or ""]
        if class then class.methods[name] = one end
      end
      doc, last = nil, nil
    end
  end
end

---Reads files; later ones add to the classes of earlier ones.
---@param paths string[]
---@return table  classes: name -> { fields, methods, bases }; functions: "path:line" -> function; aliases: name -> type
function M.read(paths)
  local found = { classes = {}, functions = {}, aliases = {} }
  for _, path in ipairs(paths) do read_file(path, found) end
  return found
end

---Names of classes and aliases of ours that stand in a type.
---@param kind string
---@return fun(): string?
function M.names_in(kind)
  return kind:gmatch "%f[%w]dpg%.[%w_.]+"
end

---Everything that a class has: name -> { owner, field or method }; its bases' too.
function M.members(found, name, all)
  all = all or {}
  local class = found.classes[name]
  if not class then return all end
  for base in M.names_in(class.bases) do M.members(found, base, all) end
  for field, one in pairs(class.fields) do all[field] = { owner = name, field = one } end
  for method, one in pairs(class.methods) do all[method] = { owner = name, method = one } end
  return all
end

return M
