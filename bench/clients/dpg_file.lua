-- One file, down into a folder or up, in a process of its own: up|down BASE_URL CA_FILE PATH
local dpg = require "dpg"

local way, base_url, ca_file, path = arg[1], arg[2], arg[3], arg[4]
local gallery = dpg.assert(dpg.service {
  token = "dpg_api_live_bench", base_url = base_url, ca_file = ca_file, on_event = function() end,
})
if way == "up" then
  dpg.assert(gallery.uploads:send(path, { title = "Sound check" }))
else
  dpg.assert(gallery.downloads:save("be66ea4e-7b1c-4c1e-9d0a-3f2b8a6c1d55", path .. "/", { version = "original" }))
end
