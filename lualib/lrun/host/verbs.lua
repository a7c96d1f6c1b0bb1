--- lrun's commands: `lrun NAME …` with one of these names is that command; a script of that name is `./NAME`, `./NAME.lua` or
--- `NAME.lua`. Each is a module that is loaded when its command is given: it has `run(args, options)`, where `args` are the arguments
--- behind the name and `options.verb` is the name, on the main coroutine, with the loop and all modules at hand. A help of its own it prints itself.
local verbs = {}

---@class Verb
---@field name string
---@field module string
---@field group string what `lrun --help` lists it under
---@field arguments string? as help shows them, such as "DIR [PORT]"
---@field text string one line of help
---@field aliases string[]? other names, which help leaves out
---@field brief boolean? help shows its name alone
---@field apps boolean? its words are apps of the manager

---@type Verb[]
verbs.list = {
  { name = "help", module = "lrun.host.help", group = "Commands", arguments = "[COMMAND]", text = "this help, or a command's" },
}
local function add(list, group, brief)
  for _, verb in ipairs(list) do
    table.insert(verbs.list, {
      name = verb.name, aliases = verb.aliases, module = "lrun.manager.cli.main", group = group, brief = brief, apps = verb.apps,
      arguments = verb.usage ~= "" and verb.usage or nil, text = verb.text })
  end
end

add(require("lrun.probe.verbs").list, "Inside a running process", true)
add(require("lrun.manager.cli.verbs").list, "Process manager", true)

--- The command of that name, or nil.
---@param name string
---@return Verb?
function verbs.find(name)
  for _, verb in ipairs(verbs.list) do
    if verb.name == name then return verb end
    for _, alias in ipairs(verb.aliases or {}) do if alias == name then return verb end end
  end
end

local WIDTH = 78

-- Words in lines, two columns in.
local function wrap(words)
  local lines, line = {}, " "
  for _, word in ipairs(words) do
    if #line + 1 + #word > WIDTH then
      lines[#lines + 1] = line
      line = " "
    end
    line = line .. " " .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n") .. "\n"
end

--- The part of `lrun --help` on commands, by group; empty when there are none.
---@return string
function verbs.help()
  local groups, texts, names = {}, {}, {}
  for _, verb in ipairs(verbs.list) do
    if not texts[verb.group] then
      groups[#groups + 1] = verb.group
      texts[verb.group], names[verb.group] = {}, {}
    end
    if verb.brief then
      table.insert(names[verb.group], verb.name)
    else
      local label = verb.arguments and verb.name .. " " .. verb.arguments or verb.name
      table.insert(texts[verb.group], ("  lrun %-22s %s\n"):format(label, verb.text))
    end
  end
  for i, group in ipairs(groups) do
    local brief = #names[group] > 0
    groups[i] = ("\n%s%s:\n%s%s"):format(group, brief and " (lrun help COMMAND tells more)" or "", table.concat(texts[group]),
      brief and wrap(names[group]) or "")
  end
  return table.concat(groups)
end

return verbs
