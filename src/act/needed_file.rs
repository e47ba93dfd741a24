//! What is not removed although it may not be in use: objects that their program needs, and directories.

use crate::error::{Error, Hint, Kind, again, program, shmadm};
use crate::explain::{describe_pid, describe_users, why_hidden};
use crate::model::{Claim, Object};
use crate::query::{System, needed_by};

/// Why an object is kept, whether it is in use or not.
pub(super) struct Need {
    reason: String,
    cause: Option<String>,
    /// How its program removes it.
    cleanup: Option<Hint>,
}

impl Need {
    /// Returns the refusal to remove an object for this reason only.
    pub(super) fn refusal(self, seen: &Object) -> Error {
        let ident = seen.ident();
        let refusal = Error::new(Kind::Refused, format!("cannot remove {ident}: {}", self.reason));
        let cause = self.cause.map(String::into_boxed_str);
        let refusal = Error { cause, hints: Vec::from_iter(self.cleanup), ..refusal.target(ident.argument()) };
        refusal.hint("remove anyway", again("--force").on(ident.typed()))
    }

    /// Adds this reason to a more decisive one.
    pub(super) fn add_to(self, error: Error) -> Error {
        let cause = self.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        let mut error = error.also(&format!("{}{cause}", self.reason));
        error.hints.splice(0..0, self.cleanup);
        error
    }
}

/// Returns why the program of an object needs it; `None` if it may be removed.
pub(super) fn reason_to_keep(system: &System, seen: &Object) -> Result<Option<Need>, Error> {
    let product = product(seen);
    let cleanup = || {
        let cleanup = seen.posix().rule.cleanup.as_deref()?;
        Some(Hint::new(format!("let {product} clean up"), program(cleanup)))
    };
    if seen.posix().rule.keep {
        return Ok(Some(Need { reason: keeps(seen), cause: None, cleanup: cleanup() }));
    }
    let Some(used) = needed_by(system, &[seen])?.pop().flatten() else { return Ok(None) };
    let (needed, claim) = (used.ident(), used.posix().family.claim);
    let others_in_use = format!("it is kept while other objects of {product} are in use");
    let (reason, cause) = match claim {
        _ if used.is_in_use() => (others_in_use, format!("{needed}: {}", describe_users(system, &used))),
        Some(Claim::Segment) => {
            let of_creator = used.posix().maker.map(|pid| format!(" of pid {}", describe_pid(system, pid)));
            let segment = format!("{needed} is named in an attached segment{}", of_creator.unwrap_or_default());
            (format!("it is kept while {product} is running"), segment)
        }
        _ => {
            let why = why_hidden(system, &used);
            (others_in_use, format!("cannot determine whether {needed} is in use: {why}"))
        }
    };
    // A program with lock files does not clean up what it uses.
    let cleanup = if claim == Some(Claim::Lock) { cleanup() } else { None };
    Ok(Some(Need { reason, cause: Some(cause), cleanup }))
}

fn product(object: &Object) -> &str {
    object.product.as_deref().unwrap_or("its program")
}

fn keeps(object: &Object) -> String {
    format!("{} keeps it between runs", product(object))
}

/// Returns the refusal for a directory.
pub(super) fn directory_refusal(system: &System, seen: &Object) -> Error {
    let ident = seen.ident();
    let error =
        Error::new(Kind::Failed, format!("\"{}\" is not a shared memory object: it is a directory", ident.argument()))
            .target(ident.argument())
            .hint("list the processes that use files in it", shmadm("who").arg(ident.typed()));
    if seen.posix().rule.keep {
        return error.cause(keeps(seen));
    }
    match (system.objects(), &seen.posix().name) {
        (Ok(directory), Some(name)) => {
            error.hint("remove it and everything in it", program("rm").arg("-r").arg(directory.path_of(name)))
        }
        _ => error,
    }
}
