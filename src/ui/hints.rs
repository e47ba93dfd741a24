//! Completes the commands in hints, so that they run as printed.
//!
//! A command that repeats the user's own keeps all options that still apply. With `--ns` or `--dir`, every command gets
//! the same: without it, it would act on another segment with the same id, or on another object with the same name.
//! A hint can ask for this option to be left out. Options that change only the output, such as `--json` and `--quiet`,
//! are kept only when the user's own command is repeated: any other command prints something else. A hint whose command
//! would not work for this caller is omitted.

use std::ffi::OsString;
use std::fs::File;

use crate::error::{Hint, Invocation, Privilege, Program};

/// A longer command line is not repeated in hints, such as one with many targets or a long text. A command with the
/// longest name of an object, 255 bytes, is shorter, even if each byte is escaped (`\377`).
const MAX_LINE: usize = 256 + 4 * 255;

/// The user's command line.
#[derive(Debug, Default)]
pub(crate) struct CommandLine {
    pub(crate) parts: Vec<Part>,
    /// The long names of the options that the command has.
    pub(crate) options: Vec<String>,
}

/// A part of the user's command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Command(OsString),
    /// An option: its long name, and what the user typed.
    Option(String, Vec<OsString>),
    Word(OsString),
    /// `--` and the words after it.
    Rest(Vec<OsString>),
}

impl Part {
    fn words(&self) -> &[OsString] {
        match self {
            Self::Command(word) | Self::Word(word) => std::slice::from_ref(word),
            Self::Option(_, words) | Self::Rest(words) => words,
        }
    }

    /// Returns whether the command repeats this part.
    fn is_kept(&self, command: &Invocation, added: &[&str]) -> bool {
        match self {
            Self::Option(name, _) => !added.contains(&&**name) && !command.dropped.contains(&OsString::from(name)),
            Self::Word(word) => command.targets.is_empty() && !command.dropped.contains(word),
            Self::Command(_) | Self::Rest(_) => true,
        }
    }
}

/// What completes the hints.
#[derive(Debug, Default)]
pub(super) struct HintContext {
    pub(super) namespace: Option<OsString>,
    /// The same namespace by another name, for programs that do not know its number.
    pub(super) namespace_for_others: Option<OsString>,
    pub(super) directory: Option<OsString>,
    pub(super) line: CommandLine,
    /// Whether `sudo` makes the caller root; `None` is treated as yes.
    pub(super) can_become_root: Option<fn() -> bool>,
}

impl HintContext {
    /// Completes the command of a hint. Returns `None` if the hint does not help this caller.
    pub(super) fn complete(&self, hint: Hint) -> Option<Hint> {
        let Some(command) = hint.command else { return Some(hint) };
        let command = match command.program {
            Program::Again => self.repeat(command)?,
            _ => command,
        };
        if command.to_string().len() > MAX_LINE {
            return Some(Hint {
                text: format!("{} (the command is too long to repeat)", hint.text).into(),
                command: None,
            });
        }
        let command = self.with_namespace(self.with_privilege(command)?)?;
        Some(Hint { command: Some(command), ..hint })
    }

    /// Returns the user's command as `command` changes it; `None` if that is not a command of this program.
    fn repeat(&self, command: Invocation) -> Option<Invocation> {
        let words = command.arguments.iter().filter_map(|word| word.to_str()?.strip_prefix("--"));
        let added: Vec<&str> = words.collect();
        let is_option = |name: &&str| self.line.options.iter().any(|option| option == name);
        if self.line.parts.is_empty() || !added.iter().all(is_option) {
            return None;
        }
        let parts = self.line.parts.iter().filter(|part| part.is_kept(&command, &added));
        let (rest, typed): (Vec<&Part>, Vec<&Part>) = parts.partition(|part| matches!(part, Part::Rest(_)));
        let words = |parts: Vec<&Part>| parts.into_iter().flat_map(Part::words).cloned().collect::<Vec<_>>();
        let named_targets = |part: &Part| match part {
            Part::Word(_) => true,
            // A list of targets, as in `rm --from`.
            Part::Option(name, _) => command.drops(name),
            Part::Command(_) | Part::Rest(_) => false,
        };
        let targets = if self.line.parts.iter().any(named_targets) { &*command.targets } else { &[] };
        let arguments = [&words(typed), &*command.arguments, targets, &words(rest)].concat();
        Some(Invocation { program: Program::Shmadm, arguments, ..command })
    }

    /// Adds `sudo` if the caller lacks the privilege; `None` if that would not help.
    fn with_privilege(&self, command: Invocation) -> Option<Invocation> {
        let privilege = match &command.privilege {
            Privilege::Write(file) if File::options().write(true).open(file).is_ok() => Privilege::Caller,
            Privilege::Caller => Privilege::Caller,
            Privilege::Root | Privilege::Write(_) if self.can_become_root.is_none_or(|can| can()) => Privilege::Root,
            Privilege::Root | Privilege::Write(_) => return None,
        };
        Some(Invocation { privilege, ..command })
    }

    /// Adds the namespace of `--ns` and the directory of `--dir`; `None` if no command enters the namespace.
    fn with_namespace(&self, mut command: Invocation) -> Option<Invocation> {
        if let (Program::Shmadm, Some(directory)) = (command.program, &self.directory)
            && !command.has_option(&["--dir"])
            && !command.drops("dir")
        {
            command.arguments.splice(0..0, ["--dir".into(), directory.clone()]);
        }
        let for_others = self.namespace_for_others.as_ref().filter(|_| command.program != Program::Shmadm);
        match for_others.or(self.namespace.as_ref()) {
            Some(namespace) => command.in_namespace(namespace),
            None => Some(command),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{again, program, shmadm, sysctl};

    fn line(words: &[&str]) -> CommandLine {
        let part = |word: &&str| match word.strip_prefix("--") {
            Some("") => Part::Rest(vec!["--".into(), "a".into(), "b c".into()]),
            Some(name) => Part::Option(name.split('=').next().unwrap().to_owned(), vec![word.into()]),
            None => Part::Word(word.into()),
        };
        let options = ["force", "key", "trace", "peek", "ns"].map(str::to_owned).to_vec();
        CommandLine { parts: words.iter().map(part).collect(), options }
    }

    fn completed(namespace: Option<&str>, words: &[&str], command: Invocation) -> Option<String> {
        let namespace = namespace.map(OsString::from);
        let context = HintContext { namespace, line: line(words), ..HintContext::default() };
        context.complete(Hint::new("x", command)).map(|hint| hint.to_string())
    }

    #[test]
    fn the_users_own_command_is_repeated() {
        let own = |words: &[&str], command| completed(None, words, command);
        let is = |command: &str| Some(format!("x: `{command}`"));
        assert_eq!(own(&["dump", "5"], again("--force")), is("shmadm dump 5 --force"));
        assert_eq!(own(&["rm", "5"], again("").sudo()), is("sudo shmadm rm 5"));
        assert_eq!(own(&["leakcheck", "--"], again("--trace")), is("shmadm leakcheck --trace -- a 'b c'"));
        assert_eq!(own(&["read", "5", "--peek", "--x"], again("").without(&["peek"])), is("shmadm read 5 --x"));
        assert_eq!(own(&["create", "--key=5"], again("--key random")), is("shmadm create --key random"));
        assert_eq!(own(&["5", "6", "--x"], again("--force").on("6")), is("shmadm --x --force 6"));
        assert_eq!(own(&["rm", "5"], shmadm("list")), is("shmadm list"));
        assert_eq!(
            own(&["x".repeat(2000).as_str()], again("--force")).unwrap(),
            "x (the command is too long to repeat)"
        );
    }

    #[test]
    fn what_would_not_work_is_omitted() {
        assert_eq!(completed(None, &["rm", "5"], again("--nope")), None, "not an option of the command");
        assert_eq!(completed(None, &[], again("--force")), None, "the command is not known");
        let root = HintContext { can_become_root: Some(|| false), ..HintContext::default() };
        let hint = root.complete(Hint::new("x", program("mount x").sudo()));
        assert_eq!(hint.map(|hint| hint.to_string()), None, "sudo does not help root");
    }

    #[test]
    fn commands_in_hints_keep_the_directory() {
        let completed = |words: &[&str], command| {
            let (directory, line) = (Some("/run/a b".into()), line(words));
            let context = HintContext { directory, line, ..HintContext::default() };
            context.complete(Hint::new("x", command)).unwrap().to_string()
        };
        assert_eq!(completed(&["rm", "/x"], shmadm("list")), "x: `shmadm --dir '/run/a b' list`");
        assert_eq!(completed(&["--dir=/run/a b", "rm"], again("--force")), "x: `shmadm '--dir=/run/a b' rm --force`");
        assert_eq!(completed(&["--dir=/x", "rm"], again("").without(&["dir"])), "x: `shmadm rm`");
        assert_eq!(completed(&["rm"], program("ls /dev/shm")), "x: `ls /dev/shm`");
    }

    #[test]
    fn commands_in_hints_keep_the_namespace() {
        let inside = |command| completed(Some("7"), &["--ns=7", "rm", "5"], command).unwrap();
        assert_eq!(inside(again("").sudo()), "x: `sudo shmadm --ns=7 rm 5`");
        assert_eq!(inside(again("").without(&["ns"])), "x: `shmadm rm 5`");
        assert_eq!(inside(again("--ns 8")), "x: `shmadm rm 5 --ns 8`");
        assert_eq!(inside(shmadm("list")), "x: `shmadm --ns 7 list`");
        assert_eq!(inside(shmadm("--ns=7 rm 5")), "x: `shmadm --ns=7 rm 5`");
        assert_eq!(inside(shmadm("list --all-ns")), "x: `shmadm list --all-ns`");
        let sysctl = |namespace| {
            let command = Invocation { privilege: Privilege::Caller, ..sysctl("kernel.shmmni", 2) };
            completed(Some(namespace), &[], command)
        };
        let is = |command: &str| Some(format!("x: `{command}`"));
        assert_eq!(sysctl("7"), is("nsenter --ipc --target 7 sysctl -w kernel.shmmni=2"));
        assert_eq!(sysctl("/run/ns"), is("nsenter --ipc=/run/ns sysctl -w kernel.shmmni=2"));
        assert_eq!(sysctl("/run/a b"), is("nsenter '--ipc=/run/a b' sysctl -w kernel.shmmni=2"));
        assert_eq!(sysctl("ipc:[5]"), None);
        assert_eq!(sysctl("4026531839"), None);
    }
}
