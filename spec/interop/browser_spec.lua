--- The page of `lrun web` in a real browser.
local manager = require("spec.support.manager")
local webdriver = require("spec.support.webdriver")

local missing = webdriver.missing()
if missing then
  print("skipped: " .. missing)
  os.exit(77)
end

describe("the manager's page", function()
  local home

  before_each(function() home = manager.home() end)
  after_each(function() home:close() end)

  local function serve(...)
    return (home:spawn{ "web", "--port", "0", ... }.waitFor("(http://[^%s]+)\n"))
  end

  it("can be clicked, and used by keyboard", function()
    local port = manager.freePort()
    home:write("web.lua", 'print("a first line") print("another one")\n' .. manager.server("v1"))
    home:ok({ "start", "web.lua", "-i", "2" }, { env = { PORT = tostring(port) } })
    home:start("job", 'print("the job says hello")\n' .. manager.idle)
    local address = serve("--control")
    local browser = webdriver.open()
    local ok, err = pcall(function()
      browser:go(address)
      browser:wait("two apps", "return document.querySelectorAll('#apps li').length === 2")
      assert.equal("2 apps, 2 online", browser:text("#summary"))
      browser:wait("the first is chosen", "return document.querySelector('#title').textContent === 'web'")
      browser:wait("its plots", "return document.querySelectorAll('#plots figure').length === 5")
      browser:wait("its lines", "return document.querySelectorAll('#log div').length >= 4")
      browser:wait("a plot that grows", [[
        const line = document.querySelector('#plot-memory polyline');
        return line !== null && line.getAttribute('points').split(' ').length > 1;
      ]])
      -- The filter leaves the lines that hold it.
      browser:type("#filter", "another")
      browser:wait("filtered lines", "return [...document.querySelectorAll('#log div')].every((d) => d.textContent.includes('another one'))")
      -- A reload by the button leaves marks.
      browser:run("[...document.querySelectorAll('#actions button')].find((b) => b.textContent === 'Reload').click()")
      browser:wait("a mark of the reload", "return document.querySelector('#plots .mark.reload') !== null")
      browser:wait("its replacement", "return document.querySelector('#notes').textContent.includes('reload: done')")
      -- By keyboard: escape to the list, down, enter.
      browser:press("\238\128\140")
      browser:press("\238\128\149")
      browser:press("\238\128\135")
      browser:wait("the other app", "return document.querySelector('#title').textContent === 'job'")
      browser:wait("its line", "return document.querySelector('#log').textContent.includes('the job says hello')")
      browser:press("/")
      assert.equal("filter", browser:run("return document.activeElement.id"))
      -- What happens is shown without a reload of the page.
      home:ok{ "stop", "job" }
      browser:wait("the state", "return document.querySelector('#state').textContent === 'stopped'")
    end)
    browser:close()
    assert(ok, err)
  end)

  it("fits a telephone", function()
    home:start("app", manager.idle)
    local address = serve()
    local browser = webdriver.open{ width = 400, height = 800 }
    local ok, err = pcall(function()
      browser:go(address)
      browser:wait("the app", "return document.querySelectorAll('#apps li').length === 1")
      browser:click(".app")
      browser:wait("its details", "return !document.querySelector('#detail').hidden")
      assert.is_true(browser:run("return document.documentElement.scrollWidth <= window.innerWidth"))
    end)
    browser:close()
    assert(ok, err)
  end)
end)
