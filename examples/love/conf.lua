function love.conf(t)
  t.identity = "dpg-slideshow" -- the folder for what it keeps: the session
  t.version = "11.4"
  t.window.title = "Slideshow"
  t.window.width, t.window.height = 1280, 720
  t.window.minwidth, t.window.minheight = 640, 400
  t.window.resizable = true
  t.window.highdpi = true
  t.window.msaa = 4
  t.modules.physics = false
  t.modules.video = false
end
