# Completion of `strobe <command>` and, in a checkout, of `python -m src.<command>`.
# In ~/.config/fish/config.fish: strobe completion fish | source, or: python -m src.completion fish | source

# Of any other project, src.completion is a program that nobody has asked to be run.
function __strobe_in_checkout
    test -f src/strobe/commands/completion.py; and test -f conf/train.yaml; or return 1
    set -l typed (commandline -opc) (commandline -ct)
    test (count $typed) -ge 3; and test "$typed[2]" = -m; and string match -q 'src.*' -- $typed[3]
end

function __strobe_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct | string trim --left --chars='\'"')
    set -l program $typed[1] completion
    if string match -q '*python*' -- $typed[1]
        set program $typed[1] -m src.completion
    end
    set -l found ($program --answer $typed "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end

complete -c strobe -f -a '(__strobe_complete)'
complete -c python -n __strobe_in_checkout -f -a '(__strobe_complete)'
complete -c python3 -n __strobe_in_checkout -f -a '(__strobe_complete)'
