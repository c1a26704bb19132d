-- Which pages the site has, in which order, and by which name the navigation calls them. A page of doc/ that stands
-- in no section stops `make doc`: somebody would never find it.
local M = {}

-- { file in the tree, its name in the navigation }; the pages that are made of the sources go first under `reference`.
M.SECTIONS = {
  {
    title = "Start",
    { "README.md", "What it is" },
    { "doc/getting-started/scripts.md", "In a script" },
    { "doc/getting-started/nginx.md", "In nginx" },
    { "doc/getting-started/games.md", "In a game" },
    { "doc/cli.md", "In a terminal" },
    { "doc/cookbook.md", "Cookbook" },
  },
  {
    title = "Where it runs",
    { "doc/hosts.md", "Hosts" },
    { "doc/openresty.md", "nginx" },
    { "doc/games.md", "Games" },
    { "doc/c.md", "From C" },
    { "doc/windows.md", "Windows" },
  },
  {
    title = "What it promises",
    { "doc/errors.md", "Errors" },
    { "doc/session.md", "The life of a token" },
    { "doc/stores.md", "Stores" },
    { "doc/security.md", "Security" },
    { "doc/performance.md", "Performance" },
  },
  {
    title = "Reference",
    reference = true,
    { "doc/api.md", "Endpoints" },
  },
  {
    title = "Examples",
    { "examples/love/README.md", "Slideshow for LÖVE" },
    { "examples/openresty/README.md", "Gallery in nginx" },
    { "examples/embed/README.md", "An engine of your own" },
  },
  {
    title = "The project",
    { "doc/architecture.md", "The design" },
    { "doc/packaging.md", "Packages" },
    { "CONTRIBUTING.md", "Contributing" },
    { "CHANGELOG.md", "Changes" },
  },
}

-- README.md -> overview.html, doc/x/y.md -> x/y.html, examples/love/README.md -> examples/love.html
function M.address(file)
  if file == "README.md" then return "overview.html" end
  return (file:gsub("^doc/", ""):gsub("/README%.md$", ".md"):gsub("%.md$", ".html"):gsub("^%u+%.html$", string.lower))
end

return M
