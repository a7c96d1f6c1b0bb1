--- lrun's verbs for its manager: their words, options and help, and the module that does each. One table, of which help and completion are
--- made too.
local fields = require("lrun.manager.fields")

local verbs = {}

---@class ManagerVerb
---@field name string
---@field module string
---@field call string the function of that module
---@field usage string words, as help shows them
---@field text string one line
---@field options VerbOption[]|fun(): VerbOption[]
---@field aliases string[]?
---@field apps boolean? its words are apps, for completion
---@field more string? further help

local JSON = { name = "json", help = "one JSON document, or JSON lines for streams" }
local HELP = { name = "help", short = "h", help = "this help" }
local WAIT = {
  { name = "wait", help = "wait for the state that was asked for (--no-wait: do not)" },
  { name = "timeout", value = "TIME", help = "how long to wait, such as 90s (60 s); past it the code is 5" },
}
local ONLY = { name = "only", value = "NAMES", help = "of a configuration, these apps (a,b)" }
local SECTION = { name = "env", value = "NAME", help = "lay env_NAME of a configuration over env" }
local UPDATE = { name = "update-env", help = "take the caller's environment in place of the app's" }

local function with(...)
  local list = {}
  for _, each in ipairs{ ... } do
    if each.name then list[#list + 1] = each else for _, one in ipairs(each) do list[#list + 1] = one end end
  end
  list[#list + 1] = JSON
  list[#list + 1] = HELP
  return list
end

local function starting()
  return with({ { name = "force", short = "f", help = "start another one of an app that runs" }, ONLY, SECTION,
    { name = "wait-ready", help = "ready when it sends \"ready\" (process.send)" } }, fields.options(), WAIT)
end

local function running()
  return with({ { name = "raw", help = "lines as they are, without the app's name" }, ONLY, SECTION,
    { name = "wait-ready", help = "ready when it sends \"ready\"" } }, fields.options())
end

local NAME = { { name = "name", short = "n", value = "NEW", field = "name", help = "give it another name" } }
local TARGETS = "\nTARGET: a name, namespace/, a pattern with *, #ID or a number, all, or a configuration.\n"

---@type ManagerVerb[]
verbs.list = {
  { name = "start", module = "cli.apps", call = "start", usage = "FILE|\"COMMAND\"|CONFIG|NAME|- [options] [-- ARGUMENTS]", apps = true,
    text = "start an app, and wait until it is ready", options = starting },
  { name = "stop", module = "cli.apps", call = "stop", usage = "TARGET…", apps = true, text = "end apps, and keep them listed",
    options = function() return with(ONLY, WAIT) end, more = TARGETS },
  { name = "restart", module = "cli.apps", call = "restart", usage = "TARGET…", apps = true, text = "end and start apps",
    options = function() return with(NAME, UPDATE, ONLY, SECTION, WAIT) end, more = TARGETS },
  { name = "reload", module = "cli.apps", call = "reload", usage = "TARGET…", apps = true,
    text = "replace instances one by one, without a lost request",
    options = function() return with(UPDATE, ONLY, SECTION, WAIT) end, more = TARGETS, aliases = { "gracefulReload" } },
  { name = "delete", module = "cli.apps", call = "delete", usage = "TARGET…", apps = true, text = "end apps, and forget them",
    options = function() return with(ONLY, WAIT) end, more = TARGETS, aliases = { "del" } },
  { name = "apply", module = "cli.apps", call = "apply", usage = "[CONFIG]", text = "make what runs equal to a configuration",
    options = function()
      return with({ { name = "dry-run", help = "only tell the difference" }, { name = "prune", help = "delete what it does not name" } },
        ONLY, SECTION, WAIT)
    end, aliases = { "startOrRestart", "startOrReload", "startOrGracefulReload" } },
  { name = "scale", module = "cli.apps", call = "scale", usage = "NAME N|+N|-N", apps = true, text = "more instances, or fewer",
    options = function() return with(WAIT) end, numbers = true },
  { name = "list", module = "cli.asking", call = "list", usage = "", text = "all apps and their instances", aliases = { "ls", "ps", "status" },
    options = function() return with({ { name = "names", help = "their names alone, one a line" } }) end },
  { name = "show", module = "cli.asking", call = "show", usage = "NAME", apps = true, text = "all about an app", aliases = { "describe", "info" },
    options = function() return with() end },
  { name = "env", module = "cli.asking", call = "env", usage = "NAME", apps = true, text = "the environment of an app",
    options = function() return with({ { name = "reveal", help = "show values that look like secrets, too" } }) end },
  { name = "pid", module = "cli.asking", call = "pid", usage = "[NAME]", apps = true, text = "process ids, one a line",
    options = function() return with() end },
  { name = "logs", module = "cli.logs", call = "logs", usage = "[TARGET…]", apps = true, text = "show logs, and follow them", aliases = { "log" },
    options = function()
      return with({ { name = "lines", short = "n", value = "N", help = "how many of the last lines (15)" },
        { name = "err", help = "standard error alone" }, { name = "out", help = "standard output alone" },
        { name = "raw", help = "lines as they are, without the app's name" },
        { name = "follow", short = "f", help = "go on with what comes (--no-follow: do not)", aliases = { "stream" } } })
    end },
  { name = "flush", module = "cli.apps", call = "flush", usage = "[TARGET…]", apps = true, text = "empty logs",
    options = function() return with() end },
  { name = "reopen", module = "cli.apps", call = "reopen", usage = "[TARGET…]", apps = true, text = "open log files anew",
    options = function() return with() end, aliases = { "reloadLogs" } },
  { name = "monit", module = "monit.main", call = "monit", usage = "", text = "terminal monitor", options = function() return with() end,
    aliases = { "dash", "dashboard", "monitor" } },
  { name = "web", module = "web.main", call = "web", usage = "", text = "the same as a live page, and /metrics",
    options = function()
      return with({ { name = "port", value = "N", help = "port (8090; 0: any)" }, { name = "host", value = "H", help = "address (127.0.0.1)" },
        { name = "control", help = "allow changes from the page" } })
    end },
  { name = "events", module = "cli.asking", call = "events", usage = "", text = "what happens, as it happens",
    options = function() return with() end },
  { name = "signal", module = "cli.apps", call = "signal", usage = "SIGNAL TARGET…", apps = true, text = "send a signal to each instance",
    options = function() return with() end, aliases = { "sendSignal" } },
  { name = "send", module = "cli.apps", call = "send", usage = "NAME LINE", apps = true, text = "send a line to an app's standard input",
    options = function() return with() end },
  { name = "reset", module = "cli.apps", call = "reset", usage = "TARGET…", apps = true, text = "zero the counters",
    options = function() return with() end },
  { name = "run", module = "cli.run", call = "run", usage = "CONFIG|FILE [options] [-- ARGUMENTS]", text = "in the foreground, for containers",
    options = running, aliases = { "runtime", "docker" } },
  { name = "dev", module = "cli.run", call = "dev", usage = "FILE [options] [-- ARGUMENTS]", text = "run, and restart when files change",
    options = running },
  { name = "serve", module = "cli.serve", call = "serve", usage = "DIR [PORT]", text = "serve a folder over HTTP, as an app",
    more = "\nPORT: $PORT, or 8080.\n",
    options = function()
      return with({ { name = "daemon", help = "as an app of the manager (--no-daemon: in the foreground)" },
        { name = "host", value = "HOST", help = "address to listen on (127.0.0.1)" },
        { name = "spa", help = "answer unknown paths with index.html" },
        { name = "listing", help = "list folders that have no index.html" },
        { name = "max-age", value = "SECONDS", help = "how long clients keep files (0)" },
        { name = "cors", help = "let pages of other origins read the files" },
        { name = "dotfiles", value = "WHAT", help = "allow, ignore (404) or deny (403) names that begin with a dot" },
        { name = "cert", value = "FILE", help = "HTTPS with this certificate" },
        { name = "key", value = "FILE", help = "and its key" },
        { name = "basic-auth-username", value = "USER", help = "ask for this user" },
        { name = "basic-auth-password", value = "PASSWORD", help = "and this password" },
        { name = "quiet", help = "no line for each request" },
        { name = "force", short = "f", help = "start another one of an app that runs" } }, fields.options(), WAIT)
    end },
  { name = "startup", module = "cli.service", call = "startup", usage = "", text = "start at boot what runs, by systemd",
    options = function() return with({ { name = "print", help = "print the unit, change nothing" } }) end },
  { name = "unstartup", module = "cli.service", call = "unstartup", usage = "", text = "undo startup", options = function() return with() end },
  { name = "save", module = "cli.service", call = "save", usage = "", text = "says that state is always saved", aliases = { "dump" },
    options = function() return with() end },
  { name = "resurrect", module = "cli.service", call = "resurrect", usage = "", text = "start what should run and does not",
    options = function() return with(WAIT) end },
  { name = "update", module = "cli.service", call = "update", usage = "", text = "replace the daemon by this version",
    options = function() return with(WAIT) end },
  { name = "kill", module = "cli.service", call = "kill", usage = "", text = "end the daemon and all apps",
    options = function() return with(WAIT) end },
  { name = "ping", module = "cli.asking", call = "ping", usage = "", text = "whether there is a daemon", options = function() return with() end },
  { name = "jlist", module = "cli.asking", call = "jlist", usage = "", text = "the apps with pm2's names of fields",
    options = function() return with() end },
}

for _, verb in ipairs(verbs.list) do verb.module = "lrun.manager." .. verb.module end

--- The verb of a name or alias.
---@param name string
---@return ManagerVerb?
function verbs.find(name)
  for _, verb in ipairs(verbs.list) do
    if verb.name == name then return verb end
    for _, alias in ipairs(verb.aliases or {}) do if alias == name then return verb end end
  end
end

--- A verb's help.
---@param verb ManagerVerb
---@return string
function verbs.help(verb)
  local text = ("Usage: lrun %s %s\n\n%s.\n"):format(verb.name, verb.usage, verb.text:gsub("^%l", string.upper))
  if verb.aliases then text = text .. "Also: " .. table.concat(verb.aliases, ", ") .. "\n" end
  return text .. (verb.more or "") .. "\n" .. require("lrun.manager.cli.options").help(verb.options()) .. "\n"
end

return verbs
