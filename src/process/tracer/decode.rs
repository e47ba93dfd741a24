//! Decodes the calls for segments: their arguments, and what was attempted.

use nix::libc::{self, c_int};

use crate::explain::Attempt;
use crate::model::{Access, Argument, Arguments, CallName, Flags, Key, Mode, ShmId};
use crate::sys::{self, Address, CreateFlags, RawRecord, SHM_HUGE_SHIFT};

/// linux/shm.h: the bits of log2 of the huge page size in the flags of shmget.
const SHM_HUGE_MASK: u64 = 0x3f;
const MODE_BITS: u64 = 0o777;

const SHMGET_FLAGS: &[(u64, &str)] = &[
    (bits(libc::IPC_CREAT), "IPC_CREAT"),
    (bits(libc::IPC_EXCL), "IPC_EXCL"),
    (bits(libc::SHM_HUGETLB), "SHM_HUGETLB"),
    (bits(libc::SHM_NORESERVE), "SHM_NORESERVE"),
];
const SHMAT_FLAGS: &[(u64, &str)] = &[
    (bits(libc::SHM_RDONLY), "SHM_RDONLY"),
    (bits(libc::SHM_RND), "SHM_RND"),
    (bits(libc::SHM_REMAP), "SHM_REMAP"),
    (bits(libc::SHM_EXEC), "SHM_EXEC"),
];
/// linux/shm.h: flags in the mode of a record.
const RECORD_FLAGS: &[(u64, &str)] = &[(0o1000, "SHM_DEST"), (0o2000, "SHM_LOCKED")];

/// A command of shmctl(2).
struct Command {
    number: i32,
    name: &'static str,
    /// The name in errors.
    call: &'static str,
    buffer: Buffer,
}

/// What the third argument of shmctl(2) is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Buffer {
    Unused,
    /// A record that the program has written.
    Input,
    /// A record that the kernel writes.
    Record,
    Limits,
    Usage,
}

const COMMANDS: &[Command] = &[
    command(libc::IPC_RMID, "IPC_RMID", "shmctl IPC_RMID", Buffer::Unused),
    command(libc::IPC_SET, "IPC_SET", "shmctl IPC_SET", Buffer::Input),
    command(libc::IPC_STAT, "IPC_STAT", "shmctl IPC_STAT", Buffer::Record),
    command(sys::IPC_INFO, "IPC_INFO", "shmctl IPC_INFO", Buffer::Limits),
    command(libc::SHM_LOCK, "SHM_LOCK", "shmctl SHM_LOCK", Buffer::Unused),
    command(libc::SHM_UNLOCK, "SHM_UNLOCK", "shmctl SHM_UNLOCK", Buffer::Unused),
    command(sys::SHM_STAT, "SHM_STAT", "shmctl SHM_STAT", Buffer::Record),
    command(sys::SHM_INFO, "SHM_INFO", "shmctl SHM_INFO", Buffer::Usage),
    command(sys::SHM_STAT_ANY, "SHM_STAT_ANY", "shmctl SHM_STAT_ANY", Buffer::Record),
];

const fn command(number: i32, name: &'static str, call: &'static str, buffer: Buffer) -> Command {
    Command { number, name, call, buffer }
}

pub(super) const fn bits(flags: c_int) -> u64 {
    flags.cast_unsigned() as u64
}

/// Returns an argument that is an int: its lower half.
#[expect(clippy::cast_possible_truncation, reason = "the kernel uses the lower half, too")]
pub(super) const fn int(argument: u64) -> i32 {
    (argument as u32).cast_signed()
}

/// Returns the bits of an argument that is an int.
pub(super) fn int_bits(argument: u64) -> u64 {
    bits(int(argument))
}

fn find_command(argument: u64) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.number == int(argument))
}

/// Decodes the arguments at the start of a call on segments. Reads the record that is written with IPC_SET.
pub(super) fn arguments(thread: i32, name: CallName, raw: &[u64; 6]) -> Arguments {
    match name {
        CallName::Shmget => {
            let flags = int_bits(raw[2]);
            let huge = flags >> SHM_HUGE_SHIFT & SHM_HUGE_MASK;
            let mut names = Flags::new(flags & !MODE_BITS & !(SHM_HUGE_MASK << SHM_HUGE_SHIFT), SHMGET_FLAGS).names;
            names.extend((huge != 0).then(|| format!("{huge}<<SHM_HUGE_SHIFT").into()));
            let flags = Flags { names, mode: None }.with_mode(flags);
            vec![
                ("key", Argument::Key(Key::from_kernel(int(raw[0])))),
                ("size", Argument::Size(raw[1])),
                ("flags", Argument::Flags(flags)),
            ]
        }
        CallName::Shmat => vec![
            ("id", Argument::Number(int(raw[0]).into())),
            ("address", Argument::Address(raw[1])),
            ("flags", Argument::Flags(Flags::new(int_bits(raw[2]), SHMAT_FLAGS))),
        ],
        CallName::Shmctl => {
            let command = find_command(raw[1]);
            let word = command.map_or_else(|| format!("{:#x}", int(raw[1])).into(), |command| command.name.into());
            let input = command.filter(|command| command.buffer == Buffer::Input);
            let record = input
                .and_then(|_| sys::read_record(thread, raw[2]).ok())
                .map(|record| Argument::Structure(fields(&record)));
            let buffer = record.unwrap_or(Argument::Address(raw[2]));
            let buffer_name = if matches!(buffer, Argument::Structure(_)) { "buf" } else { "address" };
            vec![("id", Argument::Number(int(raw[0]).into())), ("command", Argument::Word(word)), (buffer_name, buffer)]
        }
        _ => vec![("address", Argument::Address(raw[0]))],
    }
}

/// Replaces the address of what a successful call has written with its contents.
pub(super) fn add_output(thread: i32, name: CallName, raw: &[u64; 6], arguments: &mut Arguments) {
    let Some(command) = find_command(raw[1]).filter(|_| name == CallName::Shmctl) else { return };
    let sizes =
        |fields: &[(&'static str, u64)]| fields.iter().map(|(name, size)| (*name, Argument::Size(*size))).collect();
    let output: Option<Arguments> = match command.buffer {
        Buffer::Record => sys::read_record(thread, raw[2]).ok().map(|record| fields(&record)),
        Buffer::Limits => sys::read_limits(thread, raw[2]).ok().map(|fields| sizes(&fields)),
        Buffer::Usage => sys::read_usage(thread, raw[2]).ok().map(|fields| sizes(&fields)),
        Buffer::Unused | Buffer::Input => None,
    };
    if let (Some(last), Some(fields)) = (arguments.last_mut(), output) {
        *last = ("buf", Argument::Structure(fields));
    }
}

/// Returns the result of a successful shmget(2) that can have created a segment, and whether it certainly has.
pub(super) fn created_segment(name: CallName, raw: &[u64; 6], result: u64) -> Option<(ShmId, bool)> {
    let has = |flag: c_int| int(raw[2]) & flag != 0;
    let is_new = int(raw[0]) == libc::IPC_PRIVATE || has(libc::IPC_CREAT) && has(libc::IPC_EXCL);
    let can_be_new = name == CallName::Shmget && (is_new || has(libc::IPC_CREAT));
    ShmId::new(int(result)).filter(|_| can_be_new).map(|id| (id, is_new))
}

fn mode(record: &RawRecord) -> Argument {
    let mode = u64::from(record.mode);
    Argument::Flags(Flags::new(mode & !MODE_BITS, RECORD_FLAGS).with_mode(mode))
}

fn fields(record: &RawRecord) -> Arguments {
    let number = Argument::Number;
    vec![
        ("key", Argument::Key(record.key)),
        ("uid", number(record.uid.into())),
        ("gid", number(record.gid.into())),
        ("cuid", number(record.cuid.into())),
        ("cgid", number(record.cgid.into())),
        ("mode", mode(record)),
        ("size", Argument::Size(record.size)),
        ("cpid", number(record.cpid.into())),
        ("lpid", number(record.lpid.into())),
        ("nattch", Argument::Size(record.nattch)),
        ("atime", Argument::Time(record.atime)),
        ("dtime", Argument::Time(record.dtime)),
        ("ctime", Argument::Time(record.ctime)),
    ]
}

/// Returns what a call attempted, and its name in errors; `None` if `explain` does not know such an attempt.
pub(super) fn attempt(name: CallName, raw: &[u64; 6]) -> Option<(Attempt, &'static str)> {
    let flags = int(raw[2]);
    let has = |flag: c_int| flags & flag != 0;
    let (command, call) = match name {
        CallName::Shmctl => find_command(raw[1]).map_or((int(raw[1]), "shmctl"), |found| (found.number, found.call)),
        _ => (0, name.as_str()),
    };
    let attempt = match (name, ShmId::new(int(raw[0]))) {
        (CallName::Shmget, _) => {
            let (key, size) = (Key::from_kernel(int(raw[0])), raw[1]);
            if key == Key::PRIVATE || has(libc::IPC_CREAT) {
                Attempt::Create { key, size, flags: CreateFlags::from_kernel(flags) }
            } else {
                Attempt::Open { key, size, mode: Mode::from_kernel(flags.cast_unsigned()) }
            }
        }
        (CallName::Shmdt, _) => Attempt::DetachAddress(usize::try_from(raw[0]).ok()?),
        (CallName::Shmat | CallName::Shmctl, None) => Attempt::NegativeId(int(raw[0])),
        (CallName::Shmat, Some(id)) => {
            let address = match usize::try_from(raw[1]).ok()? {
                0 => Address::Any,
                address if has(libc::SHM_RND) => Address::Rounded(address),
                address => Address::Exact(address),
            };
            let access = if has(libc::SHM_RDONLY) { Access::ReadOnly } else { Access::ReadWrite };
            let (exec, remap) = (has(libc::SHM_EXEC), has(libc::SHM_REMAP));
            Attempt::Attach { id, access, exec, address, remap }
        }
        (CallName::Shmctl, Some(id)) => match command {
            libc::IPC_RMID => Attempt::Remove(id),
            libc::IPC_SET => Attempt::Set(id),
            libc::IPC_STAT => Attempt::Stat(id),
            libc::SHM_LOCK => Attempt::Lock(id, true),
            libc::SHM_UNLOCK => Attempt::Lock(id, false),
            _ => Attempt::Control { id, command },
        },
        _ => return None,
    };
    Some((attempt, call))
}
