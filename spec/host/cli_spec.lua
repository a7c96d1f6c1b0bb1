local lrun = require("spec.support.lrun")
local uv = require("luv")

describe("the command line", function()
  local folder

  before_each(function() folder = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/lrun-cli-XXXXXX")) end)
  after_each(function() os.execute("rm -rf '" .. folder .. "'") end)

  local function script(text, name)
    local path = folder .. "/" .. (name or "script.lua")
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    return path
  end

  local function gives(expected, args, input)
    local out, err, code = lrun.run(args, input)
    assert.equal(expected, out .. err)
    assert.equal(0, code)
  end

  local function fails(expectedCode, expected, args, input)
    local out, err, code = lrun.run(args, input)
    assert.equal("", out)
    assert.truthy(err:find(expected, 1, true), err)
    assert.equal(expectedCode, code)
    return err
  end

  it("runs strings, also several, with arguments", function()
    gives("1\n2\n", { "-e", "print(1)", "-e", "print(2)" })
    gives("1\n", { "-eprint(1)" })
    gives("a\tb\n", { "-e", "print(...)", "a", "b" })
    gives("a\n", { "-e", "print(process.argv[1])", "a" })
  end)

  it("prints expressions", function()
    gives("3\n", { "-p", "1 + 2" })
    gives("text\n", { "-p", "'text'" })
    gives('{ 1, a = "x" }\n', { "-p", "{ 1, a = 'x' }" })
    gives("1\tnil\n", { "-p", "1, nil" })
    gives("5\n", { "-p", "local x = 5 return x" })
    gives("\n", { "-p", "nil ~= nil and 1 or ''" })
  end)

  it("runs a script with its arguments, whatever they look like", function()
    gives("-x\t--help\t3\n", { script("local a, b = ... print(a, b, #process.argv + 0)"), "-x", "--help" })
    gives("1\n", { "--", script("print(1)") })
  end)

  it("finds a script without its suffix", function()
    script("print('found')", "tool.lua")
    gives("found\n", { folder .. "/tool" })
  end)

  it("requires modules first, and then runs the script", function()
    local path = script("print(package.loaded.events ~= nil)")
    gives("true\n", { "-l", "events", path })
    gives("true\n", { "-revents", path })
    fails(1, "module 'no.such' not found", { "-l", "no.such", path })
  end)

  it("runs standard input", function()
    gives("5\n", {}, "print(5)")
    gives("a\n", { "-", "a" }, "print(...)")
    gives("-\n", { "-" }, "print(process.argv[1])")
  end)

  it("leaves the rest of standard input to the script after a line __END__", function()
    local text = "print(io.read())\nprint(io.read('*a'))\n__END__\nfirst\nsecond\n"
    gives("first\nsecond\n\n", { "-" }, text)
    gives("first\nsecond\n\n", {}, text:gsub("\n", "\r\n", 3))
    local pipe = io.popen(("printf '%%s' \"$TEXT\" | '%s' -"):gsub("%$TEXT", (text:gsub("[\"\\]", "\\%0"))):format(process.execPath))
    assert.equal("first\nsecond\n\n", pipe:read("*a"))
    pipe:close()
    gives("1\n", {}, "print(1)\n__END__")
  end)

  it("checks syntax and runs nothing", function()
    gives("", { "-c", script("print(1)") })
    assert.equal(("lrun: %s/script.lua:2: '=' expected near '<eof>'\n"):format(folder),
      fails(1, "script.lua:2:", { "-c", script("x = 1\ny") }))
    fails(127, "no such file", { "-c", folder .. "/none.lua" })
  end)

  it("says in one line what is wrong with a script, as a shell", function()
    fails(127, "cannot run 'strat': no such file; did you mean 'lrun start'?", { "strat", "app.lua" })
    local err = fails(127, ("lrun: cannot run '%s/none.lua': no such file"):format(folder), { folder .. "/none.lua" })
    assert.equal(1, select(2, err:gsub("\n", "")))
    fails(126, ("lrun: cannot run '%s': it is a directory"):format(folder), { folder })
    fails(127, "not a directory", { script("") .. "/below" })
    fails(1, ("lrun: %s/script.lua:3: unexpected symbol near 'then'"):format(folder), { script("\n\nif then") })
    fails(1, "lrun: stdin:1: ", {}, "\127ELF\0\1\2")
  end)

  it("refuses wrong usage in one line with exit code 2", function()
    for _, case in ipairs{
      { "option '-e' needs a value", "-e" }, { "option '-p' needs a value", "-p" }, { "option '-l' needs a value", "-l" },
      { "option '-c' needs a value", "-c" }, { "option '-j' needs a value", "-j" },
      { "option '--title' needs a value", "--title" }, { "option '--title' needs a value", "--title=", "x" },
      { "option '--completion' needs one of bash, zsh, fish", "--completion" }, { "did you mean '--version'?", "--verison" },
      { "unknown option '--nope'", "--nope" }, { "unknown option '-q'", "-q" }, { "unknown option '-ix'", "-ix" },
      { "unknown option '--titles'", "--titles" },
      { "cannot stand beside", "-c", "x.lua", "-e", "1" }, { "cannot stand beside", "-i", "-c", "x.lua" },
      { "one file after '-c'", "-c", "x.lua", "y.lua" }, { "no completion for 'tcsh'", "--completion", "tcsh" },
      { "unknown LuaJIT command", "-j", "bogus", "-e", "" }, { "optimization flag", "-Obogus", "-e", "" },
    } do
      local err = fails(2, table.remove(case, 1), case)
      assert.equal(1, select(2, err:gsub("\n", "")), err)
      assert.truthy(err:find("^lrun: "))
    end
  end)

  it("prints version and help that fits a screen", function()
    local out = lrun.run{ "-v" }
    assert.truthy(out:find("^lrun %d+%.%d+%.%d+ %(LuaJIT .*libuv .*luv .*llhttp .*%)\n$"))
    assert.equal(out, (lrun.run{ "--version" }))
    local help = lrun.run{ "-h" }
    assert.equal(help, (lrun.run{ "--help" }))
    assert.is_true(select(2, help:gsub("\n", "")) <= 48)
    for line in help:gmatch("[^\n]+") do assert.is_true(#line <= 80, line) end
  end)

  it("has each option and command of its table in the help, the pages and the completions", function()
    local options, verbs = require("lrun.host.options"), require("lrun.host.verbs")
    local help, page, manual = lrun.run{ "-h" }, io.open("docs/cli.md"):read("*a"), io.open("docs/lrun.1"):read("*a")
    for _, option in ipairs(options.list) do
      local label = options.label(option)
      assert.truthy(help:find("  " .. label .. " ", 1, true), label)
      local row = ("| `%s` | %s"):format(label:gsub(", ", "`, `"), option.text)
      assert.truthy(page:find(row, 1, true), "docs/cli.md has not: " .. row)
      for _, name in ipairs(option.names) do
        local escaped = name:gsub("%-", "\\-")
        assert.truthy(manual:find(escaped, 1, true), "docs/lrun.1 has not: " .. escaped)
      end
      for _, shell in ipairs{ "bash", "zsh", "fish" } do
        local text = lrun.run{ "--completion", shell }
        for _, name in ipairs(option.names[1] == "--" and {} or option.names) do
          local word = shell == "fish" and name:gsub("^%-%-", "-l "):gsub("^%-(%a)$", "-s %1") or name
          assert.truthy(text:find(word:gsub("%-", "%%-") .. "%f[^%w]"), shell .. " does not complete " .. name)
        end
      end
    end
    for line in page:match("\n| option | |\n| %-+ | %-+ |\n(.-)\n\n"):gmatch("[^\n]+") do
      local known = false
      for _, option in ipairs(options.list) do known = known or line:find("`" .. option.names[1], 1, true) end
      assert.truthy(known, "no such option: " .. line)
    end
    for _, verb in ipairs(verbs.list) do
      for name, text in pairs{ ["docs/cli.md"] = page, ["docs/lrun.1"] = manual, help = help } do
        local pattern = name == "help" and verb.brief and "%f[%w]" .. verb.name .. "%f[^%w]" or "lrun " .. verb.name .. "%f[^%w]"
        assert.truthy(text:find(pattern), name .. " has not: lrun " .. verb.name)
      end
      assert.is_true(require("lrun.core.bundle").has(verb.module), verb.module)
    end
  end)

  it("prints the error of what was meant", function()
    fails(1, "(command line):1: unexpected symbol near '<eof>'", { "-p", "1+" })
    fails(1, "(command line):1: '}' expected near ':'", { "-p", '{"a": 1}' })
    fails(1, "(command line):1: ')' expected near '<eof>'", { "-p", "print(1) print(2" })
    fails(1, "(command line):1: '<name>' expected near '='", { "-p", "local = 5" })
  end)

  it("passes options on to LuaJIT", function()
    gives("false\n", { "-joff", "-p", "(jit.status())" })
    gives("true\n", { "-j", "on", "-O1", "-p", "(jit.status())" })
    gives("{ \"-j\", \"off\", \"-O2\" }\n", { "-joff", "-O2", "-p", "process.execArgv" })
    gives("{ \"-r\", \"os\", \"-l\", \"net\" }\n", { "-r", "os", "-lnet", "-p", "process.execArgv" })
  end)

  it("sets the process title", function()
    gives("my-name\tmy-name\n", { "--title", "my-name", "-e",
      "print(process.title, (io.open('/proc/self/cmdline'):read('*a'):match('^%Z*')))" })
    gives("other\n", { "--title=x", "-e", "process.title = 'other' print(process.title)" })
  end)

  it("runs scripts with #!, a byte order mark, CRLF", function()
    assert(uv.fs_symlink(process.execPath, folder .. "/lrun")) -- whose path has no space in it
    local path = script(("#!%s/lrun\nprint('hash', ...)\n"):format(folder))
    os.execute("chmod +x '" .. path .. "'")
    local pipe = io.popen("'" .. path .. "' a b")
    assert.equal("hash\ta\tb\n", pipe:read("*a"))
    pipe:close()
    gives("bom\n", { script("\239\187\191#!/usr/bin/env lrun\r\nprint('bom')\r\n") })
    gives("script.lua:2: x\n", { script("\239\187\191print((select(2, pcall(error,\n'script.lua:2: x'))))") })
  end)

  it("runs a script of many megabytes", function()
    gives("end\n", { script(("-- " .. ("x"):rep(96) .. "\n"):rep(500000) .. "print('end')\n") })
  end)

  it("prints completion scripts", function()
    for _, shell in ipairs{ "bash", "zsh", "fish" } do
      local out, _, code = lrun.run{ "--completion", shell }
      assert.equal(0, code)
      for _, name in ipairs(require("lrun.repl.complete").modules()) do
        if name ~= "repl" then assert.truthy(out:find("%f[%w_]" .. name .. "%f[^%w_]"), shell .. ": " .. name) end
      end
    end
    local path = script((lrun.run{ "--completion=bash" }), "completion.bash")
    assert.equal(0, os.execute("bash -n '" .. path .. "'"))
    local words = [[COMP_WORDS=(lrun --co); COMP_CWORD=1; _lrun; echo "${COMPREPLY[@]}"]]
    local pipe = io.popen(([[bash -c 'source "%s"; %s']]):format(path, words))
    assert.equal("--completion\n", pipe:read("*a"))
    pipe:close()
  end)

  it("prints completion scripts that zsh and fish take", function()
    local function has(program) return os.execute("command -v " .. program .. " >/dev/null 2>&1") == 0 end
    if not (has("zsh") and has("fish")) then return pending("zsh and fish are not there") end
    local path = script((lrun.run{ "--completion", "zsh" }), "_lrun")
    assert.equal(0, os.execute("zsh -n '" .. path .. "'"))
    path = script((lrun.run{ "--completion", "fish" }), "lrun.fish")
    local pipe = io.popen(("fish --no-config -c 'source \"%s\"; complete -C \"lrun --env\"; complete -C \"lrun -l chil\"'"):format(path))
    assert.equal("--env-file\tenvironment variables from a file; may repeat\nchild_process\n", (pipe:read("*a"):gsub("\trequire[^\n]*", "")))
    pipe:close()
  end)

  it("prints the notices of what is linked in", function()
    local text = lrun.run{ "--licenses" }
    for _, name in ipairs{ "libluajit", "libuv1", "lua-luv", "llhttp", "libedit", "lua-cjson" } do
      assert.matches("\n======== [%w-]*" .. name:gsub("%-", "%%-") .. "[%w-]* ========\n\n..........", text)
    end
  end)

  it("prints uncaught errors with place, fields and traceback, and exits with 1", function()
    local err = fails(1, "script.lua:2: boom", { script("local function f()\n error('boom') end\nf()\n") })
    assert.equal(([[
%s/script.lua:2: boom
stack traceback:
	%s/script.lua:2: in function 'f'
	%s/script.lua:3: in main chunk
]]):format(folder, folder, folder), err)
    err = fails(1, "boom", { script("local E = require('errors').Error\nerror(E:new('boom', { code = 'E_X', port = 80 }))") })
    assert.truthy(err:find('script.lua:2: boom\n{ code = "E_X", port = 80 }\nstack traceback:\n', 1, true), err)
    err = fails(1, "(error object is { a = 1 })", { script("error({ a = 1 })") })
    assert.truthy(err:find("script.lua:1: ", 1, true))
  end)

  it("folds the runtime's frames and joins coroutines", function()
    local err = fails(1, "script.lua:4: no", { script([[
local EventEmitter = require("events").EventEmitter
local await = require("await")
local emitter = EventEmitter:new()
emitter:on("x", function() error("no") end)
local function work()
  await.sleep(1)
  emitter:emit("x")
  return 1
end
await.all{ function() work() return 1 end }
]]) })
    local place = folder .. "/script.lua"
    assert.equal(("%s:4: no\nstack traceback:\n\t%s:4: in function <%s:4>\n\t(lrun: events)\n\t%s:7: in function 'work'\n"):format(
      place, place, place, place) .. ("\t%s:10: in function <%s:10>\n\t(awaited from)\n\t%s:10: in main chunk\n"):format(
      place, place, place), err)
  end)

  it("ends when nobody reads what it prints", function()
    local path = script("while true do print('x') end")
    local pipe = io.popen(("'%s' '%s' 2>'%s/errors' | sed 1q"):format(process.execPath, path, folder))
    assert.equal("x\n", pipe:read("*a"))
    pipe:close()                      -- waits for both
    assert.equal(path .. ":1: write EPIPE", io.open(folder .. "/errors"):read())
  end)

  it("has a frame for what C called, and takes no address for a file", function()
    local err = fails(1, "script.lua:1: no", { script("local function compare() error('no') end\ntable.sort({ 2, 1 }, compare)") })
    assert.equal(("%s:1: no\nstack traceback:\n\t%s:1: in a function that C called\n\t%s:2: in main chunk\n"):gsub("%%s",
      folder .. "/script.lua"), err)
    err = fails(1, "script.lua:1: 127.0.0.1:80: refused", { script("error('127.0.0.1:80: refused', 0)") })
    assert.is_nil(err:find("that C called", 1, true))
  end)

  it("shortens a deep recursion", function()
    local err = fails(1, "stack overflow", { script("local function f() f() return 1 end\nf()") })
    assert.is_true(#err < 500, err)
    assert.truthy(err:find("times)", 1, true))
  end)

  it("shows the source line on a terminal", function()
    local t = require("spec.support.terminal").open{ args = { script("local x\nx.y = 1\n") }, columns = 200 }
    assert.equal(1, (t:waitForExit()))
    t:waitFor("     2 | x.y = 1", true)
    t:close()
  end)
end)
