-- A clock that jumps in a process of ours, as it seems to have done to who was stopped for a while.
local process = require "support.process"

local M = {}

-- Loaded before all else: a process hears a second more for each byte of late.<its pid> in our folder.
local source = [[
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, t);
    char path[4096];
    struct stat file;
    snprintf(path, sizeof path, "%s/late.%d", FOLDER, (int)getpid());
    if (result == 0 && stat(path, &file) == 0) t->tv_sec += file.st_size;
    return result;
}
]]

---@class spec.Late
---@field through string  words for the shell that start a program with such a clock
local Late = {}
Late.__index = Late

---@return spec.Late?
---@return string? why  there can be none
function M.new()
  local folder = process.folder()
  process.write_file(folder .. "/late.c", source)
  local said = process.shell(("cc -shared -fPIC -DFOLDER='\"%s\"' -o %s/late.so %s/late.c -ldl && echo made"):format(
    folder, folder, folder))
  if not said:find "made$" then return nil, "there is no C compiler to make a clock that jumps" end
  local preload = (os.getenv "LD_PRELOAD" or "") .. " " .. folder .. "/late.so"
  return setmetatable({ folder = folder, through = ("env LD_PRELOAD='%s'"):format(preload) }, Late)
end

---From now on the process is so much later than it was.
---@param pid integer
---@param seconds integer
function Late:add(pid, seconds)
  local path = self.folder .. "/late." .. pid
  process.write_file(path .. ".new", (process.read_file(path) or "") .. ("."):rep(seconds))
  assert(os.rename(path .. ".new", path))
end

return M
