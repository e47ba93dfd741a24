//! The texts of `list --help` and of its manual page.

use std::fmt::Write;

use crate::commands::Manual;
use crate::commands::args::STATES;
use crate::render::{FILE, SEGMENT};

pub(crate) const MANUAL: Manual = Manual {
    summary: "List segments and POSIX objects",
    description: "Lists the System V segments of the IPC namespace and the POSIX shared memory objects, which are \
                  the files in /dev/shm: segments in the order of the kernel's table, objects in the order of the \
                  directory, unless --sort is given. With -o, -t, -p or -c, and in csv and tsv, only segments are \
                  listed; --posix lists only objects, with its own columns. --all-ns adds the segments of every IPC \
                  namespace and the objects of every /dev/shm, each file system once. In the combined table, NS is \
                  the IPC namespace of a segment and the mount namespace of an object.\n\n\
                  Filters select what is listed; all filters must match. Several values of one filter, separated by \
                  commas or in repeated options, are alternatives.\n\n\
                  STATE of a segment is the first of these that applies: dest (marked for destruction, still \
                  attached), in-use (attached), idle (the creator or the last user is running), unknown (one of \
                  them is outside this pid namespace, its pid was reused, or its status cannot be determined), \
                  orphan (both have exited). A segment that is not attached is not necessarily garbage: its creator \
                  may attach it again.\n\n\
                  STATE of an object is the first of these that applies: unlinked (it has no name), in-use (a \
                  process has it open or mapped), unknown (no such process was found, but not every process could \
                  be inspected), idle (the process whose pid is in its name is running, its program's lock is held, \
                  or an attached segment shows that its PostgreSQL server is running), kept (its program keeps it \
                  between runs, or needs it while one of its other objects is in use, as PostgreSQL does), orphan \
                  (the process whose pid is in its name has exited, none of the objects that its program needs \
                  with it is in use, or its name has no pid and every process of its owner started later), unused \
                  (none of these). --probe replaces most unknown states: it asks the kernel for a write lease on \
                  each object without a known user, which the kernel grants only if no process has the object open \
                  or mapped. A process that opens an object at that moment is briefly blocked.\n\n\
                  IDLE of a segment is the time since the last attach, detach or change; IDLE of an object is the \
                  time since the latest of its four times. It is not shown (-) while the segment or object is in \
                  use. Stores to a mapped object leave no trace, so an object that was used a moment ago can look \
                  idle.\n\n\
                  PRODUCT is the program that uses such names. A name is not proof: any process can use any name.\n\n\
                  -o selects columns in every format. Without it, csv, tsv and json print fixed fields; the default \
                  table may change, and drops columns on a narrow terminal. Long commands are shortened, but keep \
                  the program name and the end. If standard output is not a terminal, the environment variable \
                  COLUMNS sets the width of the table.",
    examples: &[
        ("shmadm list", "show all segments and objects"),
        ("shmadm list --mine --state orphan --older-than 10m", "show your segments that are no longer used"),
        ("shmadm list --sort rss --reverse -o ID,OWNER,SIZE,RSS,STATE", "show the segments with the most memory first"),
        ("shmadm list -o ID --no-headings --format tsv", "print ids for a script"),
        ("shmadm list --posix --sort size --reverse", "show the largest POSIX objects first"),
        ("shmadm list --unlinked", "show objects that have no name but still take memory"),
    ],
    json: "{\"schema\":1,\"segments\":[…],\"objects\":[…]}. With --posix or --unlinked there are only objects; with \
           --sysv or -o only segments. With -o, each record has exactly the selected fields.",
    notes: "--pid, and the columns PIDS, COMMANDS, FORMER_KEY and PAGE_SIZE, require a scan of all processes. With \
            --key, a warning names segments that are marked for destruction and had that key: their users do not \
            share memory with those of the segment that has the key now.\n\n\
            --bytes and --time apply to the table. CSV, TSV and JSON always contain bytes and RFC 3339 times in \
            UTC.",
};

pub(super) fn columns_help() -> String {
    let mut help = STATES.to_owned();
    for (heading, columns) in [("Columns", SEGMENT), ("Columns of POSIX objects (--posix, --unlinked)", FILE)] {
        // Writing to a string cannot fail.
        let _ = write!(help, "\n\n{heading}:");
        for column in columns {
            let _ = write!(help, "\n  {:<14} {}", column.name, column.help);
        }
    }
    help
}
