-- No module adds a global, patches what Lua has, or needs anything but what it names.
local modules = {
  "dpg", "dpg.batch", "dpg.cache", "dpg.call", "dpg.catalog", "dpg.checks", "dpg.compat", "dpg.config",
  "dpg.connection", "dpg.core", "dpg.download", "dpg.errors", "dpg.filename", "dpg.host", "dpg.host.blocking",
  "dpg.host.loop", "dpg.hub", "dpg.journal", "dpg.json", "dpg.many", "dpg.objects", "dpg.operation", "dpg.page",
  "dpg.resources.archives", "dpg.resources.downloads", "dpg.resources.images", "dpg.resources.keywords",
  "dpg.resources.metadata_profiles", "dpg.resources.operations", "dpg.resources.sets", "dpg.resources.uploads",
  "dpg.scheduler", "dpg.session", "dpg.sign_in", "dpg.source", "dpg.store", "dpg.store.check", "dpg.store.redis",
  "dpg.store.sealed", "dpg.stream", "dpg.task", "dpg.transfer", "dpg.upload", "dpg.url", "dpg.user", "dpg.uuid",
  "dpg.wire",
}

local client = require "support.client"

describe("require", function()
  it("of every module adds no global and changes no library", function()
    local pipe = client.child(string.format([[
      local libraries = { "string", "table", "math", "io", "os", "coroutine", "debug", "package" }
      local before, inside = {}, {}
      for name in pairs(_G) do before[name] = true end
      for _, name in ipairs(libraries) do
        inside[name] = {}
        for key, value in pairs(_G[name]) do inside[name][key] = value end
      end
      for name in ("%s"):gmatch "%%S+" do
        local module = require(name)
        assert(type(module) == "table" or type(module) == "function", name)
      end
      for name in pairs(_G) do
        if not before[name] then print("global " .. tostring(name)) end
      end
      for _, name in ipairs(libraries) do
        for key, value in pairs(_G[name]) do
          if name ~= "package" and inside[name][key] ~= value then print("changed " .. name .. "." .. tostring(key)) end
        end
      end
      print "done"
    ]], table.concat(modules, " ")))
    assert.equal("done\n", pipe:read "*a")
    pipe:close()
  end)

  it("needs no event loop and no socket module", function()
    local pipe = client.child [[
      for _, name in ipairs { "socket", "cqueues", "luv", "copas", "http", "posix", "lfs", "ssl" } do
        package.preload[name] = function() error("dpg asked for " .. name) end
      end
      require "dpg"
      print "done"
    ]]
    assert.equal("done\n", pipe:read "*a")
    pipe:close()
  end)
end)
