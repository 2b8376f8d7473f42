# Completion of `strobe <command>` and, in a checkout, of `python -m src.<command>`.
# In ~/.zshrc: eval "$(strobe completion zsh)", or: eval "$(python -m src.completion zsh)"

_strobe_complete() {
  local -a program typed ends goes_on ends_said goes_on_said
  local line candidate
  program=("${(Q)words[1]}" completion)
  if [[ ${words[1]} == *python* ]]; then
    # Of any other project, src.completion is a program that nobody has asked to be run.
    if [[ ${words[2]} != -m || ${words[3]} != src.* || ! -f src/strobe/commands/completion.py || ! -f conf/train.yaml ]]
    then
      if (( $+functions[_python] )); then _python "$@"; else _files; fi
      return
    fi
    program=("${(Q)words[1]}" -m src.completion)
  fi
  typed=("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}")
  for line in "${(@f)$("${program[@]}" --answer "${typed[@]}" 2>/dev/null)}"; do
    candidate="${line%%$'\t'*}"
    [[ -z $candidate ]] && continue
    line="${line/$'\t'/  }"
    (( COLUMNS > 40 && ${#line} >= COLUMNS )) && line="${line[1,COLUMNS-4]}..."  # zsh would break it within a word
    if [[ $candidate == *[=./,] ]]; then
      goes_on+=("$candidate")
      goes_on_said+=("$line")
    else
      ends+=("$candidate")
      ends_said+=("$line")
    fi
  done
  (( $#ends + $#goes_on )) || { _files; return }
  (( $#goes_on )) && compadd -l -S '' -d goes_on_said -a goes_on
  (( $#ends )) && compadd -l -d ends_said -a ends
  return 0
}

(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
compdef _strobe_complete strobe python python3
