-- The names that pages speak of (functions, classes, commands, codes of errors), and where each is told of: so `code`
-- in a text can lead there.
local html = require "site.html"

local M = {}

local Names = {}
Names.__index = Names

function M.new()
  return setmetatable({ places = {}, codes = {}, fields = {} }, Names)
end

-- Where code leads that is a name, or a call of one: images:list(options), gallery.images:each { … }, dpg set add.
function Names:_address(code)
  local places = self.places
  -- a code without an underscore is a word, too, and base_url an option before it is an error
  if code:find "_" and not self.fields[code] and self.codes[code] then return self.codes[code] end
  local command = code:match "^dpg %l+ %l+"
  command = places[command or ""] and command or code:match "^dpg %l+"
  if command then return places[command] end
  local name = code:match "^[%w_.]+:[%w_]+" or code:match "^dpg%.[%w_.]+"
  local rest = name and code:sub(#name + 1)
  if not name or not (rest == "" or rest:find "^%s?[({]") then return nil end
  local short = (name:match "[%w_]+:[%w_]+$" or ""):gsub("^it:", "iterator:")
  return places[name] or places[short]
end

---Code in a page's text, a link where it is known.
---@param page table
---@param code string  as HTML
---@return string html
function Names:html(page, code)
  local to = self:_address(html.text_of(code))
  if not to then return "<code>" .. code .. "</code>" end
  return ('<a href="%s"><code>%s</code></a>'):format(html.relative(page.address, to), code)
end

return M
