local children = require("spec.support.children")
local lrun = require("spec.support.lrun")
local processes = require("spec.support.processes")

describe("a worker whose loop stands still", function()
  it("ends with its primary, also when it has given up its privileges", function()
    if process.getuid() ~= 0 then return pending("only root has any to give up") end
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write([[
      local cluster = require("cluster")
      if cluster.isPrimary then
        cluster.fork():on("message", function(pid)
          print(pid)
          process.kill(process.pid, "SIGKILL")
        end)
      else
        process.setgid(65534)
        process.setuid(65534)
        process.send(process.pid, function()
          while true do local _ = 1 end
        end)
      end]])
    file:close()
    local worker = tonumber((lrun.run{ script }))
    children.eventually(function() return not processes.alive(worker) end)
    os.remove(script)
  end)
end)
