-- examples/openresty: what its page makes of strangers' titles, and the whole of it, run as
-- examples/openresty/README.md says.
local nginx = require "support.nginx"
local process = require "support.process"
local socket = require "socket"
local mime = require "mime"

describe("the gallery's page", function()
  local page

  setup(function()
    local path = package.path
    package.path = "examples/openresty/?.lua;" .. path
    page = require "page"
    package.path = path
  end)
  teardown(function() package.loaded.page = nil end)

  local function image(more)
    local one = {
      id = "be66ea4e-0000-4000-8000-000000000001", title = "Dusk", alt = "Dusk", about = "", by = "Ada", rights = "",
      place = "", camera = "", width = 1600, height = 1067, bytes = 2 ^ 21, may_download = true,
      versions = { { url = "https://cdn.example/a/small", width = 640, height = 427 } },
    }
    for name, value in pairs(more or {}) do one[name] = value end
    return one
  end

  local function render(more, images)
    local gallery = { account = "Fest", title = "Set", about = "About", lead = 1, images = images or { image(more) } }
    return page.render(gallery)
  end

  local hostile = {
    '<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "</title><svg/onload=x>",
    "&lt;b&gt;", "{title}", "%1 %d", "a\0b\27c\r\nSet-Cookie: x",
  }

  it("escapes whatever titles, names and descriptions hold", function()
    for _, text in ipairs(hostile) do
      for _, field in ipairs { "title", "alt", "about", "by", "rights", "place", "camera", "id" } do
        local html = render { [field] = text }
        assert.is_nil(html:find("<script>", 1, true))
        assert.is_nil(html:find("onerror=alert(1)>", 1, true))
        assert.is_nil(html:find("<svg/", 1, true))
        assert.is_nil(html:find("' onmouse", 1, true))
        assert.is_nil(html:find("[%z\1-\9\11-\31]"))
        -- as many tags as with a harmless text: nothing has become markup
        assert.equal(select(2, render({ [field] = "x" }):gsub("<", "<")), select(2, html:gsub("<", "<")))
      end
      local html = page.render { account = text, title = text, about = text, lead = 1, images = { image() } }
      assert.equal(select(2, render():gsub("<", "<")), select(2, html:gsub("<", "<")))
    end
    assert.truthy(render { title = "&lt;b&gt;" }:find("&amp;lt;b&amp;gt;", 1, true))
    assert.truthy(render { title = "{title}" }:find('data-title="{title}"', 1, true))
  end)

  it("takes addresses on the web alone, and lets pictures come from their hosts alone", function()
    for _, url in ipairs {
      "javascript:alert(1)", "data:text/html,x", "//evil.example/x", "https://a b/x", "https://cdn.example/x\r\ny",
      "https://cdn.example;script-src *", "https://cdn.example'/x", "ftp://cdn.example/x", "https://u:p@evil.example/x",
    } do
      assert.is_nil(page.address(url), url)
    end
    assert.equal("https://cdn.example:8443/a?b=1&amp;c=&quot;", page.address 'https://cdn.example:8443/a?b=1&c="')
    assert.equal("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https://cdn.example; "
      .. "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
      page.policy { image(), image() })
  end)

  it("shows an empty set", function()
    local html = render(nil, {})
    assert.truthy(html:find("Nothing is hung here yet", 1, true))
    assert.is_nil(html:find("hero-picture", 1, true))
  end)

  it("says every picture's words for those who can't see it, and loads nothing but our own and the pictures", function()
    local html = render { alt = "A sun over hills" }
    assert.truthy(html:find('alt="A sun over hills"', 1, true))
    for address in html:gmatch ' src="([^"]*)"' do
      assert.truthy(address == "/gallery.js" or address:find("https://cdn.example/", 1, true), address)
    end
    assert.is_nil(html:find(" style=", 1, true)) -- which the policy would refuse
    assert.is_nil(html:find(" on%l+="))
  end)
end)

if process.name ~= "luajit" then return end -- nginx's Lua is the same, whichever Lua runs this

describe("the gallery", function()
  local why = nginx.why_no_lua()
  if why then return pending("is served by nginx (" .. why .. ")") end

  local child, port, password

  local function get(path, headers, method)
    local client = assert(socket.connect("127.0.0.1", port))
    client:settimeout(30)
    local lines = { (method or "GET") .. " " .. path .. " HTTP/1.0" }
    for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
    client:send(table.concat(lines, "\r\n") .. "\r\n\r\n")
    local answer, _, partial = client:receive "*a"
    client:close()
    local head, body = (answer or partial):match "^(.-)\r\n\r\n(.*)$"
    return tonumber(head:match "^HTTP/%S+ (%d+)"), body, head:lower()
  end

  setup(function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    port = tonumber((select(2, listener:getsockname())))
    listener:close()
    child = process.start_through("setsid", "examples/openresty/try.lua", port)
    local said = assert(child:read(), child:stderr())
    password = assert(said:match "originals: visitor, (%x+)", said)
    nginx.wait_for(function()
      local client = socket.connect("127.0.0.1", port)
      if client then client:close() end
      return client
    end)
  end)
  teardown(function()
    os.execute("/bin/kill -INT -- -" .. child.pid)
    child:wait()
  end)

  it("is a page with a strict policy, made once as long as the set stays as it is", function()
    local status, body, head = get "/"
    assert.equal(200, status)
    assert.truthy(head:find("\r\ncontent-security-policy: default-src 'none'; ", 1, true))
    assert.truthy(body:find("<h1 dir=\"auto\">Three ranges of hills</h1>", 1, true))
    assert.equal(19, select(2, body:gsub('<li class="tile">', "")))
    assert.equal(304, (get("/", { ["If-None-Match"] = head:match "\r\netag: ([^\r]+)" })))
    for _, file in ipairs { "gallery.css", "gallery.js", "icon.svg" } do assert.equal(200, (get("/" .. file))) end
    for _, file in ipairs { "gallery.lua", "nginx.conf", "visitors" } do assert.equal(404, (get("/" .. file))) end
  end)

  it("gives originals to those who have the password, and of what is on the page alone", function()
    local _, page = get "/"
    local path = page:match 'data%-original="([^"]+)"'
    assert.equal(401, (get(path)))
    assert.equal(401, (get(path, { Authorization = "Basic " .. mime.b64 "visitor:wrong" })))
    local let_in = { Authorization = "Basic " .. mime.b64("visitor:" .. password) }
    local status, body, head = get(path, let_in)
    assert.equal(200, status)
    assert.equal(tonumber(head:match "\r\ncontent%-length: (%d+)"), #body)
    assert.equal("\255\216\255", body:sub(1, 3))
    assert.truthy(head:find 'content%-disposition: attachment; filename="nl25_%d+%.jpg"')
    assert.equal(404, (get("/original/be66ea4e-0000-4000-8000-000000000001", let_in)))
  end)

  it("logs no error of Lua's, and no secret", function()
    for line in child:stderr():gmatch "[^\n]+" do
      assert.truthy(line:find('user "visitor": password mismatch', 1, true), line)
      assert.is_nil(line:find(password, 1, true))
    end
  end)
end)
