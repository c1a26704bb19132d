-- The processor, on a port of its own: takes uploads (contract section 7) as they stream in, checks them against their
-- ticket, and makes images of them. What it says no to, it says in DPG's shape.

local answers = require "dpg.sandbox.answers"
local content = require "dpg.sandbox.content"
local json = require "dpg.sandbox.json"
local multipart = require "dpg.sandbox.multipart"

local M = {}

local MAX_FIELD_BYTES = 1024 * 1024

local function refusal(status, code, detail, field)
  return answers.refusal({ status = status, code = code, detail = detail, field = field }, "processor")
end

-- A part that is text, kept; beyond the limit it only grows in length.
local function field_sink(form, part)
  local bytes, size = {}, 0
  return function(piece)
    size = size + #piece
    if size <= MAX_FIELD_BYTES then bytes[#bytes + 1] = piece end
  end, function()
    if form.fields[part.name] ~= nil then form.twice = part.name end
    form.fields[part.name] = table.concat(bytes)
  end
end

local function file_sink(form, part, spool)
  if form.file then form.twice = part.name end
  form.file, form.file_part = spool, part
  return function(piece) spool:write(piece) end, function() end
end

local function read_form(ticket, boundary, read, spool)
  local form = { fields = {} }
  local ok, problem = multipart.read(read, boundary, function(part)
    part.name = part.name or ""
    if part.name == ticket.file_field then return file_sink(form, part, spool) end
    return field_sink(form, part)
  end)
  if not ok then return nil, problem end
  return form
end

-- What is wrong with a form: a field that is not exactly as it was issued, one too many, no file.
local function form_problem(form, ticket)
  if form.twice then return 400, "validation", "there is more than one", form.twice end
  for name, value in pairs(ticket.fields) do
    if form.fields[name] == nil then return 403, "signature_mismatch", "the field is missing", name end
    if form.fields[name] ~= value then return 403, "signature_mismatch", "the field is not as it was issued", name end
  end
  for name in pairs(form.fields) do
    if ticket.fields[name] == nil then return 403, "signature_mismatch", "the field was not issued", name end
  end
  if not form.file then return 400, "validation", "the file is missing", ticket.file_field end
  return nil
end

local function receive(sandbox, request, exchange)
  local uploads = sandbox.api.uploads
  local ticket = uploads.by_uuid[request.path:match "^/upload/([^/]+)$" or ""]
  local status, code = uploads:problem(ticket)
  local boundary = multipart.boundary(request.headers["content-type"])
  if not status and not boundary then status, code = 415, "validation" end
  if status then return refusal(status, code) end
  ticket.attempts = ticket.attempts + 1
  sandbox.spools = (sandbox.spools or 0) + 1
  local spool = content.spool(("%s/upload-%d"):format(sandbox.folder, sandbox.spools))
  local form, problem = read_form(ticket, boundary, exchange.read, spool)
  if not form then
    spool:discard()
    return problem == "malformed" and refusal(400, "validation", "the body is no multipart/form-data") or nil
  end
  local detail, field
  status, code, detail, field = form_problem(form, ticket)
  if not status then status, code = uploads:problem(ticket) end -- it may have been used meanwhile
  if status then
    spool:discard()
    return refusal(status, code, detail, field)
  end
  local image = uploads:take(ticket, spool:finish(), form.file_part.content_type)
  return answers.text(200, json.encode { image_public_uuid = image.public_uuid })
end

---@param sandbox table  api, folder
---@return dpg.sandbox.Site
function M.site(sandbox)
  return {
    name = "processor", streams = true,
    answer = function(request, exchange)
      if request.method ~= "POST" then return refusal(405, "method_not_allowed") end
      return receive(sandbox, request, exchange)
    end,
  }
end

return M
