-- dpg rate, caption: changes to images. And how all commands do one write, or one for each of many images.
local dpg = require "dpg"
local failure = require "dpg.cli.failure"
local images = require "dpg.cli.images"
local out = require "dpg.cli.out"
local session = require "dpg.cli.session"
local system = require "dpg.cli.system"
local takes = require "dpg.cli.takes"
local wire = require "dpg.wire"

local M = {}

-- Seconds: after so many it is said that we wait, and after so many we don't.
local PATIENCE, LIMIT = 10, 120

local STILL = "DPG is still at it%s: waiting; after Ctrl-C it goes on there"

-- Which one it is, and what to do about it later.
local function name_of(operation, later)
  local uuid = out.plain(operation.uuid)
  return ("(operation %s): %s"):format(uuid, later or "dpg api GET /operations/" .. uuid .. " shows how far it is")
end

local function is_late(err) return err and err.code == "operation_timeout" end

---Waits for what a write is answered with, and says so when that takes long.
---@param operation? dpg.Operation
---@param err? any
---@param more? { limit?: number, later?: string }  seconds; what to do when it has not ended by then
---@return dpg.Operation
function M.done(operation, err, more)
  operation, more = dpg.assert(operation, err), more or {}
  local ok, done, problem = pcall(function()
    local ended, why = operation:wait { timeout = PATIENCE }
    if not is_late(why) then return ended, why end
    out.say(STILL:format(" (operation " .. out.plain(operation.uuid) .. ")"))
    return operation:wait { timeout = (more.limit or LIMIT) - PATIENCE }
  end)
  if not ok and failure.describe(done) == failure.INTERRUPTED then
    failure.raise(failure.INTERRUPTED, "interrupted: it goes on at DPG " .. name_of(operation, more.later))
  elseif not ok then
    error(done, 0)
  elseif is_late(problem) then
    failure.raise(failure.NETWORK, "DPG has not finished yet, and goes on " .. name_of(operation, more.later))
  elseif problem and (problem.kind == "network" or problem.kind == "timeout") then
    failure.raise(failure.NETWORK, failure.text(problem) .. "; DPG has the change, and goes on "
      .. name_of(operation, more.later))
  end
  return dpg.assert(done, problem)
end

-- Waits for those of a batch that take long.
local function wait_on(items)
  local ends_at, is_said = system.now() + LIMIT - PATIENCE, false
  for _, item in ipairs(items) do
    local left = ends_at - system.now()
    if left > 0 and item.outcome == "running" and is_late(item.err) then
      if not is_said then out.say(STILL:format "") end
      is_said = true
      local done, err = item.operation:wait { timeout = left }
      item.err = err
      if done then item.outcome = "succeeded" elseif err.kind == "operation" then item.outcome = "failed" end
    end
  end
end

-- What is said of a whole batch: all of it or nothing is done.
local OF_ALL = {
  refused = "%s were not changed: %s", unsent = "%s were not tried: %s",
  unknown = "%s may have been changed, or not: %s",
}

-- An error of a whole batch, and which of its images it is about, if it says so.
local function blame(err)
  local nth, rest = wire.batch_item(err.field)
  local at, detail = wire.batch_item(err.detail)
  if not (nth or at) then return nil, err end
  local own = {}
  for name, value in pairs(err) do own[name] = value end
  if at then own.detail = detail ~= err.code and detail or nil end
  if nth then own.field = rest end
  return nth or at, own
end

-- What came of the images from `first` on that ended alike: one line, and one for the image that is to blame.
local function tell_alike(ids, items, first, last)
  local item = items[first]
  if is_late(item.err) then
    return out.warn(ids[first] .. ": DPG has not finished yet, and goes on " .. name_of(item.operation))
  elseif first == last or item.operation then
    local err = item.err and select(2, blame(item.err))
    return out.warn(ids[first] .. ": " .. (err and failure.text(err) or "not tried"))
  end
  local nth, err
  if item.err then nth, err = blame(item.err) end
  local these = ("%d images, %s to %s,"):format(last - first + 1, ids[first], ids[last])
  local why = err and failure.text(err) or "nothing is sent after such a failure"
  if nth and first + nth - 1 <= last then
    out.warn(ids[first + nth - 1] .. ": " .. why)
    why = "all of them are, or none; leave that one out"
  end
  out.warn((OF_ALL[item.outcome] or OF_ALL.refused):format(these, why))
end

-- Many writes: checked as a whole, 50 in a request, each reported.
local function batch(gallery, ids, writes)
  local report = dpg.assert(gallery.operations:batch_all(writes, { wait = PATIENCE }))
  wait_on(report.items)
  local items, errs, failed, first, is_open = report.items, {}, 0, 1, false
  for i, item in ipairs(items) do
    local following = items[i + 1]
    local goes_on = following and following.err == item.err and following.outcome == item.outcome
      and not (item.operation or following.operation)
    if item.outcome ~= "succeeded" then
      failed = failed + 1
      is_open = is_open or item.outcome == "running" or item.outcome == "unknown"
      errs[#errs + 1] = item.err
      if not goes_on then tell_alike(ids, items, first, i) end
    end
    if not goes_on then first = i + 1 end
  end
  if failed > 0 then
    failure.raise(failure.status_of(errs), ("%d of %d images were not changed%s: see above"):format(failed, #ids,
      is_open and ", or not yet" or ""))
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
