-- dpg upload, download: files on their way. A run that was cut leaves a journal and .part files; the same command
-- goes on there.
local dpg = require "dpg"
local failure = require "dpg.cli.failure"
local images = require "dpg.cli.images"
local journals = require "dpg.cli.journals"
local out = require "dpg.cli.out"
local progress = require "dpg.cli.progress"
local session = require "dpg.cli.session"
local system = require "dpg.cli.system"
local takes = require "dpg.cli.takes"

local M = {}

---Runs `work(…)` unless another process of this machine is at the same: cron may start what has not ended.
---@param path string  of a note that there is one
---@param work fun(...: any)
function M.alone(path, work, ...)
  local give_back, pid = system.lock(path)
  if pid then
    local who = pid ~= "" and "process " .. pid or "whose number is not known"
    failure.raise(failure.FAILED, "another dpg (" .. who .. ") is doing this: wait for it")
  elseif not give_back then
    failure.raise(failure.FAILED, path .. " can't be written: look at the folder's modes, and for room on the disk")
  end
  local ok, err = pcall(work, ...)
  give_back()
  if not ok then error(err, 0) end
end

---Runs `move(options)`, with a bar and a line for each file. Whatever ends it, the bar goes first.
---@param args table
---@param count integer
---@param sizes? table<string, integer>  of the files, where they are known
---@param journal string
---@param row fun(result: dpg.FileResult): any[]  what is printed of a file that has arrived
---@param move fun(options: table): table?, dpg.Error?
---@return dpg.FileResult[] results
function M.run(args, count, sizes, journal, row, move)
  local bar, not_tried = progress.new(count, args.quiet, sizes), 0
  local ok, report, err = pcall(move, {
    journal = journal,
    on_progress = function(done, total, file) bar:moved(done, total, file) end,
    on_file = function(result)
      bar:finished(result.file)
      if result.error and result.error.reason == "not_tried" then
        not_tried = not_tried + 1
      elseif result.error then
        out.warn(result.file .. ": " .. failure.text(result.error))
      else
        local words = {}
        for i, word in ipairs(row(result)) do words[i] = out.plain(word) end
        out.line(table.concat(words, "\t"))
        out.flush()
      end
      bar:draw()
    end,
  })
  bar:close()
  if not ok then
    local status = failure.describe(report)
    if status == failure.INTERRUPTED then
      failure.raise(status, "interrupted: what has arrived is noted; the same command goes on there")
    end
    error(report, 0)
  end
  dpg.assert(report, err)
  if not_tried > 0 then
    out.warn(not_tried == 1 and "1 more file was not tried" or not_tried .. " more files were not tried")
  end
  return report.files
end

-- May the same command do better? Not with a slip, with what is there already or perhaps, nor with what DPG has looked
-- at and refused; but when it was not tried at all.
local function is_for_later(err)
  if err.reason == "not_tried" or err.status == 408 or err.status == 429 then return true end
  return err.kind ~= "usage" and err.code ~= "upload_outcome_unknown"
    and not (err.kind == "api" and err.status and err.status >= 400 and err.status < 500)
end

---Says how it went; ends the command where something failed. The journal of a run that is whole is of no more use.
---@param results dpg.FileResult[]
---@param journal? string
function M.conclude(results, journal)
  local errs = {}
  for _, result in ipairs(results) do errs[#errs + 1] = result.error end
  if #errs == 0 then
    if journal then os.remove(journal) end
    return
  end
  local later = 0
  for _, err in ipairs(errs) do later = later + (is_for_later(err) and 1 or 0) end
  failure.raise(failure.status_of(errs), ("%d of %d files failed: %s"):format(#errs, #results,
    later == 0 and "see above" or later == #errs and "the same command tries these again"
    or ("the same command tries %d of them again; for the others see above"):format(later)))
end

-- --- upload --------------------------------------------------------------------------------------------------------

local function why_unreadable(path)
  local kind = system.kind(path)
  if kind == "other" then return "it is a pipe or a device; write into a file first what comes from it" end
  return kind and "look at its mode" or "is it there?"
end

-- The files' sizes; ends the command where one can't be sent.
local function check_files(paths)
  local sizes, seen = {}, {}
  for _, path in ipairs(paths) do
    if seen[path] then failure.usage("the file %s is named twice", out.plain(path)) end
    seen[path] = true
    if path:match "[^/]*$":find "%c" then
      failure.usage("the file's name %s has a line end or the like in it: rename it", out.plain(path))
    end
    if system.is_folder(path) then failure.usage("%s is a folder: name its files, as in "
      .. "%s/*", out.plain(path), out.plain(path)) end
    sizes[path] = system.size(path)
    if not sizes[path] then failure.usage("%s can't be read: %s", out.plain(path), why_unreadable(path)) end
  end
  return sizes
end

local function upload(args)
  local sizes = check_files(args.files)
  if #args.files > 1 and args.title then failure.usage "--title is for one file: leave it out, or upload one by one" end
  local gallery = session.open(args)
  local fields = {
    title = args.title, description = args.description, creation_date = args.taken,
    keywords = #args.keyword > 0 and args.keyword or nil,
    set_public_uuid = args.set and images.set(gallery, args.set),
    read_metadata = args.read_metadata or nil,
  }
  local words = { "upload", args.title or "", args.description or "", args.taken or "", args.set or "", "--" }
  for _, word in ipairs(args.keyword) do words[#words + 1] = word end
  local journal, kind = journals.path(args, words, args.files)
  words[#words + 1] = "--"
  for _, path in ipairs(args.files) do words[#words + 1] = path end
  local others = system.matching(kind .. "-")
  others[#others + 1] = session.journal(args, words) -- as an older dpg named it
  M.alone(journal .. ".lock", function()
    journals.take_over(journal, others)
    local results = M.run(args, #args.files, sizes, journal, function(result)
      return { result.image_public_uuid, result.status == "already" and "already there" or "sent", result.file }
    end, function(options)
      options.fields, options.resend_unknown, options.concurrency = fields, args.resend or false, args.concurrency
      return gallery.uploads:send_many(args.files, options)
    end)
    M.conclude(results)
    journals.settle(journal, args.files)
    out.say(#results == 1 and "1 file is there" or #results .. " files are there")
  end)
end

-- --- download ------------------------------------------------------------------------------------------------------

local function download(args)
  local ids, folder = images.ids(args.images), args.output or "."
  if not system.is_folder(folder) then failure.usage("%s is no folder: make it first, or name another with "
    .. "-o", out.plain(folder)) end
  local gallery = session.open(args)
  local words = { "download", folder, args.version or "" }
  for _, id in ipairs(ids) do words[#words + 1] = id end
  local journal = session.journal(args, words)
  M.alone(journal .. ".lock", function()
    local results = M.run(args, #ids, nil, journal, function(result)
      return { result.file, result.status == "already" and "already there" or "saved", result.path }
    end, function(options)
      options.version, options.overwrite, options.concurrency = args.version, args.overwrite or false, args.concurrency
      return gallery.downloads:save_many(ids, folder, options)
    end)
    M.conclude(results, journal)
    out.say(#results == 1 and "1 file is here" or #results .. " files are here")
  end)
end

function M.add(parser)
  local command = takes.command(parser, "upload", "Send files, each once",
    "Prints a line for each: the image's UUID, what was done, the file. After Ctrl-C or a failure the same command "
      .. "in the same folder goes on where it was.",
    { "dpg upload stage-1.jpg stage-2.jpg --set \"Press kit\" -k live", "dpg upload --read-metadata friday/*.jpg" })
  takes.argument(command, "files", "FILE", "the files; a folder's as DIR/*"):args "+"
  command:option "-s --set":argname "SET":description "into this set: its UUID, name, or path in the tree"
  takes.keyword(command, "with this keyword; several times for several"):count "*"
  command:option "--title":argname "TEXT":description "the title, of one file"
  command:option "--description":argname "TEXT":description "the description"
  command:option "--taken":argname "DATE":description "when it was taken; else as the file says"
  command:flag "--read-metadata":description "take caption, keywords and date from the file"
  command:flag "--resend":description "send again what may have been taken when an earlier run was cut"
  takes.concurrency(command)
  command:action(function(args) args.run = upload end)

  command = takes.command(parser, "download", "Fetch images' files",
    "Prints a line for each: the image's UUID, what was done, the file. After Ctrl-C or a failure the same command in "
      .. "the same folder goes on where it was, within a file too.",
    { "dpg download 31dacb18-3edd-45df-a2fd-3206311b6cab -o ~/Pictures",
      "dpg search sunset --all | dpg download - --size original" })
  takes.images(command)
  takes.output(command)
  command:option "--size":target "version":argname "VERSION":description("original, large, preview, thumbnail "
    .. "…; else the largest")
  command:flag "--overwrite":description "replace files that are there"
  takes.concurrency(command)
  command:action(function(args) args.run = download end)
end

return M
