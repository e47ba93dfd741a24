# Completion of shmadm for bash 4.4 or newer. The program finds the candidates.
_shmadm() {
    # bash also splits words at = and :. These parts are joined again; `first` has the index of the first part.
    local IFS=$'\n' line=${COMP_LINE:0:COMP_POINT} word words=() first=() reply i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        ((i < COMP_CWORD)) || word=${line#"${line%%[![:space:]]*}"}
        if ((i == 0)) || [[ $line == [[:space:]]* ]]; then
            words+=("$word") first+=("$i")
        else
            words[-1]+=$word
        fi
        line=${line#*"$word"}
    done
    COMPREPLY=()
    mapfile -t reply < <(command shmadm __complete "${words[@]}" 2>/dev/null)
    case ${reply-} in
    :files*)
        compopt -o default
        ;;
    :command*)
        i=${first[${reply#*$'\t'}]}
        if declare -F _command_offset >/dev/null; then
            _command_offset "$i"
        elif ((i == COMP_CWORD)); then
            mapfile -t COMPREPLY < <(compgen -c -- "$2" | sort -u)
        else
            compopt -o default
        fi
        ;;
    *)
        # bash replaces only the part of the word after the last = or :, which is $2.
        word=${words[-1]%"$2"}
        reply=("${reply[@]%%$'\t'*}")
        COMPREPLY=("${reply[@]#"$word"}")
        [[ ${COMPREPLY-} != *= ]] || compopt -o nospace
        ;;
    esac
}
complete -o nosort -F _shmadm shmadm
