-- dpg rate, caption: changes to images. And how all commands do one write, or one for each of many images.
local dpg = require "dpg"
local failure = require "dpg.cli.failure"
local images = require "dpg.cli.images"
local out = require "dpg.cli.out"
local session = require "dpg.cli.session"
local takes = require "dpg.cli.takes"

local M = {}

---Waits for what a write is answered with.
---@param operation? dpg.Operation
---@param err? any
---@return dpg.Operation
function M.done(operation, err)
  return dpg.assert(dpg.assert(operation, err):wait())
end

-- Many writes: checked as a whole, 50 in a request, each reported.
local function batch(gallery, ids, writes)
  local report, failed, first = dpg.assert(gallery.operations:batch_all(writes)), 0, {}
  for i, item in ipairs(report.items) do
    if item.outcome ~= "succeeded" then
      failed = failed + 1
      first[#first + 1] = item.err
      out.warn(ids[i] .. ": " .. (item.err and failure.text(item.err) or item.outcome))
    end
  end
  if failed > 0 then
    failure.raise(failure.status_of(first), ("%d of %d images were not changed: see above"):format(failed, #ids))
  end
end

---Does `write` to each image, and says so.
---@param gallery dpg.Session
---@param ids string[]
---@param said string  what was done, for people
---@param write fun(resource: dpg.Images, id: string): any, any  on the resource, or on its `prepare`
function M.each(gallery, ids, said, write)
  if #ids == 1 then
    M.done(write(gallery.images, ids[1]))
  else
    local writes = {}
    for i, id in ipairs(ids) do writes[i] = dpg.assert(write(gallery.prepare.images, id)) end
    batch(gallery, ids, writes)
  end
  out.say(("%s: %d image%s"):format(said, #ids, #ids == 1 and "" or "s"))
end

local function rate(args)
  local ids = images.ids(args.images)
  M.each(session.open(args), ids, args.stars .. (args.stars == 1 and " star" or " stars"), function(resource, id)
    return resource:set_rating(id, args.stars)
  end)
end

-- An empty text empties the field.
local function text_or_null(text)
  if text == "" then return dpg.null end
  return text
end

local function caption(args)
  local ids = images.ids { args.image }
  if not (args.title or args.description or args.alt) then
    failure.usage "nothing to change: say --title, --description or --alt"
  end
  local gallery = session.open(args)
  if args.title or args.description then
    M.done(gallery.images:update(ids[1], { title = args.title, description = text_or_null(args.description) }))
  end
  if args.alt then M.done(gallery.images:set_alt_text(ids[1], text_or_null(args.alt))) end
  out.say "captioned"
end

function M.add(parser)
  local command = takes.command(parser, "rate", "Give images stars", nil, { "dpg search finale | dpg rate 5 -" })
  takes.argument(command, "stars", "STARS", "0 to 5"):convert(takes.whole("STARS", 0, 5))
  takes.images(command)
  command:action(function(args) args.run = rate end)

  command = takes.command(parser, "caption", "Give an image a title, a description, an alt text")
  takes.argument(command, "image", "UUID", "the image")
  command:option "--title":argname "TEXT":description "at most 191 characters"
  command:option "--description":argname "TEXT":description "the description; '' empties it"
  command:option "--alt":argname "TEXT":description "what stands for the image where it can't be seen; '' empties it"
  command:action(function(args) args.run = caption end)
end

return M
