local fs = require("fs")
local http = require("http")
local fileserver = require("spec.support.fileserver")
local servers = require("spec.support.servers")

describe("http.serveFiles", function()
  local dir, root

  setup(function()
    dir = fileserver.folder{
      ["secret.txt"] = "SECRET",
      root = {
        ["index.html"] = "index", ["about.html"] = "about", ["file.txt"] = "file", ["a b.txt"] = "blank", ["ü.txt"] = "umlaut",
          ["back\\slash"] = "back",
        [".dot"] = "dots", ["app.html"] = "app", folder = { ["index.html"] = "inner" }, bare = { ["z.txt"] = "z", B = {},
          ["<i>&\"'.txt"] = "x", [".h"] = "h" },
        ["evil.test"] = {},
      },
    }
    root = dir .. "/root"
    fs.symlinkSync("../secret.txt", root .. "/out")
    fs.symlinkSync("file.txt", root .. "/in")
    fs.symlinkSync("../secret.txt", root .. "/bare/out")
  end)
  teardown(function() fs.rmSync(dir, { recursive = true }) end)
  after_each(servers.close)

  local function serve(options) return (fileserver.serve(http.serveFiles(root, options))) end

  it("decodes paths and finds what they mean", function()
    local ask = serve()
    for target, body in pairs{
      ["/"] = "index", ["/file.txt?x=%zz"] = "file", ["//file.txt"] = "file", ["/./folder/../file.txt"] = "file", ["/a%20b.txt"] = "blank",
      ["/%C3%BC.txt"] = "umlaut", ["/back%5cslash"] = "back", ["/in"] = "file", ["/folder/"] = "inner", ["/about"] = "about",
        ["http://x/file.txt"] = "file",
      ["http://x"] = "index", ["http://x?q"] = "index",
    } do
      local response = ask(target)
      assert.equal(200, response.status, target)
      assert.equal(body, response.body, target)
    end
    for _, target in ipairs{ "/%", "/%z1", "/%1", "/%00", "/file%", "/file.txt%00.html", "x", "*" } do assert.equal(400,
      ask(target).status, target) end
    for _, target in ipairs{ "/nothing", "/.dot", "/%2edot", "/file.txt/", "/file.txt/x", "/about/", "/bare/", "/out", "/bare/out", "/%ff",
      "/" .. ("x"):rep(5000),
      "/" .. ("y/"):rep(3000) } do
      assert.equal(404, ask(target).status, target:sub(1, 40))
    end
    for _, target in ipairs{ "/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/folder/..%2F../../secret.txt",
      "//../secret.txt", "/x/../../secret.txt" } do
      assert.equal(403, ask(target).status, target)
    end
    assert.equal(404, ask("/..%5csecret.txt").status)
    assert.equal("SECRET", serve{ links = true }("/out").body)
  end)

  it("redirects to folders, and never to another host", function()
    local ask = serve()
    for target, location in pairs{
      ["/folder"] = "/folder/", ["/folder?a=1&b=%2F"] = "/folder/?a=1&b=%2F", ["//folder"] = "/folder/", ["/%66older"] = "/folder/",
      ["//evil.test"] = "/evil.test/", ["/%2fevil.test"] = "/evil.test/", ["http://x/folder"] = "/folder/",
    } do
      local response = ask(target)
      assert.equal(301, response.status, target)
      assert.equal(location, response.headers.location, target)
    end
  end)

  it("keeps a prefix that the program has taken off", function()
    local files = http.serveFiles(root)
    local ask = fileserver.serve(function(req, res)
      req.url = req.url:match("^/static(/.*)$") or req.url
      files(req, res)
    end)
    assert.equal("file", ask("/static/file.txt").body)
    assert.equal("inner", ask("/static/folder/").body)
    assert.equal("/static/folder/?x", ask("/static/folder?x").headers.location)
    assert.equal(400, ask("/static/%zz").status)
  end)

  it("has pages for folders", function()
    assert.equal("file", serve{ index = { "none", "file.txt" } }("/").body)
    assert.equal("about", serve{ index = "about.html" }("/").body)
    assert.equal(404, serve{ index = false }("/").status)
    assert.equal(404, serve{ extensions = false }("/about").status)
    assert.equal("file", serve{ extensions = { ".txt" } }("/file").body)
  end)

  it("lists folders", function()
    local ask = serve{ listing = true }
    local response = ask("/bare/")
    assert.equal("text/html; charset=utf-8", response.headers["content-type"])
    local links = {}
    for link, text in response.body:gmatch('<a href="([^"]*)">(.-)</a>') do links[#links + 1] = link .. " " .. text end
    assert.same({ "../ ../", "./B/ B/", "./%3Ci%3E%26%22%27.txt &lt;i&gt;&amp;&quot;&#39;.txt", "./z.txt z.txt" }, links)
    local head = ask("/bare/", nil, "HEAD")
    assert.equal(tostring(#response.body), head.headers["content-length"])
    assert.is_truthy(serve{ listing = true, dotfiles = "allow" }("/bare/").body:find(".h", 1, true))
    assert.equal("index", ask("/").body)
  end)

  it("falls back for pages alone", function()
    local ask = serve{ fallback = "app.html" }
    for target, accept in pairs{ ["/any/where"] = "text/html", ["/a.js"] = "application/json, text/html;q=0.1", ["/b/c"] = "*/*" } do
      local response = ask(target, { "Accept: " .. accept })
      assert.equal(200, response.status, target)
      assert.equal("app", response.body)
    end
    assert.equal("app", ask("/any").body)
    assert.equal(404, ask("/missing.js").status)
    assert.equal(404, ask("/missing.js", { "Accept: */*" }).status)
    assert.equal(404, ask("/any", { "Accept: application/json" }).status)
    assert.equal(404, ask("/any", { "Accept: text/html;q=0, */*" }).status)
    assert.equal(304, ask("/any", { "If-None-Match: *" }).status)
    assert.equal(405, ask("/any", { "Content-Length: 0" }, "POST").status)
  end)

  it("gives what is not its own to the next handler", function()
    local files = http.serveFiles(root)
    local ask = fileserver.serve(function(req, res)
      files(req, res, function(err) res:finish(("next %s %s"):format(tostring(err), res.statusCode)) end)
    end)
    assert.equal("file", ask("/file.txt").body)
    assert.equal("next nil 200", ask("/nothing").body)
    assert.equal("next nil 200", ask("/file.txt", { "Content-Length: 0" }, "PUT").body)
    assert.equal(400, ask("/%zz").status)
    local response = serve()("/file.txt", { "Content-Length: 0" }, "DELETE")
    assert.equal(405, response.status)
    assert.equal("GET, HEAD", response.headers.allow)
  end)

  it("sees a root that is exchanged", function()
    local link = dir .. "/current"
    local two = fileserver.folder{ ["file.txt"] = "second" }
    fs.symlinkSync(root, link)
    local ask = fileserver.serve(http.serveFiles(link))
    assert.equal("file", ask("/file.txt").body)
    fs.symlinkSync(two, link .. ".new")
    fs.renameSync(link .. ".new", link)
    local body
    for _ = 1, 200 do
      body = ask("/file.txt").body
      if body == "second" then break end
      require("await").sleep(5)
    end
    assert.equal("second", body)
    fs.rmSync(two, { recursive = true })
    assert.equal(404, ask("/index.html").status)
  end)

  it("sees each change of a file that was just sent", function()
    local place = fileserver.folder{ sub = { ["f.css"] = "one" } }
    local ask = fileserver.serve(http.serveFiles(place))
    local path, before = place .. "/sub/f.css", fileserver.descriptors()
    local function get(...) return ask("/sub/f.css", { "Accept-Encoding: gzip", ... }) end
    require("await").sleep(30)                                       -- the folder has been as it is for a while
    for _ = 1, 3 do assert.equal("one", get().body) end
    assert.equal(304, get("If-None-Match: " .. get().headers.etag).status)
    fs.writeFileSync(path, "longer")
    assert.equal("longer", get().body)
    fs.writeFileSync(path .. ".new", "new")
    fs.renameSync(path .. ".new", path)
    assert.equal("new", get().body)
    require("await").sleep(30)
    for _ = 1, 3 do assert.equal("new", get().body) end
    fs.writeFileSync(path .. ".gz", "coded")
    assert.equal("coded", get().body)
    assert.equal("new", ask("/sub/f.css").body)
    fs.unlinkSync(path .. ".gz")
    require("await").sleep(30)
    for _ = 1, 3 do assert.equal("new", get().body) end
    fs.unlinkSync(path)
    assert.equal(404, get().status)
    assert.equal(0, os.execute("mkfifo '" .. path .. "'"))
    assert.equal(404, get().status)
    fs.unlinkSync(path)
    fs.mkdirSync(path)
    assert.equal(301, get().status)
    fs.rmSync(place, { recursive = true })
    assert.equal(404, get().status)
    while fileserver.descriptors() > before do require("await").sleep(5) end -- what was held is let go
  end)

  it("throws for what is no folder's name or option", function()
    for _, arguments in ipairs{ {}, { 5 }, { "" }, { root, 5 }, { root, { index = 5 } }, { root, { index = { "a/b" } } }, { root,
      { extensions = { 1 } } },
      { root, { fallback = 5 } }, { root, { listing = 1 } }, { root, { dotfiles = "x" } } } do
      local ok, err = pcall(http.serveFiles, unpack(arguments))
      assert.is_false(ok)
      assert.match("^ERR_INVALID_ARG", err.code)
    end
  end)
end)
