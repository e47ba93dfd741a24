//! What a report needs to be asked of the system, so that nothing else is.

use bitflags::bitflags;

bitflags! {
    /// The dear parts of a [`Segment`](super::Segment); everything else comes with any listing.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub(crate) struct Needs: u8 {
        /// Resident and swapped bytes, which only /proc/sysvipc/shm has.
        const RESIDENT = 1;
        /// Names of users and groups.
        const NAMES = 1 << 1;
        /// Whether creator and last user live.
        const STATE = 1 << 2;
        /// The command lines of creator and last user.
        const COMMANDS = 1 << 3;
        /// The IPC namespace's number.
        const NAMESPACE = 1 << 4;
        /// Who has it attached.
        const ATTACHERS = 1 << 5;
        /// The container or unit to which its namespace belongs.
        const CONTAINER = 1 << 6;
    }
}

impl Needs {
    /// What the record of JSON, CSV and TSV takes.
    pub(crate) const RECORD: Self = Self::RESIDENT.union(Self::NAMES).union(Self::STATE).union(Self::NAMESPACE);
}
