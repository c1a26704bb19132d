-- session.uploads: files on their way to DPG. Contract: section 7. How one is sent is dpg.upload's; what there is to
-- send, dpg.source's.
local call = require "dpg.call"
local config = require "dpg.config"
local errors = require "dpg.errors"
local many = require "dpg.many"
local methods = require "dpg.methods"
local source = require "dpg.source"
local transfer = require "dpg.transfer"
local upload = require "dpg.upload"

local M = {}

---@class dpg.Uploads
local Uploads = {}
Uploads.__index = Uploads
Uploads.__name = "dpg.Uploads"

---@param session dpg.Session
---@return dpg.Uploads
function M.new(session)
  return setmetatable({ _session = session }, Uploads)
end

local KEY = { idempotency_key = config.WRITE.idempotency_key }

---Uploads one file and waits for its image. The file goes to the ticket's own host, without our token, and is sent
---again only while the processor surely has not taken it. Needs api.upload (and api.images.read to show the image).
---@param from string|dpg.SourceTable  a path; or { path= | bytes= | reader=, size=, rewind= }, filename, content_type
---@param fields? dpg.UploadFields  `title` (at most 191 characters), `description`, `keywords`, `creation_date`,
---  `set_public_uuid`, `read_metadata`, `filename`
---@param options? dpg.UploadOptions  `on_progress`, `timeout` (seconds without a byte, 60), `deadline` (none)
---@return dpg.Image? image  only its public_uuid where it can't be read: `answer.image_error` says why
---@return dpg.UploadAnswer|dpg.Error answer_or_err  code "upload_outcome_unknown" with `transaction_uuid`: it may have
---  been taken
function Uploads:send(from, fields, options)
  options = config.check("uploads:send", options, transfer.OPTIONS, KEY)
  config.check_call_retry("uploads:send", options)
  if fields ~= nil and type(fields) ~= "table" then
    errors.raise("uploads:send: a table of fields expected, got %s", type(fields))
  end
  local opened, err = source.open("uploads:send", from)
  if not opened then return nil, err end
  return upload.send(self._session, "uploads:send", opened, fields, options, {})
end

-- --- many ----------------------------------------------------------------------------------------------------------

local ITEM = { fields = true, id = true }

-- An item of the list: its source, its fields, and the id that the journal knows it by.
local function read_item(item, i, shared)
  local where = "uploads:send_many: item " .. i
  local from, fields, id = item, nil, nil
  if type(item) == "table" then
    from = {}
    for name, value in pairs(item) do
      if not ITEM[name] then from[name] = value end
    end
    fields, id = item.fields, item.id
  elseif type(item) ~= "string" then
    errors.raise("%s: a path or a table expected, got %s", where, type(item))
  end
  if fields ~= nil and type(fields) ~= "table" then
    errors.raise("%s: fields: a table expected, got %s", where, type(fields))
  end
  if id ~= nil and type(id) ~= "string" then errors.raise("%s: id: a string expected, got %s", where, type(id)) end
  local all = {}
  for name, value in pairs(shared or {}) do all[name] = value end
  for name, value in pairs(fields or {}) do all[name] = value end
  local path = type(from) == "string" and from or from.path or from.filename
  return { file = id or path or tostring(i), from = from, fields = all, where = where, item = item }
end

local function known_as_unknown(entry)
  return errors.new {
    kind = "cancelled", code = "upload_outcome_unknown", reason = "earlier_run",
    transaction_uuid = entry.transaction_uuid, idempotency_key = entry.key,
    message = "an earlier run ended before it learnt whether the file was taken: look for it before sending it again",
  }
end

-- Does the entry tell of these very contents? Nil, err: they can't be read. An entry of an older dpg knows the size
-- alone, and so does one of a reader, whose bytes are had by sending them.
local function is_of(entry, opened, session)
  if entry.size ~= opened.size then return false end
  if not entry.fingerprint then return true end
  local fingerprint, err = opened:fingerprint(function() return call.sleep(session._connection, 0) end)
  if err then return nil, err end
  return not fingerprint or fingerprint == entry.fingerprint
end

local RECALLED = { done = true, sending = true, unknown = true }

-- What the journal already knows; nil: the file is to be sent.
local function recall(entry, opened, item, session, options)
  if not entry or not RECALLED[entry.step] then return nil end
  if opened then
    local is_known, err = is_of(entry, opened, session)
    if err then return { status = "failed", error = err } end
    if not is_known then return nil end
  end
  if entry.step == "done" then
    return {
      status = "already", image_public_uuid = entry.image_public_uuid, transaction_uuid = entry.transaction_uuid,
    }
  end
  local result = { status = "unknown", error = known_as_unknown(entry), transaction_uuid = entry.transaction_uuid }
  local again = options.resend_unknown
  if type(again) == "function" then again = again(item.item, result.error) end
  return not again and result or nil
end

-- Writes each step down before it is taken.
local function watching(book, file, size, result)
  if not book then return {} end
  local sent -- the fingerprint of what has left
  local function step(name, key, transaction_uuid, more)
    local line = { step = name, size = size, fingerprint = sent, key = key, transaction_uuid = transaction_uuid }
    for field, value in pairs(more or {}) do line[field] = value end
    return book:write(file, line)
  end
  return {
    ticket = function(key)
      sent = nil
      return step("ticket", key)
    end,
    sending = function(key, transaction_uuid, fingerprint)
      sent = fingerprint
      return step("sending", key, transaction_uuid)
    end,
    done = function(image, key, transaction_uuid)
      local _, err = step("done", key, transaction_uuid, { image_public_uuid = image })
      result.journal_error = err
    end,
    failed = function(name, err) step(name, err.idempotency_key, err.transaction_uuid, { code = err.code }) end,
  }
end

local function send_one(self, item, book, options)
  local opened, err = source.open(item.where, item.from)
  local result = recall(book and book.entries[item.file], opened, item, self._session, options)
  if result then return result end
  if not opened then return { status = "failed", error = err } end
  result = {}
  local watch = watching(book, item.file, opened.size, result)
  local own = { on_progress = options.on_progress and function(done, total)
    options.on_progress(done, total, item.file)
  end }
  for name in pairs(transfer.OPTIONS) do
    if own[name] == nil then own[name] = options[name] end
  end
  local image, answer = upload.send(self._session, "uploads:send_many", opened, item.fields, own, watch)
  if image then
    result.status, result.image, result.image_public_uuid = "sent", image, answer.image_public_uuid
    result.transaction_uuid, result.answer = answer.transaction_uuid, answer
    return result
  end
  result.status = answer.code == "upload_outcome_unknown" and "unknown" or "failed"
  result.error, result.transaction_uuid = answer, answer.transaction_uuid
  if watch.failed then watch.failed(result.status, answer) end
  return result
end

local MANY = {
  fields = config.is "table",
  resend_unknown = function(value)
    if type(value) ~= "boolean" and type(value) ~= "function" then return "a boolean or a function" end
  end,
}

---Uploads many files, a few at a time, within dpg.run or outside of it. With a journal, a run that was killed goes on
---where it was: what is known to be there is not sent again; what may be is reported, and sent again only if the caller
---says so. A file that holds something else by now is another file. One run at a time may use a journal.
---@param list (string|table)[]  paths, or sources with `fields` and an `id` for the journal (else the path)
---@param options? dpg.SendManyOptions  `concurrency` (4), `journal` (a path), `on_file(result)`, `fields` for all,
---  `on_progress(sent, total, file)`, `resend_unknown` (true, or a function of the item and the error)
---@return dpg.SendReport? report  `files`, and how many were `sent`, `already` there, `unknown`, `failed`
---@return dpg.Error? err  the journal can't be used, or a file stands in the list twice; nothing was sent
function Uploads:send_many(list, options)
  options = config.check("uploads:send_many", options, many.OPTIONS, MANY, transfer.OPTIONS)
  config.check_call_retry("uploads:send_many", options)
  if type(list) ~= "table" then errors.raise("uploads:send_many: a list expected, got %s", type(list)) end
  local items = {}
  for i, item in ipairs(list) do items[i] = read_item(item, i, options.fields) end
  local report, err = many.run("uploads", items, options, function(item, book)
    return send_one(self, item, book, options)
  end)
  if not report then return nil, err end
  for _, name in ipairs { "sent", "already", "unknown", "failed" } do report[name] = report[name] or 0 end
  return report
end

methods(Uploads, "uploads")

return M
