-- What bench/run.lua has found, as tables (Markdown) and a plot (SVG).
local M = {}

-- Quartiles further apart than this part of the median: the machine had other things to do.
local NOISY = 0.10
local PLOT, PAGE = "doc/images/performance.svg", "doc/performance.md"

local function quantile(list, part)
  local sorted = {}
  for i, value in ipairs(list) do sorted[i] = value end
  table.sort(sorted)
  local at = (#sorted - 1) * part + 1
  local low = math.floor(at)
  return sorted[low] + ((sorted[low + 1] or sorted[low]) - sorted[low]) * (at - low)
end

local function median(list) return quantile(list, 0.5) end
local function spread(list) return (quantile(list, 0.75) - quantile(list, 0.25)) / median(list) end

---@param cpu number[]  seconds for each call, by round
---@param wall number[]
---@param base number[]  the reference's
function M.summary(cpu, wall, base)
  local ratios = {}
  for i, value in ipairs(cpu) do ratios[i] = value / base[i] end
  return { cpu = median(cpu), spread = spread(cpu), wall = median(wall), ratio = median(ratios) }
end

local function shell(command)
  local pipe = io.popen(command .. " 2>&1")
  local said = pipe:read "*l" or ""
  pipe:close()
  return said
end

function M.load()
  return (shell "cat /proc/loadavg":match "^%S+" or "?")
end

-- --- tables --------------------------------------------------------------------------------------------------------

local PROTOCOLS = { plain = "plain HTTP", tls = "TLS", h2 = "HTTP/2 over TLS" }
local WORKS = {
  ["/me"] = "`GET /me`", ["/images?limit=50"] = "a page of 50 images", ["/images?limit=200"] = "a page of 200 images",
}
local ORDER = { "/me", "/images?limit=50", "/images?limit=200" }

local function us(seconds)
  local value = seconds * 1e6
  return value < 9.95 and ("%.1f"):format(value) or ("%.0f"):format(value)
end

local function cell_text(one)
  if not one then return "–" end
  return us(one.cpu) .. (one.spread > NOISY and (" ±%.0f %%?"):format(one.spread * 50) or "")
end

local function times(one)
  return one and ("%.2f"):format(one.ratio) or "–"
end

local function row(...)
  return "| " .. table.concat({ ... }, " | ") .. " |"
end

-- One work over one protocol: a row for each client.
local function work_table(found, path, protocol, out)
  local cells = {}
  for _, cell in ipairs(found.cells) do
    if cell.path == path and cell.protocol == protocol then cells[#cells + 1] = cell end
  end
  if #cells == 0 then return end
  local head, rule = { WORKS[path] .. ", " .. PROTOCOLS[protocol] }, { "---" }
  for _, cell in ipairs(cells) do
    local many = cell.at_once == 1 and "one at a time" or cell.at_once .. " at once"
    for _, name in ipairs { many, "bare", "× C" } do
      head[#head + 1], rule[#rule + 1] = name, "--:"
    end
  end
  out[#out + 1] = row((table.unpack or unpack)(head)) -- luacheck: ignore 113 143
  out[#out + 1] = "|" .. table.concat(rule, "|") .. "|"
  local function line(peer, name, what)
    local texts, any = { name }, false
    for _, cell in ipairs(cells) do
      local bare = cell.results[peer.key .. " bare"]
      local one = cell.results[peer.key .. " " .. what]
      if peer.is_reference then one = nil end
      any = any or one ~= nil or peer.is_reference and bare ~= nil
      texts[#texts + 1] = cell.stuck[peer.key .. " " .. what] and "stuck" or cell_text(one)
      texts[#texts + 1] = what == "fields" and "" or cell_text(bare)
      texts[#texts + 1] = times(peer.is_reference and bare or one)
    end
    if any then out[#out + 1] = "| " .. table.concat(texts, " | ") .. " |" end
  end
  for _, peer in ipairs(found.peers) do
    line(peer, peer.name, "decoded")
    if peer.is_dpg then line(peer, peer.name .. ", `fields`", "fields") end
  end
  out[#out + 1] = ""
end

local function of(runs, name)
  local list = {}
  for i, run in ipairs(runs) do list[i] = run[name] end
  return median(list), spread(list)
end

local function amount(value, how_far, form)
  return form:format(value) .. (how_far > NOISY and (" ±%.0f %%?"):format(how_far * 50) or "")
end

local function process_tables(found, out)
  out[#out + 1] = row("from `exec` to the first answer, and the end", "CPU, ms", "time, ms", "memory at most, MiB")
  out[#out + 1] = "|---|--:|--:|--:|"
  local names = {}
  for _, peer in ipairs(found.peers) do names[peer.key] = peer.name end
  local function ms(runs, name)
    local value, how_far = of(runs, name)
    return amount(value * 1e3, how_far, "%.1f")
  end
  for _, one in ipairs(found.start_up) do
    out[#out + 1] = row(names[one.key], ms(one.runs, "cpu"), ms(one.runs, "wall"),
      ("%.1f"):format(of(one.runs, "kib") / 1024))
  end
  out[#out + 1] = ""
  local head, rule = { "calls in one process" }, "|--:|"
  for _, peer in ipairs(found.peers) do
    if found.many[1].runs[peer.key] then
      head[#head + 1], head[#head + 2] = peer.name .. ": CPU for each, us", "memory at most, MiB"
      rule = rule .. "--:|--:|"
    end
  end
  out[#out + 1] = "| " .. table.concat(head, " | ") .. " |"
  out[#out + 1] = rule
  for _, one in ipairs(found.many) do
    local texts = { ("%d"):format(one.calls) }
    for _, peer in ipairs(found.peers) do
      local runs = one.runs[peer.key]
      if runs then
        local value, how_far = of(runs, "each")
        texts[#texts + 1] = amount(value * 1e6, how_far, "%.0f")
        texts[#texts + 1] = ("%.1f"):format(of(runs, "kib") / 1024)
      end
    end
    out[#out + 1] = "| " .. table.concat(texts, " | ") .. " |"
  end
  out[#out + 1] = ""
  out[#out + 1] = row("256 MiB", "dpg: time, ms", "CPU, ms", "memory, MiB", "curl: time, ms", "CPU, ms", "memory, MiB")
  out[#out + 1] = "|---|--:|--:|--:|--:|--:|--:|"
  for _, one in ipairs(found.files) do
    local texts = { (one.way == "up" and "up" or "down") .. ", " .. PROTOCOLS[one.protocol] }
    for _, who in ipairs { "dpg", "curl" } do
      for _, name in ipairs { "wall", "cpu" } do
        local value, how_far = of(one[who], name)
        texts[#texts + 1] = amount(value * 1e3, how_far, "%.0f")
      end
      texts[#texts + 1] = ("%.1f"):format(of(one[who], "kib") / 1024)
    end
    out[#out + 1] = "| " .. table.concat(texts, " | ") .. " |"
  end
  out[#out + 1] = ""
end

local function machine(found, out)
  local versions = {}
  for _, peer in ipairs(found.peers) do
    if found.versions[peer.key] and peer.key ~= "multi" then
      versions[#versions + 1] = ("%s (%s)"):format(peer.name, found.versions[peer.key])
    end
  end
  local noisy, count = 0, 0
  for _, cell in ipairs(found.cells) do
    for _, one in pairs(cell.results) do
      count = count + 1
      if one.spread > NOISY then noisy = noisy + 1 end
    end
  end
  out[#out + 1] = ("`make bench`, %d rounds, on %s x %s, %s, %s, %s, %s; load at the start %s."):format(found.rounds,
    shell "nproc", shell "sed -n 's/^model name.*: //p' /proc/cpuinfo | uniq",
    shell ". /etc/os-release && echo $PRETTY_NAME", shell "cc --version", shell "nginx -v 2>&1 | sed 's/.*: //'",
    shell "curl --version | cut -d' ' -f1-5", found.load)
  out[#out + 1] = table.concat(versions, ", ") .. "."
  out[#out + 1] = #found.missing == 0 and "None is missing." or
    "Not installed, so not measured: " .. table.concat(found.missing, ", ") .. "."
  out[#out + 1] = ("Of %d figures %d are marked `?`: their quartiles are more than %.0f %% of the median apart, since "
    .. "the machine was busy. ± is half of the distance."):format(count, noisy, NOISY * 100)
  out[#out + 1] = ""
end

-- --- the plot ------------------------------------------------------------------------------------------------------

local PANELS = { -- path, protocol, at once, what it is called
  { "/me", "plain", 1, "GET /me, one at a time" }, { "/me", "tls", 1, "GET /me, TLS, one at a time" },
  { "/me", "plain", 64, "GET /me, 64 at once" }, { "/me", "h2", 64, "GET /me, HTTP/2, 64 at once" },
  { "/images?limit=50", "plain", 1, "page of 50 images, decoded" },
  { "/images?limit=50", "plain", 64, "page of 50 images, decoded, 64 at once" },
  { "/images?limit=200", "plain", 1, "page of 200 images, decoded" },
  { "/images?limit=200", "plain", 64, "page of 200 images, decoded, 64 at once" },
}

local STYLE = [[
  text { font: 12px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 } .value { fill: #59636e }
  .dpg { fill: #0969da } .c { fill: #59636e } .peer { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .value { fill: #9198a1 }
    .dpg { fill: #4493f8 } .c { fill: #9198a1 } .peer { fill: #656c76 }
  }]]

local CAPTION = "Processor time of the client for each request, and how many times that of hand-written C "
  .. "(which decodes nothing). Less is better."

local WIDTH, PANEL, ROW, LABEL, BAR, CUT = 900, 440, 18, 130, 180, 1.5

local function bars_of(found, panel)
  local bars, base = {}, nil
  for _, cell in ipairs(found.cells) do
    if cell.path == panel[1] and cell.protocol == panel[2] and cell.at_once == panel[3] then
      for _, peer in ipairs(found.peers) do
        local what = peer.is_reference and "bare" or "decoded"
        local one = cell.results[peer.key .. " " .. what]
        if one then
          local class = peer.is_reference and "c" or peer.is_dpg and "dpg" or "peer"
          bars[#bars + 1] = { name = peer.name, one = one, class = class }
          if peer.is_reference then base = one end
        end
        local less = peer.is_dpg and cell.results[peer.key .. " fields"]
        if less then bars[#bars + 1] = { name = peer.name .. ", 3 fields", one = less, class = "dpg" } end
      end
    end
  end
  return bars, base
end

-- A scale that ends a little beyond what dpg takes; the few bars that go further are cut, and say their number.
local function draw(panel, bars, x, y, out)
  local longest, ours = 0, 0
  for _, bar in ipairs(bars) do
    longest = math.max(longest, bar.one.cpu)
    if bar.class == "dpg" then ours = math.max(ours, bar.one.cpu) end
  end
  local most = math.min(longest, CUT * ours)
  out[#out + 1] = ('<text class="title" x="%d" y="%d">%s</text>'):format(x, y, panel[4])
  for i, bar in ipairs(bars) do
    local top = y + 8 + (i - 1) * ROW
    local long = math.max(1, BAR * math.min(bar.one.cpu, most) / most)
    local is_cut = bar.one.cpu > most
    out[#out + 1] = ('<text x="%d" y="%d" text-anchor="end">%s</text>'):format(x + LABEL - 6, top + 12, bar.name)
    out[#out + 1] = is_cut
      and ('<path class="%s" d="M%d %dh%.0fl6 6.5l-6 6.5h-%.0fz"/>'):format(bar.class, x + LABEL, top + 1, long, long)
      or ('<rect class="%s" x="%d" y="%d" width="%.1f" height="13"/>'):format(bar.class, x + LABEL, top + 1, long)
    out[#out + 1] = ('<text class="value" x="%.0f" y="%d">%s us, %.1f×%s</text>'):format(
      x + LABEL + long + (is_cut and 10 or 5), top + 12, us(bar.one.cpu), bar.one.ratio,
      bar.one.spread > NOISY and " ?" or "")
  end
end

local function plot(found)
  local out, y, tallest = {}, 44, 0
  for i, panel in ipairs(PANELS) do
    local bars = bars_of(found, panel)
    local left = i % 2 == 1
    tallest = left and #bars or math.max(tallest, #bars)
    if #bars > 0 then draw(panel, bars, left and 0 or WIDTH - PANEL, y, out) end
    if not left then y = y + tallest * ROW + 44 end
  end
  table.insert(out, 1, ([[<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">
<title>Processor time of the client for each request</title>
<style>
%s
</style>
<text x="0" y="16">%s</text>]]):format(
    WIDTH, y - 20, WIDTH, y - 20, STYLE, CAPTION))
  out[#out + 1] = "</svg>"
  return table.concat(out, "\n") .. "\n"
end

-- --- files ---------------------------------------------------------------------------------------------------------

local function put(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

M.plot = plot

---@param found table
---@param folder string  gets performance.md and performance.svg
---@param writes boolean  into the documentation, too
function M.write(found, folder, writes)
  local out = {}
  machine(found, out)
  for _, path in ipairs(ORDER) do
    for _, protocol in ipairs { "plain", "tls", "h2" } do work_table(found, path, protocol, out) end
  end
  process_tables(found, out)
  local text, svg = table.concat(out, "\n"), plot(found)
  put(folder .. "/performance.md", text)
  put(folder .. "/performance.svg", svg)
  print(text)
  if not writes then return end
  put(PLOT, svg)
  local file = assert(io.open(PAGE))
  local page = file:read "*a"
  file:close()
  local before, after = page:match "^(.-<!%-%- bench %-%->\n).-(<!%-%- /bench %-%->.*)$"
  assert(before, PAGE .. " has no place for it")
  put(PAGE, before .. text .. after)
end

return M
