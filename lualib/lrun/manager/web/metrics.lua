--- The figures in Prometheus' text form. Plain values in and out.
local metrics = {}

local function label(text) return (text:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("\n", "\\n")) end

local LIST = {
  { "lrun_instance_up", "gauge", "whether an instance is online", function(each) return each.state == "online" and 1 or 0 end },
  { "lrun_instance_restarts_total", "counter", "how often it was replaced", function(each) return each.restarts end },
  { "lrun_instance_memory_bytes", "gauge", "resident memory", function(each) return each.memory end },
  { "lrun_instance_cpu_percent", "gauge", "share of one processor", function(each) return each.cpu end },
  { "lrun_instance_uptime_seconds", "gauge", "time since its start", function(each) return each.uptime and each.uptime / 1000 end },
  { "lrun_instance_connections", "gauge", "open connections", function(each) return each.connections end },
  { "lrun_instance_requests_total", "counter", "HTTP requests", function(each) return each.requests end },
  { "lrun_instance_loop_lag_seconds", "gauge", "longest turn of its loop", function(each) return each.lag and each.lag / 1000 end },
}

--- The text.
---@param apps table[] entries of `list`
---@return string
function metrics.text(apps)
  local lines = {}
  for _, one in ipairs(LIST) do
    lines[#lines + 1] = ("# HELP %s %s"):format(one[1], one[3])
    lines[#lines + 1] = ("# TYPE %s %s"):format(one[1], one[2])
    for _, app in ipairs(apps) do
      for _, each in ipairs(app.instances) do
        local value = one[4](each)
        if value then
          lines[#lines + 1] = ('%s{app="%s",instance="%d"} %.14g'):format(one[1], label(app.name), each.number, value)
        end
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return metrics
