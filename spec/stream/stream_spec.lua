local stream = require("stream")
local errors = require("errors")
local timers = require("timers")
local await = require("await")

local function listSource(list)
  local at = 0
  return stream.Readable:new{ read = function(self)
    at = at + 1
    self:push(list[at])
  end }
end

local function collect(readable, done)
  local parts = {}
  readable:on("data", function(chunk) parts[#parts + 1] = chunk end)
  readable:on("end", function() done(parts) end)
end

describe("Readable", function()
  it("flows once somebody listens for data, and ends, then closes", function()
    local seen = {}
    local source = listSource{ "a", "b" }
    assert.is_nil(source.readableFlowing)
    source:on("data", function(chunk) seen[#seen + 1] = chunk end)
    source:on("end", function() seen[#seen + 1] = "end" end)
    await(function(done) source:on("close", done) end)
    assert.same({ "a", "b", "end" }, seen)
    assert.is_true(source.readableEnded)
    assert.is_true(source.destroyed)
    assert.is_false(source.readable)
  end)

  it("reads by the piece with readable and read(n)", function()
    local source = stream.Readable:new{ read = function() end }
    source:push("hello") source:push("world") source:push(nil)
    local pieces = {}
    await(function(done)
      source:on("readable", function()
        local piece = source:read(3)
        while piece do
          pieces[#pieces + 1] = piece
          piece = source:read(3)
        end
      end)
      source:on("end", done)
    end)
    assert.same({ "hel", "low", "orl", "d" }, pieces)
  end)

  it("stops asking its source while it is paused, and loses nothing", function()
    local produced, seen = 0, {}
    local source = stream.Readable:new{ highWaterMark = 8, read = function(self)
      produced = produced + 1
      self:push(produced <= 100 and ("%04d"):format(produced) or nil)
    end }
    source:once("data", function(chunk)
      seen[#seen + 1] = chunk
      source:pause()
    end)
    await.sleep(5)
    assert.is_true(source:isPaused())
    assert.is_true(produced <= 6)
    collect(source, function() end)
    await(function(done)
      source:on("data", function(chunk) seen[#seen + 1] = chunk end)
      source:on("end", done)
      source:resume()
    end)
    assert.equal(100, #seen)
    assert.equal("0100", seen[100])
  end)

  it("gives back what was unshifted first", function()
    local source = stream.Readable:new{ read = function() end }
    source:push("body")
    source:unshift("head ")
    source:push(nil)
    local parts = await(function(done) collect(source, done) end)
    assert.equal("head body", table.concat(parts))
  end)

  it("keeps the order of data while a listener waits", function()
    local source = stream.Readable:new{ read = function() end }
    local seen = {}
    source:on("data", function(chunk)
      seen[#seen + 1] = chunk
      if chunk == "1" then await.sleep(2) end
    end)
    for i = 1, 5 do source:push(tostring(i)) end
    source:push(nil)
    await(function(done) source:on("end", done) end)
    assert.same({ "1", "2", "3", "4", "5" }, seen)
  end)

  it("reports a push after the end, a push of no string and a source that throws", function()
    local function errorOf(make)
      local source = stream.Readable:new{ read = function() end }
      return await(function(done)
        source:on("error", done)
        make(source)
      end)
    end
    assert.equal("ERR_STREAM_PUSH_AFTER_EOF", errorOf(function(s) s:push(nil) s:push("x") end).code)
    assert.equal("ERR_INVALID_ARG_TYPE", errorOf(function(s) s:push(5) end).code)
    local thrown = errors.Error:new("from the source")
    local source = stream.Readable:new{ read = function() error(thrown, 0) end }
    assert.equal(thrown, await(function(done) source:on("error", done) source:resume() end))
  end)
end)

describe("Readable.from", function()
  it("takes a string, a sequence or an iterator", function()
    local n = 0
    local function count()
      n = n + 1
      if n <= 3 then return tostring(n) end
    end
    for source, expected in pairs{ text = "text", [{ "a", "b" }] = "ab", [count] = "123" } do
      local parts = await(function(done) collect(stream.Readable.from(source), done) end)
      assert.equal(expected, table.concat(parts))
    end
    local values = await(function(done) collect(stream.Readable.from({ 1, { 2 } }, { objectMode = true }), done) end)
    assert.same({ 1, { 2 } }, values)
  end)
end)

describe("addAbortSignal", function()
  it("destroys the stream with the reason as cause", function()
    local controller = require("abort").AbortController:new()
    local source = stream.addAbortSignal(controller.signal, stream.Readable:new{ read = function() end })
    local err = await(function(done)
      source:on("error", done)
      controller:abort("enough")
    end)
    assert.same({ "ABORT_ERR", "enough" }, { err.code, err.cause })
  end)
end)

describe("Writable", function()
  it("writes one at a time, drains, finishes, closes", function()
    local seen, atOnce = {}, 0
    local sink = stream.Writable:new{ highWaterMark = 4, write = function(_, chunk, callback)
      atOnce = atOnce + 1
      assert.equal(1, atOnce)
      timers.setTimeout(function()
        atOnce = atOnce - 1
        seen[#seen + 1] = chunk
        callback()
      end, 1)
    end, final = function(_, callback) seen[#seen + 1] = "final" callback() end }
    assert.is_true(sink:write("ab"))
    assert.is_false(sink:write("cd"))
    assert.equal(4, sink.writableLength)
    assert.is_true(sink.writableNeedDrain)
    await(function(done) sink:on("drain", done) end)
    assert.equal(0, sink.writableLength)
    sink:on("finish", function() seen[#seen + 1] = "finish" end)
    local called = false
    sink:finish("ef", function() called = true end)
    assert.is_false(sink.writable)
    await(function(done) sink:on("close", done) end)
    assert.same({ "ab", "cd", "ef", "final", "finish" }, seen)
    assert.is_true(called and sink.writableFinished)
  end)

  it("sends what was corked together where the sink can", function()
    local batches = {}
    local sink = stream.Writable:new{
      write = function(_, chunk, callback) batches[#batches + 1] = chunk callback() end,
      writev = function(_, chunks, callback) batches[#batches + 1] = table.concat(chunks, "+") callback() end,
    }
    local called = 0
    sink:cork()
    sink:write("a", function() called = called + 1 end)
    sink:write("b")
    sink:write("c", function() called = called + 1 end)
    sink:uncork()
    sink:write("d")
    await(function(done) sink:finish(done) end)
    assert.same({ "a+b+c", "d" }, batches)
    assert.equal(2, called)
  end)

  it("gives the error to the write, to those that wait, then as an event, then closes", function()
    local order = {}
    local sink = stream.Writable:new{ write = function(_, _, callback)
      process.nextTick(callback, errors.Error:new("full"))
    end }
    sink:write("a", function(err) order[#order + 1] = "a " .. tostring(err) end)
    sink:write("b", function(err) order[#order + 1] = "b " .. tostring(err) end)
    sink:on("error", function(err) order[#order + 1] = "error " .. tostring(err) end)
    await(function(done) sink:on("close", done) end)
    assert.same({ "a full", "b full", "error full" }, order)
    assert.equal("full", tostring(sink.errored))
  end)

  it("refuses writes after finish and after destroy", function()
    local sink = stream.Writable:new{ write = function(_, _, callback) callback() end }
    local eventError, writeError
    sink:on("error", function(err) eventError = err end)
    sink:finish()
    assert.is_false(sink:write("late", function(err) writeError = err end))
    await(function(done) sink:on("close", done) end)
    assert.equal("ERR_STREAM_WRITE_AFTER_END", eventError.code)
    assert.equal("ERR_STREAM_WRITE_AFTER_END", writeError.code)
    local gone = stream.Writable:new{ write = function(_, _, callback) callback() end }
    gone:destroy()
    local err = await(function(done) gone:write("x", done) end)
    assert.equal("ERR_STREAM_DESTROYED", err.code)
  end)

  it("calls finish's callbacks before the event, with the error when it failed", function()
    local order = {}
    local sink = stream.Writable:new{ write = function(_, _, callback) callback() end }
    sink:on("finish", function() order[#order + 1] = "finish" end)
    sink:finish("x", function() order[#order + 1] = "callback" end)
    await(function(done) sink:on("close", done) end)
    assert.same({ "callback", "finish" }, order)
    local failing = stream.Writable:new{ final = function(_, callback) callback(errors.Error:new("final")) end }
    failing:on("error", function() end)
    assert.equal("final", tostring(await(function(done) failing:finish(done) end)))
  end)

  it("throws for wrong arguments, naming them", function()
    local sink = stream.Writable:new{ write = function(_, _, callback) callback() end }
    local function message(f, ...) return tostring(select(2, pcall(f, ...))) end
    assert.matches('"chunk" argument must be of type string', message(sink.write, sink, 5))
    assert.matches('"chunk" argument must be of type string. Received nil', message(sink.write, sink))
    assert.matches('"callback" argument', message(sink.write, sink, "x", nil, 5))
    assert.matches("call stream:write", message(sink.write, "x"))
    assert.matches('"options" argument', message(stream.Writable.new, stream.Writable, 5))
    assert.matches("options.highWaterMark", message(stream.Readable.new, stream.Readable, { highWaterMark = -1 }))
    assert.matches('"destination" argument', message(function() listSource{}:pipe(5) end))
  end)
end)

describe("pipe", function()
  local function slowSink(seen, delay)
    return stream.Writable:new{ highWaterMark = 2, write = function(_, chunk, callback)
      seen[#seen + 1] = chunk
      timers.setTimeout(callback, delay)
    end }
  end

  it("waits for drain and finishes the destination", function()
    local seen, list, produced = {}, {}, 0
    for i = 1, 20 do list[i] = ("%02d"):format(i) end
    local source = stream.Readable:new{ highWaterMark = 2, read = function(self)
      produced = produced + 1
      self:push(list[produced])
    end }
    local sink, most = slowSink(seen, 1), 0
    source:on("data", function() most = math.max(most, produced - #seen) end)
    source:pipe(sink)
    await(function(done) sink:on("close", done) end)
    assert.same(list, seen)
    assert.is_true(most <= 4)
  end)

  it("leaves the destination open with finish = false", function()
    local seen = {}
    local source, sink = listSource{ "a" }, slowSink(seen, 0)
    source:pipe(sink, { finish = false })
    await(function(done) source:on("close", done) end)
    assert.is_true(sink.writable)
    sink:destroy()
  end)

  it("stops at unpipe, and at a destination that fails", function()
    local source = stream.Readable:new{ read = function() end }
    local sink = slowSink({}, 0)
    local unpiped
    sink:on("unpipe", function(from) unpiped = from end)
    source:pipe(sink)
    source:unpipe(sink)
    assert.equal(source, unpiped)
    local failing = stream.Writable:new{ write = function(_, _, callback) callback(errors.Error:new("broken")) end }
    local err = await(function(done)
      failing:on("error", done)
      source:pipe(failing)
      source:push("x")
    end)
    assert.equal("broken", tostring(err))
    assert.is_false(source.destroyed)
    source:destroy()
    sink:destroy()
  end)
end)

describe("Duplex and Transform", function()
  it("changes what passes, and flushes", function()
    local shout = stream.Transform:new{
      transform = function(_, chunk, callback) callback(nil, chunk:upper()) end,
      flush = function(_, callback) callback(nil, "!") end,
    }
    shout:write("a")
    shout:finish("b")
    local parts = await(function(done) collect(shout, done) end)
    assert.equal("AB!", table.concat(parts))
  end)

  it("moves chunks in code that is compiled", function()
    if not jit.status() then return pending("without a compiler") end
    local aborted, moved = 0, 0
    local function onTrace(what) if what == "abort" then aborted = aborted + 1 end end
    local through = stream.PassThrough:new()
    through:on("data", function() moved = moved + 1 end)
    jit.flush()
    jit.attach(onTrace, "trace")
    for _ = 1, 5000 do through:write("x") end
    jit.attach(onTrace)
    assert.equal(5000, moved)
    assert.is_true(aborted < 8, aborted .. " attempts to compile failed")
  end)

  it("holds its input back when nobody takes its output", function()
    local through = stream.PassThrough:new{ highWaterMark = 4 }
    for _ = 1, 10 do through:write("abcd") end
    await.sleep(2)
    assert.is_true(through.readableLength <= 8)
    through:finish()
    local parts = await(function(done) collect(through, done) end)
    assert.equal(40, #table.concat(parts))
  end)

  it("finishes its own side at the end without allowHalfOpen", function()
    local finished = false
    local both = stream.Duplex:new{
      allowHalfOpen = false, read = function() end, write = function(_, _, callback) callback() end,
    }
    both:on("finish", function() finished = true end)
    both:push(nil)
    both:resume()
    await(function(done) both:on("close", done) end)
    assert.is_true(finished)
  end)

  it("joins streams by pipeline and destroys all when one fails", function()
    local seen = {}
    local err = await(function(done)
      stream.pipeline(listSource{ "a", "b" }, stream.PassThrough:new(), stream.Writable:new{
        write = function(_, chunk, callback) seen[#seen + 1] = chunk callback() end,
      }, done)
    end)
    assert.is_nil(err)
    assert.same({ "a", "b" }, seen)
    local source = stream.Readable:new{ read = function() end }
    local middle = stream.PassThrough:new()
    err = await(function(done)
      stream.pipeline(source, middle, stream.Writable:new{ write = function(_, _, callback)
        callback(errors.Error:new("sink"))
      end }, done)
      source:push("x")
    end)
    assert.equal("sink", tostring(err))
    assert.is_true(source.destroyed and middle.destroyed)
    assert.equal(err, source.errored)
  end)

  it("writes by writev alone, and says so when there is neither", function()
    local seen = {}
    local sink = stream.Writable:new{ writev = function(_, chunks, callback)
      seen[#seen + 1] = table.concat(chunks, ",")
      timers.setImmediate(callback)
    end }
    for _, chunk in ipairs{ "a", "b", "c" } do sink:write(chunk) end
    await(function(done) sink:finish(done) end)
    assert.same({ "a", "b,c" }, seen)
    assert.equal("ERR_METHOD_NOT_IMPLEMENTED", select(2, pcall(function() stream.Writable:new():write("x") end)).code)
  end)

  it("calls back what waited behind a write when that is over, also after destroy", function()
    local order, release = {}, nil
    local sink = stream.Writable:new{ write = function(_, _, callback) release = callback end }
    sink:on("close", function() order[#order + 1] = "close" end)
    sink:write("a", function(err) order[#order + 1] = "a " .. tostring(err) end)
    sink:write("b", function(err) order[#order + 1] = "b " .. err.code end)
    sink:destroy()
    await(function(done) sink:once("close", done) end)
    release()
    await(timers.setImmediate)
    assert.same({ "close", "a nil", "b ERR_STREAM_DESTROYED" }, order)
  end)

  it("calls back what a transform holds back when it is destroyed", function()
    local seen = {}
    local transform = stream.Transform:new{ transform = function(_, _, callback) callback(nil, ("x"):rep(20000)) end }
    for i = 1, 3 do transform:write("x", function(err) seen[i] = err.code end) end
    transform:finish(function(err) seen[4] = err.code end)
    await(timers.setImmediate)
    assert.same({}, seen)
    transform:destroy()
    await(function(done) transform:once("close", done) end)
    assert.same({ "ERR_STREAM_DESTROYED", "ERR_STREAM_DESTROYED", "ERR_STREAM_DESTROYED", "ERR_STREAM_DESTROYED" }, seen)
    assert.is_nil(transform.errored)
  end)

  it("calls back what comes after an error that destroys nothing", function()
    local sink = stream.Writable:new{ autoDestroy = false, write = function(_, _, callback) callback("bad") end }
    assert.equal("bad", await(function(done) sink:once("error", done):write("x") end))
    assert.equal("bad", await(function(done) sink:write("y", done) end))
    assert.equal("bad", await(function(done) sink:finish(done) end))
  end)

  it("keeps for others what a source has when its destination is gone", function()
    for _, part in ipairs{ "destroy", "finish" } do
      local source = stream.Readable:new{ read = function() end }
      local sink = stream.Writable:new{ write = function(_, _, callback) callback() end }
      source:pipe(sink)
      source:push("a")
      await(timers.setImmediate)
      sink[part](sink)
      await(function(done) sink:once("close", done) end)
      assert.is_false(source.readableFlowing)
      source:push("b")
      source:push(nil)
      await(timers.setImmediate)
      assert.equal("b", source:read())
    end
  end)

  it("reads an iterator that waits", function()
    local source = stream.Readable.from(coroutine.wrap(function()
      for i = 1, 3 do
        await.sleep(1)
        coroutine.yield("part " .. i .. "\n")
      end
    end))
    local seen = {}
    source:on("data", function(data) seen[#seen + 1] = data end)
    await(function(done) source:once("end", done) end)
    assert.equal("part 1\npart 2\npart 3\n", table.concat(seen))
    local failing = stream.Readable.from(coroutine.wrap(function()
      await.sleep(1)
      error("no", 0)
    end))
    assert.equal("no", (await(function(done) failing:once("error", done):resume() end):gsub("^.*: ", "")))
  end)

  it("tells of an early close by finished", function()
    local source = stream.Readable:new{ read = function() end }
    local err = await(function(done)
      stream.finished(source, done)
      source:destroy()
    end)
    assert.equal("ERR_STREAM_PREMATURE_CLOSE", err.code)
  end)

  it("emits close even when an error listener waits or throws", function()
    local source = stream.Readable:new{ read = function() end }
    source:on("error", function() await.sleep(5) end)
    await(function(done)
      source:on("close", done)
      source:destroy(errors.Error:new("x"))
    end)
    assert.is_true(source.closed)
  end)
end)
