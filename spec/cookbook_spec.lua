-- Each recipe of doc/cookbook.md, run as it stands there: its program is kept as the file that its first line names,
-- its commands are typed, and what they print is compared. Each has a sandbox and a folder of its own.
local blocks = require "support.blocks"
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local nginx = require "support.nginx"
local process = require "support.process"
local redis = require "support.redis"

-- What they call has specs of its own, on every Lua and under checkers.
if not process.is_heavy or (os.getenv "CHECKER" or "") ~= "" then return end

local PAGE = "doc/cookbook.md"

-- What must be there before, by the recipe's heading; what must be so afterwards.
local before, after, needs, options = {}, {}, {}, {}

local function images(box, limit)
  return dpg.assert(client.service(box).images:list { limit = limit }).items
end

before["Captions and credits from a spreadsheet"] = function(box, folder)
  local rows = { "public_uuid,title,caption,alt_text,photographer" }
  for i, image in ipairs(images(box, 3)) do
    rows[#rows + 1] = image.public_uuid .. (i > 1 and ",Dusk,At dusk,A stage,Bo"
      or ',"Rain, then light","The crowd said ""more"".",People under umbrellas,Ada Lund')
  end
  process.write_file(folder .. "/captions.csv", table.concat(rows, "\n") .. "\n")
end
after["Captions and credits from a spreadsheet"] = function(box)
  local image = dpg.assert(images(box, 1)[1]:get())
  assert.equal("Rain, then light", image.title)
  assert.equal('The crowd said "more".', image.description)
  assert.equal("People under umbrellas", image.alt_text)
  assert.equal("Ada Lund", image.credits[1].name)
  assert.equal(1, box:count { path = "/operations/batch" })
end

options["Back up a set"] = { images = 6 } -- originals take a while to paint
after["Back up a set"] = function(box, folder)
  local sums = process.shell("cd " .. folder .. "/press-kit && sha256sum *.jpg")
  local count = 0
  for sum, uuid in sums:gmatch "(%x+) [ *]([%x-]+)%.jpg" do
    assert.equal(box:sha256(uuid), sum)
    count = count + 1
  end
  assert.is_true(count > 1)
end

after["Publish at an embargo"] = function(box)
  local gallery = client.service(box)
  for set in gallery.sets:each() do
    if set.name == "Saturday night" then
      for image in set:each_image() do assert.is_true(image.hidden) end
      return
    end
  end
  error "the set is not there"
end

before["Clean up keywords"] = function(box)
  for _, image in ipairs(images(box, 2)) do
    dpg.assert(dpg.assert(image:add_keywords { "CONCERT" }):wait())
  end
end

before["Rate the picks"] = function(box, folder)
  local lines = {}
  for i, image in ipairs(images(box, 3)) do lines[i] = image.filename .. "  " .. (image.rating + 1) % 6 end
  process.write_file(folder .. "/picks.txt", table.concat(lines, "\n") .. "\n")
end

after["A contact sheet"] = function(_, folder)
  local html = process.read_file(folder .. "/sheet/index.html")
  local count = 0
  for name in html:gmatch 'src="([^"]*)"' do
    assert.equal("\255\216\255", process.read_file(folder .. "/sheet/" .. name):sub(1, 3))
    count = count + 1
  end
  assert.is_true(count > 1)
end

before["Upload a shoot, whatever the line does"] = function(box, folder)
  for i, name in ipairs { "one", "two", "three" } do
    process.write_file(folder .. "/" .. name .. ".jpg", require "dpg.sandbox".blob_bytes(i, 0, 5000))
  end
  box:fault { path = "/uploads", method = "POST", drop = "before" }
end
after["Upload a shoot, whatever the line does"] = function(box)
  assert.equal(3, box:count { server = "processor", status = 200 })
end

options["Mirror what is new"] = { images = 5 }
after["Mirror what is new"] = function(_, folder)
  assert.equal(process.shell("ls " .. folder .. "/mirror/*.json | wc -l"),
    process.shell("ls " .. folder .. "/mirror/*.jpg | wc -l"))
end

options["Watch an Operation"] = { operation_polls = 1, images = 1 }
before["Watch an Operation"] = function(box)
  for seed = 1, 3 do box:add_blob { size = 5000, seed = seed, title = "A sunset" } end
end

before["A service token in CI"] = function(box)
  return { READ_ONLY_TOKEN = box.tokens.read }
end

before["All accounts of a person"] = function(box, folder)
  local _, user = client.person(box, "jane", { store = dpg.store.file(folder .. "/session") })
  assert.equal(2, #user.accounts)
end

needs["One session on many machines"] = function()
  if redis.is_missing() then return redis.is_missing() end
  if not redis.library() then return "lua-redis is not installed: ./dev test installs it" end
end
before["One session on many machines"] = function(box)
  local server = redis.start()
  local jane = box.people.jane
  return { REDIS_HOST = "127.0.0.1", REDIS_PORT = server.port, DPG_LOGIN = jane.login, DPG_PASSWORD = jane.password },
    function() server:stop() end
end
after["One session on many machines"] = function(box)
  assert.equal(0, box:report().families_revoked)
end

options["Behind a proxy"] = { tls = true }
before["Behind a proxy"] = function(box) return { CA_FILE = box.ca_file } end

describe("the cookbook's recipe", function()
  local recipes, order = {}, {}
  for _, block in ipairs(blocks.read(PAGE)) do
    if not recipes[block.heading] then
      recipes[block.heading] = {}
      order[#order + 1] = block.heading
    end
    table.insert(recipes[block.heading], block)
  end

  it("is one of fifteen, at least", function() assert.is_true(#order >= 15) end)

  for _, heading in ipairs(order) do
    local why = needs[heading] and needs[heading]()
    local is_apart = recipes[heading][1].by ~= nil -- has a test of its own, below
    if why then pending(heading .. " (" .. why .. ")") end
    if not why and not is_apart then
      it(heading .. " does what it says", function()
        local box = boxes.start(options[heading])
        local folder = process.folder()
        local environment, close
        finally(function()
          box:stop()
          if close then close() end
        end)
        if before[heading] then environment, close = before[heading](box, folder) end
        local page = blocks.open(PAGE, box, { environment = environment }, folder)
        for _, block in ipairs(recipes[heading]) do page:run(block) end
        if after[heading] then after[heading](box, folder) end
      end)
    end
  end
end)

describe("the cookbook's gateway in nginx", function()
  if process.name ~= "luajit" then return end -- nginx's Lua is the same, whichever runs this
  local why = nginx.why_no_lua()
  if why then return pending("lets out what may leave, to those who may have it (" .. why .. ")") end

  it("lets out what may leave, to those who may have it", function()
    local box = boxes.start()
    finally(function() box:stop() end)
    local config
    for _, block in ipairs(blocks.read(PAGE)) do
      if block.language == "nginx" then config = block.text end
    end
    local web = nginx.start_lua {
      main = ("env DPG_TOKEN=%s; env DPG_BASE_URL=%s;"):format(box.token, box.base_url),
      init = assert(config:match "init_by_lua_block {(.-\n)}"),
      server = assert(config:match "listen [^\n]*\n(.*)}\n$"),
    }
    finally(function()
      web:quit()
      box:stop()
    end)
    process.write_file(web.folder .. "/visitors", "ada:{PLAIN}open\n")
    local gallery, may, may_not = client.service(box), nil, nil
    for image in gallery.images:each() do
      local is_landscape = false
      for _, keyword in ipairs(image.keywords) do is_landscape = is_landscape or keyword.value == "landscape" end
      if is_landscape then may = may or image else may_not = may_not or image end
    end
    local known = { Authorization = "Basic " .. (require "mime".b64 "ada:open") }
    local function get(id, headers) return web:get("/originals/" .. id, headers) end
    assert.equal(401, (get(may.public_uuid)))
    assert.equal(403, (get(may_not.public_uuid, known)))
    assert.equal(404, (get("be66ea4e-0000-4000-8000-000000000001", known)))
    local status, body, headers = get(may.public_uuid, known)
    assert.equal(200, status, web:log())
    assert.equal(tostring(#body), headers["content-length"])
    assert.equal('attachment; filename="' .. may.filename .. '"', headers["content-disposition"])
    assert.equal(1, box:count { server = "cdn" })
  end)
end)
