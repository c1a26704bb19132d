-- The gallery on this machine, with nothing of your own: a sandbox with a set hung in it, and nginx in front, until
-- Ctrl-C. From the project's folder:
--
--   LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='build/luajit/?.so;;' luajit examples/openresty/try.lua [PORT]
local dpg = require "dpg"
local sandbox = require "dpg.sandbox"

local port = tonumber(arg[1] or 8080)

local function quote(value)
  return "'" .. tostring(value):gsub("'", "'\\''") .. "'"
end

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return (text:gsub("\n$", ""))
end

-- --- a set worth looking at ----------------------------------------------------------------------------------------

local NAME = "Three ranges of hills"
local titles = {
  "First light", "The long evening", "Where the road ends", "Nobody yet", "Ridge after ridge", "The way back down",
  "Quiet hour", "Above the tree line", "Waiting for the others", "Still air", "Two valleys over", "The last bus",
  "Company", "What we came for", "Standing still", "Out there", "One more mile", "Before anyone wakes", "Home by dark",
}

-- Takes landscapes of the library, gives them names, words for those who can't see them, and credits, and hangs them.
local function hang(gallery)
  local images, writes, prepare = {}, {}, gallery.prepare
  for image in gallery.images:each { keyword = "landscape" } do
    local title = titles[#images + 1]
    if not title then break end
    images[#images + 1] = image
    local id = image.public_uuid
    writes[#writes + 1] = dpg.assert(prepare.images:update(id, { title = title }))
    writes[#writes + 1] = dpg.assert(prepare.images:set_alt_text(id, "A low sun over ranges of hills: " .. title))
  end
  assert(gallery.operations:batch_all(writes, { timeout = 30 }).ok)
  dpg.assert(dpg.assert(gallery.sets:create {
    name = NAME, type = "gallery",
    description = "A year of walking out before dawn and staying until the light was gone.",
  }):wait { timeout = 30 })
  local set
  for one in gallery.sets:each() do
    if one.name == NAME then set = one end
  end
  dpg.assert(dpg.assert(set:add(images)):wait { timeout = 30 })
  dpg.assert(dpg.assert(set:update { lead_image_public_uuid = images[5].public_uuid }):wait { timeout = 30 })
  return set.public_uuid
end

-- --- nginx ---------------------------------------------------------------------------------------------------------

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  assert(file:close())
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

-- A folder for nginx, as yours would be: this one's files, and who may have originals.
local function install(password)
  local folder = output_of "mktemp -d /tmp/dpg-gallery.XXXXXX"
  local here = output_of("cd " .. quote(arg[0]:match "^(.*)/[^/]*$" or ".") .. " && pwd")
  for _, name in ipairs { "gallery.lua", "page.lua", "static" } do
    os.execute(("ln -s %s %s"):format(quote(here .. "/" .. name), quote(folder .. "/" .. name)))
  end
  os.execute("ln -s /usr/lib/nginx/modules " .. quote(folder .. "/modules"))
  write(folder .. "/nginx.conf", (read(here .. "/nginx.conf"):gsub("127.0.0.1:8080", "127.0.0.1:" .. port)))
  write(folder .. "/visitors", "visitor:{PLAIN}" .. password .. "\n")
  return folder
end

local box = sandbox.start { operation_polls = 0 }
local set = hang(dpg.assert(dpg.service { token = box.token, base_url = box.base_url }))
local password = output_of "od -An -N6 -tx1 /dev/urandom | tr -d ' '"
local folder = install(password)
print(("The gallery: http://127.0.0.1:%d/   (originals: visitor, %s)\nCtrl-C ends it."):format(port, password))
io.stdout:flush()
-- By a file, not by words of a command: those can be read by everybody on this machine.
write(folder .. "/env", ("PATH=$PATH:/usr/sbin; export DPG_TOKEN=%s DPG_SET=%s DPG_BASE_URL=%s"):format(
  quote(box.token), quote(set), quote(box.base_url)))
local global = "daemon off;" .. (output_of "id -u" == "0" and " user root;" or "")
os.execute((". %s/env && rm %s/env && exec nginx -p %s/ -c nginx.conf -e stderr -g %s"):format(quote(folder),
  quote(folder), quote(folder), quote(global)))
os.execute("rm -rf " .. quote(folder))
box:stop()
