--- lrun's commands: `lrun NAME …` with one of these names is that command; a script of that name is `./NAME`, `./NAME.lua` or
--- `NAME.lua`. Each is a module that is loaded when its command is given: it has `run(args)`, where `args` are the arguments
--- behind the name, on the main coroutine, with the loop and all modules at hand. A help of its own it prints itself.
local verbs = {}

---@class Verb
---@field name string
---@field module string
---@field group string what `lrun --help` lists it under
---@field arguments string? as help shows them, such as "DIR [PORT]"
---@field text string one line of help

---@type Verb[]
verbs.list = {
}

--- The command of that name, or nil.
---@param name string
---@return Verb?
function verbs.find(name)
  for _, verb in ipairs(verbs.list) do if verb.name == name then return verb end end
end

--- The part of `lrun --help` on commands, by group; empty when there are none.
---@return string
function verbs.help()
  local groups, texts = {}, {}
  for _, verb in ipairs(verbs.list) do
    if not texts[verb.group] then
      groups[#groups + 1] = verb.group
      texts[verb.group] = {}
    end
    local label = verb.arguments and verb.name .. " " .. verb.arguments or verb.name
    table.insert(texts[verb.group], ("  lrun %-22s %s\n"):format(label, verb.text))
  end
  for i, group in ipairs(groups) do groups[i] = ("\n%s:\n%s"):format(group, table.concat(texts[group])) end
  return table.concat(groups)
end

return verbs
