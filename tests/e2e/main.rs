//! End-to-end tests: the program as its users run it, each test in its own IPC namespace with its own /dev/shm.
//!
//! A process with several threads, as libtest starts them, cannot enter a user namespace. This main function enters one
//! first, unless it is root. The thread of each test then creates an IPC namespace, which its child processes inherit.
#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails by panicking")]

#[macro_use]
extern crate macro_rules_attribute;

#[macro_use]
mod harness;

mod actor;
mod attach;
mod changed;
mod check;
mod churn;
mod command_line;
mod completion;
mod create;
mod demo;
mod detach;
mod diff;
mod docs;
mod dump;
mod dying;
mod examples;
mod explain;
mod exporters;
mod faults;
mod filters;
mod fixtures;
mod former_key;
mod guard;
mod hidepid;
mod hints;
mod holder;
mod huge;
mod identify;
mod in_flight;
mod leakcheck;
mod limits;
mod list;
mod machine_output;
mod map;
mod messages;
mod metrics;
mod namespaces;
mod naming;
mod objects;
mod oracle;
mod output;
mod peek;
mod planted;
mod pool;
mod progress;
mod prune;
mod read;
mod redact;
mod resources;
mod restore;
mod rm;
mod round_trip;
mod safety;
mod sandbox;
mod set;
mod sparse;
mod stat;
mod support;
mod terminal;
mod top;
mod trace;
mod usage;
mod user_namespaces;
mod vanish;
mod who;
mod write;

use std::process::ExitCode;

use nix::sys::signal::{SigHandler, Signal};

#[expect(clippy::print_stderr, reason = "the harness has no other way to say why nothing ran")]
fn main() -> ExitCode {
    if actor::run_actor_role() || prune::churn::run_worker_role() || objects::churn::run_opener_role() {
        return ExitCode::SUCCESS;
    }
    reset_signals();
    let arguments = libtest_mimic::Arguments::from_args();
    if let Err(problem) = support::enter_user_namespace() {
        // Tests that did not run have not passed.
        eprintln!("these tests need their own namespaces: {problem}");
        eprintln!("run them as root, or where unprivileged user namespaces are allowed");
        eprintln!("(`sysctl kernel.apparmor_restrict_unprivileged_userns`, a container's seccomp profile)");
        return ExitCode::FAILURE;
    }
    let tests = harness::tests().into_iter().chain(examples::tests()).collect();
    let conclusion = libtest_mimic::run(&arguments, tests);
    support::clean_up();
    conclusion.exit_code()
}

/// Restores the default action of signals that the caller may ignore, as `nohup` and a shell's `&` do. The program
/// would inherit that, and tests of Ctrl-C would wait forever.
#[expect(unsafe_code, reason = "only a system call changes what child processes inherit")]
fn reset_signals() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
        // SAFETY: the default action runs no code of ours.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.unwrap();
    }
}
