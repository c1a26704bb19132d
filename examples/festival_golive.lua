-- A festival's evening: upload a folder, keyword what is in it, put it into a set, and let it come out at a moment.
--
--   DPG_TOKEN=dpg_api_live_… lua5.4 examples/festival_golive.lua FOLDER "Main Stage" 2030-07-01T22:00:00Z KEYWORD…
--
-- It may be killed and started again: a journal in the folder knows which files are there already.
-- DPG_BASE_URL points it somewhere else than at the real API: at `dpg-sandbox`, say.
local dpg = require "dpg"

local folder, name, moment = arg[1], arg[2], arg[3]
if not moment then
  io.stderr:write "usage: festival_golive.lua FOLDER SET MOMENT KEYWORD…\n"
  os.exit(2)
end
local keywords = {}
for i = 4, #arg do keywords[#keywords + 1] = arg[i] end

local gallery = dpg.assert(dpg.service { token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL" })

-- Lua itself can't list a folder.
local files = {}
local pipe = assert(io.popen("ls '" .. folder:gsub("'", "'\\''") .. "'"))
for file in pipe:lines() do
  if file:lower():find "%.jpe?g$" or file:lower():find "%.png$" then files[#files + 1] = folder .. "/" .. file end
end
pipe:close()

-- Four at a time. What is known to be there is not sent again; what may be there is only reported.
local report = dpg.assert(gallery.uploads:send_many(files, {
  journal = folder .. "/golive.journal",
  on_file = function(file)
    print(("%-8s %s"):format(file.status, file.file))
    if file.error then io.stderr:write("         ", tostring(file.error), "\n") end
  end,
}))
print(("%d sent, %d there already, %d unknown, %d failed"):format(report.sent, report.already, report.unknown,
  report.failed))

local images = {}
for _, file in ipairs(report.files) do
  if file.image_public_uuid then images[#images + 1] = file.image_public_uuid end
end
if #images == 0 then os.exit(1) end

-- Writes for a batch are checked here, and sent fifty in a request.
if #keywords > 0 then
  local writes = {}
  for i, image in ipairs(images) do
    writes[i] = dpg.assert(gallery.prepare.images:add_keywords(image, keywords))
  end
  dpg.assert(gallery.operations:batch_all(writes))
  print(("%d images bear %s"):format(#images, table.concat(keywords, ", ")))
end

local function find_set()
  for set in gallery.sets:each() do
    if set.name == name then return set end
  end
end

local set = find_set()
if not set then
  dpg.assert(dpg.assert(gallery.sets:create { name = name }):wait())
  set = assert(find_set(), "the new set is not there")
end
dpg.assert(dpg.assert(set:add(images)):wait())
dpg.assert(dpg.assert(set:set_visibility { image_public_uuids = images, activation_time = moment }):wait())
print(("%s has %d more images, to be seen from %s on"):format(name, #images, moment))
os.exit(report.unknown + report.failed == 0 and 0 or 1)
