//! The requests that an actor executes. On its standard input each is a line: a word and the fields.

use std::fmt::{self, Display, Formatter};
use std::str::{FromStr, Split};

/// A request as a line.
pub(crate) trait Line: Display {}

/// Declares an enum of requests, its lines, and how they are parsed.
macro_rules! requests {
    ($(#[$enum_doc:meta])* $name:ident {
        $($(#[$doc:meta])* $word:literal => $variant:ident $({ $($field:ident: $type:ty),+ })?,)+
    }) => {
        $(#[$enum_doc])*
        #[derive(Debug)]
        pub(crate) enum $name {
            $($(#[$doc])* $variant $({ $($field: $type),+ })?,)+
        }

        impl Display for $name {
            fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant $({ $($field),+ })? => {
                        formatter.write_str($word)?;
                        $($(write!(formatter, " {}", $field)?;)+)?
                    })+
                }
                Ok(())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(line: &str) -> Result<Self, String> {
                let mut words = line.split(' ');
                let request = match words.next().unwrap_or_default() {
                    $($word => Self::$variant $({ $($field: field(&mut words, line)?),+ })?,)+
                    _ => return Err(format!("invalid request {line:?}")),
                };
                words.next().is_none().then_some(request).ok_or_else(|| format!("too many fields: {line:?}"))
            }
        }

        impl Line for $name {}
    };
}

/// Parses the next field of a line.
fn field<T: FromStr>(words: &mut Split<'_, char>, line: &str) -> Result<T, String> {
    words.next().and_then(|word| word.parse().ok()).ok_or_else(|| format!("invalid field in {line:?}"))
}

requests! {
    /// What the actor itself executes.
    Request {
        /// Answers that the actor is running.
        "hello" => Hello,
        /// shmget(2) of a new segment; answers with its id.
        "create" => Create { key: u32, size: usize, flags: i32 },
        /// shmget(2) of an existing or a new segment; answers with its id.
        "open-or-create" => OpenOrCreate { key: u32, size: usize },
        /// Answers with the id of the first segment in the kernel's table.
        "first-id" => FirstId,
        /// shmat(2); answers with the address.
        "attach" => Attach { id: i32 },
        /// The same with SHM_RDONLY.
        "attach-read-only" => AttachReadOnly { id: i32 },
        /// The same at a free address.
        "attach-at" => AttachAt { id: i32, address: usize },
        /// shmdt(2) of the last attachment.
        "detach" => Detach,
        /// IPC_RMID.
        "remove" => Remove { id: i32 },
        /// mprotect(2) of the second page of the first attachment, which splits its mapping in three.
        "split-mapping" => SplitMapping,
        /// Maps a page that userfaultfd(2) keeps missing; answers with the descriptor and the address.
        "missing-page" => MissingPage,
        /// Enters a new IPC namespace.
        "unshare" => Unshare,
        /// Enters a new user namespace, in which this uid is root's, and a new IPC namespace.
        "unshare-user" => UnshareUser,
        /// Starts a thread that enters a new IPC namespace.
        "unshare-in-thread" => UnshareInThread,
        /// Enters the IPC namespace of a file.
        "enter" => Enter { path: String },
        /// Answers with the inode number of the IPC namespace.
        "namespace" => Namespace,
        /// Starts a thread.
        "start-thread" => StartThread,
        /// Ends the first thread that was started.
        "end-thread" => EndThread,
        /// Ends the thread-group leader; another thread continues.
        "exit-leader" => ExitLeader,
        /// setuid(2).
        "set-uid" => SetUid { uid: u32 },
        "drop-capabilities" => DropCapabilities,
        /// Maps a file; answers with the address.
        "map-file" => MapFile { path: String },
        /// Opens a file for reading and writing; answers with the descriptor.
        "open-file" => OpenFile { path: String },
        /// Acquires a write lease on a file (F_SETLEASE).
        "lease-file" => LeaseFile { path: String },
        /// Closes a descriptor.
        "close-file" => CloseFile { descriptor: i32 },
        /// Maps a file made by memfd_create(2); answers with the address.
        "map-memfd" => MapMemfd { name: String },
        /// Fills a file made by memfd_create(2), which it keeps open, or mapped only.
        "hold-memfd" => HoldMemfd { size: usize, mapped: bool },
        /// Maps and touches shared anonymous memory.
        "map-anonymous" => MapAnonymous { size: usize },
        /// Maps a file whose path is `/NAME`, as a segment's is; answers with its inode number.
        "map-forged" => MapForged { name: String },
    }
}

requests! {
    /// What a child of the actor executes; answered with its pid, or with its exit code (the negative number of the
    /// signal that killed it) if the actor waits for it.
    ChildRequest {
        /// Creates a segment in a child with this pid, and waits for it.
        "create-as" => CreateAs { pid: i32, key: u32, size: usize },
        /// Opens a segment in a child with this pid, and waits for it.
        "open-as" => OpenAs { pid: i32, key: u32 },
        /// Creates a file in a child with this pid, and waits for it.
        "create-file-as" => CreateFileAs { pid: i32, path: String },
        /// Starts a child with this pid.
        "start-as" => StartAs { pid: i32 },
        /// Creates a segment in a child that then kills itself, and waits for it.
        "create-and-die" => CreateAndDie { key: u32, size: usize },
        /// Creates a segment in a child that the actor traces, and waits for it.
        "create-traced" => CreateTraced { key: u32, size: usize },
        /// Starts a child whose leader exits before another thread creates a segment.
        "create-without-leader" => CreateWithoutLeader { key: u32, size: usize },
        /// Creates segments in a child until its other thread calls execve(2), after N rounds, and waits for it.
        "create-until-exec" => CreateUntilExec { rounds: i32 },
        /// Waits for a child.
        "reap" => Reap { pid: i32 },
        "fork" => Fork,
        /// Starts a child that shares the actor's memory (CLONE_VM).
        "clone-vm" => CloneVm,
    }
}

requests! {
    /// System calls; answered with the result or the name of the errno.
    CallRequest {
        /// Any call with three arguments.
        "raw" => Raw { number: i64, first: u64, second: u64, third: u64 },
        /// A call of a 32-bit program on x86-64 (int 0x80).
        "compat" => Compat { number: u32, first: u32, second: u32, third: u32 },
        /// shmctl(2) with a buffer.
        "control" => Control { id: i32, command: i32 },
        /// mmap(2) of an anonymous page at a free address.
        "map-at" => MapAt { address: usize },
        /// Opens a file for reading, and maps it shared for writing.
        "map-read-only" => MapReadOnly { path: String, size: usize },
        /// Splits a mapping until the process has as many as it may have.
        "exhaust-mappings" => ExhaustMappings,
    }
}
