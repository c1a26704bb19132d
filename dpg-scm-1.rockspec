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
        "csrc/binding/core.c",
        "csrc/binding/credential.c",
        "csrc/binding/engine.c",
        "csrc/binding/json.c",
        "csrc/binding/json_wanted.c",
        "csrc/binding/spec.c",
        "csrc/binding/store.c",
        "csrc/binding/wake.c",
        "csrc/core/base.c",
        "csrc/core/call.c",
        "csrc/core/credential.c",
        "csrc/core/credential_exchange.c",
        "csrc/core/credential_handle.c",
        "csrc/core/credential_record.c",
        "csrc/core/credential_save.c",
        "csrc/core/credential_waiters.c",
        "csrc/core/drain.c",
        "csrc/core/engine.c",
        "csrc/core/engine_outbox.c",
        "csrc/core/engine_start.c",
        "csrc/core/engine_thread.c",
        "csrc/core/flow.c",
        "csrc/core/flow_credential.c",
        "csrc/core/flow_stream.c",
        "csrc/core/gate.c",
        "csrc/core/headers.c",
        "csrc/core/json.c",
        "csrc/core/json_number.c",
        "csrc/core/json_text.c",
        "csrc/core/os_posix.c",
        "csrc/core/os_posix_file.c",
        "csrc/core/os_posix_net.c",
        "csrc/core/os_posix_thread.c",
        "csrc/core/os_windows.c",
        "csrc/core/os_windows_access.c",
        "csrc/core/os_windows_file.c",
        "csrc/core/os_windows_folder.c",
        "csrc/core/os_windows_thread.c",
        "csrc/core/pipe.c",
        "csrc/core/record.c",
        "csrc/core/retry.c",
        "csrc/core/store_file.c",
        "csrc/core/store_host.c",
        "csrc/core/store_memory.c",
        "csrc/core/timers.c",
        "csrc/core/transport_curl.c",
        "csrc/core/transport_curl_form.c",
        "csrc/core/transport_curl_request.c",
        "csrc/core/transport_curl_result.c",
        "csrc/core/wake.c",
        "csrc/core/wire.c",
      },
      defines = { "_GNU_SOURCE" },
      incdirs = { "csrc/core", "$(CURL_INCDIR)" },
      libdirs = { "$(CURL_LIBDIR)" },
      libraries = { "curl", "pthread" },
    },
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
  },
}

-- Busted is not among the test_dependencies: LuaRocks would insist on the rock, also where a package has brought it.
test = { type = "command", script = "spec/run.lua" }
