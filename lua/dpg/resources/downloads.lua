-- session.downloads: where an image's file is. Contract: section 8. Each method is a row of dpg.catalog.
local catalog = require "dpg.catalog"
local methods = require "dpg.methods"

local M = {}

---@class dpg.Downloads
local Downloads = {}
Downloads.__index = Downloads
Downloads.__name = "dpg.Downloads"

---@param session dpg.Session
---@return dpg.Downloads
function M.new(session)
  return setmetatable({ _session = session }, Downloads)
end

---A link to an image's file, good for a while. Needs api.download. Fetch it without our bearer token: it leads to
---another host.
---@param public_uuid string
---@param options? dpg.DownloadOptions  `version`; without: the largest that is served
---@return dpg.DownloadLink? link  `url`, `filename`, `access`, `expires_at` (Unix seconds)
---@return dpg.Answer|dpg.Error answer_or_err
function Downloads:url(public_uuid, options)
  return self._session:_call("downloads:url", catalog.downloads.url, {}, { image_public_uuid = public_uuid }, options)
end

methods(Downloads, "downloads")

return M
