-- The gallery page: a model in, HTML out. Titles, descriptions and names come from strangers by way of the API, so all
-- text goes through text(), every address through address(), and the policy lets nothing run or load but our own files
-- and the pictures' hosts.
local M = {}

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

-- Fit for an element's text and for an attribute in quotes. What is no text (JSON's null) is nothing.
local function text(value)
  if type(value) ~= "string" then return "" end
  return (value:gsub("%c+", " "):gsub("[&<>\"']", escapes))
end

-- An address on the web, or nothing: no javascript:, no data:.
local function address(value)
  if type(value) ~= "string" or not value:match "^https?://[%w%.%-]+:?%d*/[^%s%c]*$" then return nil end
  return text(value)
end

-- An HTML template: `{name}` is replaced by that field's markup, which the caller has made of text() and address().
local function fill(template, fields)
  return (template:gsub("{([%w_]+)}", function(name) return assert(fields[name], name) end))
end

---The header Content-Security-Policy for a page with these pictures.
---@param images table[]
---@return string
function M.policy(images)
  local hosts, seen = {}, {}
  for _, image in ipairs(images) do
    for _, version in ipairs(image.versions) do
      local origin = address(version.url) and version.url:match "^https?://[%w%.%-]+:?%d*"
      if origin and not seen[origin] then
        seen[origin] = true
        hosts[#hosts + 1] = origin
      end
    end
  end
  table.sort(hosts)
  return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' " .. table.concat(hosts, " ")
    .. "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
end

local tile = [[
<li class="tile"><a id="p-{id}" href="{large}" data-width="{large_width}" data-height="{large_height}"
 data-title="{title}" data-about="{about}" data-by="{by}" data-place="{place}" data-camera="{camera}"
 data-rights="{rights}" data-original="{original}" data-size="{size}"><figure>
<img src="{small}" srcset="{sources}" sizes="(max-width: 44rem) 60vw, 28vw" width="{width}" height="{height}"
 alt="{alt}"{lazy} decoding="async">
<figcaption><span class="title" dir="auto">{title}</span><span class="credit" dir="auto">{by}</span></figcaption>
</figure></a></li>
]]

local function sources(versions)
  local list = {}
  for _, version in ipairs(versions) do
    list[#list + 1] = ("%s %dw"):format((address(version.url):gsub(",", "%%2C")), version.width)
  end
  return table.concat(list, ", ")
end

-- The smallest version that is at least so wide, else the largest.
local function version_for(versions, width)
  for _, version in ipairs(versions) do
    if version.width >= width then return version end
  end
  return versions[#versions]
end

local function size(bytes)
  if bytes >= 2 ^ 20 then return ("%.1f MB"):format(bytes / 2 ^ 20) end
  return ("%.0f kB"):format(bytes / 1024)
end

local function render_tile(image, nth)
  local small, large = version_for(image.versions, 480), image.versions[#image.versions]
  return fill(tile, {
    id = text(image.id), small = address(small.url), sources = sources(image.versions),
    large = address(large.url), large_width = ("%d"):format(large.width), large_height = ("%d"):format(large.height),
    width = ("%d"):format(image.width), height = ("%d"):format(image.height),
    title = text(image.title), alt = text(image.alt), about = text(image.about), by = text(image.by),
    place = text(image.place), camera = text(image.camera), rights = text(image.rights),
    original = image.may_download and "/original/" .. text(image.id) or "",
    size = ("%d × %d, %s"):format(image.width, image.height, size(image.bytes)),
    lazy = nth > 8 and ' loading="lazy"' or "",
  })
end

local document = [[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark">
<title>{title}</title>
<meta name="description" content="{about}">
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/gallery.css">
<script src="/gallery.js" defer></script>
</head>
<body>
<header class="hero">
{lead}<div>
<p class="eyebrow" dir="auto">{account}</p>
<h1 dir="auto">{title}</h1>
<p class="lede" dir="auto">{about}</p>
<p class="facts" dir="auto">{facts}</p>
</div>
</header>
<main>
{pictures}</main>
<footer><p dir="auto">{rights}</p><p>Arrow keys turn the pages, Esc closes.</p></footer>
<dialog class="box" aria-label="Picture">
<div class="stage">
<img alt="">
<p class="count" aria-live="polite"></p>
<button class="previous" type="button" aria-label="Previous picture">
<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M15 4l-8 8 8 8"/></svg></button>
<button class="next" type="button" aria-label="Next picture">
<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M9 4l8 8-8 8"/></svg></button>
<button class="close" type="button" aria-label="Close">
<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 5l14 14M19 5L5 19"/></svg></button>
</div>
<div class="legend">
<div><h2 class="title" dir="auto"></h2><p class="about" dir="auto"></p></div>
<div class="side"><p class="by" dir="auto"></p><p class="camera"></p>
<p><span class="rights" dir="auto"></span> <a class="original"></a></p></div>
</div>
</dialog>
</body>
</html>
]]

local lead = [[
<img class="hero-picture" src="{url}" alt="" fetchpriority="high">
]]

-- Distinct values of a field, in their order.
local function distinct(images, field)
  local list, seen = {}, {}
  for _, image in ipairs(images) do
    local value = image[field]
    if value ~= "" and not seen[value] then
      seen[value] = true
      list[#list + 1] = value
    end
  end
  return list
end

---@param gallery table  account, title, about, lead (a position in images), images
---@return string html
function M.render(gallery)
  local images, tiles = gallery.images, {}
  for i, image in ipairs(images) do tiles[i] = render_tile(image, i) end
  local first = images[gallery.lead]
  local names = distinct(images, "by")
  local count = #images == 1 and "1 photograph" or #images .. " photographs"
  return fill(document, {
    title = text(gallery.title), about = text(gallery.about), account = text(gallery.account),
    lead = first and fill(lead, { url = address(first.versions[#first.versions].url) }) or "",
    facts = text(count .. (#names > 0 and #names <= 6 and " by " .. table.concat(names, ", ") or "")),
    pictures = #tiles > 0 and '<ul class="rows">\n' .. table.concat(tiles) .. "</ul>\n"
      or '<p class="empty">Nothing is hung here yet.</p>\n',
    rights = text(table.concat(distinct(images, "rights"), " · ")),
  })
end

M.address = address

return M
