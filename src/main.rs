//! The program: calls the library, and ends as it says.

use std::process::ExitCode;

use shmadm::Exit;

fn main() -> ExitCode {
    match shmadm::run(std::env::args_os()) {
        Exit::Done => ExitCode::SUCCESS,
        Exit::Failed(kind) => ExitCode::from(kind.code()),
        Exit::Verdict(code) => ExitCode::from(code),
        Exit::Signal(signal) => {
            shmadm::raise_signal(signal);
            // Only a signal that cannot end a process leads here.
            ExitCode::FAILURE
        }
    }
}
