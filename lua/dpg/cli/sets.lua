-- dpg set: the galleries, what is in them, in which order, and who may see it from when.
local dpg = require "dpg"
local edit = require "dpg.cli.edit"
local failure = require "dpg.cli.failure"
local images = require "dpg.cli.images"
local out = require "dpg.cli.out"
local session = require "dpg.cli.session"
local system = require "dpg.cli.system"
local takes = require "dpg.cli.takes"

local M = {}

-- Each verb is a function of (gallery, uuid of the set, args) but for tree and create.
local function on_set(work)
  return function(args)
    local gallery = session.open(args)
    work(gallery, images.set(gallery, args.set), args)
  end
end

local function all_images(gallery, set)
  local ids = {}
  for image in gallery.sets:each_image(set) do ids[#ids + 1] = image.public_uuid end
  if #ids == 0 then failure.raise(failure.FAILED, "there are no images in this set: dpg set add puts some there") end
  return ids
end

local function chosen(gallery, set, args)
  if #args.images == 0 then return all_images(gallery, set) end
  return images.ids(args.images)
end

local function counted(said, ids)
  out.say(("%s: %d image%s"):format(said, #ids, #ids == 1 and "" or "s"))
end

local function tree(args)
  local sets = dpg.assert(session.open(args).sets:tree())
  if args.json then return out.json(sets) end
  -- people see the tree; a pipe gets the path, which names a set
  local rows, step = {}, system.is_terminal(1) and "  " or nil
  local function walk(list, before)
    for _, set in ipairs(list) do
      local name = out.plain(set.name)
      rows[#rows + 1] = { set.public_uuid, set.image_count, before .. name }
      walk(set.children or {}, before .. (step or name .. "/"))
    end
  end
  walk(sets, "")
  out.table({ "UUID", "IMAGES", "NAME" }, rows)
end

local function create(args)
  local gallery = session.open(args)
  local operation = edit.done(gallery.sets:create {
    name = args.name, description = args.description, colour = args.colour, type = args.type,
    parent_public_uuid = args.parent and images.set(gallery, args.parent),
  })
  local result = type(operation.result) == "table" and operation.result or {}
  if type(result.set_public_uuid) == "string" then out.line(result.set_public_uuid) end
  out.say("made " .. args.name)
end

local function list(gallery, set, args) images.list(gallery.sets:each_image(set), args) end

local function rename(gallery, set, args)
  edit.done(gallery.sets:update(set, { name = args.name }))
  out.say("renamed to " .. args.name)
end

local function add(gallery, set, args)
  local ids = images.ids(args.images)
  edit.done(gallery.sets:add_images(set, ids))
  counted("added", ids)
end

local function remove(gallery, set, args)
  local ids = images.ids(args.images)
  edit.done(gallery.sets:remove_images(set, ids))
  counted("taken out", ids)
end

-- Those that are named come first, in this order; the others keep theirs behind them.
local function order(gallery, set, args)
  local ids, named = images.ids(args.images), {}
  for _, id in ipairs(ids) do named[id] = true end
  for _, id in ipairs(all_images(gallery, set)) do
    if named[id] then named[id] = "there" else ids[#ids + 1] = id end
  end
  for id, state in pairs(named) do
    if state ~= "there" then failure.usage("the image %s is not in this set: dpg set images shows those that "
      .. "are", id) end
  end
  edit.done(gallery.sets:order(set, ids))
  counted("in this order", ids)
end

local function publish(gallery, set, args)
  local ids = chosen(gallery, set, args)
  edit.done(gallery.sets:set_visibility(set, { image_public_uuids = ids, hidden = false }))
  counted("published", ids)
end

local function hide(gallery, set, args)
  local ids = chosen(gallery, set, args)
  edit.done(gallery.sets:set_visibility(set, { image_public_uuids = ids, hidden = true }))
  counted("hidden", ids)
end

-- Has a moment passed? Its date and time are set beside those of now in its own zone. What is no moment, the library
-- refuses.
local function is_over(text)
  if tonumber(text) then return tonumber(text) < os.time() end
  local date, time, seconds, zone = text:match "^(%d+%-%d%d%-%d%d)[Tt ](%d%d:%d%d)(:?%d*)[%d.]*([Zz+-].*)$"
  if not date then return false end
  local sign, hours, minutes = zone:match "^([+-])(%d%d):?(%d%d)$"
  local offset = sign and (hours * 60 + minutes) * (sign == "-" and -60 or 60) or 0
  local moment = date .. " " .. time .. (seconds == "" and ":00" or seconds)
  return moment < os.date("!%Y-%m-%d %H:%M:%S", os.time() + offset)
end

local function embargo(gallery, set, args)
  if is_over(args.moment) then
    failure.usage("the moment %s is over, so nothing would be hidden: is the year right? dpg set publish shows images "
      .. "now", out.plain(args.moment))
  end
  local ids = chosen(gallery, set, args)
  edit.done(gallery.sets:set_visibility(set, {
    image_public_uuids = ids, hidden = true,
    activation_time = args.moment:match "^%d+$" and tonumber(args.moment) or args.moment,
  }))
  counted("hidden until " .. args.moment, ids)
end

local function snapshots(gallery, set, args)
  local page = dpg.assert(gallery.sets:snapshots(set, { limit = 200 }))
  if args.json then return out.json(dpg.array(page.items)) end
  local rows = {}
  for i, one in ipairs(page.items) do rows[i] = { one.uuid or one.snapshot_uuid, one.created_at } end
  out.table({ "SNAPSHOT", "MADE" }, rows)
end

local function restore(gallery, set, args)
  edit.done(gallery.sets:restore(set, args.snapshot))
  out.say "restored"
end

-- verb, what it does, its work, how many images it takes
local VERBS = {
  { "images", "List a set's images, in gallery order", list },
  { "rename", "Give a set another name", rename },
  { "add", "Put images into a set", add, "+" },
  { "rm", "Take images out of a set; they stay in the library", remove, "+" },
  { "order", "Put images to the front of a set, in this order", order, "+" },
  { "publish", "Show images of a set to everybody, now", publish, "*" },
  { "hide", "Hide images of a set", hide, "*" },
  { "embargo", "Hide images of a set until a moment", embargo, "*" },
  { "snapshots", "List how a set was before each change", snapshots },
  { "restore", "Put a set back as a snapshot has it", restore },
}

function M.add(parser)
  local set = takes.command(parser, "set", "Make, fill, order, publish and embargo sets",
    "A set is named by its UUID, its name, or its path in the tree: \"Northlight 2025/Friday\".",
    { "dpg set create \"Main Stage\" --parent \"Northlight 2025\"",
      "dpg set embargo \"Press kit\" 2030-07-01T18:00:00+02:00" }):require_command(true)

  local command = takes.command(set, "tree", "Show all sets, each with its children")
  command:flag "--json":description "as JSON"
  command:action(function(args) args.run = tree end)

  command = takes.command(set, "create", "Make a set", "Prints its UUID.")
  takes.argument(command, "name", "NAME", "its name")
  command:option "--parent":argname "SET":description "within this one"
  command:option "--description":argname "TEXT":description "a description"
  command:option "--colour":argname "COLOUR":description "one of the API's"
  command:option "--type":argname "TYPE":description "one of the API's: folder, gallery …"
  command:action(function(args) args.run = create end)

  local commands = {}
  for _, verb in ipairs(VERBS) do
    command = takes.command(set, verb[1], verb[2])
    takes.set(command)
    if verb[1] == "embargo" then
      takes.argument(command, "moment", "MOMENT", "ISO 8601 with a zone: 2030-07-01T18:00:00+02:00, or Unix seconds")
    elseif verb[1] == "rename" then
      takes.argument(command, "name", "NAME", "the new name")
    elseif verb[1] == "restore" then
      takes.argument(command, "snapshot", "SNAPSHOT", "as dpg set snapshots shows it; else the newest"):args "?"
    end
    if verb[4] then
      takes.images(command, verb[4], "images", verb[4] == "*" and "all of the set" or nil)
    end
    command:action(function(args) args.run = on_set(verb[3]) end)
    commands[verb[1]] = command
  end
  images.add_list_options(commands.images)
  commands.snapshots:flag "--json":description "as a JSON array"
end

return M
