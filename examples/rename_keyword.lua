-- Renames a keyword wherever it stands: "stage:main" becomes "stage:north".
--
--   DPG_TOKEN=dpg_api_live_… lua5.4 examples/rename_keyword.lua stage:main stage:north
--
-- DPG_BASE_URL points it somewhere else than at the real API: at `dpg-sandbox`, say.
local dpg = require "dpg"

local from, to = arg[1], arg[2]
if not to then
  io.stderr:write "usage: rename_keyword.lua FROM TO\n"
  os.exit(2)
end

local gallery = dpg.assert(dpg.service { token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL" })

-- All that bear it, first: renaming while the list is walked would move its pages.
local images = {}
for image in gallery.images:each { keyword = from } do images[#images + 1] = image.public_uuid end

local SIZE = 200
for first = 1, #images, SIZE do
  local some = {}
  for i = first, math.min(first + SIZE - 1, #images) do some[#some + 1] = images[i] end
  local operation = dpg.assert(gallery.keywords:rename { from = from, to = to, image_public_uuids = some })
  dpg.assert(operation:wait())
end
print(("%s is %s now, on %d images"):format(from, to, #images))
