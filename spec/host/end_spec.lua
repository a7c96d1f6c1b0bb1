local child_process = require("child_process")
local children = require("spec.support.children")
local lrun = require("spec.support.lrun")
local once = children.once

describe("the end of a process", function()
  for how, code in pairs{ ["process.exit(3)"] = 3, ["os.exit(3)"] = 3, ["error('thrown', 0)"] = 1 } do
    it("waits for no thread: " .. how, function()
      local fifo = os.tmpname()
      os.remove(fifo)
      assert.equal(0, os.execute("mkfifo '" .. fifo .. "'"))
      local child = child_process.spawn(process.execPath, { "-e", ([[
        require("fs").open(%q, "r", function() end)
        require("timers").setTimeout(function()
          io.open(%q, "w"):write("flushed")
          %s
        end, 20)]]):format(fifo, fifo .. ".out", how) }, { stdio = "ignore", timeout = 20000 })
      local got, signal = once(child, "exit")
      local file = assert(io.open(fifo .. ".out"))
      assert.same({ code, nil, "flushed" }, { got, signal, file:read("*a") })
      file:close()
      os.remove(fifo)
      os.remove(fifo .. ".out")
    end)
  end

  it("is not brought about by luv's loop_close", function()
    local out, err, code = lrun.eval([[
      print(require("luv").loop_close())
      require("timers").setTimeout(print, 5, "a timer")]])
    assert.same({ "nil\tEBUSY: resource busy or locked\tEBUSY\na timer\n", "", 0 }, { out, err, code })
  end)
end)
