//! Which program an object belongs to.

use std::sync::Arc;

use serde::Serialize;

use super::named;

named! {
    /// What shows the program, the strongest first.
    pub(crate) enum Evidence {
        /// What the object contains.
        Content = "content",
        /// The programs that use it.
        Users = "users",
        /// A lock that a process holds on it or on another object of its family.
        Lock = "lock",
        Name = "name",
        Key = "key",
    }
}

named! {
    /// How reliable the evidence is.
    pub(crate) enum Confidence {
        Certain = "certain",
        Likely = "likely",
        Guess = "guess",
    }
}

/// The program that an object belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Identification {
    pub(crate) target: String,
    pub(crate) product: Arc<str>,
    /// What the program uses the object for.
    pub(crate) what: Option<String>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) confidence: Confidence,
    /// The pid of the creator, as the name, the contents or the kernel records it.
    pub(crate) maker: Option<i32>,
    /// `None` if that is unknown.
    pub(crate) maker_running: Option<bool>,
    /// Whether the program keeps the object between runs.
    pub(crate) keep: bool,
    /// The program's own command that cleans up.
    pub(crate) cleanup: Option<Arc<str>>,
    /// Where the rule comes from.
    pub(crate) source: String,
}

impl Confidence {
    /// Returns how reliable evidence is: any process can use any name or key.
    pub(crate) fn of(evidence: &[Evidence]) -> Self {
        match evidence {
            _ if evidence.contains(&Evidence::Content) => Self::Certain,
            [Evidence::Key] | [] => Self::Guess,
            _ => Self::Likely,
        }
    }
}
