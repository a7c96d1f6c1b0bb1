--- `serve DIR [PORT]`: a folder over HTTP as an app; with --no-daemon in the foreground.
local appRules = require("lrun.manager.app")
local apps = require("lrun.manager.cli.apps")
local contexts = require("lrun.manager.cli.context")
local fields = require("lrun.manager.fields")
local uv = require("luv")
local values = require("lrun.manager.values")

local serve = {}

-- Where no list of processes shows them.
local USER, PASSWORD = "LRUN_SERVE_USER", "LRUN_SERVE_PASSWORD"

local function usage(text, ...) error({ usage = text:format(...) }, 0) end

local function number(text, name, most)
  local value = tostring(text):find("^%d+$") and tonumber(text)
  if not value or value > most then usage("serve: %s: '%s' is not a number from 0 to %d", name, text, most) end
  return value
end

local function folder(word)
  local root = contexts.resolve(uv.cwd(), word)
  local stat = uv.fs_stat(root)
  if not stat then usage("serve: there is no '%s'", word) end
  if stat.type ~= "directory" then usage("serve: '%s' is no directory", word) end
  return root
end

-- What the command line asks for.
local function read(run)
  local words, given = run.options.words, run.options
  if #words < 1 or #words > 2 then usage("serve: lrun serve DIR [PORT]") end
  local port = words[2] or process.env.PORT
  local dotfiles = given.dotfiles
  if dotfiles and dotfiles ~= "allow" and dotfiles ~= "ignore" and dotfiles ~= "deny" then
    usage("serve: --dotfiles: '%s' is not allow, ignore or deny", dotfiles)
  end
  if (given.cert == nil) ~= (given.key == nil) then usage("serve: --cert and --key are given together") end
  if given["basic-auth-password"] and not given["basic-auth-username"] then usage("serve: --basic-auth-password needs --basic-auth-username") end
  return {
    root = folder(words[1]), port = port and number(port, words[2] and "PORT" or "$PORT", 65535) or 8080, host = given.host or "127.0.0.1",
    spa = given.spa, listing = given.listing, maxAge = given["max-age"] and number(given["max-age"], "--max-age", 4294967295), cors = given.cors,
    dotfiles = dotfiles, cert = given.cert and contexts.resolve(uv.cwd(), given.cert), key = given.key and contexts.resolve(uv.cwd(), given.key),
    quiet = given.quiet, user = given["basic-auth-username"] or process.env[USER], password = given["basic-auth-password"] or process.env[PASSWORD],
  }
end

-- The same as arguments of another `lrun serve --no-daemon`; user and password go by its environment.
local function arguments(options)
  local list = { options.root, tostring(options.port), "--no-daemon", "--host", options.host }
  for _, name in ipairs{ "spa", "listing", "cors", "quiet" } do
    if options[name] then list[#list + 1] = "--" .. name end
  end
  for name, value in pairs{ ["max-age"] = options.maxAge, dotfiles = options.dotfiles, cert = options.cert, key = options.key } do
    list[#list + 1] = "--" .. name
    list[#list + 1] = tostring(value)
  end
  return list
end

local function workers(given, context)
  if given == nil then return nil end
  local count, problem = values.read(fields.find("instances"), given, context.system)
  if not count then usage("serve: -i: %s", problem) end
  return count
end

local function foreground(options, count)
  options.arguments = arguments(options)
  process.env[USER], process.env[PASSWORD] = options.user, options.password
  require("await")(function() require("lrun.serve.main").run(options, count) end)
end

--- Starts the app, or serves.
function serve.serve(run)
  local options = read(run)
  local context = contexts.make{ cwd = uv.cwd(), home = run.home, warn = function() end }
  local count = workers(run.options.fields.instances, context)
  if run.options.daemon == false then return foreground(options, count) end
  local raw = {}
  for field, value in pairs(run.options.fields) do raw[field] = value end
  local args = { "serve", unpack(arguments(options)) }
  if count then                                             -- of the app's own: its instances could not share a port
    args[#args + 1], args[#args + 2] = "-i", tostring(count)
    raw.instances = nil
  end
  raw.script, raw.args, raw.ready, raw.port = process.execPath, args, "message", options.port > 0 and options.port or nil
  raw.interpreter = "none"
  raw.name = raw.name or ("static-%d"):format(options.port)
  raw.env = { [USER] = options.user, [PASSWORD] = options.password }
  local app = appRules.normalize(raw, context, "serve")
  apps.print(run, apps.call(run, "start", { apps = { app }, force = run.options.force or false }))
end

return serve
