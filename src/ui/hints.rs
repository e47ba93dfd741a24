//! Completes the commands in hints, so that they run as printed.
//!
//! If only an option or a privilege is missing, a hint says `shmadm … --option`; the user's own command line replaces the
//! ellipsis. With `--ns`, every command gets the same `--ns`: without it, it would act on another segment with the same
//! id.

/// A longer command line is not repeated in hints.
const MAX_LINE: usize = 256;

/// The command line and namespace that complete the hints.
#[derive(Debug, Default)]
pub(super) struct HintContext {
    /// The argument of `--ns`, quoted for the shell.
    pub(super) namespace: Option<String>,
    /// The user's arguments, quoted for the shell.
    pub(super) line: Option<String>,
}

impl HintContext {
    /// Replaces `shmadm …` by the user's command line, and adds `--ns` to other commands.
    pub(super) fn complete(&self, hint: &str) -> String {
        // A command line with invalid UTF-8 would not run as printed.
        let line =
            self.line.as_ref().filter(|line| line.len() <= MAX_LINE && !line.contains(char::REPLACEMENT_CHARACTER));
        let hint = line.and_then(|line| fill(hint, line)).unwrap_or_else(|| hint.to_owned());
        match &self.namespace {
            Some(namespace) if !hint.contains(" --ns") && !hint.contains(" --all-ns") => hint
                .replace("`shmadm ", &format!("`shmadm --ns {namespace} "))
                .replace("sudo shmadm ", &format!("sudo shmadm --ns {namespace} "))
                .replace("`sysctl ", &format!("`{}sysctl ", nsenter(namespace))),
            _ => hint,
        }
    }
}

/// Returns the `nsenter` prefix for another program. For a namespace number no file is known,
/// so PID is a placeholder.
fn nsenter(namespace: &str) -> String {
    if namespace.contains("ipc:[") {
        "nsenter --ipc=/proc/PID/ns/ipc ".to_owned()
    } else if namespace.contains('/') {
        format!("nsenter --ipc={namespace} ")
    } else {
        format!("nsenter --ipc --target {namespace} ")
    }
}

/// Replaces the ellipsis of `shmadm … --option` by a command line; the option is inserted before `--`.
fn fill(hint: &str, line: &str) -> Option<String> {
    let (before, after) = hint.split_once("shmadm …")?;
    let (options, after) = after.split_once('`')?;
    let (arguments, rest) = line.split_at(line.find(" -- ").unwrap_or(line.len()));
    Some(format!("{before}shmadm {arguments}{options}{rest}`{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_replaces_the_ellipsis() {
        let complete =
            |line: &str, hint: &str| HintContext { namespace: None, line: Some(line.to_owned()) }.complete(hint);
        assert_eq!(complete("dump 5", "`shmadm … --force` overwrites it"), "`shmadm dump 5 --force` overwrites it");
        assert_eq!(complete("rm 5", "root can: `sudo shmadm …`"), "root can: `sudo shmadm rm 5`");
        assert_eq!(complete("leakcheck -- a b", "`shmadm … --trace`"), "`shmadm leakcheck --trace -- a b`");
        assert_eq!(complete("rm 5", "`shmadm list` shows it"), "`shmadm list` shows it");
        assert_eq!(complete(&"x".repeat(300), "`shmadm … --force`"), "`shmadm … --force`");
        assert_eq!(HintContext::default().complete("`shmadm … -- -x`"), "`shmadm … -- -x`");
    }

    #[test]
    fn commands_in_hints_keep_the_namespace() {
        let hints = HintContext { namespace: Some("7".to_owned()), line: Some("--ns 7 rm 5".to_owned()) };
        assert_eq!(hints.complete("`sudo shmadm …`"), "`sudo shmadm --ns 7 rm 5`");
        assert_eq!(hints.complete("`shmadm list`"), "`shmadm --ns 7 list`");
        assert_eq!(hints.complete("`shmadm list --all-ns`"), "`shmadm list --all-ns`");
        let complete = |namespace: &str| {
            HintContext { namespace: Some(namespace.to_owned()), line: None }
                .complete("raise it: `sysctl -w kernel.shmmni=2`")
        };
        assert_eq!(complete("7"), "raise it: `nsenter --ipc --target 7 sysctl -w kernel.shmmni=2`");
        assert_eq!(complete("/run/ns"), "raise it: `nsenter --ipc=/run/ns sysctl -w kernel.shmmni=2`");
        assert_eq!(complete("'/run/a b'"), "raise it: `nsenter --ipc='/run/a b' sysctl -w kernel.shmmni=2`");
        assert_eq!(complete("'ipc:[5]'"), "raise it: `nsenter --ipc=/proc/PID/ns/ipc sysctl -w kernel.shmmni=2`");
    }
}
