--- Chromium as a client of https: pages, bodies both ways, kept connections, certificates that it believes and others.
local pki = require("spec.support.pki")
local webdriver = require("spec.support.webdriver")
pki.need()

local missing = webdriver.missing() or (not pki.has("certutil") and "needs certutil (libnss3-tools)" or nil)
if missing then
  print("skipped: " .. missing)
  process.exit(77)
end

local https = require("https")
local servers = require("spec.support.servers")

local PAGE = [[<!DOCTYPE html><title>page</title><script src="/script.js"></script><p id="text">hello</p>]]
local SCRIPT = [[
window.echo = async (size) => {
  const sent = '0123456789abcdef'.repeat(size / 16);
  const answer = await fetch('/echo', { method: 'POST', body: sent });
  return await answer.text() === sent;
};
window.many = async (n) => {
  const all = await Promise.all(Array.from({ length: n }, (_, i) => fetch('/n?' + i).then((r) => r.text())));
  return all.every((text, i) => text === '/n?' + i);
};
]]

describe("Chromium", function()
  local sockets, count

  local function answer(req, res)
    if not sockets[req.socket] then sockets[req.socket], count = true, count + 1 end
    if req.url == "/" then
      res:setHeader("Content-Type", "text/html")
      return res:finish(PAGE)
    elseif req.url == "/script.js" then
      res:setHeader("Content-Type", "text/javascript")
      return res:finish(SCRIPT)
    elseif req.url == "/echo" then
      return req:pipe(res)
    end
    res:finish(req.url)
  end

  local function serve(certificate) return servers.listen(https.createServer(pki.options(certificate), answer)) end

  before_each(function() sockets, count = {}, 0 end)
  after_each(servers.close)

  it("opens a page, sends and receives, and keeps its connections", function()
    local address = ("https://localhost:%d/"):format(serve("server"))
    local browser = webdriver.open{ trust = pki.ca.certPath }
    local ok, err = pcall(function()
      browser:go(address)
      assert.equal("hello", browser:text("#text"))
      assert.equal(true, browser:run("return window.isSecureContext"))
      assert.equal("http/1.1", browser:run("return performance.getEntriesByType('navigation')[0].nextHopProtocol"))
      browser:wait("large bodies, there and back", "return window.echo(4 * 1024 * 1024)")
      browser:wait("many requests at once", "return window.many(200)")
      assert.is_true(count > 0 and count <= 12, count .. " connections")
    end)
    browser:close()
    assert(ok, err)
  end)

  it("does not open one whose certificate is of nobody it knows, is too old, or of another name", function()
    local faults = { foreign = "ERR_CERT_AUTHORITY_INVALID", expired = "ERR_CERT_DATE_INVALID", alpha = "ERR_CERT_COMMON_NAME_INVALID" }
    local browser = webdriver.open{ trust = pki.ca.certPath }
    local ok, err = pcall(function()
      for certificate, fault in pairs(faults) do
        browser:go(("https://localhost:%d/"):format(serve(certificate)))
        browser:wait("the browser's warning about " .. fault, "return document.body.innerText.includes(arguments[0])", fault)
        assert.equal(0, count)
      end
    end)
    browser:close()
    assert(ok, err)
  end)
end)
