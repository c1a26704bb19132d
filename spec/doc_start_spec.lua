-- What of the getting-started pages needs more than a shell: the person of scripts.md who types, the nginx of nginx.md,
-- the LÖVE of games.md (doc/getting-started/games.md), with a person who plays.
local blocks = require "support.blocks"
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local loves = require "support.love"
local nginx = require "support.nginx"
local process = require "support.process"
local socket = require "socket"

if (os.getenv "CHECKER" or "") ~= "" then return end

local function page_of(path, box)
  return blocks.open(path, box), blocks.read(path)
end

describe("doc/getting-started/scripts.md", function()
  it("signs a person in once, and goes on from the file", function()
    local box = boxes.start()
    finally(function() box:stop() end)
    local page, list = page_of("doc/getting-started/scripts.md", box)
    local commands
    for _, block in ipairs(list) do
      if block.file == "person.lua" then page:run(block) end
      if block.language == "sh" and block.text:find "person.lua" then commands = block.text end
    end
    local first, second = commands:match "([^\n]*)\n([^\n]*)"
    local omar = box.people.omar
    process.write_file(page.folder .. "/typed", table.concat({ omar.login, omar.password, omar.code }, "\n") .. "\n")
    local said = page:shell(first:gsub(" #", "<typed #") .. "\n")
    assert.equal("Login: Password: Code: Northlight Festival\t", said:match "^[^\t]*\t")
    assert.equal(1, box:count { path = "/auth/sign_in" })
    said = page:shell(second .. "\n")
    assert.equal("Northlight Festival\t", said:match "^[^\t]*\t")
    assert.equal(1, box:count { path = "/auth/sign_in" })
    assert.equal("-rw-------", process.shell("ls -l " .. page.folder .. "/session"):match "^%S+")
  end)
end)

if process.name ~= "luajit" then return end -- nginx and LÖVE have their own Lua, whichever runs this

local function free_port()
  local sock = assert(socket.bind("127.0.0.1", 0))
  local _, port = sock:getsockname()
  sock:close()
  return tostring(port)
end

describe("doc/getting-started/nginx.md", function()
  local why = nginx.why_no_lua()
  if why then return pending("serves what it says (" .. why .. ")") end

  it("serves what it says", function()
    local box = boxes.start()
    local page, list = page_of("doc/getting-started/nginx.md", box)
    finally(function()
      -- when it was not ended by its own commands
      process.shell("kill $(cat " .. page.folder .. "/logs/nginx.pid 2>/dev/null) 2>/dev/null")
      box:stop()
    end)
    local port, config, commands, lua = free_port(), nil, nil, {}
    for _, block in ipairs(list) do
      if block.language == "nginx" then config = block.text end
      if block.language == "lua" then lua[#lua + 1] = block.text end
      if block.language == "sh" and block.by then commands = block.text end
    end
    local session = page.folder .. "/session"
    dpg.assert(client.sign_in(box, "jane", { store = dpg.store.file(session) }))

    -- Added: where this tree is, who owns it, and a location for each of the page's pieces.
    local more = { ("lua_package_path %q; lua_package_cpath %q;"):format(blocks.absolute(package.path),
      blocks.absolute(package.cpath)) }
    local places = {}
    for i, text in ipairs(lua) do
      text = blocks.at(text, box.base_url):gsub("/var/lib/gallery/session", function() return session end)
      places[i] = ("location = /%d { content_by_lua_block {\n%s\n} }\n"):format(i, text)
    end
    config = config:gsub("http {", function() return "http {\n" .. table.concat(more) end)
    config = config:gsub("listen 127%.0%.0%.1:8088;", function()
      return "listen 127.0.0.1:" .. port .. ";\n" .. table.concat(places)
    end)
    if process.shell "id -u" == "0" then config = "user root;\n" .. config end
    process.write_file(page.folder .. "/nginx.conf", config)
    commands = commands:gsub("127%.0%.0%.1:8088", "127.0.0.1:" .. port)
      :gsub("\nnginx", ("\ncurl -s http://127.0.0.1:%s/1\ncurl -s http://127.0.0.1:%s/2\nnginx"):format(port, port))
    local said = page:shell("PATH=$PATH:/usr/sbin\n" .. commands)
    assert.is_truthy(said:find "\n?%x+%-%x+%-%x+%-%x+%-%x+ [^\n]*sunset", said)
    assert.is_truthy(said:find "%d+ sets; newest: %u", said)
    assert.is_truthy(said:find(box.people.jane.accounts[1].name, 1, true), said)
    assert.equal("\255\216\255", process.read_file(page.folder .. "/picture.jpg"):sub(1, 3))
  end)
end)

describe("doc/getting-started/games.md", function()
  local why = loves.missing()
  if why then return pending("signs in, and shows a picture (" .. why .. ")") end

  it("signs in, and shows a picture; the next time it asks for nothing", function()
    local box = boxes.start()
    finally(function() box:stop() end)
    local page, list = page_of("doc/getting-started/games.md", box)
    for _, block in ipairs(list) do
      if block.file then page:run { page = block.page, language = "lua", file = block.file, text = block.text } end
    end
    process.write_file(page.folder .. "/conf.lua", "function love.conf(t) t.identity = 'my-game' end\n")
    local environment = { DPG_BASE_URL = box.base_url, HOME = page.folder, XDG_DATA_HOME = page.folder }
    local omar = box.people.omar
    local script = [[
      local person = ...
      for _, said in ipairs { "Login:%s", "Password:%s", "Code:%s" } do
        local prompt, text = said:match "^(.-:)(.*)$"
        person.look_for(prompt)
        person.type(text)
        person.press "return"
      end
    ]]
    local last = [[
      person.wait_for(function() return person.screen() == "" end)
      person.say "shown"
      person.quit()
    ]]
    local first = loves.play(page.folder, script:format(omar.login, omar.password, omar.code) .. last, environment)
    first:expect "shown"
    assert.equal(0, first:wait())
    assert.equal(1, box:count { path = "/auth/sign_in" })
    local second = loves.play(page.folder, "local person = ...\nperson.look_for 'fetching'\n" .. last, environment)
    second:expect "shown"
    assert.equal(0, second:wait())
    assert.equal(1, box:count { path = "/auth/sign_in" })
    assert.equal(2, box:count { server = "cdn", status = 200 })
  end)
end)
