-- What the command says: data to the standard output, talk to the standard error. A table for a terminal, lines with
-- tabs for a pipe, JSON where it is asked for. Nothing that a server sent moves the cursor or colours the screen.
local json = require "dpg.json"
local system = require "dpg.cli.system"

local M = {}

local is_quiet, bar = false, nil

---@param quiet boolean
function M.set_quiet(quiet) is_quiet = quiet end

---A bar on the terminal, which makes way for whatever is said, and is drawn again by what moves it on.
---@param one? { clear: fun(self) }
function M.set_bar(one) bar = one end

local function make_way()
  if bar then bar:clear() end
end

-- In UTF-8: the control characters of Latin 1, and what turns the direction of writing.
local STEERING = { "\194[\128-\159]", "\226\128[\170-\174]", "\226\129[\166-\169]" }

local function without_steering(text, instead)
  for _, pattern in ipairs(STEERING) do text = text:gsub(pattern, instead) end
  return text
end

---Text as it may be shown: no control characters, neither of ASCII nor others.
---@param value any
---@return string
function M.plain(value)
  if value == nil or value == json.null then return "" end
  if type(value) == "number" and value == math.floor(value) then value = ("%d"):format(value) end
  return (without_steering(tostring(value), " "):gsub("%c", " "))
end

---A moment as people read it, in UTC.
---@param value any  Unix seconds, or what it is instead
---@return any
function M.moment(value)
  local seconds = tonumber(value)
  if not seconds or seconds < 0 or seconds > 2 ^ 36 then return value end -- no year that os.date takes everywhere
  return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds))
end

---Are colours wanted here? (https://no-color.org)
---@param descriptor integer
---@return boolean
function M.has_colour(descriptor)
  return (os.getenv "NO_COLOR" or "") == "" and os.getenv "TERM" ~= "dumb" and system.is_terminal(descriptor)
end

local function paint(text, code, descriptor)
  return M.has_colour(descriptor) and "\27[" .. code .. "m" .. text .. "\27[0m" or text
end

function M.bold(text) return paint(text, "1", 1) end
function M.green(text) return paint(text, "32", 1) end
function M.red(text) return paint(text, "31", 1) end

local EPIPE = 32 -- on every system that has it

-- Whoever reads us may have gone (`| head`): there is nobody left to say it to. All else, a full disk say, is a loss.
local function check(written, problem, number)
  if written then return end
  if number ~= EPIPE then
    M.warn("the output can't be written (" .. tostring(problem) .. "): make room for it, or send it elsewhere")
  end
  os.exit(1, true)
end

local function write(text)
  make_way()
  check(io.stdout:write(text))
end

---Brings out the data that is still held back, which may be the first that finds no room.
function M.flush() check(io.stdout:flush()) end

---Data after which nothing comes: the program ends well.
function M.last(text)
  M.line(text)
  M.flush()
  os.exit(0, true)
end

---A line of data.
function M.line(text) write(text .. "\n") end

---A line of talk, which --quiet leaves out.
function M.say(text)
  if is_quiet then return end
  make_way()
  io.stderr:write(M.plain(text), "\n")
end

---A line that is said in any case.
function M.warn(text)
  make_way()
  io.stderr:write("dpg: ", M.plain(text), "\n")
end

---Lines that a server sent: to a terminal without what would steer it, else as they are.
---@param text string
function M.text(text)
  write((system.is_terminal(1) and text:gsub("[^\n]+", M.plain) or text) .. "\n")
end

local function escaped(character)
  local a, b, c = character:byte(1, 3)
  return ("\\u%04x"):format(c and (a - 224) * 4096 + (b - 128) * 64 + c - 128 or (a - 192) * 64 + b - 128)
end

-- The same JSON, in which nothing steers a terminal: the encoder escapes ASCII's control characters alone.
local function encoded(value)
  return without_steering(assert(json.encode(value)), escaped)
end

---@param value any
function M.json(value) write(encoded(value) .. "\n") end

---An array, item by item.
---@param items fun(): any
function M.json_array(items)
  local before = "["
  for item in items do
    write(before .. encoded(item))
    before = ",\n"
  end
  write((before == "[" and "[" or "") .. "]\n")
end

-- Characters, not bytes, each taken for one column.
local function length(text)
  return select(2, text:gsub("[^\128-\191]", ""))
end

local function cut(text, most)
  if length(text) <= most then return text end
  local kept, count = {}, 0
  for character in text:gmatch "[^\128-\191][\128-\191]*" do
    count = count + 1
    if count >= most then break end
    kept[count] = character
  end
  return table.concat(kept) .. "…"
end

local function columns_of(rows, heads)
  local widths = {}
  for i, head in ipairs(heads) do widths[i] = length(head) end
  for _, row in ipairs(rows) do
    for i = 1, #heads do widths[i] = math.max(widths[i], length(row[i])) end
  end
  return widths
end

---Rows of values: a table with heads on a terminal, where the last column is cut to what is left; else lines with tabs.
---@param heads string[]
---@param rows any[][]
---@param is_whole? boolean  nothing is cut: what goes on is of use, and the terminal breaks the line
function M.table(heads, rows, is_whole)
  local shown = {}
  for i, row in ipairs(rows) do
    shown[i] = {}
    for k = 1, #heads do shown[i][k] = M.plain(row[k]) end
  end
  if not system.is_terminal(1) then
    for _, row in ipairs(shown) do M.line(table.concat(row, "\t")) end
    return
  end
  local widths, left = columns_of(shown, heads), system.columns()
  for i = 1, #heads - 1 do left = left - widths[i] - 2 end
  local function aligned(row)
    local words = {}
    for i = 1, #heads - 1 do words[i] = row[i] .. (" "):rep(widths[i] - length(row[i])) end
    words[#heads] = is_whole and row[#heads] or cut(row[#heads], math.max(left, 10))
    return (table.concat(words, "  "):gsub("%s+$", ""))
  end
  if #shown > 0 then M.line(M.bold(aligned(heads))) end
  for _, row in ipairs(shown) do M.line(aligned(row)) end
end

---Bytes for people.
---@param bytes number
---@return string
function M.size(bytes)
  if bytes < 1000 then return ("%d B"):format(bytes) end
  for _, unit in ipairs { "kB", "MB", "GB" } do
    bytes = bytes / 1000
    if bytes < 999.95 or unit == "GB" then return ("%.1f %s"):format(bytes, unit) end
  end
end

return M
