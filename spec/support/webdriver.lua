--- A browser that is clicked by a program: Chromium, through its driver's WebDriver protocol.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local http = require("http")
local json = require("json")
local os = require("os")
local uv = require("luv")

local webdriver = {}

local Browser = {}
Browser.__index = Browser

local ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

local function inPath(name)
  for folder in (process.env.PATH or ""):gmatch("[^:]+") do
    if uv.fs_access(folder .. "/" .. name, "X") then return folder .. "/" .. name end
  end
end

--- Why there is no browser here; nil when there is one.
function webdriver.missing()
  if not inPath("chromedriver") then return "needs chromedriver (chromium-driver)" end
  if not inPath("chromium") then return "needs chromium" end
end

local function ask(self, method, path, body)
  local text = body and json.encode(body) or (method == "POST" and "{}" or nil)
  local status, answer = await(function(done)
    local request = http.request({ host = "127.0.0.1", port = self.port, path = path, method = method, agent = false,
      headers = { ["Content-Type"] = "application/json", ["Content-Length"] = text and #text or 0 } }, function(response)
      local parts = {}
      response:on("data", function(data) parts[#parts + 1] = data end)
      response:on("end", function() done(response.statusCode, table.concat(parts)) end)
    end)
    request:on("error", function(err) done(0, err.message) end)
    request:finish(text)
  end)
  local ok, document = pcall(json.decode, answer)
  if status ~= 200 or not ok then error(("%s %s: %s %s"):format(method, path, tostring(status), answer:sub(1, 400)), 0) end
  return document.value
end

local function call(self, method, path, body) return ask(self, method, "/session/" .. self.session .. path, body) end

-- The browser in this home believes an authority from now on: NSS' database is the place for it.
local function trust(home, authority)
  local database = home .. "/.pki/nssdb"
  fs.mkdirSync(database, { recursive = true })
  local name = "sql:" .. database
  child_process.execFileSync("certutil", { "-N", "-d", name, "--empty-password" })
  child_process.execFileSync("certutil", { "-A", "-d", name, "-n", "authority", "-t", "C,,", "-i", authority })
end

--- Starts a browser without a window.
---@param options { width: integer?, height: integer?, trust: string? }? `trust`: path of an authority's certificate
function webdriver.open(options)
  options = options or {}
  local folder = fs.mkdtempSync(os.tmpdir() .. "/lrun-browser-")
  local env = {}
  for name, value in pairs(process.env) do env[name] = value end
  env.HOME, env.TMPDIR = folder, folder
  if options.trust then trust(folder, options.trust) end
  local child = child_process.spawn("chromedriver", { "--port=0" }, { stdio = { "ignore", "pipe", "ignore" }, env = env, detached = true })
  local self = setmetatable({ child = child, folder = folder }, Browser)
  local text = ""
  await(function(done)
    child.stdout:on("data", function(data)
      text = text .. data
      if not self.port then
        self.port = tonumber(text:match("successfully on port (%d+)"))
        if self.port then done() end
      end
    end)
    child:on("exit", function() if not self.port then done() end end)
  end)
  assert(self.port, "chromedriver did not start: " .. text)
  local size = ("--window-size=%d,%d"):format(options.width or 1200, options.height or 900)
  local session = ask(self, "POST", "/session", { capabilities = { alwaysMatch = { browserName = "chrome", ["goog:chromeOptions"] = {
    args = { "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", size, "--user-data-dir=" .. folder .. "/profile" },
  } } } })
  self.session = session.sessionId
  return self
end

function Browser:go(url) call(self, "POST", "/url", { url = url }) end

--- Runs a script in the page; its arguments are `arguments[0]` ….
function Browser:run(script, ...)
  return call(self, "POST", "/execute/sync", { script = script, args = setmetatable({ ... }, { __jsontype = "array" }) })
end

local function find(self, selector)
  return call(self, "POST", "/element", { using = "css selector", value = selector })[ELEMENT]
end

function Browser:click(selector) call(self, "POST", "/element/" .. find(self, selector) .. "/click") end
function Browser:type(selector, text) call(self, "POST", "/element/" .. find(self, selector) .. "/value", { text = text }) end
function Browser:text(selector) return call(self, "GET", "/element/" .. find(self, selector) .. "/text") end

--- Presses keys where the focus is; WebDriver's names of special ones are characters of the private area.
function Browser:press(keys)
  local actions = {}
  for key in keys:gmatch("[%z\1-\127\194-\244][\128-\191]*") do
    actions[#actions + 1] = { type = "keyDown", value = key }
    actions[#actions + 1] = { type = "keyUp", value = key }
  end
  call(self, "POST", "/actions", { actions = { { type = "key", id = "keys", actions = actions } } })
end

--- Waits until a script returns a true value, and returns that.
function Browser:wait(what, script, ...)
  for _ = 1, 300 do
    local ok, value = pcall(self.run, self, script, ...)
    if ok and value and value ~= json.null then return value end
    await.sleep(50)
  end
  error("this never came in the browser: " .. what, 2)
end

--- The screen as bytes of a PNG.
function Browser:screenshot() return require("base64").decode(call(self, "GET", "/screenshot")) end

function Browser:close()
  if self.session then pcall(ask, self, "DELETE", "/session/" .. self.session) end
  pcall(process.kill, -self.child.pid, "SIGKILL")
  fs.rmSync(self.folder, { recursive = true, force = true })
end

return webdriver
