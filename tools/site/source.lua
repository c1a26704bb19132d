-- Pages for source files, which the reference and the other pages lead to: the file, with colours and an anchor on each
-- line. A folder is a list of what is in it.
local highlight = require "site.highlight"
local html = require "site.html"

local M = {}

local PICTURES = { jpg = true, png = true, svg = true }

---Where the page of a file is: source/lua/dpg/init.lua.html; of a folder: source/types/index.html.
function M.address(path, is_folder)
  return "source/" .. path .. (is_folder and "/index.html" or ".html")
end

---The files and folders directly in a folder, of the list of all files.
local function within(folder, files)
  local found, seen = {}, {}
  for _, file in ipairs(files) do
    local rest = file:sub(1, #folder + 1) == folder .. "/" and file:sub(#folder + 2)
    local name = rest and rest:match "^([^/]+)"
    if name and not seen[name] then
      seen[name] = true
      found[#found + 1] = { name = name, is_folder = rest ~= name }
    end
  end
  return found
end

-- A fuzzer's corpus holds bytes that are no text.
local function is_text(bytes)
  local rest = bytes:gsub("[\194-\223][\128-\191]", ""):gsub("[\224-\239][\128-\191][\128-\191]", "")
    :gsub("[\240-\244][\128-\191][\128-\191][\128-\191]", "")
  return not rest:find "[%z\1-\8\11\12\14-\31\127-\255]"
end

---@param page { path: string, is_folder: boolean, address: string }
---@param site { read: function, files: string[], leads_to: function }
function M.page(page, site)
  page.title = page.path
  local parts = { "<h1>" .. html.escape(page.path) .. (page.is_folder and "/" or "") .. "</h1>\n" }
  if page.is_folder then
    parts[#parts + 1] = '<ul class="files">\n'
    for _, entry in ipairs(within(page.path, site.files)) do
      local path = page.path .. "/" .. entry.name
      parts[#parts + 1] = ('<li><a href="%s">%s</a></li>\n'):format(
        html.relative(page.address, site.leads_to(path, entry.is_folder)),
        html.escape(entry.name) .. (entry.is_folder and "/" or ""))
    end
    parts[#parts + 1] = "</ul>\n"
  elseif PICTURES[page.path:match "%w+$"] then
    parts[#parts + 1] = ('<p><img src="%s" alt=""></p>\n'):format(html.relative(page.address, site.copied(page.path)))
  elseif not is_text(site.read(page.path)) then
    parts[#parts + 1] = ("<p>%d bytes, which are no text.</p>\n"):format(#site.read(page.path))
  else
    local text = site.read(page.path)
    local number = 0
    local lines = highlight.html(text:gsub("\n$", ""), highlight.language_of(page.path))
    lines = (lines .. "\n"):gsub("([^\n]*)\n", function(line)
      number = number + 1
      return ('<span class="line" id="L%d">%s</span>\n'):format(number, line)
    end)
    parts[#parts + 1] = '<div class="code source"><pre><code>' .. lines .. "</code></pre></div>\n"
  end
  page.body = table.concat(parts)
end

return M
