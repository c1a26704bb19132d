-- The game's script: eight downloads to strings and two tasks that read images, all the time that the game wants them.
-- game.c calls the functions below; none of them blocks.
local dpg = require "dpg"

local DOWNLOADS, READERS = 8, 2

local loop = assert(dpg.loop())
local gallery = dpg.assert(dpg.service {
  token = os.getenv "DPG_TOKEN", base_url = os.getenv "DPG_BASE_URL", ca_file = os.getenv "DPG_CA_FILE",
})

local is_wanted, running = false, 0
local images = {}
local moved, files, reads, moved_before = 0, 0, 0, 0 -- bytes, and what has been done

local M = {}

-- One file to a string, as a game would fetch a texture.
local function download(image)
  local bytes = dpg.assert(gallery.downloads:read(image.public_uuid, { version = "original" }))
  moved, files = moved + #bytes, files + 1
end

local function read(image)
  dpg.assert(gallery.images:get(image.public_uuid))
  reads = reads + 1
end

-- A task that does one thing after the other, with one image after the other.
local function keep_doing(what, first)
  running = running + 1
  loop:spawn(function()
    if #images == 0 then images = dpg.assert(gallery.images:list { limit = 8 }).items end
    local i = first
    while is_wanted do
      what(images[i % #images + 1])
      i = i + 1
    end
    running = running - 1
  end)
end

-- --- called by game.c ----------------------------------------------------------------------------------------------

function M.frame()
  loop:step()
end

function M.play(with_transfers)
  is_wanted = with_transfers
  moved_before = moved
  if not with_transfers then return end
  for i = 1, DOWNLOADS do keep_doing(download, i) end
  for i = 1, READERS do keep_doing(read, i) end
end

-- Not yet in the state that is to be measured.
function M.is_changing()
  if is_wanted then return moved == moved_before end
  return running > 0
end

function M.report()
  print(string.format("%d downloads at a time: %.1f MiB in %d files; %d reads beside them", DOWNLOADS,
    moved / 2 ^ 20, files, reads))
end

return M
