//! Objects that no process uses, but that their program needs.

use crate::error::{Error, Kind, again, program};
use crate::explain::{describe_users, why_hidden};
use crate::model::Object;
use crate::query::{System, cleanup_of, needed_by};

/// Returns the refusal to remove an object that its program needs; `None` if it may be removed.
pub(super) fn refusal_to_keep(system: &System, seen: &Object) -> Result<Option<Error>, Error> {
    let ident = seen.ident();
    let product = seen.posix().product.as_deref().unwrap_or("its program");
    let refused = |reason: String| {
        let mut error = Error::new(Kind::Refused, format!("cannot remove {ident}: {reason}")).target(ident.argument());
        if let Some(cleanup) = seen.posix().name.as_ref().and_then(cleanup_of) {
            error = error.hint(format!("let {product} clean up"), program(cleanup));
        }
        Some(error.hint("remove anyway", again("--force").on(ident.typed())))
    };
    if seen.posix().keep {
        return Ok(refused(format!("it is kept between runs by {product}")));
    }
    let Some(used) = needed_by(system, &[seen])?.pop().flatten() else { return Ok(None) };
    let reason = format!("it is kept while other objects of {product} are in use");
    let cause = match used.is_in_use() {
        true => format!("{}: {}", used.ident(), describe_users(system, &used)),
        false => format!("cannot determine whether {} is in use: {}", used.ident(), why_hidden(system, &used)),
    };
    Ok(refused(reason).map(|error| error.cause(cause)))
}
