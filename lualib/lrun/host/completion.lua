--- Completion of lrun's command line, for `lrun --completion SHELL`: made from the table of options, the list of commands and
--- the names of the modules.
local options = require("lrun.host.options")
local verbs = require("lrun.host.verbs")

local completion = {}

local function moduleNames()
  local names = {}
  for _, name in ipairs(require("lrun.host.modules").names()) do
    if name ~= "process" then names[#names + 1] = name end
  end
  return table.concat(names, " ")
end

local function verbNames(appsOnly)
  local names = {}
  for _, verb in ipairs(verbs.list) do
    if verb.apps or not appsOnly then names[#names + 1] = verb.name end
  end
  return table.concat(names, " ")
end

-- The words that a value is one of; nil when it is a path or anything.
local function wordsOf(option)
  if type(option.complete) == "table" then return table.concat(option.complete, " ") end
  if option.complete == "modules" then return moduleNames() end
end

-- ---------------------------------------------------------------------------------------------------------------------

local BASH = [=[
# lrun's completion for bash: source <(lrun --completion bash)
_lrun_scripts() {
  compopt -o filenames
  mapfile -t COMPREPLY < <(compgen -W "$2" -- "$1"; compgen -f -X '!*.lua' -- "$1"; compgen -d -- "$1")
}
# Options and words of a command: its help has the first, the manager the names of its apps.
_lrun_command() {
  compopt -o filenames
  case $2 in
    -*) mapfile -t COMPREPLY < <(compgen -W "$(lrun help "$1" 2>/dev/null | grep -o -- '--[a-z][a-z-]*')" -- "$2") ;;
    *)
      case " @APPVERBS@ " in
        *" $1 "*) mapfile -t COMPREPLY < <(compgen -W "$(lrun list --names 2>/dev/null)" -- "$2"; compgen -f -- "$2") ;;
        *) compopt -o default ;;
      esac ;;
  esac
}
_lrun() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} word
  COMPREPLY=()
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      *.lua) compopt -o default; return ;;
      @VERBS@) _lrun_command "$word" "$current"; return ;;
    esac
  done
  case $previous in
@VALUES@
  esac
  case $current in
    -*) mapfile -t COMPREPLY < <(compgen -W "@NAMES@" -- "$current") ;;
    *) _lrun_scripts "$current" "@VERBWORDS@" ;;
  esac
}
complete -F _lrun lrun
]=]

local BASH_PATHS = {
  scripts = '_lrun_scripts "$current" ""', files = "compopt -o default", folders = "compopt -o dirnames",
}

local function bash()
  local names, values = {}, {}
  for _, option in ipairs(options.list) do
    for _, name in ipairs(option.names) do names[#names + 1] = name end
    if option.value and not option.attached then
      local words = wordsOf(option)
      local action = words and ('mapfile -t COMPREPLY < <(compgen -W "%s" -- "$current")'):format(words)
        or BASH_PATHS[option.complete]
      values[#values + 1] = ("    %s) %sreturn ;;"):format(table.concat(option.names, "|"), action and action .. "; " or "")
    end
  end
  local verbWords = verbNames()
  return BASH, {
    NAMES = table.concat(names, " "), VALUES = table.concat(values, "\n"), VERBWORDS = verbWords,
    VERBS = verbWords:gsub(" ", "|"), APPVERBS = verbNames(true),
  }
end

local ZSH = [=[
#compdef lrun
# lrun's completion for zsh: lrun --completion zsh > a file `_lrun` in a folder of $fpath
_lrun_first() {
  local commands=(@VERBS@)
  (( $#commands )) && _describe command commands
  _files -g "*.lua"
}
_lrun() {
  local commands=(@VERBWORDS@) apps=(@APPVERBS@)
  if (( CURRENT > 2 && $commands[(Ie)${words[2]}] )); then
    if [[ $PREFIX == -* ]]; then
      compadd -- ${(f)"$(lrun help ${words[2]} 2>/dev/null | grep -o -- '--[a-z][a-z-]*')"}
    else
      (( $apps[(Ie)${words[2]}] )) && compadd -- ${(f)"$(lrun list --names 2>/dev/null)"}
      _files
    fi
    return
  fi
  _arguments -S \
@OPTIONS@
    '1:script:_lrun_first' \
    '*::argument:_files'
}
if [ "$funcstack[1]" = "_lrun" ]; then _lrun "$@"; else compdef _lrun lrun; fi
]=]

local function zshQuoted(text) return (text:gsub("[%[%]:]", "\\%0"):gsub("['`]", "")) end

local ZSH_PATHS = { scripts = '_files -g "*.lua"', files = "_files", folders = "_files -/" }

local function zsh()
  local lines, commands = {}, {}
  for _, option in ipairs(options.list) do
    if option.names[1] ~= "--" then
      local names = table.concat(option.names, ",")
      local text = "[" .. zshQuoted(option.text) .. "]"
      local words = wordsOf(option)
      local value = option.value and (":%s:%s"):format(option.value:lower(),
        words and "(" .. words .. ")" or ZSH_PATHS[option.complete] or "") or ""
      if option.attached then names = names .. "-" elseif option.value and #option.names == 1 and #names > 2 then names = names .. "=" end
      lines[#lines + 1] = #option.names > 1 and ("    '*'{%s}'%s%s' \\"):format(names, text, value)
        or ("    '*%s%s%s' \\"):format(names, text, value)
    end
  end
  for i, verb in ipairs(verbs.list) do commands[i] = ("'%s:%s'"):format(verb.name, zshQuoted(verb.text)) end
  return ZSH, { OPTIONS = table.concat(lines, "\n"), VERBS = table.concat(commands, " "),
    VERBWORDS = verbNames(), APPVERBS = verbNames(true) }
end

local FISH = [=[
# lrun's completion for fish: lrun --completion fish > ~/.config/fish/completions/lrun.fish
@OPTIONS@
@VERBS@complete -c lrun -n '__fish_seen_subcommand_from @APPVERBS@' -a '(lrun list --names 2>/dev/null)' -d app
complete -c lrun -n '__fish_seen_subcommand_from @VERBWORDS@' \
  -a '(lrun help (commandline -opc)[2] 2>/dev/null | string match -ra -- "--[a-z][a-z-]*")'
complete -c lrun -k -a '(__fish_complete_suffix .lua)'
]=]

local FISH_PATHS = { scripts = "-r", files = "-r", folders = "-x -a '(__fish_complete_directories)'" }

local function fishQuoted(text) return (text:gsub("['`]", "")) end

local function fish()
  local lines, commands = {}, {}
  for _, option in ipairs(options.list) do
    local words = { "complete -c lrun" }
    for _, name in ipairs(option.names) do
      if name ~= "--" then words[#words + 1] = name:gsub("^%-%-", "-l "):gsub("^%-(%a)$", "-s %1") end
    end
    if option.value and not option.attached then
      local list = wordsOf(option)
      words[#words + 1] = list and ("-x -a '%s'"):format(list) or FISH_PATHS[option.complete] or "-x"
    end
    words[#words + 1] = ("-d '%s'"):format(fishQuoted(option.text))
    if option.names[1] ~= "--" then lines[#lines + 1] = table.concat(words, " ") end
  end
  for i, verb in ipairs(verbs.list) do
    commands[i] = ("complete -c lrun -n __fish_use_subcommand -a %s -d '%s'\n"):format(verb.name, fishQuoted(verb.text))
  end
  return FISH, { OPTIONS = table.concat(lines, "\n"), VERBS = table.concat(commands), VERBWORDS = verbNames(), APPVERBS = verbNames(true) }
end

local makers = { bash = bash, zsh = zsh, fish = fish }

--- The completion script of a shell.
---@param shell string "bash", "zsh", "fish"
---@return string
function completion.script(shell)
  local text, parts = makers[shell]()
  return (text:gsub("@(%u+)@", parts))
end

return completion
