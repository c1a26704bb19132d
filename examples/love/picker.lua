-- Which pictures? The person's accounts, and the sets of one of them, each with its lead image.
local gallery = require "gallery"
local look = require "look"
local pictures = require "pictures"

local M = {}

local Picker = {}
Picker.__index = Picker

local COVER_WIDTH, COVER_HEIGHT = 640, 400 -- of the file to fetch
local CARD, GAP, MARGIN, TOP = 256, 26, 64, 168

function M.new(app, account)
  local self = setmetatable({
    app = app, cards = {}, chosen = 1, scroll = 0, reach = 0, shown = 0, mouse_x = -1, mouse_y = -1, tabs = {},
    account = account or app.gallery.user.accounts[1], out = { label = "Sign out" },
  }, Picker)
  if self.account then self:_load(self.account) else self.words = "This login has no account to work on." end
  return self
end

function Picker:_load(account)
  if self.covers then self.covers:close() end
  self.account, self.cards, self.words, self.busy, self.chosen, self.scroll = account, {}, nil, true, 1, 0
  self.covers = pictures.new(function(key, done)
    self.app.gallery:picture(key, COVER_WIDTH, COVER_HEIGHT, done)
  end)
  self.app.gallery:sets(account, function(list, words)
    if self.account ~= account or self.is_gone then return end
    self.busy, self.words = nil, words
    self.cards = list or {}
    if list and #list == 0 then self.words = "There are no pictures in this account yet." end
    for _, card in ipairs(self.cards) do
      card.key = gallery.known(card.set.lead_image_public_uuid)
      card.shown = 0
    end
  end)
end

function Picker:leave()
  self.is_gone = true
  if self.covers then self.covers:close() end
end

function Picker:_open(card)
  if card then self.app:go("show", self.account, card.set) end
end

function Picker:_sign_out()
  self.busy = true
  self.app.gallery:sign_out(function(ok, words)
    self.busy = nil
    if ok then return self.app:go("sign_in", "You are signed out.") end
    self.words = words
  end)
end

function Picker:update(dt)
  self.shown = self.shown + dt
  if self.covers then self.covers:update() end
  self.reach = self.reach + (self.scroll - self.reach) * math.min(1, dt * 12)
  for _, card in ipairs(self.cards) do
    if card.key and self.covers:get(card.key) then card.shown = math.min(1, card.shown + dt * 2) end
  end
end

-- --- events --------------------------------------------------------------------------------------------------------

function Picker:mousemoved(x, y)
  self.mouse_x, self.mouse_y = x, y
  for i, card in ipairs(self.cards) do
    if card.x and look.is_in(card, x, y) then self.chosen = i end
  end
end

function Picker:mousepressed(x, y)
  self:mousemoved(x, y)
  if self.out.x and look.is_in(self.out, x, y) then return self:_sign_out() end
  for _, tab in ipairs(self.tabs) do
    if look.is_in(tab, x, y) and tab.account ~= self.account then return self:_load(tab.account) end
  end
  for _, card in ipairs(self.cards) do
    if card.x and look.is_in(card, x, y) then return self:_open(card) end
  end
end

function Picker:wheelmoved(by)
  self.scroll = self.scroll - by * 80
end

function Picker:_next_account()
  local accounts = self.app.gallery.user.accounts
  for i, account in ipairs(accounts) do
    if account == self.account then return self:_load(accounts[i % #accounts + 1]) end
  end
end

local STEPS = { left = -1, right = 1 }

function Picker:keypressed(key)
  if key == "tab" then return self:_next_account() end
  if key == "return" or key == "kpenter" or key == "space" then return self:_open(self.cards[self.chosen]) end
  local step = STEPS[key] or (key == "up" and -(self.columns or 1)) or (key == "down" and (self.columns or 1))
  if not step or not self.cards[self.chosen + step] then return end
  self.chosen = self.chosen + step
  local card = self.cards[self.chosen]
  if card.y and card.y < TOP then self.scroll = self.scroll - (TOP - card.y) end
  local over = card.y and card.y + card.height - (look.height - 40) or 0
  if over > 0 then self.scroll = self.scroll + over end
end

-- --- drawing -------------------------------------------------------------------------------------------------------

local function draw_cover(texture, x, y, width, height, alpha)
  love.graphics.stencil(function() love.graphics.rectangle("fill", x, y, width, height, 12, 12, 24) end, "replace", 1)
  love.graphics.setStencilTest("greater", 0)
  local picture_width, picture_height = texture:getDimensions()
  local scale = math.max(width / picture_width, height / picture_height)
  love.graphics.setColor(1, 1, 1, alpha)
  love.graphics.draw(texture, x + width / 2, y + height / 2, 0, scale, scale, picture_width / 2, picture_height / 2)
  love.graphics.setStencilTest()
end

function Picker:_draw_card(card, x, y, width, is_chosen)
  local height = width * 0.625
  card.x, card.y, card.width, card.height = x, y, width, height + 66
  look.box(x, y, width, height, 12, "raised", 0.8)
  local texture, words = nil, true
  if card.key then texture, words = self.covers:get(card.key) end
  if texture then
    draw_cover(texture, x, y, width, height, look.ease(card.shown))
  elseif not words then
    look.busy(self.app.time + card.x, x + width / 2, y + height / 2, 9, 0.7)
  end
  look.frame(x, y, width, height, 12, is_chosen and "accent" or "line", is_chosen and 1 or 0.6, is_chosen and 2.5 or 1)
  local count = card.set.image_count == 1 and "1 picture" or card.set.image_count .. " pictures"
  look.text(look.fitted(card.set.name, 17, width), x + 2, y + height + 12, 17, "text", is_chosen and 1 or 0.85)
  look.text(look.fitted(card.path and count .. "  ·  " .. card.path or count, 13, width), x + 2, y + height + 36, 13,
    "quiet")
end

function Picker:_draw_cards(width, height)
  local columns = math.max(1, math.floor((width - 2 * MARGIN + GAP) / (CARD + GAP)))
  local card_width = (width - 2 * MARGIN - GAP * (columns - 1)) / columns
  local row = card_width * 0.625 + 66 + GAP
  local whole = math.ceil(#self.cards / columns) * row
  self.columns = columns
  self.scroll = math.max(0, math.min(self.scroll, whole - (height - TOP - 24)))
  local _, top = love.graphics.transformPoint(0, TOP - 20)
  love.graphics.setScissor(0, top, love.graphics.getWidth(), love.graphics.getHeight() - top)
  local keys = {}
  for i, card in ipairs(self.cards) do
    local x = MARGIN + (i - 1) % columns * (card_width + GAP)
    local y = TOP + math.floor((i - 1) / columns) * row - self.reach
    local is_near = y > -row and y < height + row
    if is_near then
      keys[#keys + 1] = card.key
      self:_draw_card(card, x, y, card_width, i == self.chosen)
    else
      card.x, card.y, card.width, card.height, card.shown = x, y, card_width, row - GAP, 0
    end
  end
  love.graphics.setScissor()
  if self.covers then self.covers:want(keys) end
end

function Picker:_draw_accounts()
  local x = MARGIN
  self.tabs = {}
  for _, account in ipairs(self.app.gallery.user.accounts) do
    local is_this = account == self.account
    local width = look.text(account.name, x, 110, 15, is_this and "accent" or "quiet")
    if is_this then look.box(x, 136, width, 2, 1, "accent") end
    self.tabs[#self.tabs + 1] = { account = account, x = x - 6, y = 102, width = width + 12, height = 38 }
    x = x + width + 34
  end
end

function Picker:draw(width, height)
  look.backdrop(self.app.time, width, height)
  look.text("Choose a set", MARGIN, 50, 32, "text")
  if self.app.gallery.user then self:_draw_accounts() end
  local out = self.out
  out.x, out.y, out.width, out.height = width - MARGIN - 104, 56, 104, 36
  look.button(out, self.mouse_x, self.mouse_y)
  if self.words then look.lines(self.words, MARGIN, TOP + 10, 17, width - 2 * MARGIN, "alarm") end
  if self.busy then look.busy(self.app.time, width / 2, height / 2, 20, look.ease(self.shown - 0.2)) end
  self:_draw_cards(width, height)
end

return M
