//! Benchmarks against other tools: `cargo bench`.
//!
//! The two commands of a pair run alternately (A B A B) in a private IPC namespace with a /dev/shm of its own. The
//! output has the median time of each command and the median of the ratios. Some parts require root (32,000 segments,
//! many namespaces, two users): without root they are skipped with a message. The first argument is the number of
//! pairs; the others select parts.
#![expect(clippy::unwrap_used, reason = "a failed benchmark panics")]
#![expect(clippy::print_stdout, reason = "benchmarks print their results")]

mod attachers;
mod contents;
mod leakcheck;
mod listing;
mod objects;
#[path = "../tests/e2e/oracle.rs"]
#[expect(dead_code, reason = "the end-to-end tests use all of it")]
mod oracle;
mod timing;
mod trace;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [listing::CREATOR, first, count] => {
            return listing::create_and_exit(first.parse().unwrap(), count.parse().unwrap());
        }
        [attachers::MAPPERS, count, used @ ..] => {
            return attachers::run_mappers(count.parse().unwrap(), used.first().copied());
        }
        [trace::ATTACHER] => return trace::attach_repeatedly(),
        [attachers::HOARDER] => return attachers::run_hoarder(),
        [attachers::CONTAINER] => return attachers::run_container(),
        [attachers::SEARCH, text] => return attachers::search_maps(text),
        _ => {}
    }
    let pairs = arguments.first().and_then(|number| number.parse().ok()).unwrap_or(15);
    let root = geteuid().is_root();
    if !root {
        println!("not root: skipping 32,000 segments, 100 namespaces and unprivileged users");
    }
    enter_namespace(root);
    let parts = arguments.get(1..).unwrap_or_default();
    let selected = |part: &str| parts.is_empty() || parts.iter().any(|name| name == part);
    timing::install();
    timing::headings();
    if selected("listing") {
        listing::startup(pairs);
        // Short runs need more pairs for a stable median.
        listing::run(4096, 1024, pairs * 4);
        if root {
            std::fs::write("/proc/sys/kernel/shmmni", "32768").unwrap();
            listing::run(32_000, 8_000, pairs);
        }
    }
    if selected("attachers") {
        attachers::run(pairs);
        if root {
            attachers::namespaces(pairs);
        }
    }
    if selected("objects") {
        objects::list(pairs.min(7));
        objects::prune(pairs.min(7));
        objects::read(pairs.min(9));
        attachers::objects(pairs.min(7));
    }
    if selected("leakcheck") {
        leakcheck::run(pairs * 2, root);
    }
    if selected("trace") {
        trace::run(pairs.min(5));
    }
    if selected("contents") {
        contents::run(pairs.min(9), root);
    }
    if selected("dump") {
        contents::run_dump(pairs.min(9), root);
    }
}

/// Enters a new IPC namespace with an empty /dev/shm; without root inside a user namespace that maps only the caller.
#[expect(clippy::disallowed_methods, reason = "the benchmarks must not touch the host's segments and objects")]
fn enter_namespace(root: bool) {
    let (uid, gid) = (geteuid(), nix::unistd::getegid());
    let namespaces = CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNS;
    unshare(if root { namespaces } else { namespaces | CloneFlags::CLONE_NEWUSER }).unwrap();
    if !root {
        std::fs::write("/proc/self/setgroups", "deny").unwrap();
        std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).unwrap();
        std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).unwrap();
    }
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(none, "/dev/shm", Some("tmpfs"), MsFlags::empty(), Some("mode=1777")).unwrap();
}
