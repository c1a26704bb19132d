-- session.metadata_profiles: the account's master profiles. Contract: section 5.
local catalog = require "dpg.catalog"
local methods = require "dpg.methods"

local M = {}

---@class dpg.MetadataProfiles
local MetadataProfiles = {}
MetadataProfiles.__index = MetadataProfiles
MetadataProfiles.__name = "dpg.MetadataProfiles"

---@param session dpg.Session
---@return dpg.MetadataProfiles
function M.new(session)
  return setmetatable({ _session = session }, MetadataProfiles)
end

---One page of profiles. Needs api.images.read.
---@param options? dpg.ListOptions  `limit` (50, at most 200), `offset`
---@return dpg.Page? page
---@return dpg.Answer|dpg.Error answer_or_err
function MetadataProfiles:list(options)
  return self._session:_call("metadata_profiles:list", catalog.metadata_profiles.list, {}, nil, options)
end

methods(MetadataProfiles, "metadata_profiles")

return M
