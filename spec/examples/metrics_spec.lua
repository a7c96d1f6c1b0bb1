local await = require("await")
local program = require("spec.support.program")

local get = program.get

local function eventually(port, path, pattern)
  for _ = 1, 300 do
    local text = get(port, path)
    if text and text:find(pattern) then return text end
    await.sleep(10)
  end
  error("no " .. pattern .. " on port " .. port)
end

describe("examples/metrics.lua", function()
  local server

  after_each(function()
    pcall(server.interrupt, server, "SIGKILL")
    server:gone()
  end)

  it("tells Prometheus what the workers did", function()
    local port, metricsPort = program.port(), program.port()
    server = program.start("examples/metrics.lua", {}, { PORT = port, METRICS_PORT = metricsPort, WORKERS = 2 })
    eventually(port, "/", "hello world")
    for _ = 1, 9 do get(port, "/") end
    local text = eventually(metricsPort, "/metrics", "requests_total{")
    local requests = 0
    for count in text:gmatch("\nlrun_worker_requests_total{[^}]*} (%d+)") do requests = requests + count end
    assert.equal(10, requests)
    assert.matches("# TYPE lrun_worker_resident_memory_bytes gauge", text)
    assert.matches('\nlrun_worker_cpu_seconds_total{worker="%d+",pid="%d+"} [%d.]+\n', text)
    assert.equal(404, select(2, get(metricsPort, "/")))
  end)
end)
