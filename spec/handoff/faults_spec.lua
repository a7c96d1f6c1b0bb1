local child_process = require("child_process")
local children = require("spec.support.children")
local faults = require("spec.support.faults")

local function run(source, list, stream)
  local env = faults.environment(list)
  if not env then return nil end
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write(source)
  file:close()
  local child = child_process.spawn(process.execPath, { script }, { env = env })
  local out = children.text(child[stream])
  os.remove(script)
  return out
end

describe("a cluster whose system calls fail", function()
  teardown(faults.clean)

  for _, call in ipairs{ "memfd_create", "mmap" } do
    it("names the call: " .. call, function()
      local err = run('require("cluster").fork()', { call .. " ENOMEM 1 1" }, "stderr")
      if not err then return pending("there is no C compiler") end
      assert.truthy(err:find(call .. " ENOMEM", 1, true), err)
    end)
  end

  it("goes on where they fail for a moment", function()
    local out = run([[
      local cluster, net = require("cluster"), require("net")
      if cluster.isWorker then
        return net.createServer(function(socket) socket:finish("served") end):listen(0, "127.0.0.1")
      end
      cluster.fork():on("listening", function(address)
        local left = 10
        local function ask()
          if left == 0 then
            print("all served")
            return cluster.disconnect()
          end
          left = left - 1
          local text = ""
          net.connect(address.port, "127.0.0.1"):on("data", function(d) text = text .. d end)
            :on("close", function() assert(text == "served") ask() end)
        end
        ask()
      end)]], { "recvmsg ENOMEM 4 2;recvmsg ENOBUFS 9 1;sendmsg ENOMEM 5 2" }, "stdout")
    if not out then return pending("there is no C compiler") end
    assert.equal("all served\n", out)
  end)
end)
