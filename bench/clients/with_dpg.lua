-- dpg as people use it: a session with events on. Bare is its core alone, called from Lua as the client itself does,
-- with the body as a string.
local core = require "dpg.core"
local dpg = require "dpg"

local CA_FILE, TOKEN, FIELDS = arg[1], "dpg_api_live_bench", { "public_uuid", "title", "keywords" }

local sessions, engines, heard = {}, {}, 0
local function on_event() heard = heard + 1 end

local function session(base_url, protocol, at_once)
  local key = protocol .. base_url .. at_once
  sessions[key] = sessions[key] or dpg.assert(dpg.service {
    token = TOKEN, base_url = base_url, ca_file = CA_FILE, http2 = protocol == "h2", on_event = on_event,
    max_connections = math.max(at_once, 16),
  })
  return sessions[key]
end

local function call(gallery, limit, fields)
  if not limit then return assert(dpg.assert(gallery:me()).account.name) end
  assert(#dpg.assert(gallery.images:list { limit = limit, fields = fields }).items == limit)
end

local function with_core(count, at_once, protocol, base_url, url)
  local key = protocol .. base_url .. at_once
  local kept = engines[key]
  if not kept then
    local engine = assert(core.engine {
      ca_file = CA_FILE, http2 = protocol == "h2", max_connections = math.max(at_once, 16),
    })
    kept = { engine = engine, credential = assert(core.service(engine, base_url, TOKEN)) }
    engines[key] = kept
  end
  local engine = kept.engine
  local spec = { method = "GET", url = url, headers = { Accept = "application/json" }, credential = kept.credential }
  local begun, done = 0, 0
  while begun < math.min(at_once, count) do
    assert(engine:start(spec))
    begun = begun + 1
  end
  while done < count do
    local kind, id = engine:next()
    if kind == "done" then
      local status, _, body = engine:take(id)
      assert(status == 200 and #body > 0)
      done = done + 1
      if begun < count then
        assert(engine:start(spec))
        begun = begun + 1
      end
    elseif not kind then
      engine:wait(1000)
    end
  end
end

require "serve"(dpg._VERSION .. ", " .. (rawget(_G, "jit") and jit.version or _VERSION), -- luacheck: ignore 113
  function(count, at_once, protocol, what, url)
    local base_url, limit = url:match "^(.-/v1)/", tonumber(url:match "limit=(%d+)")
    if what == "bare" then return with_core(count, at_once, protocol, base_url, url) end
    if what == "fields" and not limit then return false end
    local gallery, fields = session(base_url, protocol, at_once), what == "fields" and FIELDS or nil
    if at_once == 1 then
      for _ = 1, count do call(gallery, limit, fields) end
      return
    end
    local before = heard
    dpg.run(function()
      local left = count
      local function work()
        while left > 0 do
          left = left - 1
          call(gallery, limit, fields)
        end
      end
      for _ = 1, at_once do dpg.spawn(work) end
    end)
    assert(heard > before, "no events")
  end)
