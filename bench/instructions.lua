-- Instructions that a fixed script (bench/script.lua) takes, counted by callgrind with the server and the clock in the
-- script's own process (bench/alone.c): every run counts the same, whatever else the machine does. Ours are those of
-- core.so, and of the interpreter that runs our Lua; not those of libcurl, libc or OpenSSL. `make check` runs it.
--
--   bench/instructions.lua                 fails if a figure has grown by more than 3 % against those that are kept
--   bench/instructions.lua --write         keeps what it counts (make instructions WRITE=1)
--   bench/instructions.lua --profile WORK  by object and by function; beside hand-written C (make … PROFILE=me)
package.path = "tools/?.lua;" .. package.path

local made = require "made"

local BUILD, LUA = os.getenv "BUILD" or "build", "lua5.4"
local KEPT, MOST_GROWTH = "bench/instructions.kept", 0.03

local function shell(command)
  local pipe = assert(io.popen(command))
  local said = pipe:read "*a"
  return (said:gsub("%s+$", "")), pipe:close()
end

local VALGRIND = shell "command -v valgrind"
local OURS = { "core.so", LUA }

-- --- the answers ---------------------------------------------------------------------------------------------------

local IMAGE = "be66ea4e-7b1c-4c1e-9d0a-3f2b8a6c1d55"

local function write_answers(folder)
  local function put(path, status, body, more)
    local file = assert(io.open(folder .. "/answers/" .. path, "wb"))
    file:write("HTTP/1.1 ", status, "\r\nServer: nginx\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n",
      "Content-Type: application/json\r\nContent-Length: ", #body, "\r\nConnection: keep-alive\r\n",
      'ETag: W/"33a64df551425fcc55e4d42a148795d9"\r\nX-Request-Id: req-0f8fad5bd9cb\r\n', more or "", "\r\n", body)
    file:close()
  end
  put("me", "200 OK", '{"account":{"uuid":"acc-1","name":"My Festival","unique_id":"myfest"},"service_token":'
    .. '{"uuid":"tok-1","name":"bench"},"capabilities":["api.images.read","api.upload","api.download"]}')
  put("images?limit=50", "200 OK", dofile "bench/pages.lua"(50, "brief"), "X-Has-More: true\r\nX-Next-Offset: 50\r\n")
  put("images_" .. IMAGE .. "_rating", "202 Accepted", '{"uuid":"op-7c9e","status":"succeeded","type":"update",'
    .. '"image_public_uuids":["' .. IMAGE .. '"],"result":{"message":"Updated successfully."}}')
end

-- --- counting ------------------------------------------------------------------------------------------------------

-- Self cost by object and by function, of a file that callgrind has written: names are compressed as "(number) name",
-- the name being there the first time only; what follows a calls= line is inclusive.
local function read(text)
  local names, objects, functions = { ob = {}, fn = {} }, {}, {}
  local object, name, is_inclusive
  for line in text:gmatch "[^\n]+" do
    local kind, rest = line:match "^(%l+)=(.*)$"
    local which = kind and kind:gsub("^c", "")
    if names[which] then
      local number, said = rest:match "^(%(%d+%))%s*(.*)$"
      if said ~= "" then names[which][number] = said end
      if kind == "ob" then object = names.ob[number]:match "[^/]+$" end
      if kind == "fn" then name = names.fn[number] end
    elseif kind == "calls" then
      is_inclusive = true
    elseif line:find "^[%d+*-]" then
      local cost = not is_inclusive and line:match "^%S+ (%d+)"
      is_inclusive = false
      if cost and object then
        objects[object] = (objects[object] or 0) + cost
        local key = object .. " " .. (name or "?")
        functions[key] = (functions[key] or 0) + cost
      end
    end
  end
  return objects, functions
end

-- In a folder of links and with an environment of its own, both the same everywhere: how long names are moves the
-- stack, and with it how Lua hashes.
local function valgrind(folder, command, input)
  local said, ok = shell(("cd %s && printf '%%s' '%s' | env -i LD_PRELOAD=./bench/alone.so ALONE=answers "
    .. "LUA_PATH='lua/?.lua;lua/?/init.lua' LUA_CPATH='core/?.so;bench/?.so;;' "
    .. "%s --tool=callgrind --callgrind-out-file=counted %s 2>&1"):format(folder, input or "", VALGRIND, command))
  assert(ok, said)
end

local function links(folder)
  local here = shell "pwd"
  local function link(from, name)
    os.execute(("ln -s '%s' %s/%s"):format(from:find "^/" and from or here .. "/" .. from, folder, name))
  end
  link("lua", "lua")
  link("bench/script.lua", "script.lua")
  link(BUILD .. "/" .. LUA, "core")
  link(BUILD .. "/bench", "bench")
  os.execute(("mkdir %s/answers"):format(folder))
end

-- Per work: name, count, and what callgrind says about it.
local function count(folder)
  valgrind(folder, shell("command -v " .. LUA) .. " script.lua")
  local works = {}
  for i = 1, math.huge do
    local text = made.read(("%s/counted.%d"):format(folder, i))
    if not text then return works end
    local name, calls = text:match "desc: Trigger: Client Request: (%S+) (%d+)\n"
    if name then works[#works + 1] = { name = name, calls = tonumber(calls), text = text } end
  end
end

local function measure(folder)
  local figures = {}
  for _, work in ipairs(count(folder)) do
    local objects = read(work.text)
    for _, object in ipairs(OURS) do
      figures[#figures + 1] = { work.name, object, math.floor(objects[object] / work.calls + 0.5) }
    end
  end
  assert(#figures > 0, "nothing has been counted")
  return figures
end

-- --- what is kept --------------------------------------------------------------------------------------------------

-- What makes the figures what they are, besides our sources.
local function conditions()
  local parts = {}
  for _, command in ipairs { "${CC:-cc} --version", "uname -m", "curl-config --version", LUA .. " -v" } do
    parts[#parts + 1] = shell(command .. " 2>/dev/null | sed 's/  Copyright.*//; q'")
  end
  parts[#parts + 1] = os.getenv "CFLAGS" or "-O2 -g"
  return table.concat(parts, ", ")
end

local function keep(figures)
  local file = assert(io.open(KEPT, "w"))
  file:write("# Instructions for each call of a fixed script: bench/instructions.lua --write\n# ", conditions(), "\n")
  for _, one in ipairs(figures) do file:write(("%-8s %-8s %8d\n"):format(one[1], one[2], one[3])) end
  file:close()
end

local function kept()
  local text = made.read(KEPT) or ""
  local found = { conditions = text:match "\n# ([^\n]+)" }
  for work, object, figure in text:gmatch "\n(%S+) +(%S+) +(%d+)" do found[work .. " " .. object] = tonumber(figure) end
  return found
end

local function compare(figures)
  local before, has_grown, has_shrunk = kept(), false, false
  for _, one in ipairs(figures) do
    local was = before[one[1] .. " " .. one[2]]
    local growth = was and one[3] / was - 1
    local note = ""
    if not was then
      note, has_grown = "which is not kept", true
    elseif growth > MOST_GROWTH then
      note, has_grown = "more than may be", true
    elseif growth < -MOST_GROWTH then
      has_shrunk = true
    end
    local change = was and ("%+.1f %%"):format(growth * 100) or ""
    print((("%-8s %-8s %8d %8s %s"):format(one[1], one[2], one[3], change, note):gsub(" +$", "")))
  end
  if has_grown then print "If that is meant: make instructions WRITE=1 keeps the new figures" end
  if has_shrunk and not has_grown then print "make instructions WRITE=1 keeps what has become less" end
  return not has_grown
end

-- --- where they go -------------------------------------------------------------------------------------------------

local function show(costs, calls, most)
  local list = {}
  for name, cost in pairs(costs) do list[#list + 1] = { name, cost } end
  table.sort(list, function(a, b) return a[2] > b[2] end)
  for i = 1, math.min(most, #list) do print(("%9.0f  %s"):format(list[i][2] / calls, list[i][1])) end
end

-- Hand-written C, as the difference of two runs.
local function show_native(folder, way, at_once)
  local function run(calls)
    os.execute(("rm -f %s/counted*"):format(folder))
    valgrind(folder, "bench/native " .. way .. " none",
      ("%d %d plain bare http://127.0.0.1:1/v1/me\n"):format(calls, at_once))
    return (read(made.read(folder .. "/counted")))
  end
  local less, objects = run(96), run(192)
  for object, cost in pairs(objects) do objects[object] = cost - (less[object] or 0) end
  print(("\nhand-written C, GET /me, libcurl %s, %d at once"):format(way, at_once))
  show(objects, 96, 4)
end

local function profile(folder, name)
  for _, work in ipairs(count(folder)) do
    if work.name == name then
      local objects, functions = read(work.text)
      print(("instructions for each of %d calls: %s"):format(work.calls, name))
      show(objects, work.calls, 8)
      print()
      show(functions, work.calls, 60)
    end
  end
  if name == "me" then show_native(folder, "easy", 1) end
  if name == "at-once" then show_native(folder, "multi", 8) end
end

-- -------------------------------------------------------------------------------------------------------------------

local function main(folder)
  local order = arg[1]
  if VALGRIND == "" then return print "not measured: valgrind is not installed; ./dev check installs it" end
  if order == "--profile" then return profile(folder, arg[2] or "me") end
  if order == "--write" then return keep(measure(folder)) end
  local was = kept().conditions
  if was ~= conditions() then
    return print(("not measured: the kept figures are for %s; this is %s"):format(was, conditions()))
  end
  return compare(measure(folder))
end

local folder = shell "mktemp -d -p /dev/shm 2>/dev/null || mktemp -d"
links(folder)
write_answers(folder)
local ok, passed = xpcall(main, debug.traceback, folder)
os.execute("rm -rf " .. folder)
if not ok then print(passed) end
if not ok or passed == false then os.exit(1) end
