-- The recipes of doc/stores.md, run as they stand there: a session in a database, a key in a keychain.
local dpg = require "dpg"
local process = require "support.process"
local table_store = require "support.table_store"

if (os.getenv "CHECKER" or "") ~= "" then return end -- there is nothing in C here for a checker to see

local text = process.read_file "doc/stores.md"

local named = {}
for block in text:gmatch "\n```lua\n(.-)\n```" do
  local name = block:match "^%-%- ([%w_]+)%.lua"
  if name then named[name] = block end
end

local function quote(path)
  return "'" .. path:gsub("'", "'\\''") .. "'"
end

-- Runs a block that sees `globals` beside Lua's own.
local function run(name, block, globals)
  local environment = setmetatable(globals or {}, { __index = _G })
  local chunk
  if rawget(_G, "setfenv") then
    chunk = rawget(_G, "setfenv")(assert(rawget(_G, "loadstring")(block, "=" .. name)), environment)
  else
    chunk = assert(load(block, "=" .. name, "t", environment))
  end
  return chunk()
end

describe("doc/stores.md", function()
  describe("a database", function()
    local has_sqlite = pcall(require, "luasql.sqlite3")
    local path

    local function store()
      local sql_store = run("sql_store", named.sql_store)
      return run("sqlite", named.sqlite, {
        path = path,
        require = function(name) return name == "sql_store" and sql_store or require(name) end,
      })
    end

    before_each(function()
      if not has_sqlite then return end
      path = process.folder() .. "/sessions.db"
      local connection = assert(require "luasql.sqlite3".sqlite3():connect(path))
      assert(connection:execute((named.sql_store:match "(CREATE TABLE [^\n]*)")))
      connection:close()
    end)

    it("keeps what a store promises, seen by two connections", function()
      if not has_sqlite then pending "luasql.sqlite3 is not installed for this Lua: ./dev test installs it" return end
      local report = dpg.store.check(store)
      assert(report.ok, tostring(report))
    end)

    it("takes the very bytes for saved, and shows no record in an error", function()
      if not has_sqlite then pending "luasql.sqlite3 is not installed for this Lua: ./dev test installs it" return end
      local one = store()
      assert.is_true(one:lock("me", 60))
      assert.is_true(one:save("first", nil))
      assert.is_true(one:save("second", "first"))
      assert.is_true(one:save("second", "first"))
      assert.is_false(one:save("third", "first"))
      local sql_store = run("sql_store", named.sql_store)
      local function refuse(sql) return nil, "near '" .. sql .. "': syntax error" end
      local broken = sql_store(refuse, refuse, "0", "jane")
      for _, answer in ipairs {
        { broken:lock("me", 60) }, { broken:load() }, { broken:save("the record", "the record") },
        { broken:unlock "me" },
      } do
        assert.same({ nil, "the database refuses: near " }, { answer[1], answer[2] })
      end
    end)
  end)

  describe("a keychain", function()
    -- What libsecret's tool does: a secret comes by stdin, and leaves by stdout; exit status 1 when there is none.
    local tool = [[#!/bin/sh
secret=$(dirname "$0")/secret
echo "$*" >>"$secret.arguments"
case $1 in
  lookup) cat "$secret" 2>/dev/null ;;
  store) cat >"$secret" ;;
esac
]]
    local folder, keychain

    before_each(function()
      folder = process.folder()
      process.write_file(folder .. "/secret-tool", tool)
      os.execute("chmod +x " .. quote(folder .. "/secret-tool"))
      keychain = run("keychain", (named.keychain:gsub('"secret%-tool', function()
        return '"' .. folder .. "/secret-tool"
      end)))
    end)

    it("gives the key that it was given, which no process shows", function()
      if not pcall(require, "openssl.rand") then pending "luaossl is not installed for this Lua" return end
      local key, why = keychain.key()
      assert.is_nil(key)
      assert.is_truthy(why:find("gives none", 1, true))
      keychain.make()
      key = keychain.key()
      assert.equal(32, #key)
      assert.is_false(pcall(keychain.make))
      assert.equal(key, keychain.key())
      local arguments = process.read_file(folder .. "/secret.arguments")
      assert.is_nil(arguments:find(process.read_file(folder .. "/secret"), 1, true))
      local kept = {}
      assert.is_true(dpg.store.sealed(table_store(kept), keychain.key):save("record", nil))
      assert.equal("record", dpg.store.sealed(table_store(kept), key):load())
    end)

    it("says so when the keychain gives something else, and stores nothing", function()
      if not pcall(require, "openssl.rand") then pending "luaossl is not installed for this Lua" return end
      process.write_file(folder .. "/secret", "not a key")
      local kept = {}
      local is_saved, err = dpg.store.sealed(table_store(kept), keychain.key):save("record", nil)
      assert.same({ nil, "store_no_key", nil }, { is_saved, err.code, kept.bytes })
    end)
  end)
end)
