rockspec_format = "3.0"
package = "dpg"
version = "scm-1"

source = {
  url = "git+file://.", -- built from a checkout, as `luarocks make` does, which fetches nothing
}

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

local modules = {
  ["dpg.ahead"] = "lua/dpg/ahead.lua",
  ["dpg.batch"] = "lua/dpg/batch.lua",
  ["dpg.cache"] = "lua/dpg/cache.lua",
  ["dpg.call"] = "lua/dpg/call.lua",
  ["dpg.catalog"] = "lua/dpg/catalog.lua",
  ["dpg.checks"] = "lua/dpg/checks.lua",
  ["dpg.compat"] = "lua/dpg/compat.lua",
  ["dpg.config"] = "lua/dpg/config.lua",
  ["dpg.connection"] = "lua/dpg/connection.lua",
  ["dpg.disk"] = "lua/dpg/disk.lua",
  ["dpg.download"] = "lua/dpg/download.lua",
  ["dpg.errors"] = "lua/dpg/errors.lua",
  ["dpg.fields"] = "lua/dpg/fields.lua",
  ["dpg.filename"] = "lua/dpg/filename.lua",
  ["dpg.host"] = "lua/dpg/host.lua",
  ["dpg.host.blocking"] = "lua/dpg/host/blocking.lua",
  ["dpg.host.loop"] = "lua/dpg/host/loop.lua",
  ["dpg.host.ngx"] = "lua/dpg/host/ngx.lua",
  ["dpg.hub"] = "lua/dpg/hub.lua",
  ["dpg"] = "lua/dpg/init.lua",
  ["dpg.journal"] = "lua/dpg/journal.lua",
  ["dpg.json"] = "lua/dpg/json.lua",
  ["dpg.listeners"] = "lua/dpg/listeners.lua",
  ["dpg.many"] = "lua/dpg/many.lua",
  ["dpg.methods"] = "lua/dpg/methods.lua",
  ["dpg.objects"] = "lua/dpg/objects.lua",
  ["dpg.operation"] = "lua/dpg/operation.lua",
  ["dpg.page"] = "lua/dpg/page.lua",
  ["dpg.resources.archives"] = "lua/dpg/resources/archives.lua",
  ["dpg.resources.downloads"] = "lua/dpg/resources/downloads.lua",
  ["dpg.resources.images"] = "lua/dpg/resources/images.lua",
  ["dpg.resources.keywords"] = "lua/dpg/resources/keywords.lua",
  ["dpg.resources.metadata_profiles"] = "lua/dpg/resources/metadata_profiles.lua",
  ["dpg.resources.operations"] = "lua/dpg/resources/operations.lua",
  ["dpg.resources.sets"] = "lua/dpg/resources/sets.lua",
  ["dpg.resources.uploads"] = "lua/dpg/resources/uploads.lua",
  ["dpg.scheduler"] = "lua/dpg/scheduler.lua",
  ["dpg.serve"] = "lua/dpg/serve.lua",
  ["dpg.session"] = "lua/dpg/session.lua",
  ["dpg.sign_in"] = "lua/dpg/sign_in.lua",
  ["dpg.source"] = "lua/dpg/source.lua",
  ["dpg.store"] = "lua/dpg/store.lua",
  ["dpg.store.check"] = "lua/dpg/store/check.lua",
  ["dpg.store.redis"] = "lua/dpg/store/redis.lua",
  ["dpg.store.sealed"] = "lua/dpg/store/sealed.lua",
  ["dpg.stream"] = "lua/dpg/stream.lua",
  ["dpg.task"] = "lua/dpg/task.lua",
  ["dpg.transfer"] = "lua/dpg/transfer.lua",
  ["dpg.upload"] = "lua/dpg/upload.lua",
  ["dpg.url"] = "lua/dpg/url.lua",
  ["dpg.user"] = "lua/dpg/user.lua",
  ["dpg.uuid"] = "lua/dpg/uuid.lua",
  ["dpg.wire"] = "lua/dpg/wire.lua",
  ["dpg.types"] = "types/dpg.lua",
}

-- "make" builds the C part, with the very flags that the tests know, and the rest is copied as listed. LuaRocks' "builtin"
-- would also install all of lua/, the other rocks' modules included.
build = {
  type = "make",
  build_target = "module",
  install_pass = false,
  build_variables = {
    BUILD = "build/rock",
    LUA = "lua",
    LUA_INCDIR = "$(LUA_INCDIR)",
    CFLAGS = "$(CFLAGS)",
    CURL_CFLAGS = "-I$(CURL_INCDIR)",
    CURL_LIBS = "-L$(CURL_LIBDIR) -lcurl",
  },
  install = {
    lua = modules,
    lib = { ["dpg.core"] = "build/rock/lua/dpg/core.so" },
  },
}

-- Busted is not among the test_dependencies: LuaRocks would insist on the rock, also where a package has brought it.
test = { type = "command", script = "spec/run.lua" }
