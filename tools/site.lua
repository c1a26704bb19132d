-- Makes the site of `make doc`: the pages of Markdown in the order of tools/site/pages.lua, a reference of the sources'
-- annotations, the source files that they lead to, and an index to search in. Needs cmark-gfm; neither this nor the
-- finished site needs a network.
--
--   lua tools/site.lua OUT
--
-- Whatever is not right is said, and nothing is kept back: a link that leads nowhere ends it with 1. Run from the top.
package.path = "tools/?.lua;" .. package.path

local check = require "site.check"
local codes = require "site.codes"
local header = require "site.header"
local html = require "site.html"
local landing = require "site.landing"
local layout = require "site.layout"
local made = require "made"
local man = require "site.man"
local markdown = require "site.markdown"
local pages = require "site.pages"
local reference = require "site.reference"
local search = require "site.search"
local source = require "site.source"

local OUT = arg[1] or "build/site"
local ASSETS = "tools/site/assets/"
local MARK = ".made-by-make-doc"

if not markdown.is_here() then
  io.stderr:write "dpg: cmark-gfm is not installed, and it reads the pages; ./dev doc installs it\n"
  os.exit(2)
end

-- Only what this has made is replaced: a folder with anything else in it may be somebody's work.
do
  local pipe = assert(io.popen("ls -A '" .. OUT:gsub("'", "'\\''") .. "' 2>/dev/null"))
  local there = pipe:read "*a"
  pipe:close()
  if there ~= "" and not made.read(OUT .. "/" .. MARK) then
    io.stderr:write("dpg: ", OUT, " holds something else than a site; name another folder, or an empty one\n")
    os.exit(2)
  end
end

local problems = {}
local function problem(where, what) problems[#problems + 1] = where .. ": " .. what end

-- ---- the tree -----------------------------------------------------------------------------------------------------

local site = { read = made.read, files = {}, sections = {} }
local is_file, is_folder = {}, {}

do
  local pipe = assert(io.popen "find . -name .git -prune -o -path ./build -prune -o -type f -print | sort")
  for path in pipe:lines() do
    path = path:gsub("^%./", "")
    site.files[#site.files + 1], is_file[path] = path, true
    local folder = path:match "^(.*)/"
    while folder and not is_folder[folder] do
      is_folder[folder] = true
      folder = folder:match "^(.*)/"
    end
  end
  pipe:close()
end

site.version = assert(site.read "csrc/core/dpg.h"):match '#define DPG_VERSION "([^"]+)"'
site.mark = assert(site.read(ASSETS .. "icon.svg")):gsub("\n", "")

-- ---- which pages there are ----------------------------------------------------------------------------------------

local texts, sources, queue, copies = {}, {}, {}, {} -- by file; by path; yet to be made; path -> address
local order = {}

for _, section in ipairs(pages.SECTIONS) do
  local shown = { title = section.title }
  site.sections[#site.sections + 1] = shown
  if section.reference then
    shown[1] = { address = "reference/index.html", name = "All functions" }
    for _, page in ipairs(reference.PAGES) do
      shown[#shown + 1] = { address = "reference/" .. page[1] .. ".html", name = page[2] }
    end
    shown[#shown + 1] = { address = man.ADDRESS, name = "the command" }
    shown[#shown + 1] = { address = header.ADDRESS, name = "libdpg, for C" }
  end
  for _, entry in ipairs(section) do
    local file = entry[1]
    if is_file[file] then
      local page = {
        file = file, address = pages.address(file), folder = file:match "^(.*/)" or "", headings = {}, problems = {},
      }
      texts[file], order[#order + 1] = page, page
      shown[#shown + 1] = { address = page.address, name = entry[2] }
    else
      problem("tools/site/pages.lua", file .. " is not there")
    end
  end
end

for _, file in ipairs(site.files) do
  if file:find "^doc/.*%.md$" and not texts[file] then
    problem(file, "stands in no section of tools/site/pages.lua")
  end
end

-- ---- links --------------------------------------------------------------------------------------------------------

---Where a file or a folder of the tree is in the site; it is made a page, if it is none yet.
function site.leads_to(path, folder)
  if texts[path] then return texts[path].address end
  if (folder or is_folder[path]) and texts[path .. "/README.md"] then return texts[path .. "/README.md"].address end
  if not (is_file[path] or is_folder[path]) then return nil end
  local as_folder = not is_file[path]
  if not sources[path] then
    local page = { path = path, is_folder = as_folder, address = source.address(path, as_folder), kind = "file" }
    sources[path] = page
    queue[#queue + 1] = page
  end
  return sources[path].address
end

---The address of a picture, which is copied.
function site.copied(path)
  copies[path] = path:gsub("^doc/", "")
  return copies[path]
end

function site.link(page, href)
  if href:find "^%a[%w+.-]*:" or href:find "^#" then return html.escape(href) end
  local path, anchor = href:match "^([^#]*)(#?.*)$"
  local full = html.normal(page.folder .. path)
  local to = full and site.leads_to(full)
  if not to then
    problem(page.file, href .. " is not there")
    return html.escape(href)
  end
  return html.escape(html.relative(page.address, to) .. anchor)
end

function site.picture(page, src)
  if src:find "^%a[%w+.-]*:" then return html.escape(src) end
  local full = html.normal(page.folder .. src)
  if not full or not is_file[full] then
    problem(page.file, src .. " is not there")
    return html.escape(src)
  end
  return html.escape(html.relative(page.address, site.copied(full)))
end

-- ---- making them --------------------------------------------------------------------------------------------------

local book = reference.read(site)
for command in assert(site.read(man.FILE)):gmatch '\n%.SS "(dpg[%l ]*%l)' do
  book.names.places[command] = man.ADDRESS .. "#" .. command:gsub(" ", "-")
end
local index = search.new()
local finished, files = {}, {}

-- Code that names a function leads to it, but in headings, links and code blocks.
local function link_code(page)
  local out, at, body = {}, 1, page.body
  while true do
    local from, to, tag = body:find("<(%a%w*)[^>]*>", at)
    if not from then break end
    out[#out + 1] = body:sub(at, from - 1)
    if tag == "a" or tag == "pre" or tag:find "^h%d" or tag == "svg" then
      local _, stop = body:find("</" .. tag .. ">", to, true)
      stop = stop or to
      out[#out + 1] = body:sub(from, stop)
      at = stop + 1
    elseif tag == "code" then
      local code, stop = body:match("^(.-)</code>()", to + 1)
      out[#out + 1] = body:sub(from, to) == "<code>" and book.names:html(page, code) or body:sub(from, stop - 1)
      at = stop
    else
      out[#out + 1] = body:sub(from, to)
      at = to + 1
    end
  end
  out[#out + 1] = body:sub(at)
  page.body = table.concat(out)
end

for _, page in ipairs(order) do markdown.page(page, site) end
book.names.codes = codes.mark(assert(texts[codes.FILE], codes.FILE), index)

for _, page in ipairs(order) do
  link_code(page)
  for _, said in ipairs(page.problems) do problem(page.file, said) end
  page.description = html.text_of(page.body:match "<p>(.-)</p>" or ""):gsub("%s+", " "):sub(1, 200)
    :gsub("[\192-\255][\128-\191]*$", "") -- what may have been cut in the middle
  index:page(page)
  finished[page.address] = layout.page(page, site)
end

for _, page in ipairs(reference.render(book)) do
  page.is_shallow, page.kind = page.name == "index" and true or nil, "reference"
  index:reference(page)
  finished[page.address] = layout.page(page, site)
end

do
  local command = { address = man.ADDRESS, title = "the command", kind = "reference", says = "dpg, in a terminal" }
  man.read(command, assert(site.read(man.FILE)))
  local libdpg = { address = header.ADDRESS, title = "libdpg, for C", kind = "reference", says = "dpg.h" }
  header.read(libdpg, assert(site.read(header.FILE)), site.leads_to)
  for _, page in ipairs { command, libdpg } do
    index:reference(page)
    finished[page.address] = layout.page(page, site)
  end
end

do
  local page = landing.page(site, texts, book)
  finished[page.address] = layout.page(page, site)
end

while #queue > 0 do
  local page = table.remove(queue)
  source.page(page, site)
  finished[page.address] = layout.page(page, site)
end

-- ---- writing ------------------------------------------------------------------------------------------------------

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end
local size = 0

local folders = {}
local function write(address, text)
  local path = OUT .. "/" .. address
  local folder = path:match "^(.*)/"
  if not folders[folder] then
    folders[folder] = true
    os.execute("mkdir -p " .. quote(folder))
  end
  made.write(path, text)
  size = size + #text
end

os.execute("rm -rf " .. quote(OUT))
local number = 0
for address, text in pairs(finished) do
  write(address, text)
  number = number + 1
end
for path, address in pairs(copies) do
  write(address, assert(site.read(path)))
  files[address] = true
end
for _, name in ipairs { "style.css", "site.js", "icon.svg" } do
  write(name, assert(site.read(ASSETS .. name)))
  files[name] = true
end
write("search.js", index:script())
write(MARK, "This folder is removed and made anew by make doc.\n")
files["search.js"] = true

local dead, links = check.links(finished, files)
for _, said in ipairs(dead) do problems[#problems + 1] = said end

for _, said in ipairs(problems) do io.stderr:write("dpg: ", said, "\n") end
if #problems > 0 then os.exit(1) end
print(("%s: %d pages, %d functions, %d links, %.1f MB"):format(OUT, number, book.count, links, size / 2 ^ 20))
