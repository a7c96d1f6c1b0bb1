--- examples/chat.lua in a real browser: two pages talk; a worker is killed, a reload comes, and both are in the room again.
local child_process = require("child_process")
local children = require("spec.support.children")
local program = require("spec.support.program")
local webdriver = require("spec.support.webdriver")

local missing = webdriver.missing()
if missing then
  print("skipped: " .. missing)
  os.exit(77)
end

local CONNECTED = "return document.querySelector('#state').textContent === 'connected'"
local SHOWN = "return [...document.querySelectorAll('#log div')].filter((line) => line.textContent === arguments[0]).length"

local function workers(chat)
  local pids = {}
  for pid in child_process.execSync("pgrep -P " .. chat.child.pid):gmatch("%d+") do pids[#pids + 1] = tonumber(pid) end
  return pids
end

describe("the chat's page", function()
  local chat, one, two

  setup(function()
    local port = program.port()
    chat = program.start("examples/chat.lua", {}, { PORT = port, WORKERS = 2 })
    local address = "http://localhost:" .. chat:line("Chat on http://localhost:(%d+)") .. "/"
    one, two = webdriver.open(), webdriver.open()
    for _, browser in ipairs{ one, two } do
      browser:go(address)
      browser:wait("the room", CONNECTED)
      -- What the state has been, so that a connection that is back is told from one that was never gone.
      browser:run([[
        window.closes = [];
        new MutationObserver(() => {
          const text = document.querySelector('#state').textContent;
          if (text !== 'connected') window.closes.push(text);
        }).observe(document.querySelector('#state'), { childList: true, characterData: true, subtree: true });
      ]])
    end
  end)

  teardown(function()
    if one then one:close() end
    if two then two:close() end
    pcall(chat.interrupt, chat, "SIGKILL")
    chat:gone()
  end)

  -- Both say something, and both show it, once.
  local function talk(word)
    for i, browser in ipairs{ one, two } do
      browser:type("#text", ("%s %d"):format(word, i))
      browser:click("button")
    end
    for _, browser in ipairs{ one, two } do
      for i = 1, 2 do
        browser:wait(("%s %d"):format(word, i), SHOWN .. " === 1", ("guest: %s %d"):format(word, i))
      end
    end
  end

  it("shows each what the other says", function() talk("hello") end)

  it("is back when a worker was killed", function()
    local all = workers(chat)
    for _, pid in ipairs(all) do
      process.kill(pid, "SIGKILL")
      -- Another takes its place; whichever page it served connects anew.
      children.eventually(function()
        local now = workers(chat)
        for _, other in ipairs(now) do if other == pid then return false end end
        return #now == #all
      end)
    end
    for _, browser in ipairs{ one, two } do
      browser:wait("a connection that was lost", "return window.closes.length > 0")
      browser:wait("the room", CONNECTED)
    end
    talk("again")
  end)

  it("is back behind a reload, with all that was said", function()
    for _, browser in ipairs{ one, two } do browser:run("window.closes = []") end
    chat.child:kill("SIGHUP")
    for _, browser in ipairs{ one, two } do
      browser:wait("a connection that was closed for a restart", "return window.closes.some((text) => text.includes('1012'))")
      browser:wait("the room", CONNECTED)
    end
    talk("after the reload")
    for _, browser in ipairs{ one, two } do
      browser:wait("all six lines, once", "return document.querySelectorAll('#log div').length === 6")
    end
  end)
end)
