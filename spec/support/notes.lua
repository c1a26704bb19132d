-- A table of bad inputs and the errors that they gave, for people: with HOSTILE_TABLE=file in the environment, the
-- hostile specs append their rows to that file, as Markdown. Without it nothing is written.
local M = {}

local path = os.getenv "HOSTILE_TABLE"

---@param input string
---@param answer any  an error, or what else came
function M.row(input, answer)
  if not path then return end
  local file = assert(io.open(path, "a"))
  local text = tostring(answer):gsub("|", "\\|"):gsub("127%.0%.0%.1:%d+", "127.0.0.1:PORT"):gsub("/tmp/%S-/", "…/")
  file:write("| ", input, " | ", text, " |\n")
  file:close()
end

return M
