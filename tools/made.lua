-- Files as the tools here read and write them, and those that a tool makes: written with `--write`, else compared, for
-- `make check`. A tool that requires this runs from the top of the tree.
local M = {}

---@param path string
---@return string? bytes  nil: it isn't there
function M.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read "*a"
  file:close()
  return bytes
end

---@param path string
---@param bytes string
function M.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  assert(file:write(bytes) and file:close())
end

---With `--write` writes what differs. Else names it, says how to put it right, and ends the tool with 1.
---@param wanted table<string, string>  what each file should hold, by path
---@param of string  what they are made of
function M.keep(wanted, of)
  local wrong = {}
  for path, bytes in pairs(wanted) do
    if M.read(path) ~= bytes then wrong[#wrong + 1] = path end
  end
  table.sort(wrong)
  for _, path in ipairs(wrong) do
    if arg[1] == "--write" then M.write(path, wanted[path]) else print(path .. " is not what " .. of .. " says") end
  end
  if #wrong == 0 or arg[1] == "--write" then return end
  print("lua " .. arg[0] .. " --write  puts it right; then read what git diff shows")
  os.exit(1)
end

return M
