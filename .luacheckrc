-- "min" is what all of 5.1 to 5.4 and LuaJIT share; dpg.compat alone bridges the rest, by way of rawget(_G, …).
std = "min"
max_line_length = 120
ignore = { "581" } -- "not (x > y)" is how a check refuses NaN as well
exclude_files = { "build/**", "**/*.c" }

files["spec"] = { std = "+busted" }
files["test/busted_log.lua"] = { std = "+busted" }

-- Inside nginx there is one more global, with fields to write to.
files["examples/openresty"] = { globals = { "ngx" } }
files["bench/nginx"] = { globals = { "ngx" } }

-- Inside LÖVE, which is LuaJIT.
files["examples/love"] = { std = "luajit+love" }
files["bench/frame_love"] = { std = "luajit+love" }
files["spec/support/love"] = { std = "luajit", globals = { "love" } }
files["spec/support/love_bare"] = { std = "luajit", globals = { "love" } }

-- Config files are Lua that sets globals.
files["**/*.rockspec"] = {
  std = "none",
  globals = {
    "rockspec_format", "package", "version", "source", "description", "supported_platforms", "dependencies",
    "external_dependencies", "build", "test", "test_dependencies",
  },
}
files[".luacheckrc"] = { ignore = { "11." } }
files["types"] = { max_comment_line_length = false } -- a field is one line
