//! Families: the objects that a program needs as long as it uses one of them.

use std::sync::Arc;

/// What the rule of a program (products.toml) says about an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rule {
    /// The program's own command that cleans up.
    pub(crate) cleanup: Option<Arc<str>>,
    /// Whether the program keeps it between runs.
    pub(crate) keep: bool,
    /// The name of its family, unique within the directory; `None` if it has no family.
    pub(crate) family: Option<Arc<str>>,
    /// Whether the program keeps it locked while it uses the others.
    pub(crate) is_lock: bool,
}

/// What is known of the family of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Family {
    /// Whether one of its objects is in use; `None` if that is unknown.
    pub(crate) in_use: Option<bool>,
    /// Whether the contents of an object, or a lock file, of the same owner proves that they are the program's.
    pub(crate) is_proven: bool,
    /// What shows that the program is running.
    pub(crate) claim: Option<Claim>,
}

/// What shows that the program of a family is running, whether or not a process uses one of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A lock file of the family is locked.
    Lock,
    /// A segment that names an object of the family is attached.
    Segment,
}
