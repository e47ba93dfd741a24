//! Takes the unwinder from the C compiler's static library where there is one, so that it need not be loaded.
//!
//! The standard library wants it for panics and nothing else; but as a shared library it is loaded at every start, and
//! asks the processor what it can do, which takes as long as a hundred system calls where that is a virtual one. Without
//! the static library, for another machine than this one, or with SHMADM_SHARED_UNWINDER in the environment, everything is
//! as it would be without this program.

use std::env;
use std::path::Path;
use std::process::Command;

/// The variable by which whoever packages this program keeps the shared library.
const SHARED: &str = "SHMADM_SHARED_UNWINDER";
/// The library's file.
const UNWINDER: &str = "libgcc_eh.a";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={SHARED}");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let native = env::var("HOST") == env::var("TARGET");
    if env::var_os(SHARED).is_some()
        || !native
        || !is("CARGO_CFG_TARGET_OS", "linux")
        || !is("CARGO_CFG_TARGET_ENV", "gnu")
    {
        return;
    }
    // By the program that links; it gives the bare name back if it has no such file.
    let linker = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let Ok(answer) = Command::new(linker).arg(format!("-print-file-name={UNWINDER}")).output() else { return };
    let answer = String::from_utf8_lossy(&answer.stdout);
    let file = Path::new(answer.trim());
    if let Some(directory) = file.parent().filter(|_| file.is_absolute() && file.is_file()) {
        println!("cargo:rustc-link-search=native={}", directory.display());
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}
