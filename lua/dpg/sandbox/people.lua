-- The accounts and the people who exist in a new sandbox. Their names are fixed; passwords and secrets are made up at
-- each start. Jane works on two accounts, Omar has two-factor on, Solo has one account.

local random = require "dpg.sandbox.random"

local M = {}

local DEMO_CODE = "246810"

---@return table[] accounts  the first is the one that service tokens stand for
function M.accounts()
  return {
    { uuid = "3f0c7d52-6a1e-4b7d-a9c3-5d2e8f41b0a6", name = "Northlight Festival", unique_id = "northlight" },
    { uuid = "b81e4c90-27d5-4e63-a1f8-90c46e7d3b25", name = "Harbour Street Agency", unique_id = "harbourstreet" },
  }
end

local function password()
  return ("%s-%s-%s"):format(random.hex(3), random.hex(3), random.hex(3))
end

---@param accounts table[]
---@return table<string, table> people
function M.people(accounts)
  local north, harbour = accounts[1], accounts[2]
  return {
    jane = {
      key = "jane", uuid = "c2a9e614-58b3-4d0f-a7e2-3b96d1f0c854", name = "Jane Okafor", login = "jane@example.com",
      password = password(), accounts = { north, harbour },
    },
    omar = {
      key = "omar", uuid = "d75b1f08-93c4-4a6e-a0d1-6e82c5b7f943", name = "Omar Haddad", login = "omar@example.com",
      password = password(), accounts = { north }, code = DEMO_CODE, totp_secret = random.bytes(20),
    },
    solo = {
      key = "solo", uuid = "e94d3a27-10f6-4c85-a5b9-8d17f2e6c031", name = "Solveig Lind", login = "solo@example.com",
      password = password(), accounts = { north },
    },
  }
end

return M
