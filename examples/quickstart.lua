-- A script with a service token: who am I, what may I do, and the best photos of a search, captioned.
--
--   DPG_TOKEN=dpg_api_live_… lua5.4 examples/quickstart.lua [SEARCH]
--
-- DPG_BASE_URL points it somewhere else than at the real API: at `dpg-sandbox`, say.
local dpg = require "dpg"

local gallery = dpg.assert(dpg.service { token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL" })
local me = dpg.assert(gallery:me())
print(("%s may do %d things in %s"):format(me.service_token.name, #me.capabilities, me.account.name))

-- Every image that matches, page after page; `limit` is the size of a page.
local best
for image in gallery.images:each { query = arg[1] or "stage", min_rating = 4, limit = 50 } do
  print(("%s  %s"):format(("*"):rep(image.rating), image.title))
  best = best or image
end
if not best then
  print "nothing found"
  os.exit(0)
end

-- A write is answered with an Operation, which tells when it is done, and whether it worked.
if gallery:can "api.images.write" then
  local operation = dpg.assert(gallery.images:update(best.public_uuid, { title = best.title .. " (best)" }))
  dpg.assert(operation:wait { timeout = 30 })
  print("captioned: " .. dpg.assert(gallery.images:get(best.public_uuid)).title)
end

-- Whatever goes wrong is `nil, err`, the same kind of object everywhere.
local image, err = gallery.images:get "00000000-0000-4000-8000-000000000000"
if not image then print(("as expected: %s %s (%s)"):format(err.kind, err.code, err.request_id or "no request id")) end
