-- types/core.lua says what the binding offers: compared with the tables that register it.
local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

local function registered(path)
  local names = {}
  for name in read(path):gmatch '{"([%l_]+)",%s*[%l_]+}' do names[name] = true end
  return names
end

local function documented(text, pattern)
  local names = {}
  for name in text:gmatch(pattern) do names[name] = true end
  return names
end

describe("types/core.lua", function()
  local text = read "types/core.lua"

  it("names every function of dpg.core, and no other", function()
    local names = {}
    for name, value in pairs(require "dpg.core") do
      if type(value) == "function" then names[name] = true end
    end
    assert.same(names, documented(text, "function core%.([%l_]+)"))
  end)

  for _, class in ipairs { "engine", "credential" } do
    it("names every method of an " .. class .. ", and no other", function()
      assert.same(registered("csrc/binding/" .. class .. ".c"), documented(text, "function " .. class .. ":([%l_]+)"))
    end)
  end
end)
