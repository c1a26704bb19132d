-- The manual page of the command (made by tools/cli_man.lua of the command line itself) as a page of the reference. It
-- knows the requests and escapes that the page has, and stops at another.
local highlight = require "site.highlight"
local html = require "site.html"

local M = {}

M.FILE = "share/man/man1/dpg.1"
M.ADDRESS = "reference/command.html"

-- A line of text: fonts and escapes.
local function inline(text)
  text = text:gsub("\\%-", "-"):gsub("\\&", ""):gsub("\\e", "\1")
  text = html.escape(text):gsub("\\f([BIR])", { B = "\2", I = "\3", R = "\4" })
  text = text:gsub("\2([^\2\3\4]*)\4", "<b>%1</b>"):gsub("\3([^\2\3\4]*)\4", "<i>%1</i>")
  local rest = text:match "[\\\2\3]."
  if rest then error(M.FILE .. ": an escape that is not known: " .. rest, 0) end
  return (text:gsub("\1", "\\"))
end

local TITLES = {
  NAME = false, SYNOPSIS = "Synopsis", DESCRIPTION = "What it is for", OPTIONS = "Options of every command",
  COMMANDS = "Commands", ["EXIT STATUS"] = "Exit status", ENVIRONMENT = "Environment", FILES = "Files",
  ["SEE ALSO"] = "See also",
}

local Reader = {}
Reader.__index = Reader

function Reader:put(text) self.out[#self.out + 1] = text end

-- Ends the paragraph, and the list that it is in unless another of its entries follows.
function Reader:close(stays)
  if self.is_open then self:put(self.in_list and "</p></dd>\n" or "</p>\n") end
  self.is_open = false
  if self.in_list and not stays then
    self:put "</dl>\n"
    self.in_list = false
  end
end

function Reader:heading(level, text)
  self:close()
  local id = level == 2 and html.slug(text, {}) or text:match "^dpg[%l ]*":gsub(" $", ""):gsub(" ", "-")
  local shown = level == 2 and html.escape(text) or "<code>" .. html.escape(text) .. "</code>"
  self:put(('<h%d id="%s">%s<a class="anchor" href="#%s" aria-label="link to this heading">#</a></h%d>\n'):format(
    level, id, shown, id, level))
  table.insert(self.page.headings, {
    level = level, id = id, text = text, html = shown,
    short = level == 3 and "<code>" .. id:gsub("-", " ") .. "</code>" or nil,
  })
  if level == 3 then
    self.entry = { title = text, id = id, text = "", of = self.page.title, kind = "function" }
    table.insert(self.page.words, self.entry)
  else
    self.entry = nil
  end
end

function Reader:text(line)
  if self.is_skipped then return end
  if self.is_term then
    if not self.in_list then self:put '<dl class="fields">\n' end
    self:put("<dt>" .. inline(line):gsub("</?[bi]>", { ["<b>"] = "<code>", ["</b>"] = "</code>" }) .. "</dt>\n<dd><p>")
    self.in_list, self.is_open, self.is_term = true, true, false
    return
  end
  if not self.is_open then
    self:put "<p>"
    self.is_open = true
  end
  self:put(inline(line) .. "\n")
  if self.entry then self.entry.text = self.entry.text .. " " .. html.text_of(inline(line)) end
end

---@param page table  its headings, words and body are set
---@param text string  the manual page
function M.read(page, text)
  page.headings, page.words = {}, {}
  local reader, literal = setmetatable({ out = {}, page = page }, Reader), nil
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    local request, rest = line:match "^%.([%a\\\"]+)%s*(.*)$"
    if literal and request ~= "fi" then
      literal[#literal + 1] = html.unescape(html.text_of(inline(line)))
    elseif not request then
      if line ~= "" then reader:text(line) end
    elseif request == "SH" then
      local title = TITLES[rest]
      if title == nil then title = rest:sub(1, 1) .. rest:sub(2):lower() end
      reader.is_skipped = not title
      if title then reader:heading(2, title) end
    elseif request == "SS" then
      reader:heading(3, (inline(rest):gsub("&quot;", "")))
    elseif request == "TP" then
      reader:close(true)
      reader.is_term = true
    elseif request == "PP" then
      reader:close()
    elseif request == "nf" then
      reader:close()
      literal = {}
    elseif request == "fi" then
      local code = table.concat(literal, "\n"):gsub("^   ", ""):gsub("\n   ", "\n")
      reader:put('<div class="code"><pre><code class="sh">' .. highlight.html(code, "sh") .. "</code></pre></div>\n")
      literal = nil
    elseif request ~= "TH" and not request:find "\\" then
      error(M.FILE .. ": a request that is not known: ." .. request, 0)
    end
  end
  reader:close()
  page.body = "<h1>" .. html.escape(page.title) .. "</h1>\n" .. table.concat(reader.out)
end

return M
