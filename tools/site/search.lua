-- The index that site.js searches: a script of one assignment, so that it works from a disk as well. An entry is a
-- heading or a function, with the text below it.
local html = require "site.html"

local M = {}

local Index = {}
Index.__index = Index

function M.new() return setmetatable({ entries = {} }, Index) end

local function squeeze(text)
  return (text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

function Index:add(address, title, of, text, kind)
  table.insert(self.entries, { address, title, of, squeeze(text), kind })
end

---A page of Markdown: an entry for each heading, with what stands below it.
function Index:page(page)
  local body = page.body:gsub('<a class="anchor".-</a>', ""):gsub("<svg.-</svg>", "")
  local at = 1
  for i, heading in ipairs(page.headings) do
    local tag = 'id="' .. heading.id .. '"'
    local from = body:find(tag, at, true)
    local after = body:find("</h%d>", from)
    local following = page.headings[i + 1]
    local stop = following and body:find('<h%d id="' .. following.id:gsub("%p", "%%%0") .. '"', after) or #body + 1
    local text = html.text_of((body:sub(after, stop - 1):gsub("</[pltdh][^>]*>", " ")))
    self:add(page.address .. (heading.level > 1 and "#" .. heading.id or ""), heading.text,
      heading.level > 1 and page.title or "", text, "text")
    at = after
  end
end

function Index:reference(page)
  if page.says then self:add(page.address, page.title, "Reference", page.says, "text") end
  for _, entry in ipairs(page.words) do
    self:add(page.address .. "#" .. entry.id, entry.title, entry.of, entry.text, entry.kind)
  end
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["<"] = "\\u003c" }
local function quoted(text)
  return '"' .. text:gsub('["\\<]', ESCAPES):gsub("%c", " ") .. '"'
end

---@return string javascript
function Index:script()
  local lines = {}
  for i, entry in ipairs(self.entries) do
    local fields = {}
    for j, field in ipairs(entry) do fields[j] = quoted(field) end
    lines[i] = "[" .. table.concat(fields, ",") .. "]"
  end
  return "window.dpgIndex=[\n" .. table.concat(lines, ",\n") .. "\n];\n"
end

return M
