dofile(os.getenv "LOVE_EXAMPLE" .. "/conf.lua")

-- Small, since here a processor draws what a graphics card would.
local conf = love.conf
function love.conf(t)
  conf(t)
  t.window.width, t.window.height, t.window.msaa = 640, 400, 0
end
