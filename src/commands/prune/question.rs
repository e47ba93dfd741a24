//! The question before a removal.

use std::sync::Arc;

use super::{PruneArgs, describe_counts, describe_with_namespace, reason};
use crate::commands::Context;
use crate::error::{Error, Kind, again};
use crate::model::{Object, counted};

const MAX_NAMESPACES: usize = 8;

pub(super) fn confirm(args: &PruneArgs, context: &mut Context, objects: &[Object]) -> Result<(), Error> {
    let segments = objects.iter().filter(|object| object.is_segment()).count();
    let mut what = describe_counts(segments as u64, (objects.len() - segments) as u64);
    if args.all_ns {
        what.push_str(&describe_namespaces(context, objects));
    }
    if !context.ui.can_confirm() {
        return Err(Error::new(Kind::Refused, format!("cannot remove {what}: confirmation required"))
            .cause("--yes was not given, and there is no terminal for the prompt")
            .hint("show what would be removed", again("--dry-run"))
            .hint("remove without asking", again("--yes")));
    }
    for object in objects {
        context.ui.notice(&format!("{}: {}", describe_with_namespace(args, object), reason(object)));
    }
    if context.ui.confirm(&format!("remove {what}?"))? {
        Ok(())
    } else {
        Err(Error::new(Kind::Refused, "nothing was removed: not confirmed"))
    }
}

/// Returns in how many namespaces objects are, and how many of them in each.
fn describe_namespaces(context: &Context, objects: &[Object]) -> String {
    let mut namespaces: Vec<(Option<u64>, Option<Arc<str>>)> =
        objects.iter().map(|object| (object.ipc_namespace(), object.container.clone())).collect();
    namespaces.dedup();
    let describe = |(ns, container): &(Option<u64>, Option<Arc<str>>)| {
        let count = objects.iter().filter(|object| object.ipc_namespace() == *ns).count();
        let number = ns.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let container = container.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let here = if *ns == context.system.namespace() { " (this one)" } else { "" };
        format!("{count} in {number}{container}{here}")
    };
    let mut each: Vec<String> = namespaces.iter().take(MAX_NAMESPACES).map(describe).collect();
    if namespaces.len() > MAX_NAMESPACES {
        each.push(format!("others in {} more", namespaces.len() - MAX_NAMESPACES));
    }
    format!(" in {} ({})", counted(namespaces.len() as u64, "IPC namespace"), each.join(", "))
}
