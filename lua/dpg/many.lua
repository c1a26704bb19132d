-- Many files in one go: a few at a time as tasks, each reported, all of it written down in a journal. dpg.resources.
-- uploads and downloads say what is done with one file.
local config = require "dpg.config"
local errors = require "dpg.errors"
local journal = require "dpg.journal"
local task = require "dpg.task"

local M = {}

local CONCURRENCY = 4

---Options that send_many and save_many share.
M.OPTIONS = { concurrency = config.whole, journal = config.text, on_file = config.is "function" }

local function work_through(n, concurrency, work)
  local nth, workers = 0, {}
  local function worker()
    while nth < n do
      for _, other in ipairs(workers) do
        if other:has_failed() then return end
      end
      nth = nth + 1
      work(nth)
    end
  end
  for i = 1, math.min(n, concurrency) do workers[i] = task.spawn(worker) end
  for _, one in ipairs(workers) do one:await() end
end

-- Nobody can do anything about the next file either.
local HOPELESS = { auth = true, storage = true }

-- What is then said of the next: of the same kind, but no trouble of its own.
local function not_tried(file, err)
  return errors.new {
    kind = err.kind, code = err.code, reason = "not_tried", status = err.status,
    message = "it was not tried, as " .. file .. " had failed: " .. tostring(err.message),
  }
end

---Runs `work(item, journal)` for each item of a list; it gives a result with its `status`, and an `error` where there
---is one.
---@param kind string  "uploads" or "downloads"
---@param items table[]  each with its `file`: the id that the journal knows it by
---@param options table
---@param work fun(item: table, journal?: dpg.Journal): table
---@return table? report  `files` in the order of the list, and how many came to each status
---@return dpg.Error? err  kind "usage": a file that is in the list twice; kind "storage": the journal
function M.run(kind, items, options, work)
  local seen = {}
  for _, item in ipairs(items) do
    if seen[item.file] then
      return nil, errors.usage("duplicate_file", "the list has " .. item.file .. " twice: leave one out",
        { field = item.file })
    end
    seen[item.file] = true
  end
  local book, err
  if options.journal then
    book, err = journal.open(options.journal, kind)
    if not book then return nil, err end
  end
  local report, stopped = { files = {} }, nil
  local function one(i)
    local result = stopped and { status = "failed", error = not_tried(stopped.file, stopped.error) }
      or work(items[i], book)
    result.file = items[i].file
    if result.error and HOPELESS[result.error.kind] then stopped = stopped or result end
    report.files[i] = result
    report[result.status] = (report[result.status] or 0) + 1
    if options.on_file then options.on_file(result) end
  end
  local concurrency = options.concurrency or CONCURRENCY
  if #items > 0 then task.run(work_through, #items, concurrency, one) end
  if book then book:close() end
  return report
end

return M
