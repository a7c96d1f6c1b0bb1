local url = require("url")

local URL, URLSearchParams = url.URL, url.URLSearchParams

-- Each line: input, base (- for none), and the href that the standard gives; ERR for none.
local CASES = [[
http://example.com                  -                    http://example.com/
HTTP://EXAMPLE.com:80/a/../b        -                    http://example.com/b
https://u:p@h:443/?#                -                    https://u:p@h/?#
http://u@                           -                    ERR
http://h:65536                      -                    ERR
http://h:8x                         -                    ERR
http://:80                          -                    ERR
http:///h\p                         -                    http://h/p
http://a%2Fb                        -                    ERR
http://0x7f.1                       -                    http://127.0.0.1/
http://256.0.0.1                    -                    ERR
http://1.2.3.4.5                    -                    ERR
http://1..2                         -                    ERR
http://09                           -                    ERR
http://4294967295                   -                    http://255.255.255.255/
http://[1::0:0:0:1]                 -                    http://[1::1]/
http://[::1.2.3.4]                  -                    http://[::102:304]/
http://[1:2:3:4:5:6:1.2.3.4]        -                    http://[1:2:3:4:5:6:102:304]/
http://[1:2::3:4:5:6:7:8]           -                    ERR
http://[::1.2.3.04]                 -                    ERR
http://[::12345]                    -                    ERR
http://[1:2:3:4:5:6:7:]             -                    ERR
http://[1:0:0:2:0:0:0:3]            -                    http://[1:0:0:2::3]/
g;x?y#s                             http://a/b/c/d;p?q   http://a/b/c/g;x?y#s
?y                                  http://a/b/c/d;p?q   http://a/b/c/d;p?y
../../../g                          http://a/b/c/d;p?q   http://a/g
//g                                 http://a/b           http://g/
file:C|/x/..                        -                    file:///C:/
/..                                 file:///C:/a         file:///C:/
//host/x                            file:///C:/a         file://host/x
file://localhost/x                  -                    file:///x
mailto:a@b                          -                    mailto:a@b
#f                                  mailto:a@b           mailto:a@b#f
x                                   mailto:a@b           ERR
foo:///p                            -                    foo:///p
foo://[::1]:1/p                     -                    foo://[::1]:1/p
foo:/.//p                           -                    foo:/.//p
x                                   -                    ERR
]]

describe("URL", function()
  it("is read, resolved and refused by the standard", function()
    for input, base, href in CASES:gmatch("(%S+) +(%S+) +(%S+)\n") do
      base = base ~= "-" and base or nil
      local ok, result = pcall(URL.new, URL, input, base)
      assert.equal(href, ok and result.href or "ERR", input)
      assert.equal(href ~= "ERR", URL.canParse(input, base), input)
      if not ok then
        assert.equal("ERR_INVALID_URL", result.code)
        assert.equal(input, result.input)
      else
        assert.equal(href, URL:new(href).href)
      end
    end
  end)

  it("is the same whether C cuts it or the standard's steps do", function()
    -- A space in front is not part of a URL, and nothing that C takes.
    local PIECES = { "http://", "https://", "ws://", "wss://", "ftp://", "file://", "HTTP://", "http:/", "x://", "/", "//", "?", "#", "@", ":",
      ".", "..", "%2e", "%2E%2e", "a", "b.c", "A", "u:p@", "example.com", "h1", "127.1", "0x7f", "1", ":80", ":443", ":0080", ":65535", ":65536",
      ":123456", ":8x", "\\", " ", "\t", "%", "%41", "\u{e9}", "'", '"', "<", "|", "^", "`", "{", "_", "-", "~", "a=1&b=2", "x.y/", ".git/", "%7",
      "\0", "[::1]", "abc.", "a..b" }
    local FIELDS = { "href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash" }
    local random = 1
    local function below(limit)
      random = (random * 16807) % 2147483647
      return random % limit
    end
    local function text(first)
      local parts = { first }
      for _ = 1, below(7) do parts[#parts + 1] = PIECES[below(#PIECES) + 1] end
      return table.concat(parts)
    end
    local function read(input, base)
      local ok, value = pcall(URL.new, URL, input, base)
      if not ok then return "error" end
      local fields = {}
      for _, name in ipairs(FIELDS) do fields[name] = value[name] end
      value.pathname, value.port, value.search = "/other/" .. value.pathname, "81", "?q=" .. value.search
      fields.changed = value.href
      return fields
    end
    local good = 0
    for i = 1, 20000 do
      local input = text(i % 2 == 0 and PIECES[below(4) + 1] .. "host.name" .. (i % 4 == 0 and "/" or "") or nil)
      local fields = read(input)
      assert.same(read(" " .. input), fields, input)
      local base, reference = text(PIECES[below(7) + 1] .. "base.name/p"), text("/")
      assert.same(read(" " .. reference, " " .. base), read(reference, base), base .. " and " .. reference)
      if fields ~= "error" then good = good + 1 end
    end
    assert.is_true(good > 5000 and good < 19000, good)
  end)

  it("reads others with the same base as before", function()
    local base = "http://u@base.name:81/a/b?c"
    for _ = 1, 3 do
      local first = URL:new("d?e", base)
      assert.equal("http://u@base.name:81/a/d?e", first.href)
      first.hostname, first.pathname = "other.name", "/x"
      assert.equal("http://u@base.name:81/f", URL:new("/f", base).href)
      assert.equal("http://u@base.name:81/a/b?c", URL:new("", base).href)
      assert.is_false(pcall(URL.new, URL, "/f", "nowhere"))
      assert.is_false(pcall(URL.new, URL, "/f"))
    end
  end)

  it("has its parts as fields", function()
    local u = URL:new("https://us%20er:p@host.example:8/a%2fb?q=1#f")
    local parts = {}
    for _, name in ipairs{ "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash", "origin" } do
      parts[#parts + 1] = u[name]
    end
    assert.equal("https: us%20er p host.example:8 host.example 8 /a%2fb ?q=1 #f https://host.example:8", table.concat(parts, " "))
    assert.equal("null", URL:new("file:///x").origin)
    assert.equal("http://h", URL:new("blob:http://h/x").origin)
    assert.equal("null", URL:new("blob:file:///x").origin)
    assert.equal(u.href, tostring(u))
    assert.equal(u.href, u:toString())
    assert.equal(u.href, u:toJSON())
  end)

  it("is changed by its fields, and not by what cannot be", function()
    local u = URL:new("http://h/")
    local function after(name, value)
      u[name] = value
      return u.href
    end
    assert.equal("http://h:81/", after("port", 81))
    assert.equal("http://h:81/", after("port", "x"))
    assert.equal("https://h:81/", after("protocol", "https"))
    assert.equal("https://h:81/", after("protocol", "foo"))
    assert.equal("https://h/", after("port", "443"))
    assert.equal("https://u%40@h/", after("username", "u@"))
    assert.equal("https://u%40:p%3A@h/", after("password", "p:"))
    assert.equal("https://u%40:p%3A@g:1/", after("host", "g:1/x"))
    assert.equal("https://u%40:p%3A@g:1/", after("hostname", "a b"))
    assert.equal("https://u%40:p%3A@g:1/b%3F", after("pathname", "a/../b?"))
    assert.equal("https://u%40:p%3A@g:1/b%3F?%23", after("search", "#"))
    assert.equal("https://u%40:p%3A@g:1/b%3F?%23#%20", after("hash", " "))
    local ok, err = pcall(after, "href", "no")
    assert.is_false(ok)
    assert.equal("ERR_INVALID_URL", err.code)
    ok, err = pcall(after, "origin", "http://x")
    assert(not ok and err.message:find("cannot be assigned", 1, true))
    ok, err = pcall(after, "host", {})
    assert.is_false(ok)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    u.mine = 5
    assert.equal(5, u.mine)
  end)

  it("keeps its search and its searchParams one", function()
    local u = URL:new("http://h/?a=1&b=2")
    local params = u.searchParams
    params:append("c", "x y")
    assert.equal("?a=1&b=2&c=x+y", u.search)
    u.search = "??z"
    assert.equal("%3Fz=", tostring(params))
    u.href = "http://h/?n=1"
    assert.equal("1", u.searchParams:get("n"))
    params:delete("n")
    assert.equal("http://h/", u.href)
  end)

  it("writes other alphabets in ASCII where libidn2 is there, else says what is missing", function()
    local ok, result = pcall(URL.new, URL, "http://bücher.example/")
    if ok then
      assert.equal("xn--bcher-kva.example", result.hostname)
      assert.is_false(URL.canParse("http://a\255b/"))
    else
      assert(result.message:find("libidn2", 1, true), result.message)
    end
  end)

  it("says what to type", function()
    local _, err = pcall(URL.new, "http://h")
    assert(err.message:find("with a colon", 1, true), err.message)
    _, err = pcall(URL.canParse, URL, "http://h")
    assert(err.message:find("with a dot", 1, true), err.message)
    _, err = pcall(URL.new, URL, "www.example.com/x")
    assert(err.message:find("begin with a scheme", 1, true), err.message)
    _, err = pcall(URL.new, URL, 5)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    _, err = pcall(URL.new, URL, "x", "also none")
    assert.equal("Invalid URL: 'also none': it cannot be a base", err.message)
    _, err = pcall(URL.new, URL, ("x"):rep(100000))
    assert(#err.message < 400)
  end)

  it("becomes a path and comes from one", function()
    assert.equal("/a b/c%", url.fileURLToPath("file:///a%20b/c%25"))
    assert.equal("file:///a%20b%3F%23%25%5Cc/", url.pathToFileURL("/a b?#%\\c/").href)
    assert.equal("/a\nb", url.fileURLToPath(url.pathToFileURL("/a\nb")))
    for input, code in pairs{ ["http://h/"] = "ERR_INVALID_URL_SCHEME", ["file://h/x"] = "ERR_INVALID_FILE_URL_HOST",
      ["file:///a%2Fb"] = "ERR_INVALID_FILE_URL_PATH" } do
      local _, err = pcall(url.fileURLToPath, input)
      assert.equal(code, err.code)
    end
  end)
end)

describe("URLSearchParams", function()
  it("is made from text, pairs, a table, another one", function()
    assert.equal("a=1&b=", tostring(URLSearchParams:new("?a=1&b")))
    assert.equal("b=2&a=1", tostring(URLSearchParams:new{ { "b", 2 }, { "a", "1" } }))
    assert.equal("a=true&b=x+y", tostring(URLSearchParams:new{ b = "x y", a = true }))
    local first = URLSearchParams:new("a=1")
    local second = URLSearchParams:new(first)
    second:set("a", "2")
    assert.equal("1", first:get("a"))
    local _, err = pcall(URLSearchParams.new, URLSearchParams, { { "a" } })
    assert.equal("ERR_INVALID_ARG_VALUE", err.code)
    _, err = pcall(URLSearchParams.new, URLSearchParams, 5)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
  end)

  it("keeps the order of its pairs", function()
    local params = URLSearchParams:new("z=1&a=2&z=3&\240\159\152\128=4&\239\191\189=5")
    params:set("z", "x")
    assert.equal("z=x&a=2&%F0%9F%98%80=4&%EF%BF%BD=5", params:toString())
    params:append("a", "0")
    params:sort()                   -- by UTF-16 units: what lies beyond U+FFFF comes before U+FFFD
    assert.equal("a=2&a=0&z=x&%F0%9F%98%80=4&%EF%BF%BD=5", tostring(params))
    assert.is_true(params:has("a", "0"))
    params:delete("a", "2")
    assert.equal(4, params.size)
    local keys, values = {}, {}
    for key in params:keys() do keys[#keys + 1] = key end
    for value in params:values() do values[#values + 1] = value end
    assert.equal("a z", table.concat(keys, " ", 1, 2))
    assert.equal("0 x 4 5", table.concat(values, " "))
  end)
end)
