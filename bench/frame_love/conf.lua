function love.conf(t)
  local has_window = os.getenv "FRAME_WINDOW" == "1"
  t.identity = "dpg-bench"
  t.window.width, t.window.height, t.window.vsync = 640, 400, 0
  for _, name in ipairs { "window", "graphics" } do t.modules[name] = has_window end
  for _, name in ipairs { "audio", "sound", "joystick", "physics", "video", "touch" } do t.modules[name] = false end
end
