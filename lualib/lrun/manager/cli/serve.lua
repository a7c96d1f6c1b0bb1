--- `serve DIR PORT`: a static server as an app; with --no-daemon in the foreground.
local appRules = require("lrun.manager.app")
local apps = require("lrun.manager.cli.apps")
local contexts = require("lrun.manager.cli.context")
local uv = require("luv")

local serve = {}

local USER, PASSWORD = "LRUN_SERVE_USER", "LRUN_SERVE_PASSWORD"

local function usage(text, ...) error({ usage = text:format(...) }, 0) end

local function read(run)
  local words = run.options.words
  if #words < 1 or #words > 2 then usage("serve: lrun serve DIR PORT") end
  local root = contexts.resolve(uv.cwd(), words[1])
  local stat = uv.fs_stat(root)
  if not stat or stat.type ~= "directory" then usage("serve: '%s' is no directory", words[1]) end
  local port = tonumber(words[2] or process.env.PORT or 8080)
  if not port or port % 1 ~= 0 or port < 0 or port > 65535 then usage("serve: '%s' is no port", words[2]) end
  return root, port
end

local function foreground(run, root, port)
  require("await")(function(done)
    serve.done = done
    require("lrun.manager.serve").run{
      root = root, port = port, host = run.options.host or "127.0.0.1", spa = run.options.spa,
      user = run.options["basic-auth-username"] or process.env[USER], password = run.options["basic-auth-password"] or process.env[PASSWORD],
    }
  end)
end

--- Starts the app, or serves.
function serve.serve(run)
  local root, port = read(run)
  local options = run.options
  if options["basic-auth-password"] and not options["basic-auth-username"] then usage("serve: --basic-auth-password needs --basic-auth-username") end
  if options.daemon == false then return foreground(run, root, port) end
  local args = { "serve", root, tostring(port), "--no-daemon" }
  if options.spa then args[#args + 1] = "--spa" end
  if options.host then
    args[#args + 1] = "--host"
    args[#args + 1] = options.host
  end
  local raw = {}
  for field, value in pairs(options.fields) do raw[field] = value end
  raw.script, raw.args, raw.ready, raw.port = process.execPath, args, "message", port > 0 and port or nil
  raw.interpreter = "none"
  raw.name = raw.name or ("static-%d"):format(port)
  raw.env = { [USER] = options["basic-auth-username"], [PASSWORD] = options["basic-auth-password"] }
  local context = contexts.make{ cwd = uv.cwd(), home = run.home, warn = function() end }
  local app = appRules.normalize(raw, context, "serve")
  apps.print(run, apps.call(run, "start", { apps = { app }, force = options.force or false }))
end

return serve
