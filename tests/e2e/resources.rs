//! What the program does with few resources.
#![expect(unsafe_code, reason = "only pre_exec can take resources from a child")]
#![expect(clippy::disallowed_methods, reason = "tests prepare their own children")]

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, setrlimit};

use crate::oracle::{self, Attached};
use crate::support::{finish, noise, run, shmadm, shmadm_as};

/// A user who has no process but ours, so that a limit on processes is about ours alone.
pub(crate) const LONER: u32 = 4_000_000;
/// A user who has no pipe but ours.
const SPENDER: u32 = 4_000_001;
/// Bytes of memory of its own that the program may have.
const LITTLE: u64 = 16 << 20;
/// Bytes of a segment that would not fit into that.
const MUCH: usize = 40 << 20;

#[apply(test)]
fn contents_pass_through_little_memory() {
    let bytes = noise(MUCH, 7);
    let id = oracle::create(0, MUCH, 0o600);
    let name = id.to_string();
    let mut command = shmadm();
    let mut writer = limited(&mut command, Resource::RLIMIT_DATA, LITTLE)
        .args(["write", &name, "-q"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut writer.stdin.take().unwrap(), &bytes).unwrap();
    assert!(writer.wait().unwrap().success());
    assert!(oracle::contents(id) == bytes, "what was written is something else");
    let count = (MUCH / 8).to_string();
    let numbers = ["--type", "u64", "--count", &count];
    for form in [&["--raw"][..], &["--json"], &numbers, &[&numbers[..], &["--json"]].concat()] {
        let mut command = shmadm();
        let mut reader = limited(&mut command, Resource::RLIMIT_DATA, LITTLE)
            .args(["read", &name])
            .args(form)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut read = Vec::new();
        reader.stdout.take().unwrap().read_to_end(&mut read).unwrap();
        assert!(reader.wait().unwrap().success(), "{form:?}");
        assert!(form != ["--raw"] || read == bytes, "what was read is something else");
        assert!(read.len() >= MUCH, "{form:?} gives {} bytes", read.len());
    }
    // Nor is text without an end held in memory, which in JSON is escaped.
    run(["write", &name, "--fill", "0x78"]).exits(0);
    let mut command = shmadm();
    let reader = limited(&mut command, Resource::RLIMIT_DATA, LITTLE);
    let read = finish(reader.args(["read", &name, "--length", "20M", "--text", "--json"])).exits(0).stdout;
    assert!(read.ends_with("xx\"}\n") && read.len() > 3 * (20 << 20), "{} bytes", read.len());
}

#[apply(test)]
#[requires(Root)]
fn a_user_of_many_pipes_gets_small_ones_and_no_standstill() {
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
    assert!(numbers == bytes, "what was read is something else");
    as_spender(&["write", &name, "--fill", "9"]);
    assert!(oracle::contents(id).iter().all(|byte| *byte == 9));
}

/// Takes all that a user may have of pipes, and leaves them to the program that is executed.
fn spend_pipes() -> std::io::Result<()> {
    use nix::fcntl::{FcntlArg, fcntl};
    loop {
        let (reader, writer) = nix::unistd::pipe()?;
        let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1 << 20)).or_else(|_| fcntl(&writer, FcntlArg::F_GETPIPE_SZ));
        std::mem::forget((reader, writer));
        // What pipe(7) gives those who have too many.
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
