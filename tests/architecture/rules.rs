//! The rules, as data.

/// Each top-level module, and the others that it may name.
pub(crate) const TOP_MODULES: &[(&str, &[&str])] = &[
    ("main", &[]),
    // What the library exports lies in these; everything else it reaches through cli.
    ("lib", &["cli", "commands", "error", "process"]),
    ("cli", &["commands", "error", "leaks", "model", "process", "query", "render", "ui"]),
    ("commands", &["act", "contents", "error", "explain", "leaks", "model", "process", "query", "render", "ui"]),
    ("act", &["error", "explain", "model", "procfs", "query", "sys"]),
    ("contents", &["error", "explain", "model", "procfs", "query", "sys"]),
    ("process", &["error", "explain", "leaks", "model", "procfs", "query", "sys"]),
    ("leaks", &["model", "procfs", "query", "sys"]),
    ("explain", &["error", "model", "procfs", "query", "sys"]),
    ("query", &["model", "procfs", "sys"]),
    ("ui", &["error", "model", "render"]),
    ("render", &["error", "model"]),
    ("sys", &["model"]),
    ("procfs", &["model"]),
    ("error", &["model", "sys"]),
    ("model", &[]),
];

/// The modules in a module, in layers: each names only those before it.
pub(crate) const LAYERS: &[(&[&str], &[&str])] = &[
    (
        &["query"],
        &[
            "failure",
            "name_pattern",
            "product",
            "host",
            "state",
            "inventory",
            "limits",
            "filter",
            "tally",
            "swap",
            "users",
            "postgres",
            "family",
            "objects",
            "leases",
            "posix_usage",
            "identify",
            "shmem",
        ],
    ),
    (
        &["query", "host"],
        &[
            "id_map",
            "process",
            "huge",
            "devices",
            "directory",
            "caller",
            "system",
            "ages",
            "accounts",
            "rights",
            "namespaces",
            "instances",
            "file_systems",
        ],
    ),
    (&["query", "inventory"], &["resident", "complete", "tree", "posix", "sysv"]),
    (
        &["query", "users"],
        &[
            "threads",
            "origin",
            "scan",
            "descriptors",
            "found_files",
            "objects",
            "matcher",
            "attachers",
            "exiting",
            "holders",
            "peek",
        ],
    ),
    (&["contents"], &["range", "value", "transfer", "source", "extents", "checksum", "read", "write", "dump"]),
    (
        &["explain"],
        &[
            "access",
            "address",
            "attempt",
            "memory",
            "huge",
            "space",
            "key",
            "descriptor",
            "open",
            "diagnosis",
            "foreign",
            "failure",
            "files",
            "refusal",
            "resolve",
        ],
    ),
    (&["leaks"], &["provenance", "descendants", "attribution", "creations", "files"]),
];

/// Crates that only some modules may name. Test code may name any.
pub(crate) const CRATES: &[(&str, &[&str])] = &[
    ("clap", &["cli", "commands"]),
    ("clap_complete", &["cli", "commands"]),
    ("nix", &["act", "error", "explain", "process", "query", "sys"]),
    ("shmadm", &["main"]),
    ("prometheus_client", &["render"]),
    ("quick_xml", &["render"]),
    ("rustix", &["process", "sys", "ui"]),
];

/// Words that only one top-level module may contain.
pub(crate) const WORDS: &[(&str, &str)] = &[("unsafe", "sys"), ("ExitCode", "main"), ("_exit", "main")];

/// Macros that print behind the back of `ui`.
pub(crate) const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln"];

/// Pairs of neighbours in a path that only one top-level module may name; `*` is any name.
pub(crate) const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("*", "stdout", "ui"),
    ("*", "stderr", "ui"),
    ("process", "exit", "main"),
    ("process", "abort", "main"),
    ("libc", "exit", "main"),
    ("libc", "abort", "main"),
];

/// Modules of `commands` that are not commands; every command may name them.
pub(crate) const SHARED_BY_COMMANDS: &[&str] =
    &["all_namespaces", "args", "contents", "files", "filters", "memory", "new_segment", "objects"];
