-- Runs spec files inside an nginx worker, their text unchanged: what busted gives a spec, as far as ours use it, for
-- one request of nginx's. A line for each test is printed as it ends; the last says how many passed and failed.
-- luacheck: globals setfenv
local M = {}

-- The kit's modules tidy up at the end of a suite: here at the end of the request.
local at_the_end = {}
package.loaded.busted = { subscribe = function(_, tidy) at_the_end[#at_the_end + 1] = tidy end }

local HOOKS = { "setup", "teardown", "before_each", "after_each" }

-- Reads a file: a tree of blocks, each with its hooks, tests and blocks.
local function read(path)
  local root = { name = path, items = {} }
  local block = root
  local words = { assert = require "luassert", pending = function() end }
  for _, hook in ipairs(HOOKS) do
    words[hook] = function(fn)
      block[hook] = block[hook] or {}
      table.insert(block[hook], fn)
    end
  end
  words.lazy_setup, words.lazy_teardown = words.setup, words.teardown
  function words.it(name, fn) table.insert(block.items, { name = name, fn = fn }) end
  function words.describe(name, fn)
    local outer = block
    block = { name = name, items = {}, outer = outer }
    table.insert(outer.items, block)
    fn()
    block = outer
  end
  words.insulate = words.describe
  function words.finally(fn) root.finally = fn end
  words._G = _G
  setfenv(assert(loadfile(path)), setmetatable(words, { __index = _G }))()
  return root
end

local function problem_text(problem)
  return (type(problem) == "table" and problem.message and tostring(problem.message) or tostring(problem))
end

local function call_all(block, hook, ...)
  for _, fn in ipairs(block and block[hook] or {}) do fn(...) end
end

local function before(block)
  if not block then return end
  before(block.outer)
  call_all(block, "before_each")
end

local function after(block)
  if not block then return end
  call_all(block, "after_each")
  after(block.outer)
end

local function run_test(root, block, test)
  root.finally = nil
  local ok, problem = pcall(function()
    before(block)
    test.fn()
  end)
  if root.finally then pcall(root.finally) end
  local tidy, trouble = pcall(after, block)
  if ok and not tidy then return false, trouble end
  return ok, problem
end

local function run(root, block, say, counts)
  local ok, problem = pcall(call_all, block, "setup")
  for _, item in ipairs(block.items) do
    if item.items then
      run(root, item, say, counts)
    else
      local fine, trouble = ok, problem
      if ok then fine, trouble = run_test(root, block, item) end
      counts[fine and "passed" or "failed"] = counts[fine and "passed" or "failed"] + 1
      say((fine and "ok     " or "not ok ") .. root.name .. ": " .. item.name)
      if not fine then say("#      " .. problem_text(trouble):gsub("\n", "\n#      ")) end
    end
  end
  pcall(call_all, block, "teardown")
end

---Runs one file.
---@param path string
---@param say fun(line: string)
function M.run(path, say)
  local counts = { passed = 0, failed = 0 }
  local root = read(path)
  run(root, root, say, counts)
  for _, tidy in ipairs(at_the_end) do tidy() end
  at_the_end = {}
  say(("%d passed, %d failed"):format(counts.passed, counts.failed))
end

return M
