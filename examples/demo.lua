-- The demo that `./dev demo` runs: a person signs in with two-factor, tokens rotate, a lost answer and a rate limit are
-- survived, and a photo library is listed, over real TLS sockets against the sandbox. Every figure is measured.
local dpg = require "dpg"
local sandbox = require "dpg.sandbox"

local function say(...)
  io.write(string.format(...), "\n")
  io.flush()
end

local function detail(...) say("     " .. string.format(...)) end

local function scratch_folder()
  local pipe = assert(io.popen("mktemp -d", "r"))
  local folder = pipe:read "*l"
  pipe:close()
  return assert(folder, "mktemp -d made no folder")
end

-- What happened below the calls, counted from the client's own events: no token, password or code is ever in them.
local rotated, replays = 0, 0
local function on_event(name, event)
  if name == "rotated" then rotated = rotated + 1 end
  if name == "start" and event.path == "/v1/auth/token" and event.attempt > 1 then replays = replays + 1 end
  if name == "retry" and event.status == 429 then
    detail("429: the client waits %.1f s, as it is told …", event.wait)
  end
end

local function stars(image) return ("*"):rep(image.rating or 0) .. (" "):rep(5 - (image.rating or 0)) end

-- The whole library, page by page: how many images, and the first four.
local function list(work)
  local n, first = 0, {}
  for image in work.images:each { limit = 20 } do
    n = n + 1
    if n <= 4 then first[n] = image end
  end
  return n, first
end

-- Each act takes the sandbox and what the acts before it left in `show`.
local acts = {}

acts[1] = { "Sign in with two-factor, over TLS", function(box, show)
  local person = box.people.omar
  show.user = dpg.assert(dpg.sign_in {
    base_url = box.base_url, ca_file = box.ca_file, on_event = on_event, store = dpg.store.file(show.path),
    login = person.login, password = person.password,
    device = { identifier = "demo-1", name = "dpg demo", platform = "terminal" },
    mfa = function()
      detail("the password is right; the sandbox asks for a code, and gets %s", person.code)
      return person.code
    end,
  })
  show.work = dpg.assert(show.user:account(show.user.accounts[1].uuid))
  detail("signed in: %d account(s); the session is kept in a file of mode 0600", #show.user.accounts)
end }

acts[2] = { "List the library while access tokens live for one second", function(box, show)
  box:set { access_token_life = 1 }
  local pages, began = 0, box:now()
  local n, first
  repeat
    n, first = list(show.work)
    pages = pages + n / 20
  until rotated >= 4
  for _, image in ipairs(first) do detail("%s  %s", stars(image), image.title) end
  detail("… %d images; %d pages read in %.1f s, and the refresh token changed %d times meanwhile", n, pages,
    box:now() - began, rotated)
end }

acts[3] = { "The answer to an exchange gets lost on its way back", function(box, show)
  box:set { rotation = "grace" }
  box:fault { path = "/auth/token", drop = "after" }
  local me
  repeat me = dpg.assert(show.work:me()) until replays > 0
  detail("the client asked about the same token once more, under the same lock: %s is still signed in", me.user.name)
  box:set { access_token_life = 900 }
end }

acts[4] = { "A rate limit", function(box, show)
  box:fault { path = "/keywords", status = 429, retry_after = "2" }
  local began = box:now()
  local keywords = dpg.assert(show.work.keywords:list { limit = 5 })
  detail("waited %.2f s, then got %d keywords", box:now() - began, #keywords.items)
end }

acts[5] = { "The next run: no password", function(box, show)
  local user = dpg.assert(dpg.resume {
    base_url = box.base_url, ca_file = box.ca_file, on_event = on_event, store = dpg.store.file(show.path),
  })
  local sets = dpg.assert(dpg.assert(user:account(user.accounts[1].uuid)).sets:list())
  detail("resumed from the file; %d sets at the top, the first is \"%s\"", #sets.items, sets.items[1].name)
  dpg.assert(user:sign_out())
  detail("signed out: the tokens are gone, here and in the file")
end }

local function play(box, show)
  for n, act in ipairs(acts) do
    say("\n  %d  %s", n, act[1])
    act[2](box, show)
  end
  local report = box:report()
  say("\n  The sandbox saw %d requests on %d connections, %d rotations, and %d families revoked.", report.requests,
    report.connections, report.rotations, report.families_revoked)
end

say("dpg %s, against a sandbox of its own", dpg._VERSION)
local box = sandbox.start { tls = true }
local folder = scratch_folder()
local ok, err = pcall(play, box, { path = folder .. "/session" })
os.execute("rm -rf '" .. folder .. "'")
box:stop()
if not ok then
  io.stderr:write("demo: ", tostring(err), "\n")
  os.exit(1)
end
say [[

  Go on:  ./dev test                       everything, on five Luas
          lua5.4 bin/dpg-sandbox --help    a sandbox to play with
          README.md                        five short snippets for your own program
]]
