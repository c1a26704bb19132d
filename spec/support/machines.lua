-- Machines of their own, as far as the network goes: network namespaces on one bridge, for specs. This machine is at
-- the bridge's address. They go with remove(), with the suite, or when this process dies.
local at_end = require "support.at_end"
local process = require "support.process"

local M = {}

---@class spec.Machine
---@field address string
---@field through string  words for the shell that run a command there

---@class spec.Machines
---@field address string  this machine's, as the others see it
---@field [integer] spec.Machine
local Machines = {}
Machines.__index = Machines

local made = 0

-- A net of 198.18.0.0/15, which is there for tests (RFC 2544), and not yet here.
local function free_net(first)
  local here = process.shell "PATH=$PATH:/usr/sbin:/sbin ip -4 -o addr show"
  for i = 0, 511 do
    local n = (first + i) % 512
    local net = ("198.%d.%d."):format(18 + math.floor(n / 256), n % 256)
    if not here:find(net, 1, true) then return net end
  end
  error "all nets for tests are taken"
end

local ONE = [[
ip netns add %s
ip link add %s type veth peer name eth0 netns %s
ip link set %s master %s up
ip -n %s addr add %s/24 dev eth0
ip -n %s link set eth0 up
ip -n %s link set lo up]]

---@param count integer
---@return spec.Machines?
---@return string? why  there can be none
function M.new(count)
  if process.shell "PATH=$PATH:/usr/sbin:/sbin command -v ip" == "" then
    return nil, "ip is not installed: ./dev test installs it (Debian: iproute2)"
  end
  made = made + 1
  local pid = tonumber(process.shell "echo $PPID")
  local name, net = ("dpg%d-%d"):format(pid, made), free_net(pid)
  local self = setmetatable({ address = net .. "1" }, Machines)
  local make = { ("ip link add %s type bridge && ip addr add %s/24 dev %s && ip link set %s up"):format(name,
    self.address, name, name) }
  local unmake = { "ip link del " .. name }
  for i = 1, count do
    local its, address = name .. ("abcdefgh"):sub(i, i), net .. (i + 1)
    make[#make + 1] = ONE:format(its, its, its, its, name, its, address, its, its)
    unmake[#unmake + 1] = ("ip link del %s; ip netns del %s"):format(its, its)
    -- a sanitizer is for what runs there, not for ip
    local through = 'PATH=$PATH:/usr/sbin:/sbin LD_PRELOAD= ip netns exec %s env LD_PRELOAD="$LD_PRELOAD"'
    self[i] = { address = address, through = through:format(its) }
  end
  self._guard = process.guard("exec 2>/dev/null", "PATH=$PATH:/usr/sbin:/sbin; " .. table.concat(unmake, "; "))
  at_end.add(self, Machines.remove)
  local said = process.shell("(PATH=$PATH:/usr/sbin:/sbin; LD_PRELOAD=; set -e\n" .. table.concat(make, "\n")
    .. "\necho made)")
  if said:find "made$" then return self end
  self:remove()
  return nil, "no network namespaces may be made here: " .. said
end

function Machines:remove()
  if not at_end.remove(self) then return end
  self._guard:close() -- waits until they are gone
end

return M
