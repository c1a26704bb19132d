-- libdpg as a C program gets it: installed by `make install-library` into a folder, found by pkg-config.
local boxes = require "support.box"
local process = require "support.process"

-- There is no Lua in it, so one of the five will do; a checker would have to be in the program, too.
if process.name ~= "lua5.4" or (os.getenv "CHECKER" or "") ~= "" then return end

describe("libdpg", function()
  local box, folder

  local function compile(name, libraries)
    local said = process.shell(("cd %s && ${CC:-cc} -std=c11 -Wall -Wextra -Werror -o %s "
      .. "\"$OLDPWD\"/examples/c/status.c $(PKG_CONFIG_PATH=%s/lib/pkgconfig pkg-config --cflags libdpg) %s")
      :format(folder, name, folder, libraries))
    assert.equal("", said)
  end

  local function run(name, token)
    return process.shell(("(DPG_TOKEN=%s DPG_BASE_URL=%s LD_LIBRARY_PATH=%s/lib timeout 60 %s/%s; echo exit $?)")
      :format(token, box.base_url, folder, folder, name))
  end

  setup(function()
    box = boxes.start { images = 1 }
    folder = process.folder()
    local said = process.shell(("(env -u MAKEFLAGS -u MFLAGS ${MAKE:-make} -j2 BUILD=%s/build CFLAGS=-O0 PREFIX=%s "
      .. "install-library; echo exit $?)"):format(folder, folder))
    assert.truthy(said:find("exit 0$"), said)
  end)
  teardown(function() box:stop() end)

  it("shows what dpg.h declares and nothing else", function()
    local header = assert(process.read_file(folder .. "/include/dpg.h")):gsub("/%*.-%*/", "")
    local declared = {}
    for name in header:gmatch "[ *](dpg_[a-z_]+)%(" do declared[#declared + 1] = name end
    table.sort(declared)
    local shown = process.shell("nm -D --defined-only " .. folder
      .. "/lib/libdpg.so | awk '{ print $3 }' | LC_ALL=C sort")
    assert.equal(table.concat(declared, "\n"), shown)
    assert.is_true(#declared > 30)
  end)

  it("makes a call for a program that is linked to it", function()
    compile("status", ("$(PKG_CONFIG_PATH=%s/lib/pkgconfig pkg-config --libs libdpg)"):format(folder))
    assert.truthy(run("status", box.token):find "^200, %d+ bytes, 1 attempt\nexit 0$")
    assert.truthy(run("status", "dpg_api_live_unknown"):find "^401, %d+ bytes, 1 attempt\nexit 1$")
    assert.truthy(run("status", "'a b'"):find "^status: this is no service token: .*exit 1$")
    assert.truthy(run("status", "''"):find "^status: DPG_TOKEN holds no service token\nexit 1$")
  end)

  it("makes a call for a program that it is a part of", function()
    compile("status_static", folder .. "/lib/libdpg.a $(pkg-config --libs libcurl) -pthread")
    assert.truthy(run("status_static", box.token):find "^200, %d+ bytes, 1 attempt\nexit 0$")
  end)
end)
