//! The state of an object, and the outcome of its removal.

use super::named;

named! {
    /// Whether an object is in use, or may still be used by its creator or its last user.
    pub(crate) enum State {
        InUse = "in-use",
        Dest = "dest",
        /// Not attached; its creator or its last user is running.
        Idle = "idle",
        /// Not attached; whether its creator or its last user is running cannot be determined.
        Unknown = "unknown",
        /// Not attached; its creator and its last user have exited.
        Orphan = "orphan",
        /// A file without a name, which a process has open or mapped.
        Unlinked = "unlinked",
        /// A file that is not in use and that its program keeps between runs.
        Kept = "kept",
        /// A file that is not in use; nothing shows which process created it.
        Unused = "unused",
    }
}

named! {
    pub(crate) enum Outcome {
        Destroyed = "destroyed",
        /// Without a key, and destroyed at the last detach.
        Marked = "marked",
        /// Without a name, and destroyed when the last process closes and unmaps it.
        Unlinked = "unlinked",
    }
}
