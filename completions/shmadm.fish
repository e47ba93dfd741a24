# Completion of shmadm for fish. The program finds the candidates.
function __shmadm_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l token (commandline --current-token --cut-at-cursor)
    set -l reply (command shmadm __complete $words "$token" 2>/dev/null)
    set -l first (string split --max 1 \t -- "$reply[1]") ''
    switch $first[1]
        case :files
            set -l start (math (string length -- "$first[2]") + 1)
            printf "$first[2]%s\n" (complete --do-complete "'' "(string sub --start $start -- "$token"))
        case :command
            set -l rest $words[(math $first[2] + 1)..]
            complete --do-complete (string join ' ' -- (string escape -- $rest) "$token")
        case '*'
            printf '%s\n' $reply
    end
end
complete --command shmadm --no-files --keep-order --arguments '(__shmadm_complete)'
