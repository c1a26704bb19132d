-- One upload: a ticket, the file in a form to the ticket's own host, without our token, and the image that comes of it.
-- Decides what may be sent again: a file only as long as the processor surely has not taken it. Contract: section 7.
-- dpg.resources.uploads is its public face, dpg.many runs it for lists.
local call = require "dpg.call"
local catalog = require "dpg.catalog"
local compat = require "dpg.compat"
local core = require "dpg.core"
local errors = require "dpg.errors"
local json = require "dpg.json"
local source_module = require "dpg.source"
local transfer = require "dpg.transfer"
local uuid = require "dpg.uuid"
local wire = require "dpg.wire"

local M = {}

local MAX_TICKETS = 3
local IMAGE_LOOKS, IMAGE_PAUSE_S = 5, 0.2

-- --- the bytes -----------------------------------------------------------------------------------------------------

local function wrong_size(source, n)
  return errors.usage(n < source.size and "reader_short" or "reader_long", string.format(
    "the reader of %s gave %s than the %.0f bytes that were said", source.filename,
    n < source.size and string.format("%.0f bytes, fewer", n) or "more", source.size), { field = "size" })
end

---@class dpg.Feeder
local Feeder = {}
Feeder.__index = Feeder

-- Hands the source's bytes to a stream. `before_last(fingerprint)` is called when the very last ones are about to go.
local function feeder(source, before_last)
  local read, err, close = source:pieces()
  if not read then return nil, err end
  return setmetatable({
    source = source, read = read, close = close, had = 0, is_whole = false, before_last = before_last,
  }, Feeder)
end

function Feeder:_read()
  local ok, piece = compat.try(self.read)
  if not ok then return nil, source_module.failure(piece) end
  if piece ~= nil and type(piece) ~= "string" then
    return nil, source_module.failure("it gave a " .. type(piece) .. ", no string")
  end
  return piece
end

-- The next bytes. The last ones only go when it is certain that there are no more.
function Feeder:_piece()
  local piece, err
  repeat
    piece, err = self:_read()
    if err then return nil, err end
  until piece ~= ""
  if not piece then return nil, wrong_size(self.source, self.had) end
  self.had = self.had + #piece
  if self.before_last then self.fingerprint = core.fingerprint(piece, self.fingerprint) end
  if self.had < self.source.size then return piece end
  local more
  repeat
    if self.had > self.source.size then return nil, wrong_size(self.source, self.had) end
    more, err = self:_read()
    if err then return nil, err end
    self.had = self.had + #(more or "")
  until not more
  if self.before_last then
    local fine
    fine, err = self.before_last(self.fingerprint)
    if not fine then return nil, err end
  end
  self.is_whole = true
  return piece
end

-- As much as the stream takes at this moment.
function Feeder:feed(stream)
  while true do
    if not self.rest then
      if self.is_whole then return true end
      local err
      self.rest, err = self:_piece()
      if not self.rest then return nil, err end
    end
    local taken = stream:feed(self.rest)
    if not taken then return true end -- it has ended; take() says how
    self.rest = taken < #self.rest and self.rest:sub(taken + 1) or nil
    if self.rest then return true end
  end
end

-- --- one form ------------------------------------------------------------------------------------------------------

local function form(ticket, source, is_fed)
  local names, parts = {}, {}
  for name in pairs(ticket.fields) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = { name = name, value = ticket.fields[name] } end
  parts[#parts + 1] = source:part(ticket.file_field, is_fed) -- last: what stands behind a file is often not read
  return parts
end

-- How much of the file has been sent: what frames it in the form does not count.
local function tell(stream, source, meter)
  local sent, to_send = stream:progress()
  if not to_send or to_send < source.size then return end
  meter(math.min(math.max(sent - (to_send - source.size), 0), source.size), source.size)
end

-- Until the call has ended. Nil, err: what the file's side or the program did.
local function follow(stream, source, feed, meter)
  if feed then
    local ok, err = feed:feed(stream)
    if not ok then return nil, err end
  end
  while true do
    local what, err = stream:wait()
    if not what then return nil, err end
    if what == "done" then return true end
    if what == "want" and feed then
      local ok
      ok, err = feed:feed(stream)
      if not ok then return nil, err end
    end
    tell(stream, source, meter)
  end
end

-- Sends one form. What came of it: status, head, body, info; or `err`; and `cut`: the processor certainly can't have
-- the whole file.
local function post(plan, link, ticket, source, settings, options, before_last)
  local is_fed = before_last ~= nil or source:is_fed()
  local feed, err
  if is_fed then
    feed, err = feeder(source, before_last)
    if not feed then return { err = err, cut = true } end
  end
  local stream
  stream, err = call.stream(plan.connection, {
    method = "POST", url = link.url, headers = { Accept = wire.ACCEPT }, parts = form(ticket, source, is_fed),
    repeats = "unfinished",
  }, settings, { host = link.host, ticks = options.on_progress ~= nil })
  local ok
  if stream then
    ok, err = transfer.guarded(stream, follow, source, feed, plan.meter)
  end
  if feed then feed.close() end
  if not ok then
    if stream then stream:close() end
    return { err = err, cut = not stream or (feed and not feed.is_whole) }
  end
  local sent, to_send = stream:progress() -- before take(), which forgets it
  local status, head, body, info = stream:take()
  local cut = (info or head).sent == 0 or (to_send ~= nil and sent < to_send)
  if not status then return { err = head, cut = cut } end
  return { status = status, head = head, body = body, info = info, cut = cut }
end

-- --- what an answer means ------------------------------------------------------------------------------------------

-- Verdicts: "again": surely not taken, may be tried again; "ticket": refused, another ticket may do; "final":
-- not taken, and never will be; "unknown".

local function verdict_of_status(status, code, cut)
  if status == 429 then return "again" end
  if status == 409 then return "unknown" end -- perhaps this ticket has been used before
  if wire.TICKET_REFUSED[status] or (status < 500 and wire.TICKET_REFUSED_CODES[code]) then return "ticket" end
  if status >= 500 then return cut and "again" or "unknown" end
  return status >= 400 and "final" or "unknown"
end

local AGAIN = { network = true, timeout = true, protocol = true }
local NOT_SENT = { usage = true, storage = true, tls = true }

-- The image's public_uuid; or nil, err, verdict.
local function judge(context, outcome)
  local err = outcome.err
  if err then
    local ours = errors.is(err) -- the reader, the journal, the program
    if not ours then
      err.attempts = nil -- it knows of the last one alone
      err = errors.from_core(err, context)
    end
    if not outcome.cut and not NOT_SENT[err.kind] then return nil, err, "unknown" end
    return nil, err, not ours and AGAIN[err.kind] and "again" or "final"
  end
  local status = outcome.status
  context.retry_after, context.request_id = outcome.info.retry_after, wire.request_id(outcome.head)
  if status >= 200 and status <= 299 then
    local image = wire.uploaded((json.decode(outcome.body)))
    if image then return image end
    context.problem = "it names no image"
  end
  err = transfer.refusal(status, outcome.body, context)
  return nil, err, verdict_of_status(status, err.code, outcome.cut)
end

local function unknown(err, ticket, key)
  if err.code ~= "upload_outcome_unknown" then err.reason = err.code end
  err.code = "upload_outcome_unknown"
  err.detail = err.message
  err.message = "the whole file had left, or may have, but no answer says whether it was taken: look for it before "
    .. "sending it again"
  err.transaction_uuid, err.idempotency_key = ticket.transaction_uuid, key
  return err
end

-- What of a ticket must be in no error.
local function secrets_of(ticket, source)
  local secrets = {}
  for _, value in pairs(ticket.fields) do
    if #value >= 8 and value ~= source.filename then secrets[#secrets + 1] = value end
  end
  return secrets
end

-- Sends the file with one ticket, again where that is certain to be safe. Gives the image's public_uuid and what is
-- known of the answer; or nil, err, and whether another ticket may do.
local function deliver(plan, ticket, key, source, options, watch)
  local link, err = transfer.link(ticket.upload_url, "upload_url")
  if not link then return nil, err end
  local before_last = watch.sending and function(fingerprint)
    return watch.sending(key, ticket.transaction_uuid, fingerprint)
  end
  local secrets, backoff = secrets_of(ticket, source), transfer.backoff(plan)
  while true do
    local settings
    settings, err = transfer.bytes(plan)
    if not settings then return nil, err end
    local context = transfer.context(link, "POST", secrets)
    plan.attempts = plan.attempts + 1
    context.idempotency_key, context.attempts = key, plan.attempts
    local outcome = post(plan, link, ticket, source, settings, options, before_last)
    local image, problem, verdict = judge(context, outcome)
    if image then return image, context end
    problem.transaction_uuid = ticket.transaction_uuid
    if verdict == "unknown" then return nil, unknown(problem, ticket, key) end
    if not source.can_repeat or verdict == "final" then return nil, problem end
    if verdict == "ticket" then return nil, problem, true end
    local ok
    ok, err = backoff:wait(problem, false)
    if not ok then return nil, err end
  end
end

-- --- the whole -----------------------------------------------------------------------------------------------------

local function ticket_for(session, where, plan, body, key)
  local options, err = transfer.small(plan, { idempotency_key = key })
  if not options then return nil, err end
  local value, answer = session:_call(where, catalog.uploads.send, {}, body, options)
  if value == nil then return nil, answer end
  local ticket, problem = wire.ticket(value)
  if ticket then return ticket, answer end
  return nil, errors.from_response(answer.status, nil, {
    method = "POST", path = catalog.uploads.send.path, request_id = answer.request_id, problem = problem,
    idempotency_key = key,
  })
end

-- The image, which may take a moment to appear. That it was taken is known by now: what can't be read of it is no
-- failure of the upload.
local function look_at(session, plan, public_uuid, answer)
  local image, err
  for n = 1, IMAGE_LOOKS do
    local options
    options, err = transfer.small(plan)
    if not options then break end
    image, err = session.images:get(public_uuid, options)
    if image then
      answer.etag = err.etag
      return image
    end
    if err.code ~= "image_not_found" and err.status ~= 404 then break end
    if n == IMAGE_LOOKS or not call.sleep(plan.connection, IMAGE_PAUSE_S * 2 ^ (n - 1)) then break end
  end
  answer.image_error = err
  return { public_uuid = public_uuid }
end

---Sends one file.
---@param session dpg.Session
---@param where string  for messages
---@param source dpg.Source
---@param fields? table
---@param options table  checked
---@param watch { ticket?: function, sending?: function, done?: function }  called before a ticket is asked for, before
---  the last bytes leave (nil, err from these two ends the upload), and when the image is known
---@return dpg.Image? image
---@return table answer_or_err
function M.send(session, where, source, fields, options, watch)
  local plan = transfer.plan(session, options)
  plan.attempts, plan.meter = 0, transfer.meter(options.on_progress, plan)
  local body = { filename = source.filename }
  for name, value in pairs(fields or {}) do body[name] = value end
  local key = options.idempotency_key
  if type(key) == "function" then key = key() end
  local err
  for _ = 1, MAX_TICKETS do
    key = key or uuid()
    local ok = true
    if watch.ticket then ok, err = watch.ticket(key) end
    if not ok then return nil, err end
    local ticket, answer = ticket_for(session, where, plan, body, key)
    if not ticket then return nil, answer end
    local image, told, refused = deliver(plan, ticket, key, source, options, watch)
    if image then
      plan.meter(source.size, source.size, true)
      local result = {
        status = answer.status, attempts = told.attempts, request_id = told.request_id, idempotency_key = key,
        transaction_uuid = ticket.transaction_uuid, image_public_uuid = image,
      }
      if watch.done then watch.done(image, key, ticket.transaction_uuid) end
      return look_at(session, plan, image, result), result
    end
    err = told
    if not refused then return nil, err end
    key = nil -- the old key would bring the old ticket back
  end
  return nil, err
end

return M
