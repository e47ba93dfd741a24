//! The program beside its peers, as ratios within one run: `cargo bench`.
//!
//! Each pair of commands runs in turn, A B A B, in an IPC namespace of its own; what is printed is the median of each
//! and the median of the ratios. 32,000 segments, many namespaces and the rights of two users take root: without it these parts are
//! left out, and said to be. A number as argument sets how many pairs are run.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails by panicking")]
#![expect(clippy::print_stdout, reason = "the table is what this is for")]

mod attachers;
mod contents;
mod leakcheck;
mod listing;
#[path = "../tests/e2e/oracle.rs"]
#[expect(dead_code, reason = "the trials use all of it")]
mod oracle;
mod timing;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [listing::CREATOR, first, count] => {
            return listing::create_and_die(first.parse().unwrap(), count.parse().unwrap());
        }
        [attachers::CROWD, count] => return attachers::be_a_crowd(count.parse().unwrap(), None),
        [attachers::CROWD, count, id] => return attachers::be_a_crowd(count.parse().unwrap(), id.parse().ok()),
        [attachers::CONTAINER] => return attachers::be_a_container(),
        [attachers::SEARCH, text] => return attachers::search_maps(text),
        _ => {}
    }
    let pairs = arguments.first().and_then(|number| number.parse().ok()).unwrap_or(15);
    let root = geteuid().is_root();
    if !root {
        println!("not root: 32,000 segments, 100 namespaces and what another user may do are left out");
    }
    enter_namespace(root);
    // All of it, or the parts that are named behind the number of pairs.
    let named = arguments.get(1..).unwrap_or_default();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    timing::install();
    timing::headings();
    if wanted("listing") {
        listing::startup(pairs);
        // Short runs: it takes more of them before their median stands still.
        listing::of(4096, 1024, pairs * 4);
        if root {
            std::fs::write("/proc/sys/kernel/shmmni", "32768").unwrap();
            listing::of(32_000, 8_000, pairs);
        }
    }
    if wanted("attachers") {
        attachers::run(pairs);
        if root {
            attachers::namespaces(pairs);
        }
    }
    if wanted("leakcheck") {
        leakcheck::run(pairs * 2, root);
    }
    if wanted("contents") {
        contents::run(pairs.min(9), root);
    }
    if wanted("dump") {
        contents::run_dump(pairs.min(9), root);
    }
}

/// Enters a fresh IPC namespace; without root inside a user namespace in which we stay who we are.
#[expect(clippy::disallowed_methods, reason = "what is measured must not meet the host's segments")]
fn enter_namespace(root: bool) {
    if root {
        unshare(CloneFlags::CLONE_NEWIPC).unwrap();
        return;
    }
    let (uid, gid) = (geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC).unwrap();
    std::fs::write("/proc/self/setgroups", "deny").unwrap();
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).unwrap();
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).unwrap();
}
