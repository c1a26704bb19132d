-- Runs the specs under the Lua that runs this file. `luarocks test` calls it (see the rockspec); in a checkout,
-- `make test` builds first and runs them on every Lua.
require "busted.runner"({ standalone = false })
