//! What is not removed although it may not be in use: objects that their program needs, and directories.

use crate::error::{Error, Kind, again, program, shmadm};
use crate::explain::{describe_users, why_hidden};
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
    let reason = format!("it is kept while other objects of {product} are in use");
    let cause = match used.is_in_use() {
        true => format!("{}: {}", used.ident(), describe_users(system, &used)),
        false => format!("cannot determine whether {} is in use: {}", used.ident(), why_hidden(system, &used)),
    };
    let refusal = refused(reason).cause(cause);
    // A program with lock files does not clean up what it uses.
    let refusal = if used.posix().claim == Some(Claim::Lock) { with_cleanup(refusal) } else { refusal };
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
