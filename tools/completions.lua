-- Writes the shells' completion files: lrun tools/completions.lua DIRECTORY
local directory = ...
local completion = require("lrun.host.completion")

for shell, name in pairs{ bash = "lrun", zsh = "_lrun", fish = "lrun.fish" } do
  local file = assert(io.open(directory .. "/" .. name, "wb"))
  assert(file:write(completion.script(shell)))
  assert(file:close())
end
