local path = require("path")
local uv = require("luv")

-- Each line: function, arguments, and what Node 20 answers. "$" stands for the working directory,
-- "~" for a space.
local CASES = [[
normalize  ''            .
normalize  .             .
normalize  ./            ./
normalize  /             /
normalize  ///           /
normalize  /..           /
normalize  /../../a      /a
normalize  a/../..       ..
normalize  ../../a/      ../../a/
normalize  /a//b/./c/..  /a/b
normalize  a/..          .
normalize  a/../         ./
normalize  .../a         .../a
join       ''            .
join       '' ''         .
join       a b           a/b
join       a '' b        a/b
join       / a ..        /
join       a/ /b/        a/b/
join       a ../../b     ../b
join       . ./a         a
join       ~ .           ~
resolve    ''            $
resolve    .             $
resolve    /             /
resolve    /a b          /a/b
resolve    /a ../../b    /b
resolve    a /b c        /b/c
resolve    /a/ b/        /a/b
resolve    x             $/x
isAbsolute /a            true
isAbsolute a/b           false
isAbsolute ''            false
dirname    ''            .
dirname    /             /
dirname    ////          /
dirname    a             .
dirname    a/            .
dirname    /a            /
dirname    /a/           /
dirname    //a           //
dirname    a//b          a/
dirname    /a/b/c        /a/b
basename   ''            ''
basename   /             ''
basename   /a/b.lua      b.lua
basename   /a/b/         b
basename   /a/b.lua .lua  b
basename   /a/b.lua/ .lua b
basename   .lua .lua     ''
basename   /a/.lua .lua  .lua
basename   b.lua xb.lua  b.lua
basename   b.lua ''      b.lua
extname    ''            ''
extname    a             ''
extname    a.lua         .lua
extname    a.b.c         .c
extname    a.            .
extname    .a            ''
extname    .a.b          .b
extname    ..            ''
extname    ...           .
extname    a.b/          .b
extname    a.b/c         ''
relative   /a/b /a/c     ../c
relative   /a /a         ''
relative   /a/b /        ../..
relative   / /a/b        a/b
relative   /a/b /a/bc    ../bc
relative   /a/ /a/b      b
relative   x x/y         y
relative   '' x          x
]]

local function words(line)
  local list = {}
  for word in line:gmatch("%S+") do
    list[#list + 1] = word == "''" and "" or (word:gsub("~", " "):gsub("^%$", (uv.cwd())))
  end
  return list
end

local function errorOf(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err
end

describe("path", function()
  for line in CASES:gmatch("[^\n]+") do
    it(line:gsub("%s+", " "), function()
      local case = words(line)
      local expected = table.remove(case)
      local name = table.remove(case, 1)
      assert.equal(expected, tostring(path[name](unpack(case))))
    end)
  end

  it("takes paths apart and puts them together", function()
    assert.same({ root = "/", dir = "/a", base = "b.tar.gz", ext = ".gz", name = "b.tar" }, path.parse("/a/b.tar.gz"))
    assert.same({ root = "", dir = "", base = "b", ext = "", name = "b" }, path.parse("b"))
    assert.same({ root = "/", dir = "/", base = "", ext = "", name = "" }, path.parse("//"))
    assert.same({ root = "", dir = "a/", base = "b.c", ext = ".c", name = "b" }, path.parse("a//b.c//"))
    assert.same({ root = "", dir = "", base = "", ext = "", name = "" }, path.parse(""))
    assert.equal("/a/b.c", path.format(path.parse("/a/b.c")))
    assert.equal("/x", path.format{ root = "/", dir = "/", base = "x" })
    assert.equal("d/x", path.format{ dir = "d", root = "/r", base = "x", name = "n" })
    assert.equal("/n.e", path.format{ root = "/", name = "n", ext = "e" })
    assert.equal("", path.format{})
  end)

  it("joins and resolves nothing to here", function()
    assert.equal(".", path.join())
    assert.equal(process.cwd(), path.resolve())
  end)

  it("has the separators", function()
    assert.equal("/", path.sep)
    assert.equal(":", path.delimiter)
  end)

  it("names a wrong argument", function()
    local err = errorOf(path.join, "a", 1)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    assert.equal('The "path" argument must be of type string. Received type number (1)', err.message)
    assert.equal('The "paths[1]" argument must be of type string. Received nil', errorOf(path.resolve, "a", nil).message)
    assert.truthy(errorOf(path.relative, "a").message:find('"to" argument', 1, true))
    assert.truthy(errorOf(path.basename, "a", 1).message:find('"suffix" argument', 1, true))
    assert.truthy(errorOf(path.dirname).message:find('"path" argument', 1, true))
    assert.truthy(errorOf(path.format, "a").message:find('"pathObject" argument', 1, true))
    assert.truthy(errorOf(path.join, path, "a").message:find("call path.join(...) with a dot", 1, true))
  end)
end)
