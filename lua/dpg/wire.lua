-- What DPG's public guides leave open (marked A in the contract), each assumption once, so that it can be corrected
-- in a minute. Reading is liberal: near variants are accepted, unknown fields kept. Pure: no calls, no hosts. The
-- core's own assumptions (the token endpoint) are in csrc/core/wire.c.
local json = require "dpg.json"

local M = {}

M.DEFAULT_BASE_URL = "https://api.digitalphotogallery.com/v1"

-- The version that paths begin with, where they are whole (in a batch).
M.VERSION = "/v1"

-- A: answers are asked for by this header.
M.ACCEPT = "application/json"

-- A: where the facets are.
M.FACETS_PATH = "/facets"

-- A: a query field with several values is repeated (`keyword=a&keyword=b`).
M.LIST_IN_QUERY = "repeat"

-- A: the header of an answer that names the request, for support.
M.REQUEST_ID_HEADER = "x-request-id"

-- What is read of an answer's headers: under which names it becomes part of a dpg.Answer; and what steers.
M.ANSWER_HEADERS = { etag = "etag", date = "date", [M.REQUEST_ID_HEADER] = "request_id" }
M.PAGE_HEADERS = { "x-has-more", "x-next-offset" }
M.RAW_HEADERS = { "content-type" }

-- A: none of DPG's files is a web page: a proxy or a portal answers then. The core says so of files and chunks.
---@param headers table<string, string>
---@return boolean
function M.is_page(headers)
  return (headers["content-type"] or ""):lower():find "^text/html" ~= nil
end

-- A: how an error of a batch names the write that it is about: "operations[1]", counted from 0, in its field or text.
local BATCH_ITEM = "operations%[(%d+)%][.:]? ?"

---@param text any  of an error
---@return integer? nth  counted from 1
---@return string? rest  the text without it
function M.batch_item(text)
  local nth = type(text) == "string" and text:match(BATCH_ITEM)
  if nth then return tonumber(nth) + 1, (text:gsub(BATCH_ITEM, "", 1)) end
end

-- A: codes that mean that the mfa_token itself is gone, not that the code was wrong.
M.MFA_TOKEN_GONE = {
  mfa_token_expired = true, mfa_token_invalid = true, invalid_mfa_token = true, token_expired = true,
  token_revoked = true, invalid_token = true,
}

-- A: what an id looks like. A UUID, perhaps with a prefix ("op-7c9e…"); this much is certain of each, and tells it from
-- a title, a file name or a URL.
---@param value string
---@return boolean
function M.is_uuid(value)
  return #value >= 8 and #value <= 64 and value:find "^%w[%w_-]*$" ~= nil and value:find "%d" ~= nil
end

local function text(value)
  if type(value) == "string" and value ~= "" then return value end
  if type(value) == "number" then return tostring(value) end
end

---A number, or a numeric string.
---@param value any
---@return number?
function M.number(value)
  local n = type(value) == "number" and value or type(value) == "string" and tonumber(value:match("^%s*(%-?%d+)%s*$"))
  return n or nil
end

-- Days from 1970 to a day of the calendar (Howard Hinnant's days_from_civil).
local function days(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + day - 1
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

---A time in Unix seconds: a number, a numeric string, or ISO 8601 (in UTC where it names no zone).
---@param value any
---@return number?
function M.time(value)
  local n = M.number(value)
  if n or type(value) ~= "string" then return n end
  local year, month, day, hour, minute, second, zone =
    value:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)%.?%d*(.*)$"
  if not year then return nil end
  local sign, zone_hour, zone_minute = zone:match "^([+-])(%d%d):?(%d%d)$"
  if not sign and zone ~= "" and zone:upper() ~= "Z" then return nil end
  local offset = sign and (zone_hour * 60 + zone_minute) * 60 * (sign == "+" and 1 or -1) or 0
  return days(tonumber(year), tonumber(month), tonumber(day)) * 86400 + hour * 3600 + minute * 60 + second - offset
end

---DPG's error shape; also a bare string under `error`, and the fields without `error` around them.
---@param value any  a decoded body
---@return table? err  code, message, detail, field, request_id
function M.read_error(value)
  if type(value) ~= "table" then return nil end
  local err = value.error
  if type(err) == "string" then err = { code = err, message = value.message or value.error_description } end
  if type(err) ~= "table" then err = value end
  return {
    code = text(err.code), message = text(err.message), detail = text(err.detail), field = text(err.field),
    request_id = text(err.request_id) or text(value.request_id),
  }
end

-- A: the names under which a list may stand, where it is no bare array.
M.LISTS = { "data", "items" }

---A list: a bare array, or one under `data` or `items`.
---@param value any
---@return table?
function M.list(value)
  if json.is_array(value) then return value end
  if type(value) ~= "table" then return nil end
  for _, name in ipairs(M.LISTS) do
    if json.is_array(value[name]) then return value[name] end
  end
end

---An Operation: bare, or under `operation`.
---@param value any
---@return table?
function M.operation(value)
  if type(value) ~= "table" then return nil end
  if type(value.operation) == "table" then value = value.operation end
  if not (text(value.uuid) and text(value.status)) then return nil end
  return value
end

---A: a keyword that is to be removed: by its full form, or by its value and a namespace.
---@param keyword string
---@param namespace? string
---@return table  the body of DELETE /images/{public_uuid}/keywords
function M.keyword_body(keyword, namespace)
  return { keyword = keyword, namespace = namespace }
end

---@param fields { keyword: table }
---@return table
function M.remove_keyword_body(fields)
  return fields.keyword
end

---A: the body of a batch. An item's path is whole, with the version.
---@param fields { operations: table[] }
---@return table
function M.batch_body(fields)
  local items = {}
  for i, write in ipairs(fields.operations) do
    local path = write.path
    if not path:find "^/v%d+/" then path = M.VERSION .. path end
    items[i] = { method = write.method, path = path, body = write.body }
  end
  return { operations = items }
end

---A: what a batch is answered with: the Operations in the order of their writes.
---@param value any
---@return table? batch  summary, operations (as they came)
function M.batch(value)
  if type(value) ~= "table" then return nil end
  local list = M.list(value.operations) or M.list(value)
  if not list then return nil end
  return { summary = type(value.summary) == "table" and value.summary or {}, operations = list }
end

-- A: any status but these two is still running.
---@param status string
---@return boolean
function M.is_finished(status)
  return status == "succeeded" or status == "failed"
end

---What a failed Operation says of why.
---@param operation table
---@return table err  code, message, detail, field
function M.operation_error(operation)
  local result = operation.result
  local found = type(operation.error) ~= "nil" and M.read_error(operation)
    or type(result) == "table" and M.read_error(result) or {}
  return { code = found.code, message = found.message, detail = found.detail, field = found.field }
end

---The headers that steer paging: X-Has-More and X-Next-Offset, as numbers or numeric strings.
---@param headers table<string, string>
---@return boolean has_more
---@return number? next_offset
function M.paging(headers)
  local more = (headers["x-has-more"] or ""):lower():match("^%s*(.-)%s*$")
  return more == "true" or more == "1", M.number(headers["x-next-offset"])
end

---@param headers table<string, string>
---@return string?
function M.request_id(headers)
  return text(headers[M.REQUEST_ID_HEADER])
end

---Who is calling, and what they may do; capabilities may be called scopes.
---@param value any
---@return table?
function M.me(value)
  if not json.is_object(value) then return nil end
  if type(value.capabilities) ~= "table" then
    value.capabilities = type(value.scopes) == "table" and value.scopes or nil
  end
  return value.capabilities and value
end

---A link to a file; when it expires is a number, however it was said.
---@param value any
---@return table?  nil: it has no `url`
function M.link(value)
  if not json.is_object(value) or type(value.url) ~= "string" or value.url == "" then return nil end
  value.expires_at = M.time(value.expires_at) or value.expires_at
  return value
end

-- --- files ---

-- A: a processor that answers so has refused the ticket, not the file: another ticket may do.
M.TICKET_REFUSED = { [401] = true, [403] = true, [404] = true, [410] = true }
M.TICKET_REFUSED_CODES = {
  ticket_expired = true, ticket_invalid = true, ticket_refused = true, ticket_used = true, expired = true,
  invalid_ticket = true, signature_expired = true, invalid_signature = true,
}

-- A: a CDN that answers so has refused the link: a new one may do.
M.LINK_REFUSED = { [401] = true, [403] = true, [404] = true, [410] = true }

-- A: values of `fields` that are no texts are sent as JSON writes them.
local function field_text(value)
  if type(value) == "string" then return value end
  if type(value) == "number" or type(value) == "boolean" then return (json.encode(value)) end
end

---A ticket for an upload.
---@param value any
---@return table? ticket  upload_url, file_field, fields (texts by name), transaction_uuid
---@return string? problem
function M.ticket(value)
  if type(value) ~= "table" then return nil, "a ticket is expected" end
  local ticket = {
    upload_url = text(value.upload_url), file_field = text(value.file_field) or "file",
    transaction_uuid = text(value.transaction_uuid), fields = {},
  }
  if not ticket.upload_url then return nil, "the ticket has no upload_url" end
  for name, field in pairs(type(value.fields) == "table" and value.fields or {}) do
    local as_text = field_text(field)
    if type(name) ~= "string" or not as_text then return nil, "the ticket's fields are no texts" end
    ticket.fields[name] = as_text
  end
  return ticket
end

---The image that an upload has become.
---@param value any  what the processor answers
---@return string? image_public_uuid
function M.uploaded(value)
  if type(value) ~= "table" then return nil end
  local image = type(value.image) == "table" and value.image or {}
  return text(value.image_public_uuid) or text(image.public_uuid) or text(value.public_uuid)
end

---A link to a file.
---@param value any  an answer of POST /downloads, or an archive
---@return table? link  url, filename
function M.file_link(value)
  if type(value) ~= "table" then return nil end
  local found
  for _, name in ipairs { "url", "link", "download_url", "share_url" } do found = found or text(value[name]) end
  return found and { url = found, filename = text(value.filename) or text(value.name) } or nil
end

---An archive: one of the list, or what the Operation that made it has as its result.
---@param value table
---@return table?  with a link
function M.archive(value)
  local result = type(value.result) == "table" and value.result or {}
  for _, one in ipairs { value, result, type(result.archive) == "table" and result.archive or {} } do
    if M.file_link(one) then return one end
  end
end

-- --- signing in ---

M.SIGN_IN_PATH = "/auth/sign_in"
M.MFA_PATH = "/auth/mfa"

-- A: a device descriptor has these fields, and all are wanted.
M.DEVICE = { "identifier", "name", "platform" }

---@return table  the body of POST /auth/sign_in
function M.sign_in_body(login, password, device)
  return { login = login, password = password, device = device }
end

---@return table  the body of POST /auth/mfa
function M.mfa_body(mfa_token, code)
  return { mfa_token = mfa_token, code = code }
end

---@param value any
---@return string?
function M.mfa_token(value)
  return type(value) == "table" and text(value.mfa_token) or nil
end

-- A: endpoints that take no Idempotency-Key.
---@param path string
---@return boolean
function M.is_auth_path(path)
  return path:match("^/auth/") ~= nil
end

return M
