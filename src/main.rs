//! The program: calls the library, and exits with its code or signal.

use std::process::ExitCode;

use shmadm::Exit;

fn main() -> ExitCode {
    match shmadm::run(std::env::args_os()) {
        Exit::Done => ExitCode::SUCCESS,
        Exit::Failed(kind) => ExitCode::from(kind.code()),
        Exit::Verdict(code) => ExitCode::from(code),
        Exit::Signal(signal) => {
            shmadm::raise_signal(signal);
            // Reached only if the signal does not end the process.
            ExitCode::FAILURE
        }
    }
}
