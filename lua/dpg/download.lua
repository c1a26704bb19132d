-- Fetching a file by its link: into a `.part` beside the target, or as chunks; going on where a cut has left it, as
-- long as the server vouches (If-Range) that it is still the same file. Links go to other hosts, without our token,
-- and are asked for anew when they have run out. Contract: section 8. dpg.resources.downloads and archives use it.
local call = require "dpg.call"
local compat = require "dpg.compat"
local disk = require "dpg.disk"
local errors = require "dpg.errors"
local filename = require "dpg.filename"
local hosts = require "dpg.host"
local json = require "dpg.json"
local scheduler = require "dpg.scheduler"
local transfer = require "dpg.transfer"
local wire = require "dpg.wire"

local M = {}

local MAX_REFUSED = 2 -- new links in a row that bring nothing
local READ_BYTES = 64 * 1024
local WINDOW = 1024 * 1024
local STRONG = '^"[^"%c]+"$' -- an ETag that vouches for bytes (RFC 9110 section 8.8.1)

-- --- a fetch: the link, and what a failure means -------------------------------------------------------------------

---@class dpg.Fetch
---@field offset integer  bytes that are here already
---@field etag? string  strong: of the file that they are of
---@field length? integer
---@field stands? integer  so many bytes has the part, as the last attempt has left it
---@field stream? dpg.Stream  of the attempt under way
---@field task? dpg.Task  whose it is
local Fetch = {}
Fetch.__index = Fetch

---@param ask fun(options: table): table?, dpg.Error?  for a link: url, filename
local function new_fetch(session, options, ask)
  local plan = transfer.plan(session, options)
  return setmetatable({
    plan = plan, ask = ask, backoff = transfer.backoff(plan), refused = 0, attempts = 0, offset = 0,
    task = hosts.current():running(),
  }, Fetch)
end

-- Will it go on? Its task may have been stopped since, or its request have ended: then nobody cleans up after it.
function Fetch:goes_on()
  if self.task then return self.task._state == "running" end
  return not (self.stream and self.stream.is_closed)
end

-- The link, asked for when there is none.
function Fetch:get_link()
  if self.link then return self.link end
  local options, err = transfer.small(self.plan)
  if not options then return nil, err end
  local found
  found, err = self.ask(options)
  if not found then return nil, err end
  self.filename = found.filename
  self.link, err = transfer.link(found.url, "url of a download")
  return self.link, err
end

function Fetch:context()
  local context = transfer.context(self.link, "GET")
  context.attempts = self.attempts
  return context
end

-- Starts over: what is here is of another file, or of none that can be told.
function Fetch:forget()
  self.offset, self.etag, self.length = 0, nil, nil
end

-- Sends one GET from `offset` on. Without a sink the body goes to memory, `most` bytes of it.
function Fetch:start(sink, ticks, most)
  local link, err = self:get_link()
  if not link then return nil, err end
  local settings
  settings, err = transfer.bytes(self.plan)
  if not settings then return nil, err end
  local headers = { Accept = "*/*" }
  if self.offset > 0 then
    headers.Range = string.format("bytes=%.0f-", self.offset)
    headers["If-Range"] = self.etag
  end
  settings.max_response_bytes = most
  self.attempts = self.attempts + 1
  local stream
  stream, err = call.stream(self.plan.connection, {
    method = "GET", url = link.url, headers = headers, repeats = "always", sink = sink,
  }, settings, { host = link.host, ticks = ticks })
  if not stream and not errors.is(err) then err = errors.from_core(err, self:context()) end
  self.stream = stream
  return stream, err
end

-- A head: what file this is.
function Fetch:note_head(status, headers)
  local etag = headers.etag
  if status == 200 then
    self.offset = 0
    self.etag = etag and etag:match(STRONG)
    self.length = wire.number(headers["content-length"])
  else
    self.length = wire.number((headers["content-range"] or ""):match("/(%d+)%s*$")) or self.length
  end
end

local FINAL = { usage = true, storage = true, tls = true, cancelled = true }

-- An attempt has come to nothing: waits until it may be tried again.
function Fetch:failed(err, has_moved)
  if FINAL[err.kind] then return nil, err end
  if has_moved then self.refused = 0 end
  if err.status == 416 or err.status == 412 or err.code == "range_mismatch" then self:forget() end
  if wire.LINK_REFUSED[err.status] then
    self.link = nil
    self.refused = self.refused + 1
    if self.refused > MAX_REFUSED then return nil, err end
    return true
  end
  local passes = err.kind ~= "api" or err.status == 412 or err.status == 416 or err.status == 429 or err.status >= 500
  if not passes or err.code == "redirect" then return nil, err end
  return self.backoff:wait(err, has_moved)
end

-- What a call came to: its info, head, status, and the body where it went to memory; or nil, an error.
function Fetch:outcome(stream)
  local status, head, body, info = stream:take()
  self.stream = nil
  local context = self:context()
  if not status then
    head.attempts = nil -- it knows of the last one alone
    return nil, errors.from_core(head, context)
  end
  if status == 200 or status == 206 then
    if not wire.is_page(head) then return info, head, status, body end
    return nil, errors.new { kind = "protocol", code = "unreadable", method = "GET", host = context.host,
      message = "a web page came where a file is expected: does a proxy answer, or a portal?" }
  end
  context.retry_after, context.request_id = info.retry_after, wire.request_id(head)
  if status < 300 then context.problem = "a file is expected" end
  return nil, transfer.refusal(status, body, context)
end

-- --- beside the target ---------------------------------------------------------------------------------------------

local function is_folder(path)
  return path:find "[/\\]$" ~= nil or disk.is_folder(path)
end

-- What an earlier run has left of this very file: the core's note beside the part says of what it is (dpg.h, dpg_sink).
local function recall(fetch, part, what)
  local file = disk.open(part .. ".json", "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  local kept = text and json.decode(text)
  local size = disk.size(part)
  if type(kept) ~= "table" or kept.dpg_part ~= 1 or kept.what ~= what or not size then return end
  if type(kept.etag) ~= "string" or not kept.etag:match(STRONG) then return end
  if type(kept.length) ~= "number" then kept.length = nil end
  if kept.length and size > kept.length then return end
  fetch.offset, fetch.etag, fetch.length = size, kept.etag, kept.length
end

-- How much of the part is of the file that we know.
local function take_stock(fetch, part)
  fetch.offset = fetch.etag and disk.size(part) or 0
  if fetch.stands and fetch.offset ~= fetch.stands then fetch.offset = 0 end -- another process has had it meanwhile
  if fetch.offset == 0 then fetch:forget() end
  -- whole, but not under its name: the last byte again, since the core ends a file only behind an answer
  if fetch.length and fetch.offset >= fetch.length then fetch.offset = math.max(fetch.length - 1, 0) end
end

local function follow(stream, fetch, meter)
  local known = false
  while true do
    local status, headers = stream:head()
    if status and not known then
      known = true
      fetch:note_head(status, headers)
    end
    local _, _, received = stream:progress()
    if known and received then meter(fetch.offset + received, fetch.length) end
    local event, err = stream:wait()
    if not event then return nil, err end
    if event == "done" then return true end
  end
end

-- One attempt. Gives info, head; or nil, err, and whether it has brought anything.
local function fetch_once(fetch, target, part, what, options, meter)
  take_stock(fetch, part)
  local begun = fetch.offset
  local stream, err = fetch:start({
    file = part, offset = begun, expected = fetch.length, etag = fetch.etag, rename = target, note = what,
  }, options.on_progress ~= nil)
  if not stream then return nil, err, false, true end
  local ok
  ok, err = transfer.guarded(stream, follow, fetch, meter)
  if not ok then return nil, err, false, true end
  local status, headers = stream:head() -- it may have come with the end
  if status then fetch:note_head(status, headers) end
  local _, _, received = stream:progress()
  local info, head = fetch:outcome(stream)
  if info then return info, head end
  fetch.stands = status and fetch.offset + (received or 0) or nil
  -- no memory for the head, and so nothing to say whose the bytes are
  if not status and not head.status and (received or 0) > 0 then fetch:forget() end
  return nil, head, fetch.etag ~= nil and (disk.size(part) or 0) > begun
end

local function exists(path)
  return errors.usage("exists", path .. " is there already; say overwrite = true to replace it", { field = "path" })
end

-- Until it is whole, or nothing more can be done.
local function fetch_all(fetch, path, part, what, options)
  recall(fetch, part, what)
  local resumed = fetch.offset
  local meter = transfer.meter(options.on_progress, fetch.plan)
  while true do
    local info, head, has_moved, is_final = fetch_once(fetch, path, part, what, options, meter)
    if info then
      local length = fetch.length or disk.size(path)
      meter(length, length, true)
      return path, { status = 200, etag = head.etag, attempts = fetch.attempts, length = length,
        filename = fetch.filename, resumed_from = resumed > 0 and resumed or nil }
    end
    local ok, err = nil, head
    if not is_final then ok, err = fetch:failed(head, has_moved) end
    if not ok then return nil, err end
  end
end

---Fetches a file to `target`, or into a folder under the name that the server gives it.
---@param session dpg.Session
---@param what string  tells this file from others, in what is left of a cut download
---@param ask fun(options: table): table?, dpg.Error?  for a link: url, filename
---@param target string  a path, or a folder
---@param options table  transfer.OPTIONS, `overwrite`; `choose(folder, name)` for a path in a folder
---@param fallback string  a name, where the server gives none
---@return string? path
---@return table answer_or_err
function M.save(session, what, ask, target, options, fallback)
  local fetch = new_fetch(session, options, ask)
  local path = target
  if is_folder(target) then
    local link, err = fetch:get_link()
    if not link then return nil, err end
    local folder = target:gsub("[/\\]+$", "")
    local name = filename.safe(fetch.filename, fallback)
    path = options.choose and options.choose(folder, name) or folder .. "/" .. name
  end
  if not options.overwrite and disk.size(path) then return nil, exists(path) end
  local hub, err = session._connection:open()
  if not hub then return nil, err end
  local part = path .. ".part"
  if hub.saving[part] and hub.saving[part]:goes_on() then
    return nil, errors.usage("busy", path .. " is being downloaded already", { field = "path" })
  end
  hub.saving[part] = fetch
  local results = compat.pack(compat.try(fetch_all, fetch, path, part, what, options))
  if hub.saving[part] == fetch then hub.saving[part] = nil end
  if not results[1] then error(results[2], 0) end
  return compat.unpack(results, 2, results.n)
end

-- --- chunks --------------------------------------------------------------------------------------------------------

---@class dpg.Chunks
local Chunks = {}
Chunks.__index = Chunks
Chunks.__name = "dpg.Chunks"

---@param session dpg.Session
---@param ask fun(options: table): table?, dpg.Error?
---@param options table
---@return dpg.Chunks
function M.chunks(session, ask, options)
  return setmetatable({ _fetch = new_fetch(session, options, ask), _options = options, _received = 0 }, Chunks)
end

function Chunks:__tostring()
  return string.format("dpg.Chunks (%.0f bytes%s)", self._received, self._closed and ", at its end" or "")
end

local function changed(fetch)
  local context = fetch:context()
  return errors.new { kind = "protocol", code = "file_changed", method = "GET", host = context.host,
    message = "the file has changed on the server since its first bytes were handed out: begin anew" }
end

local function unvouched(fetch)
  local context = fetch:context()
  return errors.new { kind = "protocol", code = "file_changed", method = "GET", host = context.host,
    message = "the file may have changed on the server since its first bytes were handed out, as it has no strong ETag "
      .. "that would say: begin anew" }
end

-- Looks at the head, once: nil, err when what follows does not continue what is here.
function Chunks:_check_head()
  if self._has_head then return true end
  local status, headers = self._stream:head()
  if not status then return true end
  self._has_head = true
  local fetch = self._fetch
  if self._received > 0 and not (status == 200 and self:_take_back()) then
    local from, total = (headers["content-range"] or ""):match("^%s*bytes%s+(%d+)%-%d+/(%d+)%s*$")
    if status ~= 206 or tonumber(from) ~= self._received or (fetch.length and tonumber(total) ~= fetch.length) then
      return nil, changed(fetch)
    end
  elseif status ~= 200 then
    return nil, changed(fetch)
  else
    fetch:note_head(status, headers)
  end
  self.length, self.etag, self.filename = fetch.length, headers.etag, fetch.filename
  return true
end

-- Begins anew, where nothing has been handed out for good.
function Chunks:_take_back()
  if not self._pieces then return false end
  self._pieces, self._received = {}, 0
  return true
end

function Chunks:_drop()
  local stream = self._stream
  self._stream = nil
  if stream then stream:close() end
end

-- The call has ended: true at the end of the file; false when it goes on with another; nil, err.
function Chunks:_ended()
  local fetch, stream = self._fetch, self._stream
  self._stream = nil
  local info, err = fetch:outcome(stream)
  if info then return true end
  local has_moved = self._received > fetch.offset
  -- nothing vouches for the rest
  if self._received > 0 and not fetch.etag and not self:_take_back() then return nil, err end
  fetch.offset = self._received
  local ok, problem = fetch:failed(err, has_moved)
  if not ok then return nil, problem end
  if fetch.offset ~= self._received and not self:_take_back() then return nil, changed(fetch) end
  return false
end

-- Bytes; or false when there are none yet; or nil, at the end, or with an error.
function Chunks:_pull()
  local stream = self._stream
  local ok, err = self:_check_head()
  if not ok then
    self:_drop()
    return nil, err
  end
  self._is_reading = true
  local state, data = stream:read(READ_BYTES)
  if state == "bytes" then self._received = self._received + #data end
  self._is_reading = false
  if state == "bytes" then return data end
  local event
  if state then
    repeat event, err = stream:wait() until event ~= "data" or state == "later"
  end
  if self._closed then return nil end -- by another task, meanwhile
  if not event then
    self:_drop()
    return nil, err or errors.from_core(data, self._fetch:context())
  end
  if state == "later" then return false end
  ok, err = self:_ended()
  if ok == nil then return nil, err end
  if not ok then return false end
  self:close()
  return nil
end

local function take(self)
  local fetch = self._fetch
  while not self._closed do
    -- an interrupt (Ctrl-C) came while bytes were handed over, or in a wait, which has ended the call
    if self._is_reading or (self._stream and self._stream.is_closed) then
      self:_drop()
      self._is_reading = false
    end
    if not self._stream then
      if self._received > 0 and self._received == fetch.length then
        self:close()
        return nil
      end
      if self._received > 0 and not fetch.etag and not self:_take_back() then return nil, unvouched(fetch) end
      local err
      fetch.offset, self._has_head = self._received, false
      self._stream, err = fetch:start({
        chunks = self._options.window or WINDOW, offset = self._received, expected = fetch.length, etag = fetch.etag,
      }, false)
      if not self._stream then return nil, err end
    end
    local bytes, err = self:_pull()
    if bytes and bytes ~= "" then
      local on_progress = self._options.on_progress
      if on_progress then
        self._meter = self._meter or transfer.meter(on_progress, fetch.plan)
        self._meter(self._received, self.length)
      end
      return bytes
    end
    if bytes == nil then return nil, err end
  end
  return nil
end

-- Does another coroutine wait for its bytes? One that was interrupted there does not any more.
local function is_taken(taker, me)
  return taker ~= nil and taker ~= me and (type(taker) ~= "thread" or coroutine.status(taker) ~= "dead")
end

---The next bytes; nil at the end. After an error, asking again goes on behind the last bytes that came.
---@return string? bytes
---@return dpg.Error? err
function Chunks:next()
  local me = coroutine.running() or "main"
  if is_taken(self._taker, me) then
    return nil, errors.usage("busy", "another task waits for these bytes: they are taken by one at a time, in order")
  end
  self._taker = me
  local ok, bytes, err = compat.try(take, self)
  self._taker = nil
  if not ok then error(bytes, 0) end
  return bytes, err
end

-- Until it has ended, telling of progress.
local function watch(stream, meter)
  while true do
    local event, err = stream:wait()
    if not event then return nil, err end
    if event == "done" then return true end
    local _, _, received, length = stream:progress()
    if received and received > 0 then meter(received, length) end
  end
end

-- In one piece, which the core gathers: no step of a game has to put it together. Gives the bytes; or nil, an error,
-- and whether any had come (nil: it was no attempt, and there is no other).
local function read_at_once(fetch, options, most)
  local meter = transfer.meter(options.on_progress, fetch.plan)
  local stream, err = fetch:start(nil, options.on_progress ~= nil, most)
  if not stream then return nil, err end
  local ok
  ok, err = transfer.guarded(stream, watch, meter)
  if not ok then return nil, err end
  local _, _, received = stream:progress()
  local info, head, status, body = fetch:outcome(stream)
  if not info then return nil, head, (received or 0) > 0 end
  fetch:note_head(status, head)
  if status ~= 200 then return nil, changed(fetch) end
  meter(#body, #body, true)
  return body, head.etag
end

local function too_large(fetch, most)
  local context = fetch:context()
  return errors.new { kind = "protocol", code = "response_too_large", method = "GET", host = context.host,
    message = string.format("the file has more than the %.0f bytes that may be read into memory "
      .. "(max_response_bytes): save it, or take it in chunks", most) }
end

-- In pieces, which a cut does not undo.
local function read_on(chunks, most)
  chunks._pieces = {}
  while true do
    local bytes, err = chunks:next()
    if not bytes then return not err and table.concat(chunks._pieces) or nil, err end
    chunks._pieces[#chunks._pieces + 1] = bytes
    if math.max(chunks._received, chunks.length or 0) > most then return nil, too_large(chunks._fetch, most) end
  end
end

---The whole file as one string.
---@param session dpg.Session
---@param ask fun(options: table): table?, dpg.Error?
---@param options table
---@param most integer  bytes
---@return string? bytes
---@return table answer_or_err
function M.read(session, ask, options, most)
  local chunks = M.chunks(session, ask, options)
  local fetch = chunks._fetch
  local bytes, tag_or_err, has_moved = read_at_once(fetch, options, most)
  if not bytes then
    local err = tag_or_err
    if err.code == "response_too_large" then return nil, too_large(fetch, most) end
    local ok
    if has_moved ~= nil then ok, err = fetch:failed(err, has_moved) end
    if not ok then return nil, err end
    bytes, err = read_on(chunks, most)
    chunks:close()
    if not bytes then return nil, err end
    if chunks._meter then chunks._meter(#bytes, #bytes, true) end
    tag_or_err = chunks.etag
  end
  return bytes, { status = 200, etag = tag_or_err, attempts = fetch.attempts, length = #bytes,
    filename = fetch.filename }
end

---Ends it; what is under way is cancelled. Twice is fine.
function Chunks:close()
  self._closed = true
  self:_drop()
end

Chunks.__close = Chunks.close -- Lua 5.4: by a `for` that is left early

-- For `for`: raises the error object. PUC 5.1 can't yield across the iterator of a `for`, nor across a metamethod.
function Chunks:__call()
  if compat.strict_yield and not self._closed and scheduler.current() then
    error(errors.usage("cannot_wait_here", "on Lua 5.1 a `for` in a task can't wait; write: local it = "
      .. "downloads:chunks(…); local bytes, err = it:next(); while bytes do … bytes, err = it:next() end"), 0)
  end
  local bytes, err = self:next()
  if err then errors.throw(err) end
  return bytes
end

return M
