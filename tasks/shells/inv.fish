# Completes inv in fish, as ./inv and path/to/inv too.
function __localenv_inv
    set -l words (commandline -opc)
    set -l inv (string replace -r '^~' $HOME -- $words[1])
    for line in (LOCALENV_COMPLETES=fish $inv __complete $words[2..-1] (commandline -ct) 2>/dev/null)
        if string match -q -- ':files*' $line
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c inv -f -a '(__localenv_inv)'
