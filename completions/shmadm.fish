# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_shmadm_global_optspecs
    string join \n json format= ns= color= q/quiet h/help V/version
end

function __fish_shmadm_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_shmadm_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_shmadm_using_subcommand
    set -l cmd (__fish_shmadm_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c shmadm -n "__fish_shmadm_needs_command" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_needs_command" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_needs_command" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_needs_command" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_needs_command" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_needs_command" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_needs_command" -s V -l version -d 'Print version'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "create" -d 'Create a segment, or open an existing one by its key'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "attach" -d 'Attach a segment, in the foreground or background'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "detach" -d 'End background attachments'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "set" -d 'Change owner, group, mode or memory lock'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "rm" -d 'Remove segments'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "list" -d 'List segments'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "ls" -d 'List segments'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "stat" -d 'Show all fields of segments'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "who" -d 'Show the processes that have segments attached'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "map" -d 'Show which parts of a segment are in memory or in swap'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "limits" -d 'Show the kernel limits and their usage'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "prune" -d 'Remove segments that are no longer used'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "leakcheck" -d 'Run a command and report the segments that it leaks'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "write" -d 'Write into a segment'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "attach-and-write" -d 'Write into a segment'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "read" -d 'Print a segment\'s contents'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "dump" -d 'Dump a segment\'s contents and attributes to files'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "restore" -d 'Recreate a segment from a dump'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "diff" -d 'Show how segments changed between two listings'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "check" -d 'Check usage against limits (Nagios-compatible plugin)'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "metrics" -d 'Print metrics for Prometheus'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "demo" -d 'Show the life of a segment, with a writer and a reader'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "completions" -d 'Print a shell completion script'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l key -d 'Key: private, random, a number (1234, 0x4d2, 02322) or ftok:PATH[:PROJ]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l size -d 'Size in bytes (4096, 4K, 1MB) [default: one page]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l mode -d 'Permission bits in octal [default: 0600]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l owner -d 'Owner of the segment' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l group -d 'Group of the segment' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l huge -d 'Use huge pages of the default size, or of SIZE (2M)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l fill -d 'Fill the segment with BYTE (0 to 255, or 0x00 to 0xff)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l exclusive -d 'Fail if a segment with this key exists'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l no-reserve -d 'Do not reserve memory or swap (SHM_NORESERVE)'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l lock -d 'Lock the pages in memory (SHM_LOCK)'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l hold -d 'Keep the segment attached in a background process'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -s n -l dry-run -d 'Show whether a segment would be created or opened'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l address -d 'Attach at ADDR (shmat\'s second argument)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l for -d 'Detach after DURATION (250ms, 10m)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l read-only -d 'Attach read-only (SHM_RDONLY)'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l exec -d 'Allow execution of the contents (SHM_EXEC)'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l round -d 'Round the address down to a page boundary (SHM_RND)'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l background -d 'Attach in a background process and print its pid'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -l pid -d 'End only the holder with this pid' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l owner -d 'Owner of the segment' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l group -d 'Group of the segment' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l mode -d 'Permission bits in octal' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l lock -d 'Lock the pages in memory (SHM_LOCK)'
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l unlock -d 'Unlock the pages (SHM_UNLOCK)'
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l from -d 'Remove the segments of a leakcheck or prune report; - for standard input' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -s f -l force -d 'Mark attached segments for destruction'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -s n -l dry-run -d 'Show what would be removed, without removing it'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l ignore-missing -d 'Ignore segments that do not exist'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l owner -d 'Only segments owned by USER' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l group -d 'Only segments of GROUP' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l creator -d 'Only segments created by USER' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l key -d 'Only segments with KEY, or with `any` key, or `private` ones' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l state -d 'Only segments in STATE' -r -f -a "in-use\t''
dest\t''
idle\t''
unknown\t''
orphan\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l mode -d 'Only segments with these permission bits (octal)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l older-than -d 'Only segments idle for at least DURATION (10m, 1h30m)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l min-size -d 'Only segments of at least SIZE (4096, 4K, 1MB)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l max-size -d 'Only segments of at most SIZE' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l cpid -d 'Only segments created by process PID' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l pid -d 'Only segments that process PID has attached' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l exclude -d 'Leave out SEGMENT' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s o -l output -d 'Columns to show; +NAME,NAME adds to the default' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l sort -d 'Sort by COLUMN' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l time -d 'Format of times' -r -f -a "relative\t''
iso\t''
unix\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l mine -d 'Only segments that you own or created'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l list-columns -d 'List available columns'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s r -l reverse -d 'Reverse the sort order'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l no-headings -d 'Omit the header line'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l bytes -d 'Show sizes in bytes'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s t -d 'Show times, like ipcs -t'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s p -d 'Show processes, like ipcs -p'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s c -d 'Show creators and owners, like ipcs -c'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l all-ns -d 'List the segments of all IPC namespaces'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l owner -d 'Only segments owned by USER' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l group -d 'Only segments of GROUP' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l creator -d 'Only segments created by USER' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l key -d 'Only segments with KEY, or with `any` key, or `private` ones' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l state -d 'Only segments in STATE' -r -f -a "in-use\t''
dest\t''
idle\t''
unknown\t''
orphan\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l mode -d 'Only segments with these permission bits (octal)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l older-than -d 'Only segments idle for at least DURATION (10m, 1h30m)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l min-size -d 'Only segments of at least SIZE (4096, 4K, 1MB)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l max-size -d 'Only segments of at most SIZE' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l cpid -d 'Only segments created by process PID' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l pid -d 'Only segments that process PID has attached' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l exclude -d 'Leave out SEGMENT' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s o -l output -d 'Columns to show; +NAME,NAME adds to the default' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l sort -d 'Sort by COLUMN' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l time -d 'Format of times' -r -f -a "relative\t''
iso\t''
unix\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l mine -d 'Only segments that you own or created'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l list-columns -d 'List available columns'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s r -l reverse -d 'Reverse the sort order'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l no-headings -d 'Omit the header line'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l bytes -d 'Show sizes in bytes'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s t -d 'Show times, like ipcs -t'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s p -d 'Show processes, like ipcs -p'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s c -d 'Show creators and owners, like ipcs -c'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l all-ns -d 'List the segments of all IPC namespaces'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l time -d 'Format of times' -r -f -a "relative\t''
iso\t''
unix\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l bytes -d 'Show sizes in bytes'
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l owner -d 'Only segments owned by USER' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l group -d 'Only segments of GROUP' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l creator -d 'Only segments created by USER' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l key -d 'Only segments with KEY, or with `any` key, or `private` ones' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l state -d 'Only segments in STATE' -r -f -a "in-use\t''
dest\t''
idle\t''
unknown\t''
orphan\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l mode -d 'Only segments with these permission bits (octal)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l older-than -d 'Only segments idle for at least DURATION (10m, 1h30m)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l min-size -d 'Only segments of at least SIZE (4096, 4K, 1MB)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l max-size -d 'Only segments of at most SIZE' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l cpid -d 'Only segments created by process PID' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l pid -d 'Only segments that process PID has attached' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l exclude -d 'Leave out SEGMENT' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l mine -d 'Only segments that you own or created'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l all -d 'Show the processes of all segments, even if SEGMENT is given'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l mappings -d 'Show one row per mapping, with its address'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l all-ns -d 'Show the segments of all IPC namespaces'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand map" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand map" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand map" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand map" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand map" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand map" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l no-headings -d 'Omit the header line'
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l bytes -d 'Show sizes in bytes'
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l owner -d 'Only segments owned by USER' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l group -d 'Only segments of GROUP' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l creator -d 'Only segments created by USER' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l key -d 'Only segments with KEY, or with `any` key, or `private` ones' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l state -d 'Only segments in STATE' -r -f -a "in-use\t''
dest\t''
idle\t''
unknown\t''
orphan\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l mode -d 'Only segments with these permission bits (octal)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l older-than -d 'Only segments idle for at least DURATION (10m, 1h30m)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l min-size -d 'Only segments of at least SIZE (4096, 4K, 1MB)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l max-size -d 'Only segments of at most SIZE' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l cpid -d 'Only segments created by process PID' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l pid -d 'Only segments that process PID has attached' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l exclude -d 'Leave out SEGMENT' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l mine -d 'Only segments that you own or created'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l unattached -d 'Also remove idle and unknown segments'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l any-owner -d 'Also remove segments of other users'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -s n -l dry-run -d 'Show what would be removed, without removing it'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -s y -l yes -d 'Do not ask for confirmation'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l all-ns -d 'Remove from all IPC namespaces'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l isolate -d 'When to run the command in a private IPC namespace' -r -f -a "auto\t'If no user namespace is needed'
always\t'Always, in a user namespace if needed'
never\t'Never'"
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l leak-exit-code -d 'Exit code if segments were leaked' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l report -d 'Write the report to FILE as JSON' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l junit -d 'Write the report to FILE as JUnit XML' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l trace -d 'Observe every shmget call, so that every creator is known'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l rm -d 'Remove leaked segments'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l lenient -d 'Do not count unattributed segments as leaks'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l strict -d 'Also remove unattributed segments'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l input -d 'Write the contents of FILE; - for standard input' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l hex -d 'Write bytes given as pairs of hexadecimal digits' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l fill -d 'Fill the range with BYTE (0 to 255, or 0x00 to 0xff)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l length -d 'Number of bytes to fill [default: to the end of the segment]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l type -d 'Write numbers of TYPE in native byte order' -r -f -a "u8\t''
u16\t''
u32\t''
u64\t''
i8\t''
i16\t''
i32\t''
i64\t''
f32\t''
f64\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l offset -d 'Offset of the first byte' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l sparse -d 'Keep untouched pages as holes where the input is zero'
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l input -d 'Write the contents of FILE; - for standard input' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l hex -d 'Write bytes given as pairs of hexadecimal digits' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l fill -d 'Fill the range with BYTE (0 to 255, or 0x00 to 0xff)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l length -d 'Number of bytes to fill [default: to the end of the segment]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l type -d 'Write numbers of TYPE in native byte order' -r -f -a "u8\t''
u16\t''
u32\t''
u64\t''
i8\t''
i16\t''
i32\t''
i64\t''
f32\t''
f64\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l offset -d 'Offset of the first byte' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l sparse -d 'Keep untouched pages as holes where the input is zero'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l offset -d 'Offset of the first byte' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l length -d 'Number of bytes [default: to the end of the segment]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l type -d 'Print numbers of TYPE in native byte order' -r -f -a "u8\t''
u16\t''
u32\t''
u64\t''
i8\t''
i16\t''
i32\t''
i64\t''
f32\t''
f64\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l count -d 'Number of values [default: 1]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l every -d 'Repeat every DURATION until Ctrl-C' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l rounds -d 'Stop after printing N times' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l hex -d 'Print a hex dump (default)'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l raw -d 'Print the bytes unchanged'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l text -d 'Print text up to the first NUL byte'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l sparse -d 'Write untouched pages as holes (--raw to a file)'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l peek -d 'Read via another process\'s attachment, changing no times (privileged)'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l allow-allocation -d 'Allow reading to allocate memory for untouched pages'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -s o -l output -d 'Output file (attributes: FILE.json); - for standard output' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -s f -l force -d 'Overwrite existing files'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l peek -d 'Read via another process\'s attachment, changing no times (privileged)'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l allow-allocation -d 'Allow reading to allocate memory for untouched pages'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l key -d 'Key: private, random, NUMBER or ftok:PATH[:PROJ] [default: as recorded]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l owner -d 'Owner of the segment' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l group -d 'Group of the segment' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l mode -d 'Permission bits in octal [default: as recorded]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l hold -d 'Keep the segment attached in a background process'
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l all-ns -d 'Compare with the current segments of all IPC namespaces'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l no-headings -d 'Omit the header line'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l bytes -d 'Show sizes in bytes'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s w -l warning -d 'WARNING if WHAT is outside RANGE [default: segments=80% pages=80%]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s c -l critical -d 'CRITICAL if WHAT is outside RANGE [default: segments=90% pages=90%]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s t -l timeout -d 'Time limit, in seconds or as a duration (500ms)' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s v -l verbose -d 'Show the ranges; twice: one line per value'
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s V -l version -d 'Print version'
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -s o -l output -d 'Output file, replaced atomically; - for standard output' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -l all-ns -d 'Include all IPC namespaces'
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l key -d 'Key of the segment [default: 1234]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l rounds -d 'Number of rounds' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l interval -d 'Interval between rounds [default: 1s]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l keep -d 'Keep the segment'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -f -a "writer" -d 'Write an integer every second until Ctrl-C'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -f -a "reader" -d 'Read the integer every second until Ctrl-C'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l key -d 'Key of the segment [default: 1234]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l rounds -d 'Number of rounds' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l interval -d 'Interval between rounds [default: 1s]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l key -d 'Key of the segment [default: 1234]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l rounds -d 'Number of rounds' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l interval -d 'Interval between rounds [default: 1s]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -l ns -d 'Run in another IPC namespace: of a process, a file, or by number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "create" -d 'Create a segment, or open an existing one by its key'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "attach" -d 'Attach a segment, in the foreground or background'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "detach" -d 'End background attachments'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "set" -d 'Change owner, group, mode or memory lock'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "rm" -d 'Remove segments'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "list" -d 'List segments'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "stat" -d 'Show all fields of segments'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "who" -d 'Show the processes that have segments attached'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "map" -d 'Show which parts of a segment are in memory or in swap'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "limits" -d 'Show the kernel limits and their usage'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "prune" -d 'Remove segments that are no longer used'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "leakcheck" -d 'Run a command and report the segments that it leaks'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "write" -d 'Write into a segment'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "read" -d 'Print a segment\'s contents'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "dump" -d 'Dump a segment\'s contents and attributes to files'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "restore" -d 'Recreate a segment from a dump'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "diff" -d 'Show how segments changed between two listings'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "check" -d 'Check usage against limits (Nagios-compatible plugin)'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "metrics" -d 'Print metrics for Prometheus'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "demo" -d 'Show the life of a segment, with a writer and a reader'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "completions" -d 'Print a shell completion script'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
