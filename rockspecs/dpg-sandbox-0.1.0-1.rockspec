rockspec_format = "3.0"
package = "dpg-sandbox"
version = "0.1.0-1"

source = {
  url = "dpg-0.1.0.tar.gz", -- what `make dist` makes; it has no public address yet, and comes along in the source rock
  dir = "dpg-0.1.0",
}

description = {
  summary = "A local stand-in for the Digital Photo Gallery API",
  detailed = [[
A server that keeps the contract of the Digital Photo Gallery API: tokens and their rotation, two-factor, scopes, paging,
ETags, Operations and Idempotency-Keys, uploads, downloads and archives with pictures of its own, over HTTP or HTTPS,
and misbehaves when told to. For tests, demos and work without a network.
]],
  license = "MIT",
}

dependencies = {
  "lua >= 5.1, < 5.5",
  "luasocket >= 3.0",
  "luasec >= 1.0",
  "lua-cjson >= 2.1",
}

local modules = {
  ["dpg.sandbox"] = "lua/dpg/sandbox.lua",
  ["dpg.sandbox.answers"] = "lua/dpg/sandbox/answers.lua",
  ["dpg.sandbox.api"] = "lua/dpg/sandbox/api.lua",
  ["dpg.sandbox.arrange"] = "lua/dpg/sandbox/arrange.lua",
  ["dpg.sandbox.auth"] = "lua/dpg/sandbox/auth.lua",
  ["dpg.sandbox.blob"] = "lua/dpg/sandbox/blob.lua",
  ["dpg.sandbox.cdn"] = "lua/dpg/sandbox/cdn.lua",
  ["dpg.sandbox.certificate"] = "lua/dpg/sandbox/certificate.lua",
  ["dpg.sandbox.content"] = "lua/dpg/sandbox/content.lua",
  ["dpg.sandbox.control"] = "lua/dpg/sandbox/control.lua",
  ["dpg.sandbox.dates"] = "lua/dpg/sandbox/dates.lua",
  ["dpg.sandbox.downloads"] = "lua/dpg/sandbox/downloads.lua",
  ["dpg.sandbox.edits"] = "lua/dpg/sandbox/edits.lua",
  ["dpg.sandbox.faults"] = "lua/dpg/sandbox/faults.lua",
  ["dpg.sandbox.fields"] = "lua/dpg/sandbox/fields.lua",
  ["dpg.sandbox.filters"] = "lua/dpg/sandbox/filters.lua",
  ["dpg.sandbox.hash"] = "lua/dpg/sandbox/hash.lua",
  ["dpg.sandbox.http"] = "lua/dpg/sandbox/http.lua",
  ["dpg.sandbox.images"] = "lua/dpg/sandbox/images.lua",
  ["dpg.sandbox.jpeg"] = "lua/dpg/sandbox/jpeg.lua",
  ["dpg.sandbox.json"] = "lua/dpg/sandbox/json.lua",
  ["dpg.sandbox.keywords"] = "lua/dpg/sandbox/keywords.lua",
  ["dpg.sandbox.library"] = "lua/dpg/sandbox/library.lua",
  ["dpg.sandbox.limits"] = "lua/dpg/sandbox/limits.lua",
  ["dpg.sandbox.multipart"] = "lua/dpg/sandbox/multipart.lua",
  ["dpg.sandbox.operations"] = "lua/dpg/sandbox/operations.lua",
  ["dpg.sandbox.options"] = "lua/dpg/sandbox/options.lua",
  ["dpg.sandbox.people"] = "lua/dpg/sandbox/people.lua",
  ["dpg.sandbox.process"] = "lua/dpg/sandbox/process.lua",
  ["dpg.sandbox.processor"] = "lua/dpg/sandbox/processor.lua",
  ["dpg.sandbox.random"] = "lua/dpg/sandbox/random.lua",
  ["dpg.sandbox.record"] = "lua/dpg/sandbox/record.lua",
  ["dpg.sandbox.routes"] = "lua/dpg/sandbox/routes.lua",
  ["dpg.sandbox.scene"] = "lua/dpg/sandbox/scene.lua",
  ["dpg.sandbox.seed"] = "lua/dpg/sandbox/seed.lua",
  ["dpg.sandbox.server"] = "lua/dpg/sandbox/server.lua",
  ["dpg.sandbox.service"] = "lua/dpg/sandbox/service.lua",
  ["dpg.sandbox.sets"] = "lua/dpg/sandbox/sets.lua",
  ["dpg.sandbox.tally"] = "lua/dpg/sandbox/tally.lua",
  ["dpg.sandbox.tokens"] = "lua/dpg/sandbox/tokens.lua",
  ["dpg.sandbox.totp"] = "lua/dpg/sandbox/totp.lua",
  ["dpg.sandbox.uploads"] = "lua/dpg/sandbox/uploads.lua",
  ["dpg.sandbox.zip"] = "lua/dpg/sandbox/zip.lua",
}

-- "none" copies what is listed and no more; "builtin" would also install all of lua/, the client's modules included.
build = {
  type = "none",
  modules = modules,
  install = {
    lua = modules,
    bin = { "bin/dpg-sandbox" },
  },
}
