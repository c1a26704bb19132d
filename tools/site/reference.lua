-- The reference: pages made of the annotations (site.faces) and of the catalog (endpoints). Each function with its
-- parameters, results and errors, the endpoint that it sends, and the line of the source where it begins.
local annotations = require "site.annotations"
local endpoints = require "endpoints"
local faces = require "site.faces"
local html = require "site.html"
local name_index = require "site.names"

local M = {}

-- What stands on which page, in order. A class that is named nowhere stands on the page of options (what is given) or
-- of results (what is got).
M.PAGES = {
  { "dpg", "dpg", "Sessions begin here.", {} },
  { "session", "session", "What one can call with an account.", { "dpg.Session" } },
  { "images", "images", "The images of a library.", { "dpg.Images", "dpg.Image" } },
  { "keywords", "keywords", "The vocabulary.", { "dpg.Keywords" } },
  { "sets", "sets", "Galleries, and what is in them.", { "dpg.Sets", "dpg.Set" } },
  { "metadata_profiles", "metadata profiles", "How a library describes its images.", { "dpg.MetadataProfiles" } },
  { "uploads", "uploads", "Files on their way there.", { "dpg.Uploads", "dpg.UploadAnswer", "dpg.SendReport" } },
  { "downloads", "downloads", "Files on their way here.",
    { "dpg.Downloads", "dpg.Chunks", "dpg.DownloadAnswer", "dpg.SaveReport", "dpg.DownloadLink" } },
  { "archives", "archives", "Many images in one file.", { "dpg.Archives" } },
  { "operations", "operations", "What becomes of writes; many in one request.", {
    "dpg.Operations", "dpg.Operation", "dpg.Prepare", "dpg.Write", "dpg.Batch", "dpg.BatchReport", "dpg.BatchItem" } },
  { "people", "people", "A signed-in person, and their accounts.", { "dpg.User", "dpg.Challenge" } },
  { "tasks", "tasks and loops", "Many things at once, in a script and in a frame.", { "dpg.Task", "dpg.Loop" } },
  { "lists", "pages and iterators", "How a list is walked.", { "dpg.Page", "dpg.Iterator" } },
  { "stores", "stores", "Where a person's tokens are kept.", {
    "dpg.Store", "dpg.LuaStore", "dpg.RedisOptions", "dpg.RedisStore", "dpg.SealedStore", "dpg.StoreReport" } },
  { "errors", "errors and events", "What goes wrong, and what can be watched.",
    { "dpg.Error", "dpg.Event" } },
  { "options", "options and fields", "What functions are told.", {} },
  { "results", "results", "What functions tell.", {} },
  { "sandbox", "the sandbox", "A Digital Photo Gallery of your own, for tests.", { "dpg.sandbox.Box" } },
}

local function address_of(name) return "reference/" .. name .. ".html" end

-- ---- where things are ---------------------------------------------------------------------------------------------

local function is_given(name)
  return name:find "Options$" or name:find "Fields$" or name:find "^dpg%.New" or name:find "Config$"
end

-- Names of classes and aliases -> page; which classes each page has.
local function arrange(face)
  local home, pages = {}, {}
  for _, entry in ipairs(M.PAGES) do
    local page = { name = entry[1], title = entry[2], says = entry[3], classes = {}, address = address_of(entry[1]) }
    pages[#pages + 1], pages[page.name] = page, page
    for _, class in ipairs(entry[4]) do
      if face.classes[class] then
        home[class] = page
        table.insert(page.classes, class)
      end
    end
  end
  local given = {}
  local function give(name) -- what stands in what is given is given, too
    local class = face.classes[name]
    if not class or given[name] then return end
    given[name] = true
    for _, base in ipairs(class.bases) do
      if not home[base] then give(base) end
    end
    for _, field in ipairs(class.fields) do
      for _, inner in ipairs(annotations.names_in(field.type)) do
        local plain = face.classes[inner] and #face.classes[inner].functions == 0
        if plain and not home[inner] and not faces.is_function_type(field.type) then give(inner) end
      end
    end
  end
  local left = {}
  for name in pairs(face.classes) do left[#left + 1] = name end
  table.sort(left)
  for _, name in ipairs(left) do
    if not home[name] and is_given(name) then give(name) end
  end
  for _, fn in ipairs(face.all) do
    for _, param in ipairs(fn.params) do
      for _, name in ipairs(annotations.names_in(param.type)) do
        if not home[name] and face.classes[name] and #face.classes[name].functions == 0 then give(name) end
      end
    end
  end
  for _, name in ipairs(left) do
    if not home[name] then
      home[name] = given[name] and pages.options or pages.results
      table.insert(home[name].classes, name)
    end
  end
  local aliases = {}
  for name in pairs(face.aliases) do aliases[#aliases + 1] = name end
  table.sort(aliases)
  for _, name in ipairs(aliases) do
    home[name] = (name:find "Error" or name:find "Event") and pages.errors
      or name == "dpg.Told" and pages.results or pages.options
    home[name].aliases = home[name].aliases or {}
    table.insert(home[name].aliases, name)
  end
  return home, pages
end

-- ---- parts of a page ----------------------------------------------------------------------------------------------

-- A type, with its names linked.
local function type_html(book, page, kind)
  return (html.escape(kind):gsub("|", "|<wbr>"):gsub("dpg[%w_.]*", function(name)
    local to = book.home[name]
    if not to then return nil end
    return ('<a href="%s#%s">%s</a>'):format(html.relative(page.address, to.address), name, name)
  end))
end

local function prose(book, page, text)
  return (html.prose(text):gsub("\n", "</p><p>"):gsub("<code>([^<]-)</code>", function(code)
    return book.names:html(page, code)
  end):gsub("code &quot;([%l_]+)&quot;", function(code)
    local to = book.names.codes[code]
    return to and ('code <a href="%s"><code>%s</code></a>'):format(html.relative(page.address, to), code) or nil
  end):gsub("%f[%w]([%w_]+/[%w_/]+%.lua)%f[^%w_.]", function(file)
    local to = book.site.leads_to(file) or book.site.leads_to("lua/dpg/" .. file)
    return to and ('<a href="%s">%s</a>'):format(html.relative(page.address, to), file) or nil
  end):gsub("%f[%w](doc/[%w_/-]+%.md)", function(file)
    local to = book.site.leads_to(file)
    return to and ('<a href="%s">%s</a>'):format(html.relative(page.address, to), file) or nil
  end))
end

local function source_link(book, page, path, line)
  return ('<a class="at" href="%s#L%d">%s:%d</a>'):format(
    html.relative(page.address, book.site.leads_to(path)), line, path, line)
end

-- All fields of a class with those that it inherits; `common` are left out, and counted.
local function fields_of(book, name, common, found)
  found = found or { names = {} }
  local class = book.face.classes[name]
  if not class then return found end
  if common[name] then
    found.common = true
    return found
  end
  for _, field in ipairs(class.shown_fields) do
    if not found.names[field.name] then
      found.names[field.name] = true
      found[#found + 1] = field
    end
  end
  for _, base in ipairs(class.bases) do fields_of(book, base, common, found) end
  return found
end

local function field_rows(book, page, fields)
  local parts = {}
  for _, field in ipairs(fields) do
    parts[#parts + 1] = ('<dt><code>%s</code>%s <span class="type">%s</span></dt>\n<dd>%s</dd>\n'):format(
      html.escape(field.name), field.optional and '<span class="optional">optional</span>' or "",
      type_html(book, page, field.type), field.text ~= "" and "<p>" .. prose(book, page, field.text) .. "</p>" or "")
  end
  return '<dl class="fields">\n' .. table.concat(parts) .. "</dl>\n"
end

-- The names of a class's fields in a line.
local function field_names(book, name, common)
  local found = {}
  for i, field in ipairs(fields_of(book, name, common or {})) do found[i] = "<code>" .. field.name .. "</code>" end
  return table.concat(found, ", ")
end

local EVERY_CALL = { ["dpg.CallOptions"] = true, ["dpg.TransferOptions"] = true }

-- The fields of a table that is given, to be unfolded at the place where it is given.
local function unfolded(book, page, kind)
  local parts = {}
  for _, name in ipairs(annotations.names_in(kind)) do
    if book.home[name] == book.pages.options and book.face.classes[name] then
      local fields = fields_of(book, name, EVERY_CALL)
      local rest = ""
      if fields.common then
        local base = "dpg.CallOptions"
        if name:find "Upload" or name:find "Download" or name:find "Save" or name:find "Chunk" or name:find "Many"
          or name:find "Transfer" then
          base = "dpg.TransferOptions"
        end
        rest = ('<p>and those of %s: %s.</p>'):format(type_html(book, page, base), field_names(book, base))
      end
      if #fields > 0 then
        parts[#parts + 1] = ("<details><summary>%s: %s</summary>\n%s%s</details>\n"):format(
          html.escape(name:gsub("^dpg%.", "")), field_names(book, name, EVERY_CALL), field_rows(book, page, fields),
          rest)
      elseif rest ~= "" then
        parts[#parts + 1] = rest
      end
    end
  end
  return table.concat(parts)
end

local function signature(fn)
  local args = {}
  for i, param in ipairs(fn.params) do args[i] = param.name .. (param.optional and "?" or "") end
  return fn.full .. "(" .. table.concat(args, ", ") .. ")"
end

local function wire(book, page, fn)
  local row = book.rows[fn.full]
  if not row then return "" end
  local scope = row.scope and "needs <code>" .. row.scope .. "</code>" or "needs no scope"
  return ('<p class="wire"><a href="%s"><code>%s %s</code></a> <span>%s</span></p>\n'):format(
    html.relative(page.address, "api.html"), row.method, html.escape(row.path), scope)
end

local function limits(book, page, fn)
  local row = book.rows[fn.full]
  local parts = {}
  for _, limit in ipairs(row and endpoints.limits(row) or {}) do
    local names = {}
    for i, name in ipairs(limit.names) do
      names[i] = "<code>" .. name .. "</code>" .. (limit.required[name] and "*" or "")
    end
    parts[#parts + 1] = "<li>" .. table.concat(names, ", ") .. (#names > 0 and ": " or "")
      .. prose(book, page, limit.says) .. "</li>\n"
  end
  if #parts == 0 then return "" end
  return "<details><summary>What is checked before anything is sent</summary>\n<ul class=\"limits\">\n"
    .. table.concat(parts) .. "</ul>\n<p>* must be there.</p></details>\n"
end

local function list(book, page, title, entries)
  if #entries == 0 then return "" end
  local parts = {}
  for _, entry in ipairs(entries) do
    parts[#parts + 1] = ('<dt>%s%s <span class="type">%s</span></dt>\n<dd>%s%s</dd>\n'):format(
      entry.name and "<code>" .. html.escape(entry.name) .. "</code>" or "",
      entry.optional and '<span class="optional">optional</span>' or "", type_html(book, page, entry.type),
      entry.text ~= "" and "<p>" .. prose(book, page, entry.text) .. "</p>\n" or "",
      title == "Takes" and unfolded(book, page, entry.type) or "")
  end
  return ("<h4>%s</h4>\n<dl>\n%s</dl>\n"):format(title, table.concat(parts))
end

local function function_html(book, page, fn, level)
  book.count = book.count + 1
  local id = fn.full:gsub(":", ".")
  page.headings[#page.headings + 1] = {
    level = level, id = id, text = fn.full, html = "<code>" .. fn.full .. "</code>",
    short = "<code>" .. (fn.full:match ":(.*)$" and ":" .. fn.full:match ":(.*)$" or fn.full) .. "</code>",
  }
  local parts = { ('<section class="function" id="%s">\n<h%d><code>%s</code><a class="anchor" href="#%s" '
    .. 'aria-label="link to this function">#</a></h%d>\n'):format(id, level, html.escape(signature(fn)), id, level) }
  parts[#parts + 1] = wire(book, page, fn)
  if fn.deprecated then parts[#parts + 1] = '<p class="old">Deprecated.</p>\n' end
  if fn.text ~= "" then parts[#parts + 1] = "<p>" .. prose(book, page, fn.text) .. "</p>\n" end
  parts[#parts + 1] = list(book, page, "Takes", fn.params)
  parts[#parts + 1] = limits(book, page, fn)
  parts[#parts + 1] = list(book, page, "Returns", fn.returns)
  parts[#parts + 1] = '<p class="source-link">' .. source_link(book, page, fn.path, fn.line) .. "</p>\n</section>\n"
  page.words[#page.words + 1] = { title = signature(fn), id = id, text = fn.text, of = page.title, kind = "function" }
  return table.concat(parts)
end

-- The method of a resource that does the same as one of an object: image:update -> images:update.
local function of_object(book, fn)
  local resource = ({ ["dpg.Image"] = "images:", ["dpg.Set"] = "sets:" })[fn.class]
  local name = resource and resource .. fn.name
  if name == "sets:add" or name == "sets:remove" then name = name .. "_images" end
  return name and book.names.places[name] and name
end

-- Such a method in a line.
local function short_html(book, page, fn)
  book.count = book.count + 1
  local id = fn.full:gsub(":", ".")
  page.words[#page.words + 1] = { title = signature(fn), id = id, text = fn.text, of = page.title, kind = "function" }
  return ('<tr id="%s"><td><code>%s</code></td><td>as %s, of this one%s</td></tr>\n'):format(id,
    html.escape(signature(fn)), book.names:html(page, of_object(book, fn)),
    fn.text ~= "" and ": " .. prose(book, page, fn.text) or "")
end

local function class_html(book, page, name)
  local class = book.face.classes[name]
  page.headings[#page.headings + 1] = { level = 2, id = name, text = name, html = html.escape(name) }
  local parts = { ('<section class="class" id="%s">\n<h2>%s<a class="anchor" href="#%s" aria-label="link to this '
    .. 'class">#</a></h2>\n'):format(name, html.escape(name), name) }
  if class.text ~= "" then parts[#parts + 1] = "<p>" .. prose(book, page, class.text) .. "</p>\n" end
  local bases = {}
  for i, base in ipairs(class.bases) do bases[i] = type_html(book, page, base) end
  if #bases > 0 then
    parts[#parts + 1] = "<p>With all of " .. table.concat(bases, " and ") .. ".</p>\n"
  end
  if #class.shown_fields > 0 then parts[#parts + 1] = field_rows(book, page, class.shown_fields) end
  for _, overload in ipairs(class.overloads) do
    parts[#parts + 1] = ('<p>Called as a function: <span class="type">%s</span></p>\n'):format(
      type_html(book, page, overload))
  end
  local short = {} -- what another page tells in full
  for _, fn in ipairs(class.shown_functions) do
    if fn.of_field and of_object(book, fn) then
      short[#short + 1] = short_html(book, page, fn)
    else
      parts[#parts + 1] = function_html(book, page, fn, 3)
    end
  end
  if #short > 0 then
    parts[#parts + 1] = '<table class="index"><tbody>\n' .. table.concat(short) .. "</tbody></table>\n"
  end
  parts[#parts + 1] = "</section>\n"
  local names = {}
  for i, field in ipairs(class.shown_fields) do names[i] = field.name end
  page.words[#page.words + 1] = {
    title = name, id = name, text = class.text .. " " .. table.concat(names, " "), of = page.title, kind = "class",
  }
  return table.concat(parts)
end

local function alias_html(book, page, name)
  local alias = book.face.aliases[name]
  page.headings[#page.headings + 1] = { level = 2, id = name, text = name, html = html.escape(name) }
  page.words[#page.words + 1] = { title = name, id = name, text = alias.text, of = page.title, kind = "class" }
  local text = alias.text ~= "" and "<p>" .. prose(book, page, alias.text) .. "</p>\n" or ""
  return ('<section class="class" id="%s">\n<h2>%s</h2>\n%s'):format(name, html.escape(name), text)
    .. ('<p class="alias"><span class="type">%s</span></p>\n</section>\n'):format(
      type_html(book, page, alias.type):gsub("&quot;([%l_]+)&quot;", function(code)
        local to = name == "dpg.ErrorCode" and book.names.codes[code]
        return to and ('<a href="%s">%s</a>'):format(html.relative(page.address, to), code) or nil
      end))
end

-- ---- the book -----------------------------------------------------------------------------------------------------

local function values_of_dpg(book, page)
  return '<dl class="fields">\n'
    .. "<dt><code>dpg.null</code></dt><dd><p>JSON's null, in what the server sends and in what is sent: it empties a "
    .. "field. Lua takes it for true: compare with it.</p></dd>\n"
    .. "<dt><code>dpg._VERSION</code> <span class=\"type\">string</span></dt><dd><p>"
    .. prose(book, page, "`\"" .. book.site.version .. "\"`") .. "</p></dd>\n</dl>\n"
end

local function body_of(book, page)
  local parts = { ("<h1>%s</h1>\n<p class=\"says\">%s</p>\n"):format(html.escape(page.title), html.escape(page.says)) }
  if page.name == "dpg" then
    parts[#parts + 1] = '<div class="code"><pre><code class="lua"><span class="k">local</span> dpg = '
      .. '<span class="f">require</span> <span class="s">"dpg"</span></code></pre></div>\n'
    for _, fn in ipairs(book.face.functions) do parts[#parts + 1] = function_html(book, page, fn, 2) end
    parts[#parts + 1] = values_of_dpg(book, page)
  elseif page.name == "sandbox" then
    parts[#parts + 1] = '<div class="code"><pre><code class="lua"><span class="k">local</span> sandbox = '
      .. '<span class="f">require</span> <span class="s">"dpg.sandbox"</span></code></pre></div>\n'
    for _, fn in ipairs(book.face.sandbox) do parts[#parts + 1] = function_html(book, page, fn, 2) end
  end
  for _, name in ipairs(page.classes) do parts[#parts + 1] = class_html(book, page, name) end
  for _, name in ipairs(page.aliases or {}) do parts[#parts + 1] = alias_html(book, page, name) end
  return table.concat(parts)
end

-- The index: every function with the first sentence about it.
local function index(book)
  local page = { address = address_of "index", title = "Reference", headings = {}, words = {}, name = "index" }
  local parts = { "<h1>Reference</h1>\n<p class=\"says\">Every function, with what it takes, gives and fails with. "
    .. "<code>?</code> marks what may be left out.</p>\n" }
  local function lines(functions, of)
    local rows = {}
    for _, fn in ipairs(functions) do
      rows[#rows + 1] = ('<tr><td><a href="%s#%s"><code>%s</code></a></td><td>%s</td></tr>\n'):format(
        html.relative(page.address, of.address), fn.full:gsub(":", "."), html.escape(signature(fn)),
        prose(book, page, fn.text:match "^(.-%.)%s" or fn.text))
    end
    return '<table class="index"><tbody>\n' .. table.concat(rows) .. "</tbody></table>\n"
  end
  for _, of in ipairs(book.pages) do
    local functions = of.name == "dpg" and book.face.functions or of.name == "sandbox" and book.face.sandbox or {}
    local all = {}
    for _, fn in ipairs(functions) do all[#all + 1] = fn end
    for _, name in ipairs(of.classes) do
      for _, fn in ipairs(book.face.classes[name].shown_functions) do
        if not fn.of_field then all[#all + 1] = fn end
      end
    end
    local id = "of-" .. of.name
    page.headings[#page.headings + 1] = { level = 2, id = id, text = of.title, html = html.escape(of.title) }
    parts[#parts + 1] = ('<h2 id="%s"><a href="%s">%s</a></h2>\n<p>%s</p>\n'):format(id,
      html.relative(page.address, of.address), html.escape(of.title), html.escape(of.says))
    if #all > 0 then
      parts[#parts + 1] = lines(all, of)
    else
      local names = {}
      for i, name in ipairs(of.classes) do names[i] = type_html(book, page, name) end
      parts[#parts + 1] = '<p class="names">' .. table.concat(names, " ") .. "</p>\n"
    end
  end
  page.body = table.concat(parts)
  return page
end

-- Everything that is annotated and may be public.
local function read_sources(site)
  local model = annotations.new()
  for _, path in ipairs(site.files) do
    if path == "types/dpg.lua" or (path:find "^lua/dpg/.*%.lua$" and not path:find "^lua/dpg/sandbox/"
      and not path:find "^lua/dpg/cli/") then
      annotations.read(model, path, site.read(path))
    end
  end
  return model
end

local function all_functions(face)
  local all = {}
  for _, fn in ipairs(face.functions) do all[#all + 1] = fn end
  for _, fn in ipairs(face.sandbox) do all[#all + 1] = fn end
  for _, class in pairs(face.classes) do
    for _, fn in ipairs(class.shown_functions) do all[#all + 1] = fn end
  end
  return all
end

-- "images:list" -> its row of the catalog
local function rows_by_method()
  local rows = {}
  for _, group in ipairs(endpoints.groups()) do
    for _, one in ipairs(group.rows) do
      for _, method in ipairs(one.methods) do rows[method.name] = one.row end
    end
  end
  return rows
end

-- Where each function and class is told of.
local function place(book)
  local places = book.names.places
  for _, class in pairs(book.face.classes) do
    for _, field in ipairs(class.shown_fields) do book.names.fields[field.name] = true end
  end
  for name, page in pairs(book.home) do
    places[name] = page.address .. "#" .. name
    for _, fn in ipairs(book.face.classes[name] and book.face.classes[name].shown_functions or {}) do
      places[fn.full] = page.address .. "#" .. fn.full:gsub(":", ".")
    end
  end
  for _, fn in ipairs(book.face.functions) do places[fn.full] = book.pages.dpg.address .. "#" .. fn.full end
  for _, fn in ipairs(book.face.sandbox) do
    places[fn.full] = book.pages.sandbox.address .. "#" .. fn.full
    places["dpg." .. fn.full] = places[fn.full]
  end
end

---Reads the sources.
---@param site table  read, files, leads_to, version
---@return table book  `names`, and what render() needs
function M.read(site)
  local book = { site = site, face = faces.find(read_sources(site)), count = 0, names = name_index.new() }
  book.face.all = all_functions(book.face)
  book.home, book.pages = arrange(book.face)
  book.rows = rows_by_method()
  place(book)
  return book
end

---Makes the bodies of the reference's pages.
---@return table[] pages
function M.render(book)
  local pages = { index(book) }
  for _, page in ipairs(book.pages) do
    page.headings, page.words = {}, {}
    page.body = body_of(book, page)
    pages[#pages + 1] = page
  end
  return pages
end

return M
