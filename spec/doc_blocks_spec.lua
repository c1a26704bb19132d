-- Every code block of README and doc runs: here, or in the spec that its comment names; those that can't say why.
-- (support/blocks.lua tells how.) The cookbook's programs have a spec of their own, cookbook_spec.lua.
local blocks = require "support.blocks"
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local process = require "support.process"
local redis = require "support.redis"
local table_store = require "support.table_store"

if (os.getenv "CHECKER" or "") ~= "" then return end -- what they call has specs of its own, which a checker sees

-- What the Lua of a page knows without being told; what is typed; and what is done after its nth block in Lua.
local known = {}

local function first_image(box)
  return dpg.assert(client.service(box).images:list { limit = 1 }).items[1].public_uuid
end

known["README.md"] = function(box, folder)
  process.write_file(folder .. "/stage.jpg", "a picture")
  local omar = box.people.omar
  return {
    names = { uuid = first_image(box), folder = folder },
    environment = { DPG_LOGIN = omar.login, DPG_PASSWORD = omar.password }, input = { omar.code },
    after = { [7] = function() assert.equal("a picture", process.read_file(folder .. "/copy.jpg")) end },
  }
end

-- A person's session in a file: what a game has after its first run.
local function signed_in(box, path)
  dpg.assert(client.sign_in(box, "jane", { store = dpg.store.file(path) }))
  return path
end

local function steps(names)
  repeat
    names.love.update()
    require "socket".sleep(0.002)
  until names.loop:step() == 0
end

known["doc/hosts.md"] = function(box, folder)
  return {
    names = { love = {}, path = signed_in(box, folder .. "/session"), pictures = {} },
    after = {
      [2] = function(names)
        names.love.load()
        steps(names)
        assert.is_true(#names.pictures > 0)
        names.love.quit()
      end,
    },
    needs = { [3] = "luv" },
  }
end

known["doc/games.md"] = function(box, folder)
  local person = box.people.omar
  process.write_file(folder .. "/game.c", process.read_file "examples/embed/game.c")
  return {
    names = {
      gallery = client.service(box), uuid = first_image(box), device = client.device, store = dpg.store.memory(),
      form = {
        login = person.login, password = person.password, ask_code = function(_, answer) answer(person.code) end,
      },
      love = { filesystem = { getSourceBaseDirectory = function() return folder end } },
      package = { cpath = "" },
    },
    after = {
      [1] = function(names)
        steps(names)
        assert.is_true(#names.picture > 1000)
      end,
      [2] = steps,
    },
  }
end

known["doc/c.md"] = function(box) return { environment = { JANES_PASSWORD = box.people.jane.password } } end

known["doc/errors.md"] = function(box) return { names = { gallery = client.service(box) } } end

known["doc/stores.md"] = function(_, folder)
  local kept = {}
  local server = not redis.is_missing() and redis.start { password = "sesame" }
  return {
    names = {
      path = folder .. "/session", key = ("k"):rep(32),
      my_store = function() return table_store(kept) end,
      require = function(name)
        if name ~= "redis" then return require(name) end
        -- the page's address is Redis' own
        return { connect = function() return require "redis".connect("127.0.0.1", server.port) end }
      end,
    },
    environment = { REDIS_PASSWORD = "sesame" },
    needs = { [1] = "redis" },
    after = { [1] = function(names) assert(dpg.store.check(names.store).ok) end },
    close = function() if server then server:stop() end end,
  }
end

-- A small library is quick; what this page prints is of the one that a reader starts.
local IMAGES = { ["doc/getting-started/scripts.md"] = 120 }

-- Pages whose blocks have a spec of their own, each in a sandbox and a folder for itself.
local APART = { ["doc/cookbook.md"] = true }

-- Which modules a block needs that this Lua may not have.
local function missing(name)
  if not name then return nil end
  if name == "redis" then return redis.is_missing() or not redis.library() and "lua-redis is not installed" end
  if not pcall(require, name) then return name .. " is not installed for this Lua: ./dev test installs it" end
end

describe("every code block", function()
  for _, page in ipairs(blocks.pages()) do
    local list, here = blocks.read(page), 0
    for _, block in ipairs(list) do
      if blocks.RUN[block.language] and not block.reason and not block.by then here = here + 1 end
    end

    if #list > 0 then
      it(("of %s says what it is, and who runs it or why nobody does"):format(page), function()
        for _, block in ipairs(list) do
          local where = ("%s:%d: "):format(block.page, block.line)
          if block.by then
            local spec = process.read_file(block.by)
            assert.is_truthy(spec and spec:find(page, 1, true), where .. block.by .. " does not read this page")
          elseif not block.reason and not blocks.NO_CODE[block.language] then
            assert.is_truthy(blocks.RUN[block.language], where .. "a block in '" .. block.language .. "' is not run")
          end
        end
      end)
    end

    if here > 0 and not APART[page] then
      it(("of %s that can be run here does what it says (%d)"):format(page, here), function()
        local box = boxes.start { images = IMAGES[page] or 40 }
        local given = {}
        finally(function()
          box:stop()
          if given.close then given.close() end
        end)
        local folder = process.folder()
        if known[page] then given = known[page](box, folder) end
        local opened = blocks.open(page, box, given, folder)
        local nth, why = 0, nil
        for _, block in ipairs(list) do
          if block.language == "lua" and not block.file then nth = nth + 1 end
          if blocks.RUN[block.language] and not block.reason and not block.by then
            local is_lua = block.language == "lua" and not block.file
            local absent = is_lua and missing(given.needs and given.needs[nth])
            why = why or absent
            if not absent then opened:run(block) end
            local after = is_lua and not absent and given.after and given.after[nth]
            if after then after(opened.names) end
          end
        end
        if why then pending(why) end
      end)
    end
  end
end)
