//! Errors of many targets that failed for the same reason.

use super::{Error, Hint};
use crate::model::{enumerate, first_names};

/// Maximum number of names in an error, the first ones.
const MAX_NAMES: usize = 4;

/// What a message calls one target, and several.
const NOUNS: [(&str, &str); 3] = [("segment", "segments"), ("object", "objects"), ("semaphore", "semaphores")];

/// Merges errors that differ only in their target: `cannot remove 40 segments (0, 1, 2 and 37 more): …`.
pub(crate) fn grouped<'a>(errors: impl IntoIterator<Item = &'a Error>) -> Vec<Error> {
    let mut groups: Vec<(Error, Vec<&str>)> = Vec::new();
    for error in errors {
        let same = groups.iter_mut().find(|(first, _)| is_same(first, error));
        match (same, subject(error)) {
            // It was named twice.
            (Some((_, names)), Some(subject)) if names.contains(&subject.name) => {}
            (Some((first, names)), Some(subject)) => {
                names.push(subject.name);
                for (hint, more) in first.hints.iter_mut().zip(&error.hints) {
                    if let (Some(command), Some(more)) = (&mut hint.command, &more.command) {
                        command.targets.extend(more.targets.iter().cloned());
                    }
                }
            }
            (_, subject) => groups.push((error.clone(), subject.map(|subject| subject.name).into_iter().collect())),
        }
    }
    groups.into_iter().map(|(first, names)| merged(first, &names)).collect()
}

/// The target in a message, with what precedes and follows it.
struct Subject<'a> {
    before: &'a str,
    /// The noun for several.
    nouns: &'static str,
    name: &'a str,
    after: &'a str,
}

/// Splits a message at its target, such as `segment 5` or `object /x`.
fn subject(error: &Error) -> Option<Subject<'_>> {
    let target = error.target.as_deref()?;
    let name = ["id:", "obj:", "/dev/shm"].into_iter().find_map(|prefix| target.strip_prefix(prefix)).unwrap_or(target);
    NOUNS.into_iter().find_map(|(noun, nouns)| {
        let (before, after) = error.message.split_once(&format!("{noun} {name}"))?;
        let is_whole = !after.starts_with(|next: char| next.is_alphanumeric());
        is_whole.then_some(Subject { before, nouns, name, after })
    })
}

fn is_same(one: &Error, other: &Error) -> bool {
    let around = |error| subject(error).map(|it| (it.before.to_owned(), it.nouns, it.after.to_owned()));
    let hints = |error: &Error| -> Vec<Hint> {
        let mut hints = error.hints.clone();
        hints.iter_mut().filter_map(|hint| hint.command.as_mut()).for_each(|command| command.targets.clear());
        hints
    };
    (one.kind, one.source, &one.cause) == (other.kind, other.source, &other.cause)
        && around(one).is_some_and(|one| around(other) == Some(one))
        && hints(one) == hints(other)
}

fn merged(first: Error, names: &[&str]) -> Error {
    let Some(Subject { before, nouns, after, .. }) = subject(&first).filter(|_| names.len() > 1) else { return first };
    let shown = if names.len() > MAX_NAMES { MAX_NAMES - 1 } else { names.len() };
    let listed = first_names(shown, names.iter().map(|name| (*name).to_owned()));
    let (count, listed) = (names.len(), enumerate(&listed, "and"));
    let after = after.replace(" it is ", " they are ").replace(": it has ", ": they have ");
    let message = format!("{before}{count} {nouns} ({listed}){after}");
    Error { message, target: None, ..first }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Kind, again, shmadm};

    fn refused(id: &str, cause: &str) -> Error {
        Error::new(Kind::Refused, format!("cannot remove segment {id}: it is attached"))
            .target(id)
            .cause(cause)
            .hint("force", again("--force").on(id))
            .hint("list", shmadm("list"))
    }

    #[test]
    fn the_same_failure_is_one_error() {
        let errors: Vec<Error> = ["0", "1", "id:2"].map(|id| refused(id.trim_start_matches("id:"), "x")).into();
        let [one] = grouped(&errors).try_into().unwrap();
        assert_eq!(one.message, "cannot remove 3 segments (0, 1 and 2): they are attached");
        assert_eq!(one.hints[0].command.as_ref().unwrap().targets, ["0", "1", "2"]);
        assert!(one.hints[1].command.as_ref().unwrap().targets.is_empty());
        let again: Vec<Error> = ["0", "1", "id:0"].map(|id| refused(id.trim_start_matches("id:"), "x")).into();
        let [one] = grouped(&again).try_into().unwrap();
        assert_eq!(one.message, "cannot remove 2 segments (0 and 1): they are attached");
        assert_eq!(one.hints[0].command.as_ref().unwrap().targets, ["0", "1"]);
        let errors: Vec<Error> = (0..40).map(|id| refused(&id.to_string(), "x")).collect();
        assert_eq!(grouped(&errors)[0].message, "cannot remove 40 segments (0, 1, 2 and 37 more): they are attached");
    }

    #[test]
    fn each_kind_of_target_has_its_noun() {
        let refused = |ident: &str, target: &str| {
            Error::new(Kind::Refused, format!("cannot remove {ident}: it is in use"))
                .target(target)
                .hint("force", again("--force").on(target))
        };
        let errors = [
            refused("object /a", "/a"),
            refused("semaphore sem:/s", "sem:/s"),
            refused("object 0:27:4", "obj:0:27:4"),
            refused("semaphore sem:/t", "sem:/t"),
        ];
        let [objects, semaphores] = grouped(&errors).try_into().unwrap();
        assert_eq!(objects.message, "cannot remove 2 objects (/a and 0:27:4): they are in use");
        assert_eq!(objects.hints[0].command.as_ref().unwrap().targets, ["/a", "obj:0:27:4"]);
        assert_eq!(semaphores.message, "cannot remove 2 semaphores (sem:/s and sem:/t): they are in use");
    }

    #[test]
    fn other_failures_are_errors_of_their_own() {
        let other = Error::new(Kind::Failed, "cannot read a file").target("x");
        let errors = [refused("1", "x"), refused("12", "y"), other.clone(), refused("3", "x"), other];
        let messages: Vec<String> = grouped(&errors).into_iter().map(|error| error.message).collect();
        assert_eq!(
            messages,
            [
                "cannot remove 2 segments (1 and 3): they are attached",
                "cannot remove segment 12: it is attached",
                "cannot read a file",
                "cannot read a file"
            ]
        );
    }
}
