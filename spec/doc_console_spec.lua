-- The run that doc/cli.md shows, run again: each command of the transcript does what it shows. There it was a terminal,
-- here it is a pipe, so heads of tables and progress bars are left out; what a server makes up is told by its looks.
local blocks = require "support.blocks"
local boxes = require "support.box"
local client = require "support.client"
local dpg = require "dpg"
local process = require "support.process"

if process.name ~= "lua5.4" or (os.getenv "CHECKER" or "") ~= "" then return end

local PAGE = "doc/cli.md"

-- What must be alike: without new ids, rates, ports and the width of columns.
local function core_of(line, known, home)
  line = home and line:gsub(home:gsub("%p", "%%%0"), "~") or line
  line = line:gsub("%x+%-%x+%-%x+%-%x+%-%x+", function(id) return known[id] and id or "ID" end)
  return (line:gsub("127%.0%.0%.1:%d+", "HOST"):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

local function is_shown_in_a_terminal_alone(line)
  return line == "" or line == "…" or line:find "^%[[# ]+%]" or line:find "^[%u ]+$"
end

describe("the run in doc/cli.md", function()
  local text
  for _, block in ipairs(blocks.read(PAGE)) do
    if block.language == "console" then text = block.text end
  end

  it("is what happens", function()
    if not pcall(require, "argparse") then return pending "lua-argparse is not installed: ./dev test installs it" end
    local box = boxes.start()
    finally(function() box:stop() end)
    local page = blocks.open(PAGE, box)
    page.environment.DPG_TOKEN = nil
    local known = {}
    for image in client.service(box).images:each() do known[image.public_uuid] = true end
    for i = 1, 3 do process.write_file(page.folder .. "/stage-" .. i .. ".jpg", ("%d"):format(i):rep(5000)) end
    -- its first command: spec/cli_login_spec.lua types that
    process.shell("mkdir -p " .. page.folder .. "/.local/state")
    dpg.assert(client.sign_in(box, "omar", {
      store = dpg.store.file(page.folder .. "/.local/state/dpg/default"),
      mfa = function() return box.people.omar.code end,
    }))

    local commands = 0
    for command, shown in (text .. "\n$ "):gmatch "%$ (dpg [^\n]*)\n(.-)%f[$\0]" do
      if command ~= "dpg login" then
        commands = commands + 1
        local said, lines = page:shell("mkdir -p files; mv stage-*.jpg files 2>/dev/null || true; cd files; " .. command
          .. "\n"), {}
        for line in said:gmatch "[^\n]+" do lines[core_of(line, known, page.folder)] = true end
        for line in shown:gmatch "[^\n]+" do
          if not is_shown_in_a_terminal_alone(line) then
            assert.is_true(lines[core_of(line, known)],
              command .. " does not say '" .. core_of(line, known) .. "' but:\n" .. said)
          end
        end
      end
    end
    assert.is_true(commands >= 6)
  end)
end)
