--- The fields of an app: one table, of which the readers of configurations and of options, `show` and the help are made.
--- Plain values in and out.
local nearest = require("lrun.manager.nearest")

local fields = {}

---@class AppField
---@field name string
---@field kind string how its value is read, see lrun.manager.values
---@field default any?
---@field aliases string[]? other names of the field: pm2's
---@field short string? letter of an option
---@field option string|false|nil the option's name where it is not the field's with hyphens; false: none
---@field help string

---@type AppField[]
fields.list = {
  { name = "name", kind = "string", short = "n", help = "name of the app" },
  { name = "script", kind = "string", option = false, help = "program, command in PATH, or shell command" },
  { name = "args", kind = "strings", option = false, help = "arguments of the program" },
  { name = "cwd", kind = "string", help = "working directory" },
  { name = "namespace", kind = "string", default = "default", help = "group of apps, a target as NAMESPACE/" },
  { name = "interpreter", kind = "string", aliases = { "exec_interpreter" }, help = "program that runs the script; none: the script itself" },
  { name = "interpreterArgs", kind = "strings", aliases = { "interpreter_args", "node_args", "exec_args" }, help = "arguments of the interpreter" },
  { name = "instances", kind = "instances", default = 1, short = "i", help = "how many: a number, max, or -1 for one less than max" },
  { name = "mode", kind = "mode", aliases = { "exec_mode" }, help = "cluster or fork" },
  { name = "port", kind = "port", help = "told to the app as PORT; used by ready and health" },
  { name = "incrementVar", kind = "string", aliases = { "increment_var" }, help = "variable that grows by one with each instance" },
  { name = "env", kind = "environment", option = false, help = "environment of the app" },
  { name = "envFile", kind = "string", aliases = { "env_file" }, help = "file of NAME=value lines" },
  { name = "filterEnv", kind = "filter", aliases = { "filter_env" }, help = "names, or beginnings, of the caller's variables to leave out" },
  { name = "listen", kind = "addresses", help = "addresses whose sockets the app gets as descriptors (LISTEN_FDS)" },
  { name = "ready", kind = "ready", help = "listen, uptime, message, notify, or an address such as http://127.0.0.1:8000/ok" },
  { name = "minReady", kind = "duration", default = 1000, aliases = { "min_ready" },
    help = "a new instance lives so long before a reload goes on" },
  { name = "listenTimeout", kind = "duration", default = 8000, aliases = { "listen_timeout" }, help = "time to be ready" },
  { name = "autorestart", kind = "boolean", default = true, help = "start it again when it ends" },
  { name = "stopExitCodes", kind = "codes", default = {}, aliases = { "stop_exit_codes" }, help = "exit codes after which it stays stopped" },
  { name = "minUptime", kind = "duration", default = 1000, aliases = { "min_uptime" }, help = "an end before that is a failure" },
  { name = "maxRestarts", kind = "count", default = 16, aliases = { "max_restarts" }, help = "failures in a row before it is given up" },
  { name = "restartDelay", kind = "duration", default = 0, aliases = { "restart_delay" }, help = "pause before a restart" },
  { name = "backoff", kind = "duration", default = 100, aliases = { "exp_backoff_restart_delay" },
    help = "first pause after a failure; it doubles up to 15 s" },
  { name = "maxMemory", kind = "size", aliases = { "max_memory_restart" }, help = "reload an instance past it, such as 300M" },
  { name = "cron", kind = "cron", aliases = { "cron_restart" }, help = "restart by a pattern of five or six fields" },
  { name = "watch", kind = "watch", default = false, short = "w", help = "restart when files change" },
  { name = "ignoreWatch", kind = "strings", default = {}, aliases = { "ignore_watch" }, help = "files and folders that watch leaves out" },
  { name = "watchDelay", kind = "duration", default = 200, aliases = { "watch_delay" }, help = "changes within it are one" },
  { name = "killTimeout", kind = "duration", default = 10000, aliases = { "kill_timeout" }, help = "time to end before SIGKILL" },
  { name = "stopSignal", kind = "signal", default = "SIGTERM", aliases = { "stop_signal", "kill_signal" }, help = "signal that asks it to end" },
  { name = "treekill", kind = "boolean", default = true, help = "end the whole process tree" },
  { name = "shutdownWithMessage", kind = "boolean", default = false, aliases = { "shutdown_with_message" },
    help = "ask by the message \"shutdown\" in place of a signal" },
  { name = "out", kind = "string", short = "o", aliases = { "out_file", "output" }, help = "file for standard output" },
  { name = "err", kind = "string", short = "e", aliases = { "error_file", "err_file", "error" }, help = "file for standard error" },
  { name = "log", kind = "string", short = "l", aliases = { "log_file", "combine_logs_file" }, help = "file for both" },
  { name = "mergeLogs", kind = "boolean", default = false, aliases = { "merge_logs", "combine_logs" }, help = "one file for all instances" },
  { name = "time", kind = "boolean", default = false, aliases = { "log_date_format" }, help = "the time before each line" },
  { name = "logFormat", kind = "logFormat", default = "plain", aliases = { "log_type" }, help = "plain or json" },
  { name = "logSize", kind = "size", default = 10 * 1024 * 1024, help = "a log past it is renamed and begun anew" },
  { name = "logKeep", kind = "count", default = 10, help = "how many old logs are kept" },
  { name = "pidFile", kind = "string", short = "p", aliases = { "pid_file", "pid" }, help = "file for the process id" },
  { name = "uid", kind = "user", aliases = { "user" }, help = "user to run as" },
  { name = "gid", kind = "group", help = "group to run as" },
  { name = "umask", kind = "umask", help = "file mode mask, such as 027" },
  { name = "nice", kind = "nice", help = "niceness, -20 to 19" },
  { name = "limits", kind = "limits", help = "limits, such as nofile=1024,as=1G" },
  { name = "health", kind = "health", help = "a check: http://127.0.0.1:8000/ok" },
  { name = "after", kind = "strings", default = {}, help = "apps that are ready first" },
}

-- pm2's fields that mean nothing here; told once.
local IGNORED = {}
for name in ([[pmx vizion automation trace disable_trace axm_options axm_monitor deep_monitoring event_loop_inspector v8
  source_map_support disable_source_map_support instance_var post_update pmx_module autostart wait_ready_timeout container dist
  image_name node_version fresh dockerdaemon vizion_running km_link agent_topics autodump force windowsHide write id username
  log_cron disable_logs profiling]]):gmatch("%S+") do IGNORED[name] = true end
IGNORED.force, IGNORED.disable_logs = nil, nil

-- pm2's that stand for another value of a field of ours.
local TRANSLATED = { wait_ready = true, waitReady = true, max_memory = true, disable_logs = true, force = true, command = true,
  append_env_to_name = true }

local byName, names = {}, {}
for _, field in ipairs(fields.list) do
  byName[field.name] = field
  names[#names + 1] = field.name
  for _, alias in ipairs(field.aliases or {}) do
    byName[alias] = field
    names[#names + 1] = alias
  end
end
for name in pairs(TRANSLATED) do names[#names + 1] = name end

--- The field of a name or alias.
---@param name string
---@return AppField?
function fields.find(name) return byName[name] end

---@param name string
---@return boolean
function fields.isIgnored(name) return IGNORED[name] == true end

---@param name string
---@return boolean
function fields.isTranslated(name) return TRANSLATED[name] == true end

--- The words that follow an unknown field in its error.
---@param name string
---@return string
function fields.hint(name) return nearest.hint(name, names) end

--- `maxMemory` → `max-memory`, `max_memory_restart` → `max-memory-restart`.
---@param name string
---@return string
function fields.hyphens(name)
  return (name:gsub("_", "-"):gsub("%u", function(letter) return "-" .. letter:lower() end))
end

--- The options of `start` that set fields: { name, short, field, value = false when it takes none, aliases }.
---@return table[]
function fields.options()
  local list = {}
  for _, field in ipairs(fields.list) do
    if field.option ~= false then
      local aliases = {}
      for _, alias in ipairs(field.aliases or {}) do
        local name = fields.hyphens(alias)
        if name ~= fields.hyphens(field.name) then aliases[#aliases + 1] = name end
      end
      list[#list + 1] = {
        name = fields.hyphens(field.name), short = field.short, field = field.name, aliases = aliases,
        flag = field.kind == "boolean" or field.kind == "watch", help = field.help,
        value = field.kind:upper():gsub("STRINGS", "LIST"):gsub("STRING", "TEXT"),
      }
    end
  end
  return list
end

return fields
