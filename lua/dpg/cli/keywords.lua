-- dpg keyword: the words that images bear.
local dpg = require "dpg"
local edit = require "dpg.cli.edit"
local failure = require "dpg.cli.failure"
local images = require "dpg.cli.images"
local out = require "dpg.cli.out"
local session = require "dpg.cli.session"
local takes = require "dpg.cli.takes"

local M = {}

local function list(args)
  local items, rows, wanted = {}, {}, (args.query or ""):lower()
  for keyword in session.open(args).keywords:each { namespace = args.namespace } do
    local text = images.keyword_text(keyword)
    if text:lower():find(wanted, 1, true) then -- the API itself looks for none
      items[#items + 1] = keyword
      rows[#rows + 1] = { text, keyword.count }
    end
  end
  if args.json then return out.json(dpg.array(items)) end
  out.table({ "KEYWORD", "IMAGES" }, rows)
end

local function add(args)
  local ids = images.ids(args.images)
  edit.each(session.open(args), ids, "added " .. table.concat(args.keyword, ", "), function(resource, id)
    return resource:add_keywords(id, args.keyword)
  end)
end

local function remove(args)
  local ids, gallery = images.ids(args.images), session.open(args)
  for _, keyword in ipairs(args.keyword) do
    edit.each(gallery, ids, "removed " .. keyword, function(resource, id)
      return resource:remove_keyword(id, keyword)
    end)
  end
end

-- A rename of thousands goes in pieces.
local AT_ONCE = 200

local function rename(args)
  local gallery, ids = session.open(args), {}
  if #args.images > 0 then
    ids = images.ids(args.images)
  else
    for image in gallery.images:each { keyword = args.from } do ids[#ids + 1] = image.public_uuid end
    if #ids == 0 then failure.raise(failure.FAILED, "no image bears " .. args.from .. ": dpg keyword ls shows "
      .. "what there is") end
  end
  for first = 1, #ids, AT_ONCE do
    local some = {}
    for i = first, math.min(first + AT_ONCE - 1, #ids) do some[#some + 1] = ids[i] end
    edit.done(gallery.keywords:rename { from = args.from, to = args.to, image_public_uuids = some })
  end
  out.say(("%s is %s now: %d image%s"):format(args.from, args.to, #ids, #ids == 1 and "" or "s"))
end

function M.add(parser)
  local keyword = takes.command(parser, "keyword", "List, add, remove and rename keywords",
    "A keyword is a value (sunset), or one with an axis (stage:main).",
    { "dpg ls -k live --all | dpg keyword add - -k stage:main", "dpg keyword rename fryday friday" })
    :require_command(true)

  local command = takes.command(keyword, "ls", "List the vocabulary, with counts")
  takes.argument(command, "query", "TEXT", "only keywords with this in them"):args "?"
  command:option "--namespace":argname "AXIS":description "of this axis"
  command:flag "--json":description "as a JSON array"
  command:action(function(args) args.run = list end)

  for _, verb in ipairs { { "add", "Give images keywords", add }, { "rm", "Take keywords from images", remove } } do
    command = takes.command(keyword, verb[1], verb[2])
    takes.images(command)
    takes.keyword(command, "value, or axis:value; several times for several"):count "+"
    command:action(function(args) args.run = verb[3] end)
  end

  command = takes.command(keyword, "rename", "Rename a keyword")
  takes.argument(command, "from", "FROM", "value, or axis:value")
  takes.argument(command, "to", "TO", "value, or axis:value")
  takes.images(command, "*", "on these images", "wherever it stands")
  command:action(function(args) args.run = rename end)
end

return M
