-- How things end: exit codes, and an error as one line for people: what happened, what to do.
local out = require "dpg.cli.out"

local M = {}

M.OK, M.FAILED, M.USAGE, M.AUTH, M.NETWORK, M.INTERRUPTED = 0, 1, 2, 3, 4, 130

local STATUS = { usage = M.USAGE, auth = M.AUTH, network = M.NETWORK, timeout = M.NETWORK, tls = M.NETWORK }

-- A failure of the command itself.
local Failure = {}
Failure.__index = Failure
function Failure:__tostring() return self.message end

---Ends the command.
---@param status integer
---@param message string  what happened: what to do
function M.raise(status, message)
  error(setmetatable({ status = status, message = message }, Failure), 0)
end

function M.usage(message, ...)
  M.raise(M.USAGE, select("#", ...) > 0 and message:format(...) or message)
end

-- What to do, by the error's code, else by its kind.
local ADVICE = {
  sign_in_required = "sign in with dpg login",
  unauthorized = "is DPG_TOKEN right, and not revoked? Else sign in with dpg login",
  mfa_required = "sign in at a terminal, where the code can be asked for",
  api_not_enabled = "an administrator of the account has to turn API access on",
  forbidden = "ask for a token with that scope; dpg whoami shows what this one may do",
  store_busy = "another dpg has the session: wait for it",
  store_other_origin = "is DPG_BASE_URL right? --profile NAME keeps another session beside it, dpg login --again "
    .. "replaces it, dpg logout forgets it",
  store_damaged = "sign in with dpg login",
  image_not_found = "look for it with dpg search",
  set_not_found = "dpg set tree shows them",
  keyword_not_found = "dpg keyword ls shows what there is",
  snapshot_not_found = "dpg set snapshots shows them",
  upload_outcome_unknown = "look for it with dpg search; --resend sends it again",
  operation_timeout = "it goes on at DPG: look later",
  exists = "--overwrite replaces it",
  network = "is this machine online, and the proxy right, if there is one?",
  timeout = "try again later",
  tls = "is the date of this machine right, and is the authority known? DPG_CA_FILE names others",
  protocol = "is it DPG that answers, or a proxy or a portal?",
  storage = "look at the disk, and at the modes of the files",
}
-- Where dpg doctor has more to say.
local FOR_DOCTOR = { network = true, timeout = true, tls = true, protocol = true, storage = true }

-- What the library advises in Lua's terms, where there is advice of ours.
local THEIRS = {
  sign_in_required = "; sign in.*$", mfa_required = ": answer err%.challenge.*$", exists = "; say overwrite.*$",
  store_busy = ": try again.*$", upload_outcome_unknown = ": look for it.*$", store_damaged = ": sign in again$",
}

-- What the library calls by its own names, and the command by these.
local NAMES = {
  ["option 'token'"] = "DPG_TOKEN", base_url = "DPG_BASE_URL", ca_file = "DPG_CA_FILE",
  created_at_from = "--created-from", created_at_to = "--created-to", updated_at_from = "--updated-from",
  updated_at_to = "--updated-to", creation_date_from = "--taken-from", creation_date_to = "--taken-to",
  min_rating = "--min-rating", bbox = "--bbox", creation_date = "--taken", alt_text = "--alt",
  activation_time = "MOMENT",
}

local function in_our_words(message)
  message = message:gsub("^[%a_]+[:.][%a_]+: ", "")
  message = message:gsub("option 'token'", NAMES)
  return (message:gsub("%f[%w_][%a_]+%f[^%w_]", NAMES))
end

---@param err dpg.Error
---@param is_doctor? boolean  it is dpg doctor that says it
---@return string
function M.text(err, is_doctor)
  local message = in_our_words(err.message or "something went wrong")
  if THEIRS[err.code] then message = message:gsub(THEIRS[err.code], "") end
  if err.detail and err.detail ~= err.message then
    message = message:gsub("%.$", "") .. ": " .. in_our_words(err.detail)
  end
  local is_theirs = err.kind == "api" and (err.status or 0) >= 500
  if is_theirs and message == err.code then message = "DPG has failed" end
  local advice = ADVICE[err.code] or ADVICE[err.kind] or is_theirs and "this is DPG's to mend: try again later" or nil
  if FOR_DOCTOR[err.kind] and advice == ADVICE[err.kind] and not is_doctor then
    advice = advice .. (advice:find "%?$" and " dpg doctor looks" or "; dpg doctor looks")
  end
  if err.retry_after then advice = ("try again in %d s"):format(math.ceil(err.retry_after)) end
  local notes = { is_theirs and "status " .. err.status or nil }
  if err.request_id then notes[#notes + 1] = "request " .. err.request_id end
  if #notes > 0 then message = message:gsub("%.$", "") .. " (" .. table.concat(notes, ", ") .. ")" end
  return out.plain(message .. (advice and ": " .. advice or ""))
end

---@param err any
---@return boolean
function M.is_library_error(err)
  return type(err) == "table" and type(err.kind) == "string" and type(err.code) == "string"
end

---What the program ends with after `err` was raised.
---@param err any
---@param is_doctor? boolean
---@return integer status
---@return string message
function M.describe(err, is_doctor)
  if getmetatable(err) == Failure then return err.status, err.message end
  if M.is_library_error(err) then return STATUS[err.kind] or M.FAILED, M.text(err, is_doctor) end
  if tostring(err):find("interrupted!", 1, true) then return M.INTERRUPTED, "interrupted" end
  local slip = tostring(err):match ": dpg: ([%a_]+[:.][%a_]+: .*)$" -- what the library does not take at all
  if slip then return M.USAGE, in_our_words(slip) end
  return M.FAILED, tostring(err)
end

---The status that reports with such errors end with: the first that is more than "failed", as it concerns all.
---@param errs dpg.Error[]
---@return integer
function M.status_of(errs)
  for _, err in ipairs(errs) do
    local status = STATUS[err.kind]
    if status and status ~= M.USAGE then return status end
  end
  return M.FAILED
end

return M
