-- Methods on what the server sends: image:update{…}, set:add{…}. An image or a set is the table that came, every field
-- kept, with a metatable whose __index holds the methods: a field of the server's wins over a method of that name (the
-- resource has them all), pairs() and JSON see fields alone. One metatable for each class and session.
local core = require "dpg.core"
local errors = require "dpg.errors"

local M = {}

-- method -> the resource's, which takes the uuid first
local IMAGE = {
  get = "get", update = "update", delete = "delete", set_rating = "set_rating", set_alt_text = "set_alt_text",
  set_metadata = "set_metadata", set_crop = "set_crop", clear_crop = "clear_crop", add_keywords = "add_keywords",
  remove_keyword = "remove_keyword", add_credit = "add_credit", remove_credit = "remove_credit",
  extract_metadata = "extract_metadata",
}
local SET = {
  get = "get", update = "update", images = "images", each_image = "each_image", add = "add_images",
  remove = "remove_images", add_images = "add_images", remove_images = "remove_images", order = "order",
  set_visibility = "set_visibility", snapshots = "snapshots", restore = "restore",
}

local function new_class(name, shown, resource, methods)
  local class = {
    __name = "dpg." .. name:gsub("^%l", string.upper), __index = {},
    __tostring = function(self)
      return string.format("dpg.%s (%s, %s)", name:gsub("^%l", string.upper), tostring(self.public_uuid),
        tostring(self[shown]))
    end,
  }
  for method, target in pairs(methods) do
    class.__index[method] = function(self, ...)
      if type(self) ~= "table" or self.public_uuid == nil then
        errors.raise("%s.%s is a method: write %s:%s(…), with a colon", name, method, name, method)
      end
      return resource[target](resource, self.public_uuid, ...)
    end
  end
  return class
end

---@class dpg.Objects
local Objects = {}
Objects.__index = Objects

---@param images dpg.Images
---@param sets dpg.Sets
---@return dpg.Objects
function M.new(images, sets)
  return setmetatable({
    image = new_class("image", "title", images, IMAGE), set = new_class("set", "name", sets, SET),
  }, Objects)
end

---Gives one object its methods, and its `children` theirs.
---@param kind "image"|"set"
---@param value any  left alone where it is no such object
function Objects:dress(kind, value)
  self:dress_all(kind, { value })
end

---@param kind "image"|"set"
---@param list any[]
function Objects:dress_all(kind, list)
  core.dress(list, self[kind], "public_uuid")
  if kind ~= "set" then return end
  for _, value in ipairs(list) do
    local children = getmetatable(value) == self.set and rawget(value, "children")
    if type(children) == "table" then self:dress_all(kind, children) end
  end
end

return M
