# Completion of `strobe <command>` and, in a checkout, of `python -m src.<command>`.
# In ~/.bashrc: eval "$(strobe completion bash)", or: eval "$(python -m src.completion bash)"

# Of the text before the cursor: the quote that is open, and what stays of the last word. Readline replaces what
# follows the last of its word breaks, = among them.
_strobe_read() {
  local text="$1" breaks="${COMP_WORDBREAKS-=:}" word="" character
  quote="" cut=""
  while [[ -n $text ]]; do
    character="${text:0:1}" text="${text:1}"
    case "$quote$character" in
      \\ | \"\\) word+="${text:0:1}" text="${text:1}" ;;
      \' | \") quote="$character" cut="$word" ;;
      \'\' | \"\") quote="" cut="$word" ;;
      [[:space:]]) word="" cut="" ;;
      *)
        word+="$character"
        [[ -z $quote && $breaks == *"$character"* ]] && cut="$word"
        ;;
    esac
  done
}

# Have the candidate stand there as it has to be typed: a name may hold anything, commands among it.
_strobe_escape() {
  local name="$candidate" character
  if [[ -z $quote ]]; then
    [[ $name =~ ^[A-Za-z0-9_./=,:@%+~-]*$ ]] || printf -v candidate %q "$name"
    return
  fi
  candidate=""
  while [[ -n $name ]]; do
    character="${name:0:1}" name="${name:1}"
    case "$quote$character" in
      \'\') character="'\\''" ;;
      \"!) character="\"'!'\"" ;;  # it would call for a line of the history, even within these quotes
      \"[\$\`\"\\]) character="\\$character" ;;
    esac
    candidate+="$character"
  done
}

_strobe_complete() {
  local line="${COMP_LINE:0:COMP_POINT}" program=("$1" completion) quote cut candidate
  COMPREPLY=()
  case "$1" in
    *python*)
      # Of any other project, src.completion is a program that nobody has asked to be run.
      if [[ $line != *" -m src."* || ! -f src/strobe/commands/completion.py || ! -f conf/train.yaml ]]; then
        [[ -n $_strobe_before ]] && "$_strobe_before" "$@"
        return
      fi
      program=("$1" -m src.completion)
      ;;
  esac
  _strobe_read "$line"
  while IFS= read -r candidate; do
    candidate="${candidate%%$'\t'*}"
    candidate="${candidate#"$cut"}"
    _strobe_escape
    COMPREPLY+=("$candidate")
  done < <("${program[@]}" --answer --line "$line" 2>/dev/null)
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./,] ]]; then
    compopt -o nospace 2>/dev/null
  fi
  return 0
}

# What completes python otherwise, which bash-completion reads when it is first asked for.
if declare -F _comp_load >/dev/null; then
  _comp_load python >/dev/null 2>&1
elif declare -F __load_completion >/dev/null; then
  __load_completion python >/dev/null 2>&1
fi
_strobe_before="$(complete -p python 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')"
[[ $_strobe_before == _strobe_complete ]] && _strobe_before=""
complete -o bashdefault -o default -F _strobe_complete strobe python python3
