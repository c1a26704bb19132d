-- Pages and the iterators that walk them. Values in, values out: an iterator is given a function that fetches the
-- page at an offset, and asks it again for that same page after an error.
local compat = require "dpg.compat"
local errors = require "dpg.errors"
local json = require "dpg.json"
local methods = require "dpg.methods"
local scheduler = require "dpg.scheduler"
local wire = require "dpg.wire"

local M = {}

---One page of a list: X-Has-More and X-Next-Offset beside the items.
---@param value any  a decoded body
---@param headers table<string, string>
---@param offset? number  where this page began
---@return dpg.Page?  nil: it is no list
function M.read(value, headers, offset)
  local items = wire.list(value)
  if not items then return nil end
  local has_more, next_offset = wire.paging(headers)
  if has_more and not next_offset then next_offset = (offset or 0) + #items end
  return { items = items, has_more = has_more, next_offset = has_more and next_offset or nil }
end

---@class dpg.Iterator
local Iterator = {}
Iterator.__index = Iterator
Iterator.__name = "dpg.Iterator"

---@param fetch fun(offset: number, is_ahead?: boolean): any, dpg.Answer|dpg.Error  a page; ahead: a dpg.Ahead that will
---  be one, or nil
---@param offset? number  where to begin
---@param prefetch? boolean  each next page is asked for while the one before is walked over
---@return dpg.Iterator
function M.iterator(fetch, offset, prefetch)
  return setmetatable({ _fetch = fetch, _offset = offset or 0, _index = 0, _prefetch = prefetch }, Iterator)
end

function Iterator:__tostring()
  if self._closed then return "dpg.Iterator (at its end)" end
  return "dpg.Iterator (offset " .. compat.number_text(self._offset + self._index) .. ")"
end

-- Is there an item at hand, or an end, without asking the server?
function Iterator:_is_ready()
  local page = self._page
  return self._closed or (page and (page.items[self._index + 1] ~= nil or not page.has_more))
end

-- Gets the page at the walk's offset: the one that was asked for ahead, if it has come to something. Meanwhile another
-- task that takes items of the same walk may have got it, too, or have closed the walk: then this one is of no use.
local function turn_page(self)
  local offset, ahead, page, more = self._offset, self._ahead, nil, nil
  if ahead then
    self._ahead, self._awaited = nil, ahead
    page, more = ahead:take()
    self._awaited = nil
    if self._closed then return true end
    if not page and more then return nil, more end
  end
  if not page then page, more = self._fetch(offset) end
  if not page then return nil, more end
  if self._closed or self._page or self._offset ~= offset then return true end
  if page.has_more and page.next_offset <= offset then
    return nil, errors.new { kind = "protocol", code = "unreadable", message =
      "the server says that there is more, but not further on: X-Next-Offset is " .. page.next_offset }
  end
  -- a server that had to be asked twice (it has a limit, or it fails) is from now on asked only for what is wanted
  if more and more.attempts and more.attempts > 1 then self._prefetch = false end
  self._page, self._index, self._may_ask = page, 0, self._prefetch and page.has_more
  return true
end

-- With the second item that is asked for, since whoever wants the first alone pays for one page alone; from then on
-- with the first of each page.
local function ask_ahead(self)
  if self._may_ask and self._has_begun then
    self._may_ask = false
    local ahead = self._fetch(self._page.next_offset, true) or nil
    if ahead and self._closed then ahead:close() else self._ahead = ahead end -- by an on_event that heard of its start
  end
  self._has_begun = true
end

local function next_item(self)
  while not self._closed do
    local page = self._page
    local item = page and page.items[self._index + 1]
    if item ~= nil then
      ask_ahead(self)
      self._index = self._index + 1 -- behind what an interrupt (Ctrl-C) may come in
      return item
    elseif not page then
      local ok, err = turn_page(self)
      if not ok then return nil, err end
    elseif page.has_more then
      self._offset, self._page, self._index = page.next_offset, nil, 0
    else
      self:close()
    end
  end
  return nil
end

---The next item; nil at the end. After an error, asking again asks for the same page.
---@return any? item
---@return dpg.Error? err
function Iterator:next()
  return next_item(self)
end

---Ends the walk: from now on there is no next item, and what was asked for ahead is cancelled. Twice is fine.
function Iterator:close()
  local ahead = self._ahead or self._awaited -- never both
  self._closed, self._page, self._ahead = true, nil, nil
  if ahead then ahead:close() end
end

Iterator.__close = Iterator.close -- Lua 5.4: by a `for` that is left early

-- For `for`: raises the error object. PUC 5.1 can't yield across the iterator of a `for`, nor across a metamethod.
function Iterator:__call()
  if compat.strict_yield and not self:_is_ready() and scheduler.current() then
    error(errors.usage("cannot_wait_here", "on Lua 5.1 a `for` in a task can't wait; write: local it = images:each{…}; "
      .. "local image, err = it:next(); while image do … image, err = it:next() end"), 0)
  end
  local item, err = next_item(self)
  if err then errors.throw(err) end
  return item
end

methods(Iterator, "iterator")

---A plain list without paging.
---@param value any
---@return table?
function M.list(value)
  return wire.list(value) or (json.is_object(value) and next(value) == nil and json.array() or nil)
end

return M
