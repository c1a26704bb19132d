-- Does every link of the site lead somewhere? Reads the pages as they are written: each internal href and src must be
-- a file of the site, each anchor an id of that page, each id there once. Other sites are not asked.
local html = require "site.html"

local M = {}

---@param pages table<string, string>  address -> the whole page
---@param files table<string, true>  all else that has been written
---@return string[] problems
---@return integer links
function M.links(pages, files)
  local ids, problems, links = {}, {}, 0
  for address, page in pairs(pages) do
    ids[address] = {}
    for id in page:gmatch '%sid="([^"]*)"' do
      if ids[address][id] then problems[#problems + 1] = address .. ": the id " .. id .. " is there twice" end
      ids[address][id] = true
    end
  end
  local function look(address, folder, to)
    if to:find "^%a[%w+.-]*:" then
      local is_good = to:find "^https?://[%w.:%[%]-]+" or to:find "^mailto:."
      return not is_good and " is no address"
    end
    links = links + 1
    local path, anchor = to:match "^([^#]*)#?(.*)$"
    path = path == "" and address or html.normal(folder .. path)
    if not path or not (ids[path] or files[path]) then return " is not there" end
    return anchor ~= "" and not (ids[path] and ids[path][anchor]) and ": the page has no such anchor"
  end
  for address, page in pairs(pages) do
    local folder = address:match "^(.*/)" or ""
    for attribute, to in page:gmatch '%s(%l+)="([^"]*)"' do
      if attribute == "href" or attribute == "src" then
        to = html.unescape(to)
        local wrong = look(address, folder, to)
        if wrong then problems[#problems + 1] = address .. ": " .. to .. wrong end
      end
    end
  end
  table.sort(problems)
  return problems, links
end

return M
