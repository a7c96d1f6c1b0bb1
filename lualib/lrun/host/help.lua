--- `lrun help`, and `lrun help COMMAND`: what the command itself prints for --help.
local verbs = require("lrun.host.verbs")

local help = {}

---@param args string[]
function help.run(args)
  local name = args[1]
  if not name then return io.stdout:write(require("lrun.host.options").help()) end
  local verb = verbs.find(name)
  if verb and verb.name ~= "help" then return require(verb.module).run({ "--help" }, { verb = verb.name }) end
  if verb then return io.stdout:write(require("lrun.host.options").help()) end
  local known = {}
  for i, each in ipairs(verbs.list) do known[i] = each.name end
  local hint = require("lrun.manager.nearest").hint(name, known)
  io.stderr:write(("lrun: there is no command '%s'%s\n"):format(name, hint))
  process.exit(2)
end

return help
