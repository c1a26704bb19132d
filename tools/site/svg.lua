-- A drawing of doc/images as a part of a page. Alone (as GitHub shows it) a drawing asks the system whether it is dark;
-- in a page it follows the page, so its style is rewritten: each rule holds in this drawing alone, and those for the
-- dark also where the reader has chosen it.
local M = {}

local function scoped(rules, prefix)
  local out = {}
  for selectors, body in rules:gmatch "([^{}]+)(%b{})" do
    local parts = {}
    for selector in selectors:gmatch "[^,]+" do parts[#parts + 1] = prefix .. selector:match "^%s*(.-)%s*$" end
    out[#out + 1] = table.concat(parts, ",") .. body
  end
  return table.concat(out, "\n")
end

---@param text string  the file
---@param path string  its path, of which its id is made
---@param alt? string
---@return string html
function M.inline(text, path, alt)
  local id = path:match "([^/]+)%.svg$"
  text = text:gsub("^%s*<%?xml.-%?>%s*", ""):gsub("<!%-%-.-%-%->", "")
  text = text:gsub("<style>(.-)</style>", function(style)
    local dark = style:match "@media %(prefers%-color%-scheme: dark%)%s*(%b{})"
    style = style:gsub("@media %(prefers%-color%-scheme: dark%)%s*%b{}", "")
    local here = "#drawing-" .. id .. " "
    local out = scoped(style, here)
    if dark then
      dark = dark:sub(2, -2)
      out = out .. "\n" .. scoped(dark, ":root[data-theme=dark] " .. here)
        .. "\n@media (prefers-color-scheme: dark){" .. scoped(dark, ":root:not([data-theme=light]) " .. here) .. "}"
    end
    return "<style>" .. out .. "</style>"
  end)
  -- names within the drawing are its own
  text = text:gsub('id="([%w_-]+)"', 'id="' .. id .. '-%1"'):gsub("url%(#([%w_-]+)%)", "url(#" .. id .. "-%1)")
  text = text:gsub("^<svg ", '<svg id="drawing-' .. id .. '" ')
  if alt and alt ~= "" and not text:find("aria-label", 1, true) then
    text = text:gsub("^<svg ", '<svg aria-label="' .. alt .. '" ')
  end
  return text
end

return M
