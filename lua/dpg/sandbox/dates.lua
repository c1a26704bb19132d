-- Dates as the API takes and gives them: Unix seconds inside, ISO 8601 outside, "any parseable date" on the way in
-- (contract section 4), IMF-fixdate in headers (RFC 9110 section 5.6.7). UTC throughout; no locale, no os.time.

local M = {}

local DAY_S = 86400
local month_names = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
local weekday_names = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" } -- 1 January 1970 was a Thursday
local months = {}
for number, name in ipairs(month_names) do
  months[name:lower()] = number
end
local month_days = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

-- Days since 1970 and back, by Howard Hinnant's "chrono-compatible low-level date algorithms".
local function days_from_civil(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local year_of_era = year - era * 400
  local day_of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  local leap_days = math.floor(year_of_era / 4) - math.floor(year_of_era / 100)
  return era * 146097 + year_of_era * 365 + leap_days + day_of_year - 719468
end

local function civil_from_days(days)
  days = days + 719468
  local era = math.floor(days / 146097)
  local doe = days - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local shifted = math.floor((5 * doy + 2) / 153)
  local month = (shifted + 2) % 12 + 1
  local year = yoe + era * 400
  if month <= 2 then year = year + 1 end
  return year, month, doy - math.floor((153 * shifted + 2) / 5) + 1
end

local function split(time)
  time = math.floor(time)
  local year, month, day = civil_from_days(math.floor(time / DAY_S))
  local seconds = time % DAY_S
  return year, month, day, math.floor(seconds / 3600), math.floor(seconds / 60) % 60, seconds % 60
end

---@param time number  Unix seconds
---@return string  "2025-09-14T18:30:00Z"
function M.iso(time)
  return string.format("%04d-%02d-%02dT%02d:%02d:%02dZ", split(time))
end

---@param time number  Unix seconds
---@return string  "Sun, 14 Sep 2025 18:30:00 GMT"
function M.http(time)
  local year, month, day, hour, minute, second = split(time)
  local weekday = weekday_names[math.floor(time / DAY_S) % 7 + 1]
  local month_name = month_names[month]
  return string.format("%s, %02d %s %04d %02d:%02d:%02d GMT", weekday, day, month_name, year, hour, minute, second)
end

local function day_of(year, month, day)
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if not month or month < 1 or month > 12 or day < 1 or day > month_days[month] then return nil end
  return days_from_civil(year, month, day) * DAY_S
end

local layouts = { -- pattern at the start of the text, and which capture is what
  { "^(%d%d%d%d)[-/:](%d%d?)[-/:](%d%d?)()", function(y, m, d) return day_of(y, m, d) end },
  { "^%a*,? ?(%d%d?) (%a%a%a)%a* (%d%d%d%d)()", function(d, m, y) return day_of(y, months[m:lower()], d) end },
  { "^(%a%a%a)%a* (%d%d?),? (%d%d%d%d)()", function(m, d, y) return day_of(y, months[m:lower()], d) end },
}

local function offset_seconds(zone)
  if zone == "" or zone == "Z" or zone == "z" or zone == " GMT" or zone == " UTC" then return 0 end
  local sign, hours, minutes = zone:match "^ ?([+-])(%d%d):?(%d%d)$"
  if not sign then return nil end
  local seconds = tonumber(hours) * 3600 + tonumber(minutes) * 60
  return sign == "+" and seconds or -seconds
end

local function clock_seconds(text)
  if text == "" then return 0 end
  local hour, minute, rest = text:match "^[T ](%d%d):(%d%d)(.*)$"
  if not hour then return nil end
  local second, after = rest:match "^:(%d%d)(.*)$"
  local zone = (after or rest):gsub("^%.%d+", "")
  local offset = offset_seconds(zone)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second or 0)
  if not offset or hour > 23 or minute > 59 or second > 60 then return nil end
  return hour * 3600 + minute * 60 + second - offset
end

---Reads ISO 8601, "2025/09/14", EXIF's "2025:09:14 18:30:00", HTTP dates, "14 September 2025" and "Sep 14, 2025".
---@param text any
---@return number? time  Unix seconds; nil where it is no date
---@return boolean? whole_day  true where the text names a day and no time
function M.parse(text)
  if type(text) ~= "string" then return nil end
  for _, layout in ipairs(layouts) do
    local a, b, c, after = text:match(layout[1])
    local day = a and layout[2](a, b, c)
    local seconds = day and clock_seconds(text:sub(after))
    if seconds then return day + seconds, after > #text end
  end
  return nil
end

return M
