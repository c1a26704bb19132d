-- Busted's output as test/run reads it, in the words of test/check.h: `start NAME`, then `ok NAME`, `pending NAME` or
-- `not ok NAME`, the reasons before it on lines with a #, and last `N passed, N failed, N pending`. The start line
-- names the test that a crash or a hang ended; a test that takes a second or more says so. People who type `busted` get
-- Busted's own output (see .busted).
--
-- In CI what is pending has failed: ./dev test installs whatever a spec asks for, so one that can't run hides that a
-- step is missing there. But for what is in no package.

local pretty = require "pl.pretty"

local UNPACKAGED = { ["an editor shows what there is"] = true } -- lua-language-server
local is_ci = os.getenv "CI" == "true"

local function line(...)
  io.stdout:write(table.concat({ ... }), "\n")
  io.stdout:flush()
end

local function one_line(name)
  return (tostring(name):gsub("%s+", " "))
end

local function took(element)
  local seconds = element.duration or 0
  return seconds >= 1 and string.format(" (%.1f s)", seconds) or ""
end

return function(options)
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local missed = 0 -- pending, which they may not be

  local function failure(entry)
    local message = entry.message
    if type(message) ~= "string" then
      message = message == nil and "nil error" or pretty.write(message)
    end
    local trace = entry.element.trace
    if trace and trace.short_src then
      line("# ", trace.short_src, ":", trace.currentline)
    end
    line("# ", (message:gsub("\n", "\n# ")))
    if options.verbose and entry.trace and entry.trace.traceback then
      line("# ", (entry.trace.traceback:gsub("\n", "\n# ")))
    end
    line("not ok ", one_line(entry.name))
  end

  busted.subscribe({ "test", "start" }, function(element)
    line("start ", one_line(handler.getFullName(element)))
    return nil, true
  end)

  busted.subscribe({ "test", "end" }, function(element, _, status)
    local name = one_line(handler.getFullName(element))
    if status == "pending" and is_ci and not UNPACKAGED[name] then
      missed = missed + 1
      line("# does not run here: ", one_line(handler.pendings[#handler.pendings].message or "it is pending"))
      line("not ok ", name)
    elseif status == "failure" then
      failure(handler.failures[#handler.failures])
    elseif status == "error" then
      failure(handler.errors[#handler.errors])
    else
      line(status == "pending" and "pending " or "ok ", name, took(element))
    end
    return nil, true
  end)

  -- A file that does not load, a describe or a teardown that fails: no test's end will tell of it.
  local function outside(element)
    if element.descriptor ~= "it" then
      failure(handler.errors[#handler.errors])
    end
    return nil, true
  end
  busted.subscribe({ "error" }, outside)
  busted.subscribe({ "failure" }, outside)

  busted.subscribe({ "suite", "end" }, function()
    local failed = handler.failuresCount + handler.errorsCount
    if handler.successesCount + failed + handler.pendingsCount == 0 then
      failed = 1
      line("not ok the suite: it holds no test")
    end
    failed = failed + missed
    line(handler.successesCount, " passed, ", failed, " failed, ", handler.pendingsCount - missed, " pending")
    return nil, true
  end)

  return handler
end
