-- `make doc`: the site is whole, says what is wrong, and its colours change no letter.
local process = require "support.process"

if process.name ~= "lua5.4" or (os.getenv "CHECKER" or "") ~= "" then return end -- a tool's own Lua: one says it all

local function tool(name)
  local path = package.path
  package.path = "tools/?.lua;" .. path
  local module = require(name)
  package.path = path
  return module
end

local is_here = process.shell "command -v cmark-gfm" ~= ""
local with_reader = is_here and it or function(name) pending(name .. " (cmark-gfm is not installed)") end

-- What the tool says, and its exit status.
local function make(top, out)
  local said = process.shell(("cd '%s' && %s tools/site.lua '%s' 2>&1; echo \"exit $?\""):format(top, process.lua, out))
  return said:match "^(.-)\n?exit (%d+)$"
end

describe("make doc", function()
  local out = process.folder() .. "/site"

  with_reader("makes every page without a word of complaint", function()
    local said, status = make(".", out)
    assert.equal("0", status, said)
    local pages, functions, links = said:match "^[^\n]+: (%d+) pages, (%d+) functions, (%d+) links, [%d.]+ MB$"
    assert.truthy(pages, said)
    assert.is_true(tonumber(pages) > 50 and tonumber(functions) > 100 and tonumber(links) > 1000, said)
  end)

  with_reader("writes pages of UTF-8, whatever the sources hold", function()
    for path in process.shell(("find '%s' -name '*.html' -o -name '*.js'"):format(out)):gmatch "[^\n]+" do
      assert.truthy(rawget(_G, "utf8").len(process.read_file(path)), path)
    end
  end)

  with_reader("has every method of a session's resources in its reference", function()
    for _, name in ipairs { "images", "keywords", "sets", "metadata_profiles", "uploads", "downloads", "archives",
      "operations" } do
      local page = assert(process.read_file(out .. "/reference/" .. name .. ".html"))
      local class = getmetatable(require("dpg.resources." .. name).new {}).__index
      for method in pairs(class) do
        if not method:find "^_" then
          assert.truthy(page:find('id="' .. name .. "." .. method .. '"', 1, true), name .. ":" .. method)
        end
      end
    end
  end)

  with_reader("has every function of dpg in its reference", function()
    local page = assert(process.read_file(out .. "/reference/dpg.html"))
    for name, value in pairs(require "dpg") do
      if type(value) == "function" then assert.truthy(page:find('id="dpg.' .. name .. '"', 1, true), name) end
    end
  end)

  with_reader("has every function of dpg.h, and every command", function()
    local page = assert(process.read_file(out .. "/reference/libdpg.html"))
    for name in process.read_file("csrc/core/dpg.h"):gmatch "\n[%l][%w_ ]-[ %*](dpg_[%l_]+)%(" do
      assert.truthy(page:find('id="' .. name .. '"', 1, true), name)
    end
    page = assert(process.read_file(out .. "/reference/command.html"))
    for name in process.read_file("share/man/man1/dpg.1"):gmatch '\n%.SS "(dpg[%l ]*%l)' do
      assert.truthy(page:find('id="' .. name:gsub(" ", "-") .. '"', 1, true), name)
    end
  end)

  with_reader("leads from an error's code to what to do", function()
    local page = assert(process.read_file(out .. "/errors.html"))
    local index = assert(process.read_file(out .. "/search.js"))
    for _, code in ipairs { "store_busy", "sign_in_required", "rate_limited" } do
      assert.truthy(page:find('<code id="' .. code .. '">', 1, true), code)
      assert.truthy(index:find('"errors.html#' .. code .. '"', 1, true), code)
    end
    assert.truthy(process.read_file(out .. "/reference/dpg.html"):find("../errors.html#sign_in_required", 1, true))
  end)

  with_reader("tells of links, anchors, pictures and pages that lead nowhere, each by its page", function()
    local top = process.folder()
    assert.equal("", process.shell(("for f in *; do [ $f = build ] || cp -r $f '%s'; done"):format(top)))
    process.write_file(top .. "/doc/lonely.md", "# Nobody leads here\n")
    local hosts = assert(process.read_file "doc/hosts.md")
    process.write_file(top .. "/doc/hosts.md", hosts .. "\n[a](nowhere.md) [b](stores.md#no-such-part) "
      .. "![c](images/none.png) [d](javascript:void) [e](../../outside.md)\n\n```cobol\nSTOP RUN.\n```\n")
    local said, status = make(top, top .. "/out")
    assert.equal("1", status)
    for _, what in ipairs {
      "doc/lonely.md: stands in no section", "doc/hosts.md: nowhere.md is not there",
      "hosts.html: stores.html#no-such-part: the page has no such anchor", "doc/hosts.md: images/none.png is not there",
      "hosts.html: javascript:void is no address", "doc/hosts.md: ../../outside.md is not there",
      "doc/hosts.md: a code block in a language without colours: cobol",
    } do
      assert.truthy(said:find(what, 1, true), what .. " is not in:\n" .. said)
    end
  end)

  it("leaves alone what it has not made", function()
    local folder = process.folder()
    process.write_file(folder .. "/thesis.txt", "ten years")
    local said, status = make(".", folder)
    assert.equal("2", status)
    assert.truthy(is_here == false or said:find("holds something else than a site", 1, true), said)
    assert.equal("ten years", process.read_file(folder .. "/thesis.txt"))
  end)

  it("says what is missing where its reader is", function()
    local lua = process.shell("command -v " .. process.lua)
    local said = process.shell(("PATH=/nowhere %s tools/site.lua /nowhere/site 2>&1; echo \"exit $?\""):format(lua))
    assert.equal("dpg: cmark-gfm is not installed, and it reads the pages; ./dev doc installs it\nexit 2", said)
  end)
end)

describe("the site's colours", function()
  local highlight, html = tool "site.highlight", tool "site.html"

  it("change no byte of a source, and no span goes over a line's end", function()
    local files = process.shell "find lua csrc examples spec tools dev -type f"
    for path in files:gmatch "[^\n]+" do
      local code = process.read_file(path)
      local coloured = highlight.html(code, highlight.language_of(path))
      if html.text_of(coloured) ~= code then error(path .. " is not what it was") end
      for line in coloured:gmatch "[^\n]+" do
        local _, opened = line:gsub("<span", "")
        local _, closed = line:gsub("</span>", "")
        if opened ~= closed then error(path .. ": " .. line) end
      end
    end
  end)

  it("know words from names", function()
    assert.equal('<span class="k">local</span> x = <span class="f">f</span>(<span class="s">&quot;&lt;&quot;</span>) '
      .. '<span class="c">-- end</span>', highlight.html('local x = f("<") -- end', "lua"))
  end)
end)

describe("the site's anchors", function()
  local html = tool "site.html"
  local cases = {
    { "Who waits, and who goes on", "who-waits-and-who-goes-on" }, { "dpg.store.redis { … }", "dpgstoreredis---" },
    { "What's `on_event`?", "whats-on_event" }, { "HTTP/2 & TLS", "http2--tls" }, { "LÖVE", "löve" },
  }
  for _, case in ipairs(cases) do
    it("are GitHub's: " .. case[1], function() assert.equal(case[2], html.slug(case[1]:gsub("`", ""), {})) end)
  end

  it("are numbered where a heading comes again", function()
    local taken = {}
    assert.same({ "a", "a-1", "a-2" }, { html.slug("A", taken), html.slug("A", taken), html.slug("A", taken) })
  end)
end)
