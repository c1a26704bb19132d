rockspec_format = "3.0"
package = "dpg"
version = "scm-1"

-- This one is for `luarocks make` in a checkout, which fetches nothing; a release has its own, in rockspecs/.
source = { url = "git+file://." }

description = {
  summary = "Client for the Digital Photo Gallery API",
  detailed = [[
Sessions that are never lost, calls that never block their host, and a C core that costs nothing:
for scripts, OpenResty workers and game engines.]],
  license = "MIT",
}

dependencies = {
  "lua >= 5.1, < 5.5",
  "lua-cjson >= 2.1.0",
}

-- By its library and not by its header, which Debian keeps in a folder that LuaRocks does not look into.
external_dependencies = {
  CURL = { library = "curl" },
}

-- The two lists are written by `tools/rockspec.lua --write`, and `make check` compares them with the tree.
build = {
  type = "builtin",
  modules = {
    ["dpg.core"] = {
      sources = {
      },
      defines = { "_GNU_SOURCE" },
      incdirs = { "csrc/core", "$(CURL_INCDIR)" },
      libdirs = { "$(CURL_LIBDIR)" },
      libraries = { "curl", "pthread" },
    },
  },
}

-- Busted is not among the test_dependencies: LuaRocks would insist on the rock, also where a package has brought it.
test = { type = "command", script = "spec/run.lua" }
