-- A page of Markdown as the body of a page of the site. cmark-gfm, GitHub's own reader, does the reading, so that a
-- page looks here as it does there; what is added is anchors, colours, and links that lead to the site's own pages.
local highlight = require "site.highlight"
local html = require "site.html"
local svg = require "site.svg"

local M = {}

local COMMAND = "cmark-gfm --unsafe --validate-utf8 -e table -e autolink -e strikethrough -e tasklist --to html"

---Is cmark-gfm here?
function M.is_here()
  local pipe = assert(io.popen "command -v cmark-gfm 2>/dev/null")
  local found = pipe:read "*a"
  pipe:close()
  return found ~= ""
end

local function render(path)
  local pipe = assert(io.popen(COMMAND .. " '" .. path:gsub("'", "'\\''") .. "' 2>&1; echo \"<!--status $?-->\""))
  local out = pipe:read "*a"
  pipe:close()
  local body, status = out:match "^(.*)<!%-%-status (%d+)%-%->%s*$"
  if status ~= "0" then error(path .. ": " .. COMMAND .. ": " .. tostring(body), 0) end
  return body
end

-- Headings get the anchors that GitHub gives them.
local function anchor(body, page)
  local taken = {}
  return (body:gsub("<h(%d)>(.-)</h%d>", function(level, inner)
    local text = html.text_of(inner)
    local id = html.slug(text, taken)
    level = tonumber(level)
    page.headings[#page.headings + 1] = { level = level, id = id, text = text, html = inner }
    if level == 1 then return "<h1 id=\"" .. id .. "\">" .. inner .. "</h1>" end
    return ('<h%d id="%s">%s<a class="anchor" href="#%s" aria-label="link to this heading">#</a></h%d>'):format(
      level, id, inner, id, level)
  end))
end

local function colour(body, page)
  return (body:gsub("<pre><code([^>]*)>(.-)</code></pre>", function(attributes, inner)
    local language = attributes:match 'class="language%-([%w_+-]+)' or inner:find "^%$ " and "console" or ""
    if not highlight.knows(language) then
      page.problems[#page.problems + 1] = "a code block in a language without colours: " .. language
    end
    return ('<div class="code"><pre><code class="%s">%s</code></pre></div>'):format(language,
      highlight.html(html.unescape(inner), language))
  end))
end

local function are_figures(inner)
  local figures, cells = 0, 0
  for cell in inner:gmatch "<td[^>]*>([^\n]*)</td>" do
    cells = cells + 1
    if cell:find "^[%d.,%s]+$" then figures = figures + 1 end
  end
  return figures * 2 > cells or inner:find('align="right"', 1, true)
end

-- Tables of figures scroll where they are too wide. Tables of prose become a list of cards there, each cell with its
-- column's name.
local function tables(body)
  return (body:gsub("<table>(.-)</table>", function(inner)
    if are_figures(inner) then return '<div class="scroll"><table>' .. inner .. "</table></div>" end
    local names = {}
    for name in inner:gmatch "<th[^>]*>(.-)</th>" do names[#names + 1] = html.escape(html.text_of(name)) end
    local rows = inner:gsub("<tr>(.-)</tr>", function(row)
      local i = 0
      return "<tr>" .. row:gsub("<td>", function()
        i = i + 1
        return names[i] and names[i] ~= "" and '<td data-name="' .. names[i] .. '">' or "<td>"
      end) .. "</tr>"
    end):gsub("<code>([^<]+)</code>", function(code) -- paths and choices may go on in the next line
      return "<code>" .. code:gsub("[/|]", "%0<wbr>") .. "</code>"
    end)
    return '<div class="table"><table class="cards">' .. rows .. "</table></div>"
  end))
end

-- Pictures of ours that are drawings stand in the page itself, so that they follow its colours.
local function drawings(body, page, site)
  body = body:gsub('<p>%s*<img src="([^"]+%.svg)" alt="([^"]*)"[^>]*/?>%s*</p>', function(src, alt)
    local path = html.normal(page.folder .. src)
    local text = path and site.read(path)
    if not text then return nil end
    return '<figure class="drawing">' .. svg.inline(text, path, alt) .. "</figure>"
  end)
  return body
end

local function links(body, page, site)
  return (body:gsub('(<a[^>]- href=")([^"]*)(")', function(head, href, tail)
    return head .. site.link(page, html.unescape(href)) .. tail
  end):gsub('(<img[^>]- ?src=")([^"]*)(")', function(head, src, tail)
    return head .. site.picture(page, html.unescape(src)) .. tail
  end))
end

---Renders the page whose file it is: sets its title, headings and body.
---@param page { file: string, address: string, folder: string, headings: table[], problems: string[] }
---@param site table  read, link and picture
function M.page(page, site)
  local body = render(page.file)
  body = body:gsub("<!%-%-.-%-%->\n?", "") -- notes for our tools
  body = colour(body, page)
  body = anchor(body, page)
  body = drawings(body, page, site)
  body = links(body, page, site)
  page.body = tables(body)
  page.title = page.headings[1] and page.headings[1].text
  if not page.title or page.headings[1].level ~= 1 then
    page.problems[#page.problems + 1] = "it does not begin with a title (#)"
    page.title = page.title or page.file
  end
end

return M
