//! shmadm: see, explain and clean up System V and POSIX shared memory on Linux.
//!
//! The library contains the whole program; it exports only what `main` and the tests of generated files need.
//! ARCHITECTURE.md describes the modules.

mod act;
mod cli;
mod commands;
mod contents;
mod error;
mod explain;
mod leaks;
mod model;
mod process;
mod procfs;
mod query;
mod render;
mod sys;
mod ui;

pub use cli::{COMMANDS, Command, columns, groups, program};
pub use commands::{EXIT_STATUS, Manual};
pub use error::{Exit, Kind};

/// Runs the program with its arguments, the first of which is its name.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Exit {
    cli::run(arguments.into_iter().collect())
}

/// Ends this process with the signal's default action, as if no handler were installed.
pub fn raise_signal(signal: i32) {
    process::raise_signal(signal);
}
