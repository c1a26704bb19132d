-- Which file of a folder is which image of a set, as dpg sync knows it: a list in the folder itself (.dpg-sync), a line
-- for each pair: the set, the image, a checksum of what was sent or fetched, when the file was last written, its name.
local failure = require "dpg.cli.failure"
local system = require "dpg.cli.system"

local M = {}

---@class dpg.cli.Pair
---@field image string
---@field name string
---@field print string  checksum and size
---@field stamp string  of the file as it was then: as long as it is this, it is not read again

local Known = {}
Known.__index = Known

local LINE = "^(%S+)\t(%S+)\t(%S+)\t([^\t]+)\t(.+)$"

---@param folder string
---@param set string
---@return table
function M.open(folder, set)
  local self = setmetatable({ path = folder .. "/.dpg-sync", set = set, by_image = {}, by_name = {} }, Known)
  local text = system.read_file(self.path)
  if not text and system.kind(self.path) then -- nor is this an empty list
    failure.raise(failure.FAILED, self.path .. " can't be read: look at its mode")
  end
  text = text or ""
  self.is_torn = text ~= "" and text:sub(-1) ~= "\n"
  for line in text:gmatch "([^\n]+)\n" do
    local of, image, print, stamp, name = line:match(LINE)
    if of == set then self:_put { image = image, print = print, stamp = stamp, name = name } end
  end
  return self
end

function Known:_put(pair)
  local old = self.by_image[pair.image]
  if old and self.by_name[old.name] == old then self.by_name[old.name] = nil end
  self.by_image[pair.image], self.by_name[pair.name] = pair, pair
end

---Written at once, so that a run that is cut loses nothing; a half line is no line.
---@param pair dpg.cli.Pair
function Known:note(pair)
  local file, problem = io.open(self.path, "ab")
  if not file then
    failure.raise(failure.FAILED, self.path .. " can't be written: look at the folder's modes (" .. tostring(problem)
      .. ")")
  end
  local line = table.concat({ self.set, pair.image, pair.print, pair.stamp, pair.name }, "\t")
  local written = file:write(self.is_torn and "\n" or "", line, "\n")
  self.is_torn = false
  if not (file:close() and written) then
    failure.raise(failure.FAILED, self.path .. " can't be written: is the disk full?")
  end
  self:_put(pair)
end

-- --- what is to be done --------------------------------------------------------------------------------------------

local function list_of(plan, kind, row)
  plan[kind][#plan[kind] + 1] = row
end

-- A dry run and the run after it see the same.
local function in_order(by_image)
  local list = {}
  for _, pair in pairs(by_image) do list[#list + 1] = pair end
  table.sort(list, function(a, b) return a.name < b.name or (a.name == b.name and a.image < b.image) end)
  return list
end

-- Each file with the pair that it is of: by name while it is untouched, else by what is in it, as it may have been
-- renamed. The others are new, or are other things now.
local function recognise(plan, files, known, prints_of)
  local unsettled, names, at = {}, {}, {}
  for _, file in ipairs(files) do
    local pair = known.by_name[file.name]
    if pair and pair.stamp == file.stamp and file.stamp ~= "?" then
      at[pair] = file
    else
      unsettled[#unsettled + 1], names[#names + 1] = file, file.name
    end
  end
  local prints = prints_of(names)
  local others, free = {}, {}
  for _, file in ipairs(unsettled) do
    local pair = known.by_name[file.name]
    file.print = prints[file.name]
    if pair and pair.print == file.print then
      at[pair] = file
      list_of(plan, "noted", { image = pair.image, name = file.name, print = file.print, stamp = file.stamp })
    else
      others[#others + 1] = file
    end
  end
  for _, pair in ipairs(in_order(known.by_image)) do
    if not at[pair] then
      free[pair.print] = free[pair.print] or {}
      table.insert(free[pair.print], pair)
    end
  end
  local new = {}
  for _, file in ipairs(others) do
    local pair = file.print and free[file.print] and table.remove(free[file.print], 1)
    if pair then
      at[pair] = file
      list_of(plan, "moved", { image = pair.image, from = pair.name, name = file.name, print = file.print,
        stamp = file.stamp })
    else
      new[#new + 1] = file
    end
  end
  return at, new
end

---What each side lacks, and what is left as it is. Values in, values out, but for `prints_of`, which reads files.
---@param files { name: string, size: integer, stamp: string }[]  of the folder
---@param images { public_uuid: string, filename?: string }[]  of the set
---@param known { by_image: table<string, dpg.cli.Pair>, by_name: table<string, dpg.cli.Pair> }
---@param prints_of fun(names: string[]): table<string, string>
---@return { up: table[], down: table[], same: table[], moved: table[], noted: table[], left: table[] } plan
function M.plan(files, images, known, prints_of)
  local plan = { up = {}, down = {}, same = {}, moved = {}, noted = {}, left = {} }
  local at, new = recognise(plan, files, known, prints_of)
  local here, in_set, by_filename = {}, {}, {}
  for pair in pairs(at) do here[pair.image] = true end
  for _, image in ipairs(images) do
    in_set[image.public_uuid] = true
    local name = image.filename
    if type(name) == "string" and not known.by_image[image.public_uuid] and not by_filename[name] then
      by_filename[name] = image.public_uuid
    end
  end
  for pair, file in pairs(at) do
    if not in_set[pair.image] then list_of(plan, "left", { name = file.name, why = "no longer in the set" }) end
  end
  for _, file in ipairs(new) do
    local pair, image = known.by_name[file.name], by_filename[file.name]
    if not file.print then
      list_of(plan, "left", { name = file.name, why = "can't be read" })
    elseif pair and not at[pair] then
      here[pair.image] = true
      list_of(plan, "left", { image = pair.image, name = file.name, why = "changed here since; DPG has what it was" })
    elseif image then
      here[image], by_filename[file.name] = true, nil
      list_of(plan, "same", { image = image, name = file.name, print = file.print, stamp = file.stamp })
    elseif file.size == 0 then
      list_of(plan, "left", { name = file.name, why = "empty" })
    else
      list_of(plan, "up", file)
    end
  end
  table.sort(plan.left, function(a, b) return a.name < b.name end)
  for _, image in ipairs(images) do
    if not here[image.public_uuid] then list_of(plan, "down", image) end
  end
  return plan
end

return M
