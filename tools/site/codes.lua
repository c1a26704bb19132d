-- The codes of errors, as doc/errors.md has them in the first cells of its tables: each gets an anchor and an entry in
-- the search, and other pages lead there.
local html = require "site.html"

local M = {}

M.FILE = "doc/errors.md"

---Marks the codes of the page.
---@param page table  its body is changed
---@param index table  of the search
---@return table<string, string>  code -> address
function M.mark(page, index)
  local places = {}
  page.body = page.body:gsub("<tr>(%s*<td[^>]*>)(.-)</td>(.-)</tr>", function(open, cell, rest)
    cell = cell:gsub("<code>([%l][%l%d_]*)</code>", function(code)
      if places[code] then return nil end
      places[code] = page.address .. "#" .. code
      index:add(places[code], code, page.title, html.text_of((rest:gsub("<td[^>]*>", " "))), "class")
      return '<code id="' .. code .. '">' .. code .. "</code>"
    end)
    return "<tr>" .. open .. cell .. "</td>" .. rest .. "</tr>"
  end)
  return places
end

return M
