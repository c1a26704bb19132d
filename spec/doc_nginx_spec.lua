-- The blocks of doc/openresty.md and of doc/stores.md that belong into nginx, run in a real one, as they stand there.
local blocks = require "support.blocks"
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local nginx = require "support.nginx"
local process = require "support.process"
local redis = require "support.redis"

if process.name ~= "luajit" or (os.getenv "CHECKER" or "") ~= "" then return end -- nginx's Lua is the same everywhere

local function quoted(text) return ("%q"):format(text):gsub("\\\n", "\\n") end

-- A location that runs a block of Lua.
local function location(path, lua)
  return "location " .. path .. " { lua_http10_buffering off; content_by_lua_block {\n" .. lua .. "\n} }\n"
end

describe("in nginx", function()
  local why = nginx.why_no_lua()
  if why then return pending("the pages' blocks do what they say (" .. why .. ")") end
  local box

  setup(function() box = boxes.start { images = 40 } end)
  teardown(function() box:stop() end)

  it("doc/openresty.md does what it says", function()
    local list = blocks.read "doc/openresty.md"
    local config, lua = nil, {}
    for _, block in ipairs(list) do
      if block.language == "nginx" then config = block.text end
      if block.language == "lua" then lua[#lua + 1] = block.text end
    end
    assert.equal(3, #lua)

    local init = blocks.at(assert(config:match "init_by_lua_block {(.-\n)}"), box.base_url)
    local store = process.folder() .. "/session"
    dpg.assert(client.sign_in(box, "jane", { store = dpg.store.file(store) }))
    local image = dpg.assert(client.service(box).images:list { limit = 1 }).items[1]
    local known = "local uuid = " .. quoted(image.public_uuid) .. "\n"
    local web = nginx.start_lua {
      main = "env DPG_TOKEN=" .. box.token .. ";", init = init,
      server = assert(config:match "server {\n(.*)}\n") .. location("/person",
        "local user\n" .. blocks.at(lua[1], box.base_url):gsub('"/var/lib/app/session"', function()
          return quoted(store)
        end) .. "ngx.say(person().accounts[1].name)")
        .. location("/tasks", known .. lua[2] .. "ngx.say(found.public_uuid, #sets > 0)")
        .. location("/file", known .. lua[3]),
    }
    finally(function() web:quit() end)

    local status, body = web:get "/sunsets"
    assert.equal(200, status)
    local page = dpg.assert(client.service(box).images:list { query = "sunset", limit = 20 })
    local titles = {}
    for i, found in ipairs(page.items) do titles[i] = found.title .. "\n" end
    assert.is_true(#titles > 0)
    assert.equal(table.concat(titles), body)

    status, body = web:get "/person"
    assert.equal(200, status, web:log())
    assert.equal(box.people.jane.accounts[1].name .. "\n", body)
    status, body = web:get "/tasks"
    assert.equal(200, status, web:log())
    assert.equal(image.public_uuid .. "true\n", body)
    local headers
    status, body, headers = web:get "/file"
    assert.equal(200, status, web:log())
    assert.equal(tostring(#body), headers["content-length"])
    assert.is_true(#body > 1000)
  end)

  it("doc/stores.md's Redis over cosockets keeps what a store promises", function()
    local absent = redis.is_missing()
    if absent then return pending(absent) end
    local server = redis.start { password = "sesame" }
    local text
    for _, block in ipairs(blocks.read "doc/stores.md") do
      if block.text:find "resty.redis" then text = block.text end
    end
    -- The page's address is Redis' own, and Debian's module has an older timeout.
    text = text:gsub('"10%.0%.0%.5", 6379', '"127.0.0.1", ' .. server.port)
    local web = nginx.start_lua {
      init = 'dpg = require "dpg"',
      server = location("/check", [[
        local found, module = pcall(require, "resty.redis")
        if not found then module = require "nginx.redis" end
        package.loaded["resty.redis"] = module
        module.set_timeouts = module.set_timeouts or function(self, _, send) return self:set_timeout(send) end
        local password = "sesame"
      ]] .. text .. " ngx.print(tostring(dpg.store.check(store)))"),
    }
    finally(function()
      web:quit()
      server:stop()
    end)
    local status, body = web:get "/check"
    assert.equal(200, status, web:log())
    assert.is_truthy(body:find "(%d+) of %1 promises kept", body)
  end)
end)
