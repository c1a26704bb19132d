rockspec_format = "3.0"
package = "dpg-cli"
version = "scm-1"

source = {
  url = "git+file://.", -- built from a checkout, as `luarocks make` does; a release will name its archive,
}

description = {
  summary = "Digital Photo Gallery from a terminal",
  detailed = [[
The command `dpg`: signs a person in (or takes a service token of the environment), lists and searches a library, uploads
and downloads with resumption, rates, captions, keywords, arranges and embargoes sets, keeps a folder and a set alike,
and looks at what can be wrong (`dpg doctor`).
]],
  license = "MIT",
}

dependencies = {
  "lua >= 5.1, < 5.5",
  "dpg",
  "argparse >= 0.7",
}

local modules = {
  ["dpg.cli.api"] = "lua/dpg/cli/api.lua",
  ["dpg.cli.archives"] = "lua/dpg/cli/archives.lua",
  ["dpg.cli.doctor"] = "lua/dpg/cli/doctor.lua",
  ["dpg.cli.edit"] = "lua/dpg/cli/edit.lua",
  ["dpg.cli.failure"] = "lua/dpg/cli/failure.lua",
  ["dpg.cli.files"] = "lua/dpg/cli/files.lua",
  ["dpg.cli.images"] = "lua/dpg/cli/images.lua",
  ["dpg.cli.journals"] = "lua/dpg/cli/journals.lua",
  ["dpg.cli.keywords"] = "lua/dpg/cli/keywords.lua",
  ["dpg.cli.known"] = "lua/dpg/cli/known.lua",
  ["dpg.cli.login"] = "lua/dpg/cli/login.lua",
  ["dpg.cli.main"] = "lua/dpg/cli/main.lua",
  ["dpg.cli.out"] = "lua/dpg/cli/out.lua",
  ["dpg.cli.progress"] = "lua/dpg/cli/progress.lua",
  ["dpg.cli.prompt"] = "lua/dpg/cli/prompt.lua",
  ["dpg.cli.session"] = "lua/dpg/cli/session.lua",
  ["dpg.cli.sets"] = "lua/dpg/cli/sets.lua",
  ["dpg.cli.sync"] = "lua/dpg/cli/sync.lua",
  ["dpg.cli.system"] = "lua/dpg/cli/system.lua",
  ["dpg.cli.takes"] = "lua/dpg/cli/takes.lua",
}

-- "none" copies what is listed and no more; "builtin" would also install all of lua/, the client's modules included.
build = {
  type = "none",
  modules = modules,
  install = {
    lua = modules,
    bin = { "bin/dpg" },
  },
  copy_directories = { "share" }, -- the man page and completions; `luarocks show --rock-dir dpg-cli` says where
}
