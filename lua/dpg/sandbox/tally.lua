-- Counts values into sorted lists, for facets and vocabularies: the most frequent first, then by name. Pure.

local json = require "dpg.sandbox.json"

local M = {}

local function name_of(row)
  return row.keyword or row.namespace or tostring(row.value)
end

---@return table counts  add(value, fields?), sorted()
function M.new()
  local counts, list, self = {}, json.array {}, {}
  function self.add(value, fields)
    if not counts[value] then
      fields = fields or { value = value }
      fields.count = 0
      counts[value] = fields
      list[#list + 1] = fields
    end
    counts[value].count = counts[value].count + 1
  end
  function self.sorted()
    table.sort(list, function(a, b)
      if a.count ~= b.count then return a.count > b.count end
      return name_of(a) < name_of(b)
    end)
    return list
  end
  return self
end

local function full_form(keyword)
  return keyword.namespace ~= json.null and keyword.namespace .. ":" .. keyword.value or keyword.value
end

---@param images table[]
---@return table[] rows  keyword, namespace, value, count
function M.keywords(images)
  local counts = M.new()
  for _, image in ipairs(images) do
    for _, keyword in ipairs(image.keywords) do
      local full = full_form(keyword)
      counts.add(full, { keyword = full, namespace = keyword.namespace, value = keyword.value })
    end
  end
  return counts.sorted()
end

return M
