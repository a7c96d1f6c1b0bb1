--- Completion of lrun's command line, for `lrun --completion SHELL`.
local completion = {}

completion.bash = [=[
# lrun's completion for bash: source <(lrun --completion bash)
_lrun() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} word
  COMPREPLY=()
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in *.lua) compopt -o default; return ;; esac
  done
  case $previous in
    -e|-p|--title) return ;;
    -l|-r) mapfile -t COMPREPLY < <(compgen -W "@MODULES@" -- "$current"); return ;;
    -j) mapfile -t COMPREPLY < <(compgen -W "on off flush v dump p opt" -- "$current"); return ;;
    --completion) mapfile -t COMPREPLY < <(compgen -W "bash zsh fish" -- "$current"); return ;;
  esac
  case $current in
    -*) mapfile -t COMPREPLY < <(compgen -W "-e -p -i -l -r -c -j -O --title --completion -v --version -h --help --" -- "$current") ;;
    *)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -X '!*.lua' -- "$current"; compgen -d -- "$current")
      ;;
  esac
}
complete -F _lrun lrun
]=]

completion.zsh = [=[
#compdef lrun
# lrun's completion for zsh: lrun --completion zsh > a file `_lrun` in a folder of $fpath
_lrun() {
  _arguments -S \
    '*-e[run a string]:code:' \
    '*-p[run an expression and print its value]:expression:' \
    '-i[prompt after the script]' \
    '*'{-l,-r}'[require a module first]:module:(@MODULES@)' \
    '-c[check syntax, run nothing]:file:_files -g "*.lua"' \
    '*-j[LuaJIT command]:command:(on off flush v dump p opt)' \
    '*-O-[LuaJIT optimization]:level:' \
    '--title[process title]:name:' \
    '--completion[print a completion script]:shell:(bash zsh fish)' \
    '(- *)'{-v,--version}'[version]' \
    '(- *)'{-h,--help}'[help]' \
    '1:script:_files -g "*.lua"' \
    '*::argument:_files'
}
if [ "$funcstack[1]" = "_lrun" ]; then _lrun "$@"; else compdef _lrun lrun; fi
]=]

completion.fish = [=[
# lrun's completion for fish: lrun --completion fish > ~/.config/fish/completions/lrun.fish
set -l modules @MODULES@
complete -c lrun -s e -x -d 'run a string'
complete -c lrun -s p -x -d 'run an expression and print its value'
complete -c lrun -s i -d 'prompt after the script'
complete -c lrun -s l -x -a "$modules" -d 'require a module first'
complete -c lrun -s r -x -a "$modules" -d 'require a module first'
complete -c lrun -s c -r -d 'check syntax, run nothing'
complete -c lrun -s j -x -a 'on off flush v dump p opt' -d 'LuaJIT command'
complete -c lrun -s O -d 'LuaJIT optimization'
complete -c lrun -l title -x -d 'process title'
complete -c lrun -l completion -x -a 'bash zsh fish' -d 'print a completion script'
complete -c lrun -s v -l version -d 'version'
complete -c lrun -s h -l help -d 'help'
complete -c lrun -k -a '(__fish_complete_suffix .lua)'
]=]

local MODULES = "abort await base64 child_process cluster dgram dns errors events fs http inspect json net os path process querystring "
  .. "readline stream timers url"
for shell, text in pairs(completion) do completion[shell] = text:gsub("@MODULES@", MODULES) end

return completion
