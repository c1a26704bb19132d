-- dpg sync: a folder and a set, each given what the other has. Nothing is ever deleted or written over. Which file is
-- which image is kept in a list in the folder (.dpg-sync); what is not in it is matched by its file name.
local failure = require "dpg.cli.failure"
local files = require "dpg.cli.files"
local images = require "dpg.cli.images"
local out = require "dpg.cli.out"
local prompt = require "dpg.cli.prompt"
local session = require "dpg.cli.session"
local system = require "dpg.cli.system"
local takes = require "dpg.cli.takes"

local M = {}

-- --- the list of what is known -------------------------------------------------------------------------------------

local List = {}
List.__index = List

-- One pair a line: the set, the image, the file's name.
local function open_list(folder, set)
  local self = setmetatable({ path = folder .. "/.dpg-sync", set = set, file_of = {}, image_of = {} }, List)
  for line in (system.read_file(self.path) or ""):gmatch "([^\n]+)\n" do
    local of, image, name = line:match "^(%S+)\t(%S+)\t(.+)$"
    if of == set then self.file_of[image], self.image_of[name] = name, image end
  end
  return self
end

-- Written at once, so that a run that is cut loses nothing; a half line is no line.
function List:add(image, name)
  local old = self.file_of[image]
  if old == name and self.image_of[name] == image then return end
  if old then self.image_of[old] = nil end
  self.file_of[image], self.image_of[name] = name, image
  local file, problem = io.open(self.path, "ab")
  if not file then failure.raise(failure.FAILED, self.path .. " can't be written: " .. tostring(problem)) end
  local written = file:write(self.set, "\t", image, "\t", name, "\n")
  if not (file:close() and written) then failure.raise(failure.FAILED, self.path .. " can't be written: is the "
    .. "disk full?") end
end

-- --- what is to be done --------------------------------------------------------------------------------------------

---What each side lacks. Values in, values out.
---@param names string[]  files in the folder
---@param there { public_uuid: string, filename?: string }[]  images in the set
---@param list { file_of: table, image_of: table }
---@return { up: string[], down: table[], known: { [1]: string, [2]: string }[], gone: string[] } plan
function M.plan(names, there, list)
  local plan = { up = {}, down = {}, known = {}, gone = {} }
  local in_set, by_filename, taken = {}, {}, {}
  for _, image in ipairs(there) do
    in_set[image.public_uuid] = true
    local name = image.filename
    if type(name) == "string" and not by_filename[name] then by_filename[name] = image.public_uuid end
  end
  for _, name in ipairs(names) do
    local image = list.image_of[name]
    if image and in_set[image] then
      taken[image] = true
    elseif image then
      plan.gone[#plan.gone + 1] = name -- it was in the set, and somebody has taken it out: not ours to put back
    elseif by_filename[name] and not list.file_of[by_filename[name]] then
      taken[by_filename[name]] = true
      plan.known[#plan.known + 1] = { by_filename[name], name }
    else
      plan.up[#plan.up + 1] = name
    end
  end
  for _, image in ipairs(there) do
    if not taken[image.public_uuid] then plan.down[#plan.down + 1] = image end
  end
  return plan
end

local function print_plan(plan)
  local rows = {}
  for _, name in ipairs(plan.up) do rows[#rows + 1] = { "upload", "", name } end
  for _, image in ipairs(plan.down) do
    rows[#rows + 1] = { "download", image.public_uuid, image.filename or image.title }
  end
  for _, pair in ipairs(plan.known) do rows[#rows + 1] = { "same", pair[1], pair[2] } end
  for _, name in ipairs(plan.gone) do rows[#rows + 1] = { "left", "", name .. " (no longer in the set)" } end
  out.table({ "WHAT", "UUID", "FILE" }, rows)
end

-- --- doing it ------------------------------------------------------------------------------------------------------

local function base_name(path) return path:match "[^/]+$" end

local function upload(args, gallery, folder, set, plan, list)
  local paths, journal = {}, folder .. "/.dpg-sync.uploads"
  for i, name in ipairs(plan.up) do paths[i] = folder .. "/" .. name end
  local results = files.run(args, #paths, journal, function(result)
    if result.image_public_uuid then list:add(result.image_public_uuid, base_name(result.file)) end
    return { result.image_public_uuid, "sent", result.file }
  end, function(options)
    options.fields = { set_public_uuid = set }
    return gallery.uploads:send_many(paths, options)
  end)
  return results, journal
end

local function download(args, gallery, folder, plan, list)
  local journal = folder .. "/.dpg-sync.downloads"
  local results = files.run(args, #plan.down, journal, function(result)
    list:add(result.file, base_name(result.path))
    return { result.file, "saved", result.path }
  end, function(options)
    options.version = "original"
    return gallery.downloads:save_many(plan.down, folder, options)
  end)
  return results, journal
end

local function sync(args)
  local folder = args.folder:gsub("(.)/+$", "%1")
  if not system.is_folder(folder) then failure.usage("%s is no folder: make it first", out.plain(folder)) end
  local gallery = session.open(args)
  local set = images.set(gallery, args.set)
  local names, there, list = {}, {}, open_list(folder, set)
  for _, name in ipairs(system.files(folder)) do
    if name:find "%c" then
      out.warn("a file with a line end or the like in its name is left out: rename it")
    elseif not name:match "%.part$" and not name:match "%.part%.[^.]*$" then
      names[#names + 1] = name
    end
  end
  for image in gallery.sets:each_image(set) do there[#there + 1] = image end
  local plan = M.plan(names, there, list)
  local work = #plan.up + #plan.down
  if args.dry_run or not args.yes then print_plan(plan) end
  local summary = ("%d to upload, %d to download"):format(#plan.up, #plan.down)
  if args.dry_run then return out.say(summary .. "; nothing was done") end
  if work > 0 and not args.yes then
    if not system.is_terminal(0) then failure.usage(summary .. ": --yes does it, --dry-run only shows it") end
    if not prompt.confirm(summary .. ". Go on?") then return out.say "nothing was done" end
  end
  for _, pair in ipairs(plan.known) do list:add(pair[1], pair[2]) end
  local results, journals = {}, {}
  if #plan.up > 0 then results[1], journals[1] = upload(args, gallery, folder, set, plan, list) end
  if #plan.down > 0 then
    results[#results + 1], journals[#journals + 1] = download(args, gallery, folder, plan, list)
  end
  local ok, err = true, nil
  for i, some in ipairs(results) do
    local fine, problem = pcall(files.conclude, some, journals[i])
    if not fine then ok, err = false, problem end
  end
  if not ok then error(err, 0) end
  out.say "the same on both sides"
end

function M.add(parser)
  local command = takes.command(parser, "sync", "Give a folder and a set what the other has",
    "Uploads what only the folder has, and downloads what only the set has. Nothing is deleted or written over. Shows "
      .. "first what would happen, and asks.",
    { "dpg sync --dry-run press \"Press kit\"", "dpg sync --yes press \"Press kit\"" })
  takes.argument(command, "folder", "DIR", "the folder; those below it are left out, and so are files with a dot in "
    .. "front")
  takes.set(command)
  command:flag "-n --dry-run":description "show what would happen, and do nothing"
  command:flag "-y --yes":description "do not ask"
  command:action(function(args) args.run = sync end)
end

return M
