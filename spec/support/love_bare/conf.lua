function love.conf(t)
  t.identity = "dpg-spec"
  for _, name in ipairs { "window", "graphics", "audio", "sound", "joystick", "physics", "video", "touch", "mouse" } do
    t.modules[name] = false
  end
end
