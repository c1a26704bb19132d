-- The frame of every page: head, navigation, contents, foot.
local html = require "site.html"

local M = {}

local PAGE = [[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<meta name="description" content="$description">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="$top/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="$top/style.css">
<script>try{document.documentElement.dataset.theme=localStorage.getItem("theme")||""}catch(e){}</script>
</head>
<body class="$kind">
<a class="skip" href="#content">To the text</a>
<header class="bar">
<button class="menu" aria-label="Navigation" aria-expanded="false" hidden>
<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M2 5h16M2 10h16M2 15h16"/></svg></button>
<a class="brand" href="$top/index.html">$mark<span>dpg</span></a>
<span class="version">$version</span>
<div class="search" role="search" hidden>
<input type="search" required aria-label="Search" autocomplete="off" spellcheck="false">
<span class="hint" aria-hidden="true">Search</span><kbd aria-hidden="true">/</kbd>
<div class="results" hidden></div>
</div>
<button class="theme" aria-label="Light or dark" hidden>
<svg viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="7.5"/>
<path d="M10 2.5a7.5 7.5 0 0 1 0 15z"/></svg></button>
</header>
<div class="columns">
<nav class="pages" aria-label="Pages">
$nav</nav>
<main id="content">
$body
$next</main>
$contents</div>
<footer>dpg $version · MIT licence ·
not made by, and not affiliated with, the makers of the Digital Photo Gallery</footer>
<script src="$top/search.js" defer></script>
<script src="$top/site.js" defer></script>
</body>
</html>
]]

local function fill(template, values)
  return (template:gsub("%$(%l+)", values))
end

local function navigation(page, site)
  local parts = {}
  for _, section in ipairs(site.sections) do
    parts[#parts + 1] = "<p>" .. html.escape(section.title) .. "</p>\n<ul>\n"
    for _, entry in ipairs(section) do
      parts[#parts + 1] = ('<li><a href="%s"%s>%s</a></li>\n'):format(
        html.relative(page.address, entry.address),
        entry.address == page.address and ' aria-current="page"' or "", html.escape(entry.name))
    end
    parts[#parts + 1] = "</ul>\n"
  end
  return table.concat(parts)
end

-- What is on this page, where there is enough of it.
local function contents(page)
  local parts, count = {}, 0
  for _, heading in ipairs(page.headings or {}) do
    if heading.level == 2 or (heading.level == 3 and not page.is_shallow) then
      count = count + 1
      parts[#parts + 1] = ('<li class="level%d"><a href="#%s">%s</a></li>\n'):format(heading.level, heading.id,
        (heading.short or heading.html):gsub("</?a[^>]*>", ""))
    end
  end
  if count < 2 then return "" end
  return '<aside class="contents" aria-label="On this page"><p>On this page</p>\n<ul>\n' .. table.concat(parts)
    .. "</ul>\n</aside>\n"
end

-- The page before and the page after, in the order of the navigation.
local function neighbours(page, site)
  local all, at = {}, nil
  for _, section in ipairs(site.sections) do
    for _, entry in ipairs(section) do
      all[#all + 1] = entry
      if entry.address == page.address then at = #all end
    end
  end
  if not at then return "" end
  local parts = {}
  for _, step in ipairs { { -1, "before" }, { 1, "after" } } do
    local entry = all[at + step[1]]
    if entry then
      local name = html.escape(entry.name)
      parts[#parts + 1] = ('<a class="%s" href="%s">%s</a>'):format(step[2],
        html.relative(page.address, entry.address), step[1] < 0 and "← " .. name or name .. " →")
    end
  end
  return '<nav class="next" aria-label="Before and after">' .. table.concat(parts) .. "</nav>\n"
end

---The whole page.
function M.page(page, site)
  local top = html.relative(page.address, ""):gsub("/$", "")
  local kind = (page.kind or "text") .. " " .. page.address:gsub("%W", "-")
  return fill(PAGE, {
    title = html.escape(page.title == "dpg" and "dpg" or page.title .. " – dpg"),
    description = html.escape(page.description or "dpg, the Lua client for the Digital Photo Gallery API"),
    top = top == "" and "." or top, kind = kind, mark = site.mark, version = site.version,
    nav = navigation(page, site), body = page.body, contents = contents(page), next = neighbours(page, site),
  })
end

return M
