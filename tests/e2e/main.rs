//! End-to-end trials: the program as its users run it, each trial in an IPC namespace of its own.
//!
//! libtest's threads make a user namespace impossible, hence a main of our own: it enters one unless it is root, and
//! the thread of each trial then makes its IPC namespace, which the processes it starts inherit.
#![expect(clippy::unwrap_used, reason = "a trial that cannot go on fails by panicking")]

mod naming;
mod oracle;
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    if let Err(problem) = support::enter_user_namespace() {
        // Passing by doing nothing would be a lie.
        eprintln!("these trials need namespaces of their own: {problem}");
        eprintln!("run them as root, or where unprivileged user namespaces are allowed");
        eprintln!("(`sysctl kernel.apparmor_restrict_unprivileged_userns`, a container's seccomp profile)");
        return ExitCode::FAILURE;
    }
    let trials = [naming::trials()].into_iter().flatten().collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    support::clean_up();
    conclusion.exit_code()
}
