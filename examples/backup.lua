-- Mirrors a library into a folder: every original, and beside it what DPG knows of the image. Started again, it goes on
-- where it stopped, within a file too, and fetches what is new.
--
--   DPG_TOKEN=dpg_api_live_… lua5.4 examples/backup.lua FOLDER
--
-- DPG_BASE_URL points it somewhere else than at the real API: at `dpg-sandbox`, say.
local dpg = require "dpg"
local json = require "dpg.json"

local folder = arg[1]
if not folder then
  io.stderr:write "usage: backup.lua FOLDER\n"
  os.exit(2)
end
os.execute("mkdir -p '" .. folder:gsub("'", "'\\''") .. "'")

local gallery = dpg.assert(dpg.service { token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL" })

local images = {}
for image in gallery.images:each() do
  images[#images + 1] = image
  local file = assert(io.open(folder .. "/" .. image.public_uuid .. ".json", "w"))
  file:write(assert(json.encode(image)), "\n")
  assert(file:close())
end

-- Named by uuid: two images may well be called IMG_0001.jpg.
local report = dpg.assert(gallery.downloads:save_many(images, folder, {
  version = "original",
  journal = folder .. "/backup.journal",
  path = function(image) return folder .. "/" .. image.public_uuid .. ".original" end,
  overwrite = true,
  on_file = function(file)
    if file.status ~= "already" then print(("%-8s %s"):format(file.status, file.path or tostring(file.error))) end
  end,
}))
print(("%d images: %d saved, %d there already, %d failed"):format(#images, report.saved, report.already, report.failed))
os.exit(report.failed == 0 and 0 or 1)
