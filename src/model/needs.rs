//! The expensive fields that a report needs.

use bitflags::bitflags;

bitflags! {
    /// The expensive fields of a [`Object`](super::Object). All others are part of every listing.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub(crate) struct Needs: u16 {
        /// Resident and swapped bytes, which only /proc/sysvipc/shm has.
        const RESIDENT = 1;
        const NAMES = 1 << 1;
        /// The state: whether creator and last user are running.
        const STATE = 1 << 2;
        /// The command lines of creator and last user.
        const COMMANDS = 1 << 3;
        const NAMESPACE = 1 << 4;
        const ATTACHERS = 1 << 5;
        /// The container or unit to which its namespace belongs.
        const CONTAINER = 1 << 6;
        /// The page size, which only attachments show.
        const PAGE_SIZE = 1 << 7 | Self::ATTACHERS.bits();
        /// What the contents of a named semaphore show.
        const CONTENTS = 1 << 8;
        /// Not a field: a directory with the name is accepted too.
        const DIRECTORIES = 1 << 9;
        /// The program that it belongs to, which only attachments show.
        const PRODUCT = 1 << 10 | Self::ATTACHERS.bits();
    }
}

impl Needs {
    /// The fields of the full record in JSON, CSV and TSV.
    pub(crate) const RECORD: Self = Self::RESIDENT.union(Self::NAMES).union(Self::STATE).union(Self::NAMESPACE);
}
