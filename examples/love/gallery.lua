-- Everything that talks to DPG. The screens ask, and are called back from within step(): `done(value)`, or
-- `done(nil, words)` with what went wrong in words for people. No call blocks a frame.
local dpg = require "dpg"

local M = {}

local Gallery = {}
Gallery.__index = Gallery

---@param settings { folder: string, base_url?: string, ca_file?: string, on_signed_out: fun(words: string) }
---  `folder` keeps the session; `on_signed_out` is called when the server wants the person to sign in again
function M.new(settings)
  return setmetatable({
    loop = dpg.loop(), settings = settings, store = dpg.store.file(settings.folder .. "/session"),
  }, Gallery)
end

function Gallery:step()
  self.loop:step()
end

-- --- words ---------------------------------------------------------------------------------------------------------

local WORDS = {
  unauthorized = "You have been signed out. Please sign in again.",
  challenge_closed = "That took too long. Please sign in again.",
  api_not_enabled = "This account's administrator has not switched the API on yet.",
  sign_in_required = "You have been signed out. Please sign in again.",
  store_busy = "Another program holds the session just now. Please try again.",
}
local KINDS = {
  network = "The gallery can't be reached. Is this computer online?",
  timeout = "The gallery does not answer. Please try again.",
  tls = "The connection is not private, so nothing was sent. A portal or a proxy may be in between.",
  protocol = "Something answered that is not the gallery. Does this network want you to log in first?",
  storage = "The session can't be kept on this computer: its disk is full, or its folder can't be written to.",
}

local function seconds(n)
  n = math.ceil(n)
  return n < 100 and n .. " seconds" or math.ceil(n / 60) .. " minutes"
end

-- A wait that a person would notice is told, so that the form can say so.
local function telling(note)
  return function(name, event)
    if name == "retry" and event.wait >= 2 then
      note(event.status == 429 and "Too many tries: waiting " .. seconds(event.wait) or "Trying again")
    end
  end
end

---What an error means, for people.
---@param err dpg.Error
---@return string
function M.words(err)
  if type(err) ~= "table" then return "Something went wrong in this program: " .. tostring(err) end
  if err.retry_after then return "Too many tries. Please wait " .. seconds(err.retry_after) .. "." end
  return WORDS[err.code] or KINDS[err.kind] or err.detail or err.message
end

-- --- tasks ---------------------------------------------------------------------------------------------------------

-- Runs `work` as a task of the loop and tells `done` what it returned.
function Gallery:_run(work, done)
  self.loop:spawn(function()
    local value, err = work()
    if value ~= nil then return done(value) end
    if self.user and err.kind == "auth" then
      self.user = nil
      return self.settings.on_signed_out(M.words(err))
    end
    done(nil, M.words(err), err)
  end)
end

local function device(folder)
  -- names this installation to the person, in the list of their devices; it is no secret
  local path = folder .. "/device"
  local file = io.open(path, "r")
  local identifier = file and file:read "*l"
  if file then file:close() end
  if not identifier then
    identifier = string.format("%08x%08x", love.math.random(0, 2 ^ 32 - 1), love.math.random(0, 2 ^ 32 - 1))
    file = io.open(path, "w")
    if file then
      file:write(identifier, "\n")
      file:close()
    end
  end
  return { identifier = identifier, name = "Slideshow", platform = love.system.getOS():lower():gsub("%s", "") }
end

function Gallery:_with(options)
  options.store, options.base_url, options.ca_file = self.store, self.settings.base_url, self.settings.ca_file
  return options
end

-- --- the person ----------------------------------------------------------------------------------------------------

---Goes on with the session of the last run. `done(nil)` without words: there is none.
function Gallery:resume(done)
  self:_run(function() return dpg.resume(self:_with {}) end, function(user, words, err)
    if err and err.code == "sign_in_required" then words = nil end
    self.user = user
    done(user, words)
  end)
end

---`done(nil, words, challenge)`: with a challenge, a code is asked for, by answer(); without, `is_wrong` says whether
---it was for what was typed. `note(words)` is called while it has to wait.
function Gallery:sign_in(login, password, note, done)
  self:_run(function()
    return dpg.sign_in(self:_with {
      login = login, password = password, device = device(self.settings.folder), on_event = telling(note),
    })
  end, function(user, words, err)
    self.user = user
    local is_wrong = err and err.code == "unauthorized"
    if is_wrong then words = "That login and password don't belong together." end
    done(user, words, err and err.challenge, is_wrong)
  end)
end

function Gallery:answer(challenge, code, done)
  self:_run(function() return challenge:answer(code) end, function(user, words, err)
    self.user = user
    local is_wrong = err and err.code == "unauthorized"
    if is_wrong then words = "That code is not right, or has run out." end
    done(user, words, err and err.challenge, is_wrong)
  end)
end

function Gallery:sign_out(done)
  self:_run(function() return self.user:sign_out() end, function(ok, words)
    if ok then self.user = nil end
    done(ok, words)
  end)
end

-- --- pictures ------------------------------------------------------------------------------------------------------

-- JSON's null is a value of its own: nothing, for us.
local function known(value)
  return value ~= dpg.null and value ~= "" and value or nil
end
M.known = known

local function collect(sets, path, list)
  for _, set in ipairs(sets) do
    if (set.image_count or 0) > 0 then list[#list + 1] = { set = set, path = path } end
    collect(set.children or {}, path and path .. " / " .. set.name or set.name, list)
  end
  return list
end

---All sets of an account that hold images: `done { { set, path } … }`.
function Gallery:sets(account, done)
  self:_run(function()
    local session, err = self.user:account(account.uuid)
    if not session then return nil, err end
    self.session = session
    local tree
    tree, err = session.sets:tree()
    return tree and collect(tree, nil, {}), err
  end, done)
end

---The images of a set, in its order: `done { image … }`.
function Gallery:images(set, done)
  local session = self.session
  self:_run(function()
    local list, it = {}, session.sets:each_image(set.public_uuid)
    local image, err = it:next()
    while image do
      if not known(image.hidden) then list[#list + 1] = image end
      image, err = it:next()
    end
    if err then return nil, err end
    return list
  end, done)
end

-- The smallest version that fills the wished size, or the largest there is.
local function version_for(image, width, height)
  local best
  for _, version in ipairs(known(image.versions) or {}) do
    local fills = (version.width or 0) >= width or (version.height or 0) >= height
    if not best or (fills and (not best.fills or version.width < best.width))
      or (not fills and not best.fills and version.width > best.width) then
      best = { name = version.version, width = version.width or 0, fills = fills }
    end
  end
  return best and best.name
end

---An image's file, at least so many pixels wide or high where there is one: `done { bytes, image }`.
function Gallery:picture(public_uuid, width, height, done)
  local session = self.session
  self:_run(function()
    local image, err = session.images:get(public_uuid)
    if not image then return nil, err end
    local bytes
    bytes, err = session.downloads:read(public_uuid, { version = version_for(image, width, height) })
    return bytes and { bytes = bytes, image = image }, err
  end, done)
end

return M
