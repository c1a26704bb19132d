-- The shapes of answers: DPG's errors, JSON bodies, pages (contract section 1). Whoever finds a request wrong calls
-- reject(), which raises a refusal; the dispatcher in api.lua turns that into the answer. Pure.

local json = require "dpg.sandbox.json"

local M = {}

local DEFAULT_LIMIT, MAX_LIMIT = 50, 200

local Refusal = { __name = "dpg.sandbox.refusal" }

local messages = {
  validation = "The request is not valid.",
  unauthorized = "The token or the credentials are not accepted.",
  forbidden = "This token may not do that.",
  api_not_enabled = "API access is not enabled for this account.",
  idempotency_key_conflict = "This Idempotency-Key was used with another request.",
  payload_too_large = "The request is too large.",
  rate_limited = "Too many requests.",
  not_found = "There is nothing here.",
  method_not_allowed = "This method is not offered here.",
  image_not_found = "There is no such image.",
  set_not_found = "There is no such set.",
  operation_not_found = "There is no such operation.",
  keyword_not_found = "The image has no such keyword.",
  credit_not_found = "The image has no such credit.",
  snapshot_not_found = "There is no such snapshot.",
  version_not_found = "The image has no such version.",
  ticket_not_found = "There is no such ticket.",
  ticket_used = "The ticket was used before.",
  ticket_expired = "The ticket has expired.",
  signature_mismatch = "The fields are not those of the ticket.",
  internal = "The sandbox made a mistake.",
}

---Ends the request with an error in DPG's shape.
---@param status integer
---@param code string
---@param detail? string
---@param field? string
---@param headers? table<string, string>
function M.reject(status, code, detail, field, headers)
  error(setmetatable({ status = status, code = code, detail = detail, field = field, headers = headers }, Refusal), 0)
end

---@param field string
---@param detail string
function M.invalid(field, detail)
  M.reject(400, "validation", detail, field)
end

---@param value any
---@return boolean
function M.is_refusal(value)
  return type(value) == "table" and getmetatable(value) == Refusal
end

---@param status integer
---@param text string  JSON
---@param headers? table
---@return dpg.sandbox.Response
function M.text(status, text, headers)
  headers = headers or {}
  headers["Content-Type"] = "application/json; charset=utf-8"
  return { status = status, headers = headers, body = text }
end

---@param refusal table
---@param request_id string
---@return dpg.sandbox.Response
function M.refusal(refusal, request_id)
  local headers = {}
  for name, value in pairs(refusal.headers or {}) do
    headers[name] = value
  end
  return M.text(refusal.status, json.encode {
    error = {
      code = refusal.code, message = messages[refusal.code] or refusal.code, detail = refusal.detail or json.null,
      field = refusal.field or json.null, request_id = request_id,
    },
  }, headers)
end

local function whole_number(query, name, default)
  local text = query[name] and query[name][1]
  if not text then return default end
  if not text:find "^%d+$" or #text > 9 then M.invalid(name, name .. " must be a whole number") end
  return math.floor(tonumber(text))
end

---Cuts a page out of a list, as ?limit and ?offset ask.
---@param query table<string, string[]>
---@param items table
---@return table page
---@return table<string, string> headers
function M.page(query, items)
  local limit = whole_number(query, "limit", DEFAULT_LIMIT)
  local offset = whole_number(query, "offset", 0)
  if limit < 1 or limit > MAX_LIMIT then M.invalid("limit", "limit must be from 1 to " .. MAX_LIMIT) end
  local page = json.array {}
  for index = offset + 1, math.min(offset + limit, #items) do
    page[#page + 1] = items[index]
  end
  local next_offset = offset + #page
  return page, {
    ["X-Has-More"] = tostring(next_offset < #items and #page > 0),
    ["X-Next-Offset"] = string.format("%d", next_offset),
  }
end

return M
