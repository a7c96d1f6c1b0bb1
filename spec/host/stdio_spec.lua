local uv = require("luv")
local await = require("await")
local lrun = require("spec.support.lrun")

-- Runs lrun with its three streams on pipes of luv's; returns what it wrote and its code.
local function piped(script, input, stdin)
  local stdout = uv.new_pipe(false)
  stdin = stdin or uv.new_pipe(false)
  local out = {}
  local code = await(function(done)
    local left, exit = 2, nil
    local function part()
      left = left - 1
      if left == 0 then done(exit) end
    end
    local handle
    handle = assert(uv.spawn(process.execPath, { args = { "-e", script }, stdio = { stdin, stdout, 2 } }, function(status)
      exit = status
      handle:close()
      part()
    end))
    stdout:read_start(function(_, chunk)
      if chunk then out[#out + 1] = chunk return end
      stdout:close()
      part()
    end)
    if type(stdin) == "userdata" then
      stdin:write(input or "")
      stdin:shutdown(function() stdin:close() end)
    end
  end)
  return table.concat(out), code
end

describe("process.stdout", function()
  it("keeps its order with print and io.write", function()
    local script = "print('1') process.stdout:write('2\\n') io.write('3\\n') process.stdout:write('4\\n') print('5')"
    assert.equal("1\n2\n3\n4\n5\n", (lrun.run{ "-e", script }))
    assert.equal("1\n2\n3\n4\n5\n", (piped(script)))
  end)

  it("has written everything when the process exits, however much it is", function()
    local out, code = piped("process.stdout:write(('x'):rep(3000000)) process.exit(7)")
    assert.same({ 3000000, 7 }, { #out, code })
  end)

  it("waits where a shared descriptor is non-blocking, and leaves it as it was", function()
    local pair = uv.socketpair("stream", nil, { nonblock = true }, { nonblock = true })
    local reader = uv.new_pipe(false)
    reader:open(pair[1])
    local size = 0
    await(function(done)
      local handle
      handle = assert(uv.spawn(process.execPath, { args = { "-e", "process.stdout:write(('x'):rep(2000000))" },
        stdio = { nil, pair[2], 2 } }, function() handle:close() end))
      uv.fs_close(pair[2])
      reader:read_start(function(_, chunk)
        if chunk then size = size + #chunk else reader:close(done) end
      end)
    end)
    assert.equal(2000000, size)
  end)

  it("reports a reader that is gone as EPIPE", function()
    local out = (lrun.run{ "-e", [[
      local p = io.popen("'" .. process.execPath .. "' -e 'process.stdout:on(\"error\", function(e) io.stderr:write(e.code) end)"
        .. " for _ = 1, 100 do process.stdout:write((\"x\"):rep(100000)) end' 2>&1 >/dev/full")
      print(p:read("*a"))
    ]] })
    assert.matches("ENOSPC", out)
  end)

  it("stays open after a pipeline, one that fails, and destroy", function()
    local out = (lrun.run{ "-e", [[
      local stream = require("stream")
      local await = require("await")
      print(await(stream.pipeline, stream.Readable.from{ "piped\n" }, process.stdout))
      local failing = stream.Readable:new{ read = function(self) self:destroy(require("errors").Error:new("failed")) end }
      print(await(stream.pipeline, failing, process.stdout))
      process.stdout:on("close", function() process.stdout:finish("last\n") end)
      process.stdout:destroy()
      process.stdout:write("still open\n")]] })
    assert.equal("piped\nnil\nfailed\nstill open\nlast\n", out)
  end)

  it("ends a pipeline whose reader is gone", function()
    local out = (lrun.run{ "-e", [[
      local p = io.popen("'" .. process.execPath .. "' -e 'local stream = require(\"stream\")"
        .. " stream.pipeline(stream.Readable.from{ \"x\" }, process.stdout, function(e) io.stderr:write(e.code) end)' 2>&1 >/dev/full")
      print(p:read("*a"))
    ]] })
    assert.equal("ENOSPC\n", out)
  end)

  it("tells what it is", function()
    local out = (lrun.run{ "-e", "print(process.stdout.fd, process.stderr.fd, process.stdout.isTTY, process.stdout.columns)" })
    assert.equal("1\t2\tnil\tnil\n", out)
  end)
end)

describe("process.stdin", function()
  local COUNT = [[local n = 0
    process.stdin:on("data", function(d) n = n + #d end)
    process.stdin:on("end", function() print(n) end)]]

  it("reads a pipe, a file and nothing to the end", function()
    assert.equal("300000\n", (piped(COUNT, ("x"):rep(300000))))
    assert.equal("200000\n", (lrun.run({ "-e", COUNT }, ("y"):rep(200000))))
    assert.equal("0\n", (lrun.run{ "-e", COUNT }))
  end)

  it("does not keep the process alive until it is read, nor once it is paused", function()
    local pair = uv.socketpair()
    local function code(script)
      return await(function(done)
        local handle
        handle = assert(uv.spawn(process.execPath, { args = { "-e", script }, stdio = { pair[1], 1, 2 } }, function(status)
          handle:close()
          done(status)
        end))
      end)
    end
    assert.equal(0, code("local _ = process.stdin"))
    assert.equal(0, code("process.stdin:resume() process.nextTick(function() process.stdin:pause() end)"))
    uv.fs_close(pair[1])
    uv.fs_close(pair[2])
  end)

  it("leaves the standard descriptors to nobody else where they came closed", function()
    local script = "for i = 0, 2 do io.stderr:write(require('luv').fs_readlink('/proc/self/fd/' .. i), ' ') end"
    local out = (lrun.run{ "-e", ("os.execute([['%s' -e %q <&- 3>&1 >&- 2>&3]])"):format(process.execPath, script) })
    assert.matches("^/dev/null /dev/null ", out)
  end)

  it("is an ended stream where there is no descriptor", function()
    local script = "process.stdin:on('end', function() print('over') end) process.stdin:resume()"
    local out = (lrun.run{ "-e", ("os.execute([['%s' -e %q <&-]])"):format(process.execPath, script) })
    assert.equal("over\n", out)
  end)
end)
