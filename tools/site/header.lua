-- csrc/core/dpg.h, the face of libdpg, as a page of the reference: its own order and words, each declaration with what
-- is said of it, under a heading that a search finds.
local highlight = require "site.highlight"
local html = require "site.html"

local M = {}

M.FILE = "csrc/core/dpg.h"
M.ADDRESS = "reference/libdpg.html"

-- The text of a comment, without its stars: paragraphs, and lists where lines are "  name  what of it". Names that
-- are `known` lead to what is said of them.
local function prose(comment, known)
  local text = ("\n" .. comment:gsub("^/%*", "")):gsub("%s*%*/%s*$", ""):gsub("\n %* ?", "\n"):gsub("^%s+", "")
  local function linked(words)
    return (html.prose(words):gsub("dpg_[%w_]+", function(name)
      return known[name] and ('<a href="#%s"><code>%s</code></a>'):format(name, name) or nil
    end))
  end
  local out, items = {}, {}
  local function flush()
    if #items > 0 then out[#out + 1] = '<dl class="fields">\n' .. table.concat(items) .. "</dl>\n" end
    items = {}
  end
  local paragraph = {}
  local function end_paragraph()
    local said = table.concat(paragraph, " "):gsub("^ +", "")
    if said ~= "" then out[#out + 1] = "<p>" .. linked(said) .. "</p>\n" end
    paragraph = {}
  end
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    local name, what = line:match "^  ([%w_]+)%s%s+(.*)$"
    if name then
      end_paragraph()
      items[#items + 1] = ("<dt><code>%s</code></dt><dd><p>%s</p></dd>\n"):format(name, linked(what))
    elseif line == "" then
      end_paragraph()
    else
      flush()
      paragraph[#paragraph + 1] = line
    end
  end
  end_paragraph()
  flush()
  return table.concat(out), (text:gsub("%s+", " "))
end

-- What a piece of code declares: functions, types, macros.
local function names_of(code)
  local names, bare = {}, code:gsub("/%*.-%*/", "")
  local outer = bare:gsub("%b{}", "{}")
  for name in outer:gmatch "(dpg_[%w_]+)%s*%(" do names[#names + 1] = name end
  for name in outer:gmatch "[}%s]%s*(dpg_[%w_]+);" do names[#names + 1] = name end
  for name in outer:gmatch "#define (DPG_[%w_]+)" do names[#names + 1] = name end
  return names
end

local function declaration(page, comment, code, taken, known)
  local said, text = "", ""
  if comment then said, text = prose(comment, known) end
  local names = {}
  for _, name in ipairs(names_of(code)) do
    if not taken[name] then
      taken[name] = true
      names[#names + 1] = name
      table.insert(page.words, { title = name, id = name, text = text, of = page.title, kind = "function" })
    end
  end
  local block = '<div class="code"><pre><code class="c">' .. highlight.html(code, "c") .. "</code></pre></div>\n"
  if #names == 0 then return said .. block end
  local shown = {}
  for i, name in ipairs(names) do
    shown[i] = (i > 1 and '<code id="' .. name .. '">' or "<code>") .. name .. "</code>"
    table.insert(page.headings, { level = 3, id = name, text = name, html = "<code>" .. name .. "</code>" })
  end
  return ('<section class="function" id="%s">\n<h3>%s<a class="anchor" href="#%s" '
    .. 'aria-label="link to this">#</a></h3>\n'):format(names[1], table.concat(shown, ", "), names[1])
    .. said .. block .. "</section>\n"
end

---@param page table  its headings, words and body are set
---@param text string  the header
---@param leads_to fun(path: string): string  where a file is in the site
function M.read(page, text, leads_to)
  page.headings, page.words = {}, {}
  local whole = assert(text:match "^(/%*.-%*/)", M.FILE .. " begins with no comment")
  local function link(file) return html.relative(page.address, leads_to(file)) end
  local at = select(2, text:find('extern "C" {\n#endif\n', 1, true)) + 1
  local stop = text:find("\n#ifdef __cplusplus\n}", at, true)
  local known = {}
  for _, name in ipairs(names_of(text:sub(at, stop))) do known[name] = true end
  local out = {
    "<h1>" .. html.escape(page.title) .. "</h1>\n", (prose(whole, known)),
    ('<p>Link with <code>pkg-config --cflags --libs libdpg</code>. <a href="%s">examples/c/status.c</a> is a whole '
      .. 'program; <a href="%s">%s</a> is what is shown here.</p>\n'):format(link "examples/c/status.c", link(M.FILE),
      M.FILE),
  }
  local comment, code, taken = nil, {}, {}
  local function flush()
    if comment or #code > 0 then out[#out + 1] = declaration(page, comment, table.concat(code, "\n"), taken, known) end
    comment, code = nil, {}
  end
  while at < stop do
    local section, after = text:match("^/%* %-%-%- (.-) %-%-%-+ %*/\n()", at)
    if section then
      flush()
      local id = html.slug(section, {})
      out[#out + 1] = ('<h2 id="%s">%s</h2>\n'):format(id, html.escape(section))
      table.insert(page.headings, { level = 2, id = id, text = section, html = html.escape(section) })
    elseif #code == 0 and not comment and text:find("^/%*", at) then
      comment, after = text:match("^(/%*.-%*/)\n()", at)
    else
      local line
      line, after = text:match("^([^\n]*)\n()", at)
      if line == "" then flush() else code[#code + 1] = line end
    end
    at = after
  end
  flush()
  page.body = table.concat(out)
end

return M
