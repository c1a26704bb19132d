-- dpg archive: many images in one file.
local dpg = require "dpg"
local edit = require "dpg.cli.edit"
local failure = require "dpg.cli.failure"
local filename = require "dpg.filename"
local images = require "dpg.cli.images"
local out = require "dpg.cli.out"
local progress = require "dpg.cli.progress"
local session = require "dpg.cli.session"
local system = require "dpg.cli.system"
local takes = require "dpg.cli.takes"
local wire = require "dpg.wire"

local M = {}

-- Seconds that an archive of thousands of originals may take, while somebody waits for it.
local LIMIT = 3600

local function size_of(archive)
  local bytes = tonumber(archive.bytes or archive.size)
  return bytes and out.size(bytes) or ""
end

local function list(args)
  local items, rows = {}, {}
  for archive in session.open(args).archives:each() do
    items[#items + 1] = archive
    local ends_at = out.moment(archive.expires_at)
    rows[#rows + 1] = { archive.uuid, archive.image_count, size_of(archive), ends_at, archive.filename }
  end
  if args.json then return out.json(dpg.array(items)) end
  out.table({ "ARCHIVE", "IMAGES", "SIZE", "UNTIL", "NAME" }, rows)
end

local function check_folder(folder)
  if not system.is_folder(folder) then
    failure.usage("%s is no folder: make it first, or name another with -o", out.plain(folder))
  end
end

local NAME = "archive.zip" -- of an archive that is fetched, and for which nobody has said one

-- Before DPG is put to work, not after.
local function check_name(folder, name)
  local file = folder:gsub("(.)/+$", "%1") .. "/" .. filename.safe(name, NAME)
  for _, path in ipairs { file, file .. ".zip" } do -- which DPG adds to a name without it
    if system.kind(path) then
      failure.usage("the file %s is there: --overwrite replaces it, --name or -o name another", out.plain(path))
    end
  end
end

-- Into its `.part`, which a later run goes on with.
local function save(args, gallery, archive, folder, is_new)
  local bar = progress.new(1, args.quiet)
  local ok, path, err = pcall(gallery.archives.save, gallery.archives, archive, folder .. "/", {
    overwrite = args.overwrite or false, on_progress = function(done, total) bar:moved(done, total, "archive") end,
  })
  bar:close()
  if not ok and failure.describe(path) == failure.INTERRUPTED then
    failure.raise(failure.INTERRUPTED, "interrupted: what has come is kept; dpg archive download goes on there")
  end
  if not ok then error(path, 0) end
  if not path and is_new and err.code == "exists" then -- DPG has called it otherwise; it need not be made again
    failure.raise(failure.FAILED, ("%s; the archive is ready: dpg archive download %s"):format(failure.text(err),
      out.plain(wire.archive(archive).uuid)))
  end
  out.line(out.plain(dpg.assert(path, err)))
end

local function create(args)
  local ids, gallery = images.ids(args.images), session.open(args)
  local name = args.name or args.output and NAME
  if args.output then
    check_folder(args.output)
    if not args.overwrite then check_name(args.output, name) end
  end
  local operation, err = gallery.archives:create { image_public_uuids = ids, filename = name }
  operation = edit.done(operation, err, { limit = LIMIT,
    later = "dpg archive ls shows it when it is ready, dpg archive download fetches it" })
  if args.output then return save(args, gallery, operation, args.output, true) end
  out.say "ready: dpg archive ls shows it, dpg archive download fetches it"
end

local function download(args)
  local folder = args.output or "."
  check_folder(folder)
  local gallery = session.open(args)
  for archive in gallery.archives:each() do
    if archive.uuid == args.archive then return save(args, gallery, archive, folder) end
  end
  failure.raise(failure.FAILED, "there is no such archive, or no longer: dpg archive ls shows those that are ready")
end

function M.add(parser)
  local archive = takes.command(parser, "archive", "Make, list and fetch archives of images", nil,
    { "dpg set images \"Press kit\" --all | dpg archive create - --name press.zip -o ." }):require_command(true)

  local command = takes.command(archive, "create", "Make an archive of images, and wait until it is ready")
  takes.images(command)
  command:option "--name":argname "FILE":description "the archive's file name; with -o, else archive.zip"
  command:option "-o --output":argname "DIR":description "fetch it, too, into this folder"
  command:flag "--overwrite":description "replace a file that is there"
  command:action(function(args) args.run = create end)

  command = takes.command(archive, "ls", "List the archives that are ready")
  command:flag "--json":description "as a JSON array"
  command:action(function(args) args.run = list end)

  command = takes.command(archive, "download", "Fetch an archive",
    "After Ctrl-C the same command goes on within the file.")
  takes.argument(command, "archive", "ARCHIVE", "as dpg archive ls shows it in its first column")
  takes.output(command)
  command:flag "--overwrite":description "replace a file that is there"
  command:action(function(args) args.run = download end)
end

return M
