-- What differs between PUC Lua 5.1 to 5.4 and LuaJIT, and the only place that knows. Everything else is written in
-- the core that they share.
local M = {}

M.unpack = rawget(table, "unpack") or rawget(_G, "unpack")

---All arguments in a table, with their number in `n`.
---@return table
function M.pack(...)
  return { n = select("#", ...), ... }
end

-- "Lua 5.4", "LuaJIT 2.1 …": for the User-Agent.
M.name = rawget(_G, "jit") and rawget(_G, "jit").version or _VERSION

-- A `for` closes its iterator since 5.4.
M.closes = not rawget(_G, "jit") and tonumber(_VERSION:match "%d+%.%d+") >= 5.4

-- PUC Lua 5.1 alone can't yield across pcall, a metamethod or the iterator of a `for`.
M.strict_yield = _VERSION == "Lua 5.1" and not rawget(_G, "jit")

---An iterator as the values that a `for` wants: Lua 5.4 closes the fourth one when the loop is left.
---@param it table  with close and __close
---@return table it
---@return nil ...
function M.for_values(it)
  if M.closes then return it, nil, nil, it end
  return it
end

---Can the running coroutine yield from here? Only 5.1 has to look: a C function (pcall, table.sort …) in between
---forbids it.
---@return boolean
function M.can_yield()
  if not M.strict_yield then return true end
  local level = 2
  while true do
    local info = debug.getinfo(level, "S")
    if not info then return true end
    if info.what == "C" then return false end
    level = level + 1
  end
end

---Calls `fn` when the value that is returned has been collected, at any moment: `fn` may do next to nothing.
---@param fn function
---@return any
function M.on_collect(fn)
  local newproxy = rawget(_G, "newproxy") -- 5.1 and LuaJIT: a table's __gc is not called there
  if not newproxy then return setmetatable({}, { __gc = fn }) end
  local proxy = newproxy(true)
  getmetatable(proxy).__gc = fn
  return proxy
end

---pcall for a function of the caller's, which may want to wait: where a pcall would forbid that (a coroutine of 5.1) it
---is called plainly.
---@param fn function
---@return boolean ok
---@return any ...
function M.try(fn, ...)
  if M.strict_yield and coroutine.running() then return true, fn(...) end
  return pcall(fn, ...)
end

---pcall that lets a coroutine yield from within, on 5.1 too: there `fn` runs in a coroutine of its own, whose yields
---are handed on. For what knows no tasks of ours, as a store's clients.
---@param fn function
---@return boolean ok
---@return any ...
function M.guard(fn, ...)
  if not (M.strict_yield and coroutine.running()) then return pcall(fn, ...) end
  local co = coroutine.create(fn)
  local function after(ok, ...)
    if not ok or coroutine.status(co) == "dead" then return ok, ... end
    return after(coroutine.resume(co, coroutine.yield(...)))
  end
  return after(coroutine.resume(co, ...))
end

-- Whole numbers print without ".0" and without an exponent, whatever kind of number they are.
---@param n number
---@return string
function M.number_text(n)
  if n == 0 then return "0" end -- no "-0"
  if rawget(math, "type") and rawget(math, "type")(n) == "integer" then return string.format("%d", n) end
  if n == math.floor(n) and n > -1e15 and n < 1e15 then return string.format("%.0f", n) end
  local text = string.format("%.15g", n)
  if tonumber(text) ~= n then text = string.format("%.17g", n) end
  return (text:gsub(",", ".")) -- a locale's comma
end

return M
