//! Limited resources: memory, pipes.
#![expect(unsafe_code, reason = "only pre_exec can take resources from a child")]
#![expect(clippy::disallowed_methods, reason = "tests prepare their own children")]

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, setrlimit};

use crate::oracle::{self, Attached};
use crate::support::{finish, noise, run, shmadm, shmadm_as};

/// A user without other processes, so that a limit on processes applies only to the test's.
pub(crate) const LONER: u32 = 4_000_000;
/// A user without other pipes.
const SPENDER: u32 = 4_000_001;
/// The limit of private memory, in bytes.
const MEMORY_LIMIT: u64 = 16 << 20;
/// The size of a segment that exceeds the limit.
const SEGMENT_SIZE: usize = 40 << 20;

#[apply(test)]
fn contents_are_copied_with_little_memory() {
    let bytes = noise(SEGMENT_SIZE, 7);
    let id = oracle::create(0, SEGMENT_SIZE, 0o600);
    let name = id.to_string();
    let mut command = shmadm();
    let mut writer = limited(&mut command, Resource::RLIMIT_DATA, MEMORY_LIMIT)
        .args(["write", &name, "-q"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut writer.stdin.take().unwrap(), &bytes).unwrap();
    assert!(writer.wait().unwrap().success());
    assert!(oracle::contents(id) == bytes, "other bytes were written");
    let count = (SEGMENT_SIZE / 8).to_string();
    let numbers = ["--type", "u64", "--count", &count];
    for form in [&["--raw"][..], &["--json"], &numbers, &[&numbers[..], &["--json"]].concat()] {
        let mut command = shmadm();
        let mut reader = limited(&mut command, Resource::RLIMIT_DATA, MEMORY_LIMIT)
            .args(["read", &name])
            .args(form)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut read = Vec::new();
        reader.stdout.take().unwrap().read_to_end(&mut read).unwrap();
        assert!(reader.wait().unwrap().success(), "{form:?}");
        assert!(form != ["--raw"] || read == bytes, "other bytes were read");
        assert!(read.len() >= SEGMENT_SIZE, "{form:?} gives {} bytes", read.len());
    }
    // Text is not held in memory either, although JSON must escape it.
    run(["write", &name, "--fill", "0x78"]).exits(0);
    let mut command = shmadm();
    let reader = limited(&mut command, Resource::RLIMIT_DATA, MEMORY_LIMIT);
    let read = finish(reader.args(["read", &name, "--length", "20M", "--text", "--json"])).exits(0).stdout;
    let text = format!("\"text\":\"{}\"}}\n", "x".repeat(20 << 20));
    assert!(read.ends_with(&text) && read.len() < text.len() + 100, "{} bytes", read.len());
}

#[apply(test)]
#[requires(Root)]
fn small_pipes_do_not_block_a_copy() {
    let bytes = noise(256 << 10, 3);
    let id = oracle::create(0, bytes.len(), 0o666);
    oracle::set(id, SPENDER, SPENDER, 0o600);
    let name = id.to_string();
    Attached::new(id).write(0, &bytes);
    let as_spender = |arguments: &[&str]| {
        let mut command = shmadm_as(SPENDER);
        // SAFETY: between fork and exec only pipe2, fcntl and close are called, and nothing is allocated.
        unsafe { command.pre_exec(spend_pipes) };
        finish(command.args(arguments)).exits(0)
    };
    let count = (bytes.len() / 8).to_string();
    let read = as_spender(&["read", &name, "--type", "u64", "--count", &count]).stdout;
    let numbers: Vec<u8> = read.lines().flat_map(|number| number.parse::<u64>().unwrap().to_ne_bytes()).collect();
    assert!(numbers == bytes, "other bytes were read");
    as_spender(&["write", &name, "--fill", "9"]);
    assert!(oracle::contents(id).iter().all(|byte| *byte == 9));
}

/// Opens pipes until the user's limit is reached; the program that is executed inherits them.
fn spend_pipes() -> std::io::Result<()> {
    use nix::fcntl::{FcntlArg, fcntl};
    loop {
        let (reader, writer) = nix::unistd::pipe()?;
        let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1 << 20)).or_else(|_| fcntl(&writer, FcntlArg::F_GETPIPE_SZ));
        std::mem::forget((reader, writer));
        // Above the limit, pipe(7) grants only small pipes.
        if size? < 64 << 10 {
            return Ok(());
        }
    }
}

/// Limits a resource of a command.
pub(crate) fn limited(command: &mut Command, resource: Resource, most: u64) -> &mut Command {
    // SAFETY: between fork and exec only setrlimit is called, which takes no lock and no memory.
    unsafe { command.pre_exec(move || setrlimit(resource, most, most).map_err(Into::into)) }
}
