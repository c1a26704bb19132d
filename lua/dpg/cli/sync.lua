-- dpg sync: a folder and a set, each given what the other has. Nothing is ever deleted or written over. Which file is
-- which image, dpg.cli.known says; what it does not know is matched by its file name.
local failure = require "dpg.cli.failure"
local filename = require "dpg.filename"
local files = require "dpg.cli.files"
local images = require "dpg.cli.images"
local known = require "dpg.cli.known"
local out = require "dpg.cli.out"
local prompt = require "dpg.cli.prompt"
local session = require "dpg.cli.session"
local system = require "dpg.cli.system"
local takes = require "dpg.cli.takes"

local M = {}

-- --- what is to be done --------------------------------------------------------------------------------------------

-- A folder that can't be read is not an empty one: nothing is to be made of it.
local function files_of(folder)
  local list = system.files(folder)
  if list then return list end
  failure.raise(failure.FAILED, out.plain(folder) .. " can't be read: is it still there? Whoever runs dpg must be "
    .. "allowed to read and enter it (chmod u+rx)")
end

-- The folder's files, but for those that a download has not finished.
local function read_folder(folder, odd)
  local list = {}
  for _, file in ipairs(files_of(folder)) do
    if file.name:find "%c" then
      odd[#odd + 1] = { name = file.name, why = "a name with a line end or the like: rename it" }
    elseif not file.name:find "%.part$" and not file.name:find "%.part%.json$" then
      list[#list + 1] = file
    end
  end
  return list
end

local function print_plan(plan)
  local rows = {}
  for _, file in ipairs(plan.up) do rows[#rows + 1] = { "upload", "", file.name } end
  for _, image in ipairs(plan.down) do
    rows[#rows + 1] = { "download", image.public_uuid, image.filename or image.title }
  end
  for _, one in ipairs(plan.same) do rows[#rows + 1] = { "same", one.image, one.name } end
  for _, one in ipairs(plan.moved) do rows[#rows + 1] = { "renamed", one.image, one.from .. " -> " .. one.name } end
  for _, one in ipairs(plan.left) do
    rows[#rows + 1] = { "left", one.image or "", one.name .. " (" .. one.why .. ")" }
  end
  out.table({ "WHAT", "UUID", "FILE" }, rows, true)
end

-- --- doing it ------------------------------------------------------------------------------------------------------

local function base_name(path) return path:match "[^/]+$" end

-- A journal for each set: another set's run in the same folder knows nothing of this one's images.
local function journal(folder, set, direction)
  return folder .. "/.dpg-sync." .. set .. "." .. direction
end

-- What was written to while it was sent is perhaps neither the old file nor the new one.
local function count_changed(folder, results, by_name)
  local now, count = {}, 0
  for _, file in ipairs(files_of(folder)) do now[file.name] = file.stamp end
  for _, result in ipairs(results) do
    if not result.error and now[result.file] ~= by_name[result.file].stamp then
      count = count + 1
      out.warn(folder .. "/" .. result.file .. ": changed while it was sent: look at the image "
        .. result.image_public_uuid .. ", and upload the file anew if that is not what you want")
    end
  end
  return count
end

-- The journal knows the files by their names: the folder may be called by another path the next time.
local function upload(args, gallery, folder, set, plan, list)
  local items, sizes, by_name = {}, {}, {}
  for i, file in ipairs(plan.up) do
    items[i] = { id = file.name, path = folder .. "/" .. file.name }
    sizes[file.name], by_name[file.name] = file.size, file
  end
  local path = journal(folder, set, "uploads")
  local results = files.run(args, #items, sizes, path, function(result)
    local file = by_name[result.file]
    list:note { image = result.image_public_uuid, name = file.name, print = file.print, stamp = file.stamp }
    return { result.image_public_uuid, result.status == "already" and "already there" or "sent",
      folder .. "/" .. result.file }
  end, function(options)
    options.fields, options.resend_unknown = { set_public_uuid = set }, args.resend or false
    return gallery.uploads:send_many(items, options)
  end)
  files.conclude(results, path)
  if count_changed(folder, results, by_name) > 0 then
    failure.raise(failure.FAILED, "not all files stayed as they were while they were sent: see above")
  end
end

-- A name that nothing in the folder has, and nothing that is on its way.
local function namer(folder)
  local taken = {}
  for _, file in ipairs(files_of(folder)) do taken[file.name:lower()] = true end
  return function(image)
    if type(image.filename) ~= "string" then return nil end -- as the server says when it gives the file
    local name, n = filename.safe(image.filename, image.public_uuid), 1
    while taken[filename.numbered(name, n):lower()] do n = n + 1 end
    name = filename.numbered(name, n)
    taken[name:lower()] = true
    return folder .. "/" .. name
  end
end

local function download(args, gallery, folder, set, plan, list)
  local path, name_of = journal(folder, set, "downloads"), namer(folder)
  local results = files.run(args, #plan.down, nil, path, function(result)
    local name = base_name(result.path)
    list:note {
      image = result.file, name = name, print = system.prints(folder, { name })[name] or "-",
      stamp = system.stamp(folder, name),
    }
    return { result.file, "saved", result.path }
  end, function(options)
    options.version, options.path = "original", name_of
    return gallery.downloads:save_many(plan.down, folder, options)
  end)
  files.conclude(results, path)
end

-- What has failed in one direction does not keep the other from its work; Ctrl-C does.
local function carry_out(args, gallery, folder, set, plan, list)
  for _, kind in ipairs { "noted", "moved", "same" } do
    for _, pair in ipairs(plan[kind]) do list:note(pair) end
  end
  local problem
  for _, work in ipairs { #plan.up > 0 and upload or false, #plan.down > 0 and download or false } do
    local fine, why = true, nil
    if work then fine, why = pcall(work, args, gallery, folder, set, plan, list) end
    if not fine then
      problem = problem or why
      if failure.describe(why) == failure.INTERRUPTED then break end
    end
  end
  if problem then error(problem, 0) end
end

local function go(args, gallery, folder, set)
  local odd, there, list = {}, {}, known.open(folder, set)
  local here = read_folder(folder, odd)
  for image in gallery.sets:each_image(set) do there[#there + 1] = image end
  local plan = known.plan(here, there, list, function(names) return system.prints(folder, names) end)
  for _, one in ipairs(odd) do plan.left[#plan.left + 1] = one end
  local work = #plan.up + #plan.down
  if args.dry_run or not args.yes then print_plan(plan) end
  local summary = ("%d to upload, %d to download"):format(#plan.up, #plan.down)
  if args.dry_run then return out.say(summary .. "; nothing was done") end
  if work > 0 and not args.yes then
    if not system.is_terminal(0) then failure.usage(summary .. ": --yes does it, --dry-run only shows it") end
    if not prompt.confirm(summary .. ". Go on?") then return out.say "nothing was done" end
  end
  carry_out(args, gallery, folder, set, plan, list)
  if #plan.left == 0 then return out.say "the same on both sides" end
  if args.yes then
    for _, one in ipairs(plan.left) do out.say("left as it is: " .. one.name .. " (" .. one.why .. ")") end
  end
  out.say(("the same on both sides, but for %d file%s left as %s"):format(#plan.left, #plan.left == 1 and "" or "s",
    #plan.left == 1 and "it is" or "they are"))
end

local function sync(args)
  local folder = args.folder:gsub("(.)/+$", "%1")
  if not system.is_folder(folder) then failure.usage("%s is no folder: make it first", out.plain(folder)) end
  files_of(folder)
  local gallery = session.open(args)
  local set = images.set(gallery, args.set)
  if args.dry_run then return go(args, gallery, folder, set) end
  files.alone(journal(folder, set, "lock"), go, args, gallery, folder, set)
end

function M.add(parser)
  local command = takes.command(parser, "sync", "Give a folder and a set what the other has",
    "Uploads what only the folder has, and downloads what only the set has. Nothing is deleted or written over: a file "
      .. "that was deleted comes back, one that was renamed stays the same image, one whose image was taken out of the "
      .. "set, or that was changed, is left as it is, and said so. Shows first what would happen, and asks.",
    { "dpg sync --dry-run press \"Press kit\"", "dpg sync --yes press \"Press kit\"" })
  takes.argument(command, "folder", "DIR", "the folder; those below it are left out, and so are files with a dot in "
    .. "front")
  takes.set(command)
  command:flag "-n --dry-run":description "show what would happen, and do nothing"
  command:flag "-y --yes":description "do not ask"
  command:flag "--resend":description "send again what may have been taken when an earlier run was cut"
  command:action(function(args) args.run = sync end)
end

return M
