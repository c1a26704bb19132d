-- Small things about HTML that the other parts of the site share.
local M = {}

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
local CHARACTERS = { amp = "&", lt = "<", gt = ">", quot = '"' }

function M.escape(text)
  return (text:gsub('[&<>"]', ENTITIES))
end

function M.unescape(html)
  return (html:gsub("&(%a+);", CHARACTERS))
end

---What is read, without the markup.
function M.text_of(html)
  return M.unescape((html:gsub("<[^>]*>", "")))
end

---The anchor that GitHub gives a heading, so that one link works in both places. `taken` counts those of a page.
function M.slug(text, taken)
  local slug = text:lower():gsub("[%z\1-\31!-,./:-@%[-^`{-\127]", ""):gsub(" ", "-")
  slug = slug:gsub("\195([\128-\158])", function(c) return "\195" .. string.char(c:byte() + 32) end) -- Ö -> ö
  for _, mark in ipairs { "…", "’", "‘", "“", "”", "–", "—", "→", "×" } do slug = slug:gsub(mark, "") end
  local n = taken[slug]
  taken[slug] = (n or 0) + 1
  return n and slug .. "-" .. n or slug
end

---`path` as it is linked from the page `from`, both from the top of the site.
function M.relative(from, path)
  local up = from:gsub("[^/]+$", ""):gsub("[^/]+/", "../")
  return up .. path
end

---"a/b/../c" -> "a/c"; nil when it climbs out.
function M.normal(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then
      if #parts == 0 then return nil end
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return table.concat(parts, "/")
end

---Prose of a doc comment: `code` stands in backticks, and what else there is stands for itself.
function M.prose(text)
  return (M.escape(text):gsub("`([^`]+)`", "<code>%1</code>"))
end

return M
