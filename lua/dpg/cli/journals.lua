-- What is known of uploads that were cut, file by file, whatever others were named with them. Each run has a journal of
-- its own, so that two can go on side by side; it takes over what runs of its kind that have ended have left.
local dpg = require "dpg"
local journal = require "dpg.journal"
local session = require "dpg.cli.session"
local system = require "dpg.cli.system"

local M = {}

-- The steps that a later run goes by; what failed, or did not begin, is sent in any case.
local TELLS = { done = true, sending = true, unknown = true }

---@param args table
---@param words string[]  what is sent with each of the files
---@param files string[]
---@return string path
---@return string kind  what the journals of all runs with these words begin with
function M.path(args, words, files)
  local kind = session.journal(args, words)
  return kind .. "-" .. system.digest(table.concat(files, "\0")), kind
end

---Writes into the journal at `path` what others know; those are gone then. One whose run goes on is left alone.
---@param path string  locked
---@param others string[]
function M.take_over(path, others)
  local book = dpg.assert(journal.open(path, "uploads"))
  for _, other in ipairs(others) do
    local give_back = other ~= path and system.size(other) and system.lock(other .. ".lock")
    local left = give_back and journal.open(other, "uploads")
    if left then
      for file, entry in pairs(left.entries) do
        local ours = book.entries[file]
        if TELLS[entry.step] and not (ours and ours.at >= entry.at) then dpg.assert(book:write(file, entry)) end
      end
      left:close()
      os.remove(other)
    end
    if give_back then give_back() end
  end
  book:close()
end

---A run is whole: its files are no longer noted, so that whoever names them again means it. What is known of others
---stays.
---@param path string
---@param files string[]
function M.settle(path, files)
  local book = journal.open(path, "uploads")
  if not book then return end
  local others = {}
  for file, entry in pairs(book.entries) do others[file] = TELLS[entry.step] end
  for _, file in ipairs(files) do others[file] = nil end
  local is_empty = next(others) == nil
  for _, file in ipairs(is_empty and {} or files) do book:write(file, { step = "whole" }) end
  book:close()
  if is_empty then os.remove(path) end
end

return M
