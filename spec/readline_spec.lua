local abort = require("abort")
local await = require("await")
local events = require("events")
local readline = require("readline")
local stream = require("stream")

local function written()
  local text = {}
  local output = stream.Writable:new{ write = function(_, chunk, callback)
    text[#text + 1] = chunk
    callback()
  end }
  return output, text
end

describe("readline", function()
  it("cuts at LF, CR LF and CR, wherever the chunks end", function()
    local text = "a\r\nb\n\rc\r\n\r\nd\n\ne"
    local expected = { "a", "b", "", "c", "", "d", "", "e" }
    for cut = 0, #text do
      local input, lines = stream.PassThrough:new(), {}
      input:write(text:sub(1, cut))
      input:finish(text:sub(cut + 1))
      for line in readline.createInterface{ input = input }:lines() do lines[#lines + 1] = line end
      assert.same(expected, lines)
    end
  end)

  it("holds the input up while a loop's body runs", function()
    local input = stream.PassThrough:new()
    local rl = readline.createInterface{ input = input }
    local next = rl:lines()
    input:write("1\n2\n3\n")
    assert.equal("1", next())
    assert.is_true(input:isPaused())
    assert.equal("2", next())
    assert.equal("3", next())
    input:write("4\n")
    assert.equal("4", next())
    rl:close()
    assert.is_nil(next())
  end)

  it("gives what came to the loop also after the end", function()
    local input, lines = stream.PassThrough:new(), {}
    local next = readline.createInterface{ input = input }:lines()
    input:finish("1\n2\n3")
    for line in next do
      lines[#lines + 1] = line
      await.sleep(1)
    end
    assert.same({ "1", "2", "3" }, lines)
  end)

  it("throws an error of the input in the loop, and gives it to listeners", function()
    local input = stream.PassThrough:new()
    local next = readline.createInterface{ input = input }:lines()
    input:destroy(require("errors").Error:new("broken"))
    local ok, err = pcall(next)
    assert.is_false(ok)
    assert.equal("broken", tostring(err))

    input = stream.PassThrough:new()
    local rl = readline.createInterface{ input = input }
    local heard
    rl:on("error", function(failure) heard = failure.message end)
    input:destroy(require("errors").Error:new("again"))
    await(function(callback) input:on("close", callback) end)
    assert.equal("again", heard)
    assert.is_true(rl.closed)
  end)

  it("refuses a line longer than its limit that comes whole", function()
    local input = stream.PassThrough:new()
    local rl = readline.createInterface{ input = input, limit = 10 }
    local lines = {}
    rl:on("line", function(line) lines[#lines + 1] = line end)
    local err = await(function(callback)
      rl:on("error", callback)
      input:write(("a"):rep(10) .. "\n" .. ("b"):rep(11) .. "\n" .. "c\n")
    end)
    assert.equal("ERR_BUFFER_TOO_LARGE", err.code)
    assert.same({ ("a"):rep(10) }, lines)
  end)

  it("refuses a line without end at its limit", function()
    local input = stream.PassThrough:new()
    local rl = readline.createInterface{ input = input, limit = 10 }
    local lines, heard = {}, nil
    rl:on("line", function(line) lines[#lines + 1] = line end)
    await(function(callback)
      rl:on("error", function(err)
        heard = err
        callback()
      end)
      input:write("0123456789\nshort\n01234")
      input:write("56789x")
    end)
    assert.is_true(rl.closed)
    assert.same({ "0123456789", "short" }, lines)
    assert.equal("ERR_BUFFER_TOO_LARGE", heard.code)
    assert(heard.message:find("10 bytes", 1, true))
  end)

  it("asks one question after another, however many are asked at once", function()
    local input, output, text = stream.PassThrough:new(), written()
    local rl = readline.createInterface(input, output)
    local answers = {}
    rl:question("one? ", function(answer)
      answers[#answers + 1] = "one " .. answer
      rl:question("three? ", function(third) answers[#answers + 1] = "three " .. third end)
    end)
    rl:question("two? ", function(answer) answers[#answers + 1] = "two " .. answer end)
    assert.equal("one? ", table.concat(text))
    rl:on("line", function(line) answers[#answers + 1] = "line " .. line end)
    input:finish("a\nb\nc\nd\n")
    await(function(callback) rl:once("close", callback) end)
    assert.same({ "one a", "two b", "three c", "line d" }, answers)
    assert.equal("one? two? three? ", table.concat(text))
  end)

  it("answers questions from lines that wait for a loop", function()
    local input, output = stream.PassThrough:new(), written()
    local rl = readline.createInterface(input, output)
    local next = rl:lines()
    input:write("1\n2\n3\n4\n")
    assert.equal("1", next())
    local answers = {}
    for _ = 1, 2 do rl:question("? ", function(answer) answers[#answers + 1] = answer end) end
    assert.same({ "2", "3" }, answers)
    assert.equal("4", next())
    rl:close()
  end)

  it("shares the lines among several loops: none is lost, and all loops end", function()
    local input = stream.PassThrough:new()
    local rl = readline.createInterface{ input = input }
    local seen, ended = {}, 0
    for _ = 1, 3 do
      require("timers").setImmediate(function()
        for line in rl:lines() do
          seen[line] = (seen[line] or 0) + 1
          await.sleep(1)
        end
        ended = ended + 1
      end)
    end
    await(require("timers").setImmediate)
    for i = 1, 20 do
      input:write(i .. "\n")
      if i % 4 == 0 then await.sleep(1) end
    end
    input:finish()
    while ended < 3 do await.sleep(1) end
    for i = 1, 20 do assert.equal(1, seen[tostring(i)]) end

    input = stream.PassThrough:new()
    rl = readline.createInterface{ input = input }
    local failures = 0
    for _ = 1, 2 do
      require("timers").setImmediate(function() if not pcall(rl:lines()) then failures = failures + 1 end end)
    end
    await(require("timers").setImmediate)
    input:destroy(require("errors").Error:new("broken"))
    while failures < 2 do await.sleep(1) end
  end)

  it("asks questions", function()
    local input, output, text = stream.PassThrough:new(), written()
    local rl = readline.createInterface(input, output)
    rl:setPrompt("? ")
    rl:prompt()
    assert.equal("Ada", await(function(callback)
      rl:question("Name: ", callback)
      input:write("Ada\nnext\n")
    end))
    assert.equal("? Name: ", table.concat(text))
    assert.equal("? ", rl:getPrompt())
    local line
    rl:on("line", function(each) line = each end)
    await(function(callback)
      rl:once("close", callback)
      input:finish()
    end)
    assert.is_nil(line)             -- it had come before somebody listened
    local ok, err = pcall(rl.question, rl, "again", print)
    assert.is_false(ok)
    assert.equal("ERR_USE_AFTER_CLOSE", err.code)
  end)

  it("lets go of its input when it is closed", function()
    local input, controller = stream.PassThrough:new(), abort.AbortController:new()
    local rl = readline.createInterface{ input = input, signal = controller.signal }
    local closes = 0
    rl:on("close", function() closes = closes + 1 end)
    controller:abort()
    rl:close()
    assert.equal(1, closes)
    assert.equal(0, input:listenerCount("data"))
    rl:pause()
    rl:resume()
    assert.is_true(input:isPaused())
  end)

  it("names what is wrong", function()
    local input = stream.PassThrough:new()
    for message, options in pairs{ ['"options" argument'] = false, ["options.input"] = {},
      ["options.limit"] = { input = input, limit = 0 }, ["options.output"] = { input = input, output = 5 } } do
      local ok, err = pcall(readline.createInterface, options)
      assert.is_false(ok)
      assert(err.message:find(message, 1, true), err.message)
    end
    assert.equal(events.EventEmitter, readline.Interface.super)
  end)
end)
