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
complete -c shmadm -n "__fish_shmadm_needs_command" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_needs_command" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_needs_command" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_needs_command" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_needs_command" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_needs_command" -s V -l version -d 'Print version'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "create" -d 'Create a segment, or open the one that its key names'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "attach" -d 'Hold a segment attached, in the foreground or behind it'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "detach" -d 'End attachments that `attach` holds in the background'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "set" -d 'Change owner, group or mode; lock in memory or unlock'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "rm" -d 'Remove segments'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "list" -d 'List all segments'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "ls" -d 'List all segments'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "stat" -d 'Show segments in full'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "who" -d 'Show the processes that have segments attached'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "map" -d 'Show where a segment lives: in memory, in swap, or nowhere yet'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "limits" -d 'Show the kernel\'s limits and how much of them is used'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "prune" -d 'Remove segments that nobody needs any more'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "leakcheck" -d 'Run a command and report the segments that it left behind'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "write" -d 'Write into a segment'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "attach-and-write" -d 'Write into a segment'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "read" -d 'Print a segment\'s contents'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "dump" -d 'Write a segment\'s contents and what it is to files'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "restore" -d 'Make a segment anew from what dump has written'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "diff" -d 'Show what has become of segments between two listings'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "check" -d 'Judge the use of the limits as a monitoring plugin does'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "metrics" -d 'Print metrics for Prometheus'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "demo" -d 'Show the life of a segment, with a writer and a reader'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "completions" -d 'Print a shell\'s completion script'
complete -c shmadm -n "__fish_shmadm_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l key -d 'Its key: private (none), random (an unused one), a number (decimal, 0x or leading 0), or ftok:PATH:PROJ' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l size -d 'Its size, such as 4096, 4K or 1MB [default: one page]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l mode -d 'Its permission bits, in octal [default: 0600]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l owner -d 'Give it to this user' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l group -d 'Give it to this group' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l huge -d 'Use huge pages, of the default size or of this one, such as 2M' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l fill -d 'Fill it with this byte, 0 to 255 or 0x00 to 0xff' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l exclusive -d 'Fail if a segment has the key already'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l no-reserve -d 'Promise no memory for it: it may be larger than memory and swap'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l lock -d 'Lock it in memory as it is touched'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l hold -d 'Leave a background process that holds it attached'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand create" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l address -d 'Attach at this address (shmat\'s second argument), such as 0x7f0000000000' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l for -d 'Detach after this time, such as 250ms or 10m' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l read-only -d 'Attach for reading alone (SHM_RDONLY)'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l exec -d 'Attach with the right to execute (SHM_EXEC)'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l round -d 'Round the address down to a page (SHM_RND)'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l background -d 'Leave the attachment to a background process, and print its pid'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -l pid -d 'End the holder with this pid alone' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand detach" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l owner -d 'Give it to this user' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l group -d 'Give it to this group' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l mode -d 'Its permission bits, in octal' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l lock -d 'Lock it in memory as it is touched'
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l unlock -d 'Let it be swapped again'
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand set" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l from -d 'Those that FILE lists: a report of leakcheck, or of prune --dry-run --json; - for standard input' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -s f -l force -d 'Mark segments that are attached for destruction'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -s n -l dry-run -d 'Change nothing, and tell what would be removed'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l ignore-missing -d 'Let segments that do not exist be no failure'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand rm" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l owner -d 'Only segments that this user owns' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l key -d 'Only the segment with this key; `private` for those without one' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l state -d 'Only segments in this state' -r -f -a "in-use\t''
dest\t''
idle\t''
unknown\t''
orphan\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l older-than -d 'Only segments that nobody attached, detached or changed for so long, such as 10m or 1h30m' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l min-size -d 'Only segments of at least this size, such as 4096, 4K or 1MB' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s o -l output -d 'Show these columns; +NAME,… adds to what is shown anyway' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l sort -d 'Sort by this column, whether it is shown or not' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l time -d 'How to show times' -r -f -a "relative\t''
iso\t''
unix\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l mine -d 'Only segments that you own or created'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l list-columns -d 'List the columns that there are'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l reverse -d 'Turn the order around'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l no-headings -d 'Leave the headings out'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l bytes -d 'Show sizes in bytes'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s t -d 'Show times, as ipcs -t does'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s p -d 'Show processes, as ipcs -p does'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s c -d 'Show creators and owners, as ipcs -c does'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l all-ns -d 'List the segments of every IPC namespace that a process is in'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand list" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l owner -d 'Only segments that this user owns' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l key -d 'Only the segment with this key; `private` for those without one' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l state -d 'Only segments in this state' -r -f -a "in-use\t''
dest\t''
idle\t''
unknown\t''
orphan\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l older-than -d 'Only segments that nobody attached, detached or changed for so long, such as 10m or 1h30m' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l min-size -d 'Only segments of at least this size, such as 4096, 4K or 1MB' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s o -l output -d 'Show these columns; +NAME,… adds to what is shown anyway' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l sort -d 'Sort by this column, whether it is shown or not' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l time -d 'How to show times' -r -f -a "relative\t''
iso\t''
unix\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l mine -d 'Only segments that you own or created'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l list-columns -d 'List the columns that there are'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l reverse -d 'Turn the order around'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l no-headings -d 'Leave the headings out'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l bytes -d 'Show sizes in bytes'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s t -d 'Show times, as ipcs -t does'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s p -d 'Show processes, as ipcs -p does'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s c -d 'Show creators and owners, as ipcs -c does'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l all-ns -d 'List the segments of every IPC namespace that a process is in'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand ls" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l time -d 'How to show times' -r -f -a "relative\t''
iso\t''
unix\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l bytes -d 'Show sizes in bytes, without units'
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand stat" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l all -d 'Show who is attached to any segment, as if none were named'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l mappings -d 'A row for each mapping, with its address'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l all-ns -d 'Look at the segments of every IPC namespace that a process is in'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand who" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand map" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand map" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
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
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l bytes -d 'Show sizes in bytes'
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l no-headings -d 'Leave the headings out'
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand limits" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l owner -d 'Only segments that this user owns' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l key -d 'Only the segment with this key; `private` for those without one' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l state -d 'Only segments in this state' -r -f -a "in-use\t''
dest\t''
idle\t''
unknown\t''
orphan\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l older-than -d 'Only segments that nobody attached, detached or changed for so long, such as 10m or 1h30m' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l min-size -d 'Only segments of at least this size, such as 4096, 4K or 1MB' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l mine -d 'Only segments that you own or created'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l unattached -d 'Take idle and unknown segments too, which somebody may come back for'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l any-owner -d 'Take other users\' segments too'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -s n -l dry-run -d 'Change nothing, and show what would be removed and why'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -s y -l yes -d 'Do not ask'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l all-ns -d 'Look into every IPC namespace that a process is in'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand prune" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l isolate -d 'When to give the command an IPC namespace of its own' -r -f -a "auto\t'Where that takes no user namespace'
always\t'In any case, with a user namespace where it takes one'
never\t'Not at all'"
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l leak-exit-code -d 'Exit with N if anything was left behind' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l report -d 'Write what was found to FILE, as JSON' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l junit -d 'Write it to FILE as JUnit, which CI systems show' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l trace -d 'Observe every shmget, so that every creator is known'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l rm -d 'Remove leaked segments'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l lenient -d 'Do not count unattributed segments as leaks'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l strict -d 'Also remove unattributed segments'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand leakcheck" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l input -d 'Write what this file has; - is standard input' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l hex -d 'Write these bytes, two hexadecimal digits each' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l fill -d 'Write this byte again and again, 0 to 255 or 0x00 to 0xff' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l length -d 'Fill so many bytes [default: all that follow]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l type -d 'Write numbers of this type, in the machine\'s byte order' -r -f -a "u8\t''
u16\t''
u32\t''
u64\t''
i8\t''
i16\t''
i32\t''
i64\t''
f32\t''
f64\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l offset -d 'Begin at this byte' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l sparse -d 'Let zeros of the input stay holes where the segment was never touched'
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand write" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l input -d 'Write what this file has; - is standard input' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l hex -d 'Write these bytes, two hexadecimal digits each' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l fill -d 'Write this byte again and again, 0 to 255 or 0x00 to 0xff' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l length -d 'Fill so many bytes [default: all that follow]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l type -d 'Write numbers of this type, in the machine\'s byte order' -r -f -a "u8\t''
u16\t''
u32\t''
u64\t''
i8\t''
i16\t''
i32\t''
i64\t''
f32\t''
f64\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l offset -d 'Begin at this byte' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l sparse -d 'Let zeros of the input stay holes where the segment was never touched'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand attach-and-write" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l offset -d 'Begin at this byte' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l length -d 'Read so many bytes [default: all that follow]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l type -d 'Print numbers of this type, in the machine\'s byte order' -r -f -a "u8\t''
u16\t''
u32\t''
u64\t''
i8\t''
i16\t''
i32\t''
i64\t''
f32\t''
f64\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l count -d 'Print so many numbers [default: 1]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l every -d 'Read again and again, with this time in between, until Ctrl-C' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l rounds -d 'Read so many times' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l hex -d 'Print a hex dump, which is the default'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l raw -d 'Print the bytes as they are'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l text -d 'Print the text up to the first NUL byte'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l sparse -d 'With --raw to a file: leave memory that was never touched as holes in it'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l peek -d 'Look through the attachment of a process that has it, so that no time and no last user changes; takes privilege'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l allow-allocation -d 'Read also if that takes memory for what was never touched'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand read" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -s o -l output -d 'Write to this file, and to one with .json behind its name; - is standard output, which gets the contents alone' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -s f -l force -d 'Overwrite files that exist'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l peek -d 'Look through the attachment of a process that has it, so that no time and no last user changes; takes privilege'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l allow-allocation -d 'Read also if that takes memory for what was never touched'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand dump" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l key -d 'Give it this key: private, random, a number or ftok:PATH:PROJ [default: as recorded]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l owner -d 'Give it to this user' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l group -d 'Give it to this group' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l mode -d 'Its permission bits, in octal [default: as recorded]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l hold -d 'Leave a background process that holds it attached'
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand restore" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l all-ns -d 'Compare with what is there now in every IPC namespace, as after `list --all-ns`'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l bytes -d 'Show sizes in bytes'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l no-headings -d 'Leave the headings out'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand diff" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s w -l warning -d 'Warn if WHAT leaves RANGE: segments, pages, orphans, orphan-bytes or dest [default: segments=80% pages=80%]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s c -l critical -d 'Be critical if WHAT leaves RANGE [default: segments=90% pages=90%]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s t -l timeout -d 'Give up after so many seconds, or a duration such as 500ms' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s v -l verbose -d 'Say more: the ranges of every value; twice, a line for each'
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand check" -s V -l version -d 'Print version'
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -s o -l output -d 'Write to this file, replacing it in one step; - is standard output' -r -F
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -l all-ns -d 'Tell of every IPC namespace that a process is in'
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand metrics" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l key -d 'The segment\'s key [default: 1234]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l rounds -d 'How often to write and read' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l interval -d 'The time between two rounds [default: 1s]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l keep -d 'Leave the segment behind'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -f -a "writer" -d 'Write an integer once a second, until Ctrl-C'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and not __fish_seen_subcommand_from writer reader" -f -a "reader" -d 'Read the integer once a second, until Ctrl-C'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l key -d 'The segment\'s key [default: 1234]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l rounds -d 'How often to write and read' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l interval -d 'The time between two rounds [default: 1s]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from writer" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l key -d 'The segment\'s key [default: 1234]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l rounds -d 'How often to write and read' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l interval -d 'The time between two rounds [default: 1s]' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l format -d 'Output format; csv and tsv only for commands that print rows' -r -f -a "table\t''
json\t''
csv\t''
tsv\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand demo; and __fish_seen_subcommand_from reader" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
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
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -l ns -d 'Run in the IPC namespace of a process, of a namespace file, or with this number' -r
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -l color -d 'When to use color [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -l json -d 'Print JSON (short for --format json)'
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -s q -l quiet -d 'Suppress status messages'
complete -c shmadm -n "__fish_shmadm_using_subcommand completions" -s h -l help -d 'Print help'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "create" -d 'Create a segment, or open the one that its key names'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "attach" -d 'Hold a segment attached, in the foreground or behind it'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "detach" -d 'End attachments that `attach` holds in the background'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "set" -d 'Change owner, group or mode; lock in memory or unlock'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "rm" -d 'Remove segments'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "list" -d 'List all segments'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "stat" -d 'Show segments in full'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "who" -d 'Show the processes that have segments attached'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "map" -d 'Show where a segment lives: in memory, in swap, or nowhere yet'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "limits" -d 'Show the kernel\'s limits and how much of them is used'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "prune" -d 'Remove segments that nobody needs any more'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "leakcheck" -d 'Run a command and report the segments that it left behind'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "write" -d 'Write into a segment'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "read" -d 'Print a segment\'s contents'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "dump" -d 'Write a segment\'s contents and what it is to files'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "restore" -d 'Make a segment anew from what dump has written'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "diff" -d 'Show what has become of segments between two listings'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "check" -d 'Judge the use of the limits as a monitoring plugin does'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "metrics" -d 'Print metrics for Prometheus'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "demo" -d 'Show the life of a segment, with a writer and a reader'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "completions" -d 'Print a shell\'s completion script'
complete -c shmadm -n "__fish_shmadm_using_subcommand help; and not __fish_seen_subcommand_from create attach detach set rm list stat who map limits prune leakcheck write read dump restore diff check metrics demo completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
