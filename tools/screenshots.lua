--- Pictures for docs/manager.md: `lrun tools/screenshots.lua [FOLDER]` starts apps in a home of its own, lets clients ask, and writes the page
--- as manager-web.png (needs chromium and chromium-driver) and the terminal monitor as manager-monit.svg into docs/images, or FOLDER. Run it
--- in the checkout.
local await = require("await")
local fs = require("fs")
local layout = require("lrun.manager.layout")
local manager = require("../spec/support/manager")
local terminals = require("../spec/support/terminal")
local webdriver = require("../spec/support/webdriver")

local folder = process.argv[2] or "docs/images"
local SHOW_MS, CELL_WIDTH, CELL_HEIGHT = 50000, 8.4, 18

local function write(name, bytes)
  local file = assert(io.open(folder .. "/" .. name, "wb"))
  file:write(bytes)
  file:close()
  print(folder .. "/" .. name)
end

local function escape(text) return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })) end

-- A terminal's screen as a picture of text.
local function svg(text, columns)
  local lines, count = {}, 0
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    count = count + 1
    lines[count] = ('<text x="12" y="%d" xml:space="preserve">%s</text>'):format(12 + count * CELL_HEIGHT, escape(layout.cut(line, columns)))
  end
  local width, height = math.ceil(columns * CELL_WIDTH) + 24, count * CELL_HEIGHT + 32
  return ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="monospace" font-size="14" fill="#e6edf3">'
    .. '<rect width="100%%" height="100%%" rx="8" fill="#0d1117"/>%s</svg>\n'):format(width, height, table.concat(lines, "\n"))
end

local function startApps(home)
  local port = manager.freePort()
  home:write("web.lua", 'print("listening in process " .. process.pid)\n' .. manager.server("v1"))
  home:write("mail.sh", 'while :; do echo "sent a message"; sleep 3; done\n')
  home:write("report.sh", 'echo "no data yet" >&2; exit 1\n')
  home:ok({ "start", "web.lua", "-i", "3" }, { env = { PORT = tostring(port) } })
  home:ok{ "start", "mail.sh" }
  home:run{ "start", "report.sh", "--max-restarts", "1" }
  return port
end

local function page(home, load)
  local missing = webdriver.missing()
  if missing then return print("no picture of the page: " .. missing) end
  local address = home:spawn{ "web", "--port", "0", "--control" }.waitFor("(http://[^%s]+)\n")
  local browser = webdriver.open{ width = 1280, height = 860 }
  local ok, err = pcall(function()
    browser:go(address)
    browser:wait("the apps", "return document.querySelectorAll('#plots figure').length === 5")
    await.sleep(SHOW_MS / 2)
    home:ok{ "reload", "web" }
    await.sleep(SHOW_MS / 2)
    load.more(1)
    write("manager-web.png", browser:screenshot())
  end)
  browser:close()
  if not ok then error(err, 0) end
end

local function monitor(home)
  local terminal = terminals.open{ args = { "monit" }, env = home:env(), cwd = home.dir, rows = 18, columns = 110 }
  terminal:waitFor("web[^\n]*online")
  terminal:waitFor("listening in process", true)
  await.sleep(5000)
  write("manager-monit.svg", svg(terminal.screen:text(), 110))
  terminal:type("q")
  terminal:waitForExit()
  terminal:close()
end

fs.mkdirSync(folder, { recursive = true })
local home = manager.home()
local ok, err = pcall(function()
  local load = manager.load(startApps(home), 3)
  page(home, load)
  monitor(home)
  load.stop()
end)
home:close()
if not ok then error(err, 0) end
