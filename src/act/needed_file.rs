//! What is not removed although it may not be in use: objects that their program needs, and directories.

use crate::error::{Error, Kind, again, program, shmadm};
use crate::explain::{describe_pid, describe_users, why_hidden};
use crate::model::{Claim, Object};
use crate::query::{System, needed_by};

/// Returns the refusal to remove an object that its program needs; `None` if it may be removed.
pub(super) fn refusal_to_keep(system: &System, seen: &Object) -> Result<Option<Error>, Error> {
    let ident = seen.ident();
    let product = seen.product.as_deref().unwrap_or("its program");
    let refused =
        |reason: String| Error::new(Kind::Refused, format!("cannot remove {ident}: {reason}")).target(ident.argument());
    let force = again("--force").on(ident.typed());
    let with_cleanup = |refusal: Error| match &seen.posix().cleanup {
        Some(cleanup) => refusal.hint(format!("let {product} clean up"), program(cleanup)),
        None => refusal,
    };
    if seen.posix().keep {
        let refusal = refused(format!("it is kept between runs by {product}"));
        return Ok(Some(with_cleanup(refusal).hint("remove anyway", force)));
    }
    let Some(used) = needed_by(system, &[seen])?.pop().flatten() else { return Ok(None) };
    let (needed, claim) = (used.ident(), used.posix().claim);
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
    let refusal = refused(reason).cause(cause);
    // A program with lock files does not clean up what it uses.
    let refusal = if claim == Some(Claim::Lock) { with_cleanup(refusal) } else { refusal };
    Ok(Some(refusal.hint("remove anyway", force)))
}

/// Returns the refusal for a directory.
pub(super) fn directory_refusal(system: &System, seen: &Object) -> Error {
    let ident = seen.ident();
    let error =
        Error::new(Kind::Failed, format!("\"{}\" is not a shared memory object: it is a directory", ident.argument()))
            .target(ident.argument())
            .hint("list the processes that use files in it", shmadm("who").arg(ident.typed()));
    match (system.objects(), &seen.posix().name) {
        (Ok(directory), Some(name)) => {
            let path = directory.path.join(name.file_name());
            error.hint("remove it and everything in it", program("rm").arg("-r").arg(path))
        }
        _ => error,
    }
}
