-- The first page: what it is for, in a screenful, with the README's own words and programs where there are some.
local html = require "site.html"
local highlight = require "site.highlight"

local M = {}

-- Some commands of the run that doc/cli.md shows, with what they printed in the end: without the progress, over which a
-- terminal writes.
local function run_of(text, commands)
  local wanted = {}
  for command in commands:gmatch "[^,]+" do
    local said = assert(text:match("\n(%$ dpg " .. command .. "[^\n]*\n.-)\n\n"), "doc/cli.md shows no dpg " .. command)
    wanted[#wanted + 1] = said:gsub("\n%[[# ]*%][^\n]*", "")
  end
  return table.concat(wanted, "\n\n")
end

---@param site table
---@param texts table  the pages by file
function M.page(site, texts)
  local readme = assert(site.read "README.md")
  local page = { address = "index.html", title = "dpg", kind = "landing", folder = "", headings = {} }
  local function to(file)
    local address = texts[file] and texts[file].address
    return html.relative(page.address, address or "overview.html")
  end
  local first = assert(readme:match "```lua\n(.-)```")
  page.body = site.read "tools/site/assets/landing.html":gsub("{{(%w+):?([^}]*)}}", function(what, of)
    if what == "page" then return to(of) end
    if what == "picture" then return site.copied(of) end
    if what == "lua" then return highlight.html(of == "readme" and first or of, "lua") end
    if what == "run" then return highlight.html(run_of(site.read "doc/cli.md", of), "console") end
    error("landing.html: {{" .. what .. "}}", 0)
  end)
  return page
end

return M
