-- Many calls at once in a plain script: dpg.run gives each task its own place to wait, all on one thread.
--
--   DPG_TOKEN=dpg_api_live_… lua5.4 examples/many_at_once.lua
--
-- DPG_BASE_URL points it somewhere else than at the real API: at `dpg-sandbox`, say.
local dpg = require "dpg"

local gallery = dpg.assert(dpg.service {
  token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL", max_connections = 8,
})

local total, failed = dpg.run(function()
  -- the newest hundred, then each of them whole, eight on the wire at a time; the rest stand in line
  local page = dpg.assert(gallery.images:list { limit = 100 })
  local tasks = {}
  for i, image in ipairs(page.items) do
    tasks[i] = dpg.spawn(function() return gallery.images:get(image.public_uuid) end)
  end

  local keywords, errors = {}, 0
  for _, task in ipairs(tasks) do
    local image, err = task:await()
    if image then
      for _, keyword in ipairs(image.keywords or {}) do
        local name = keyword.namespace and keyword.namespace ~= dpg.null and keyword.namespace .. ":" or ""
        name = name .. keyword.value
        keywords[name] = (keywords[name] or 0) + 1
      end
    else
      errors = errors + 1
      io.stderr:write(tostring(err), "\n")
    end
  end

  local names = {}
  for name in pairs(keywords) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    if keywords[a] ~= keywords[b] then return keywords[a] > keywords[b] end
    return a < b
  end)
  for i = 1, math.min(10, #names) do print(("%4d  %s"):format(keywords[names[i]], names[i])) end
  return #tasks, errors
end)
print(("%d images read, %d failed"):format(total, failed))
os.exit(failed == 0 and 0 or 1)
