mod summary;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};

use super::files::{check_not_dash, with_link_target};
use super::objects::warn_of_omitted;
use super::{Context, Manual, usage_error};
use crate::act::{Cleaned, Report, clean};
use crate::error::{Error, Exit, again};
use crate::leaks::{Baseline, Creations, FileBaseline, leaks, settle};
use crate::model::{Isolation, Leak, LeakCheck, LeakOutcome, Outcome, State, escape_invalid_utf8};
use crate::process::{Supervised, isolate, isolate_objects, supervise};
use crate::query::{DEV_SHM, ObjectsLocation, System};
use crate::render::{escape_json, write_junit, write_report};

use summary::print_summary;

pub(crate) const MANUAL: Manual = Manual {
    summary: "Run a command and report the shared memory that it leaks",
    description: "Runs a command and reports the System V segments and POSIX objects that it leaks: those that \
                  still exist when it has ended. leakcheck waits up to five seconds for the command's exiting \
                  processes. The exit code is that of the command. If the command succeeds but leaks, it is 65 \
                  (--leak-exit-code).\n\n\
                  By default the command runs in a private IPC namespace if that requires no user namespace \
                  (--isolate auto). Every segment in it was created by the command, and all of them are destroyed \
                  with the namespace once no process is left in it. Isolation requires CAP_SYS_ADMIN; without it, \
                  `--isolate always` also creates a user namespace.\n\n\
                  Along with the IPC namespace, the command gets an empty /dev/shm of its own, of the same size and \
                  mode. All POSIX objects in it count as leaked, including unlinked ones that processes of the \
                  command hold. Without isolation, or if a report is written to /dev/shm, an object is leaked if \
                  leakcheck observed that the command created it, which requires privileges (see NOTES). Other \
                  new objects of the caller are unattributed: the kernel does not record who created a file. \
                  Unlinked objects are reported if they hold memory. POSIX objects are never removed.\n\n\
                  Without isolation, a new segment is attributed to the command only if its creator was observed: \
                  leakcheck checks the descendants of the command every few milliseconds. A new segment of the \
                  caller is unattributed if no observed process created it: a process of the command that ran too \
                  briefly, or another job, created it. Unattributed segments count as leaks unless --lenient is \
                  given. --trace observes the shmget calls instead, so nearly every creator is known (see NOTES).\n\n\
                  --rm removes leaked segments by the rules of prune: only orphans, each checked again immediately \
                  before its removal. A segment that is attached, or whose creator or last user is running, is \
                  kept. Unattributed segments are removed only with --strict. Segments that other users or other \
                  running processes created are never touched.",
    examples: &[
        (
            "shmadm leakcheck -- sh -c 'shmadm rm $(shmadm create)'",
            "run a command and fail if it leaks shared memory (this one does not)",
        ),
        ("shmadm leakcheck --report leaks.json --junit leaks.xml -- true", "also write reports for scripts and CI"),
        (
            "shmadm leakcheck --isolate never --rm --leak-exit-code 0 -- shmadm create",
            "run it in this IPC namespace, remove leaked segments and do not fail",
        ),
    ],
    json: "Standard output is the command's, and there is no --json. --report FILE writes \
           {\"schema\":1,\"command\":[…],\"exit_code\":0,\"isolation\":\"ipc\"|\"user+ipc\"|\"none\",\"leaked\":[{segment…,\"creator_command\":\"…\",\"attachments\":[…],\"hidden\":[…],\"outcome\":null|\"destroyed\"|\"marked\"|\"kept\",\"reason\":null}],\"unattributed\":[…],\"leaked_objects\":[…],\"unattributed_objects\":[…]}.",
    notes: "An isolated command also has private semaphores and message queues, and the limits kernel.shmmni, \
            shmmax, shmall and shm_rmid_forced are copied. In a user namespace the command runs as the same user, \
            but the setuid bit has no effect, supplementary groups cannot be set, and files of other users appear \
            to belong to user nobody.\n\n\
            To attribute a segment, leakcheck must have seen the creating process before the segment existed, and \
            again before the process was reaped. A pid is not proof, since pids are reused. A segment whose owner, \
            group or mode was changed later is not attributed. If a segment of another user may have been created \
            by the command, for example by a process that changed its user, a warning gives the number of such \
            segments.\n\n\
            To attribute an object, leakcheck watches /dev/shm with fanotify(7), which requires CAP_SYS_ADMIN in \
            the initial user namespace and Linux 5.17. The kernel reports the process that creates, links or \
            renames a file there. An object is leaked if the command created it and no process outside the command \
            gave it a name. Its creator is unknown if that process exits before leakcheck can identify it. This is \
            rare, because leakcheck runs at real-time priority 1 (SCHED_FIFO) where permitted; the command does \
            not. Files that the command moved to /dev/shm are not attributed.\n\n\
            --trace uses seccomp user notification. It observes the command and all of its descendants and holds \
            the calling thread until the new segment is known. Segments are unattributed if the calling process is \
            already traced, for example by a debugger, or if the kernel is older than Linux 5.19. A debugger cannot \
            attach to a thread while it is held. A command that uses seccomp user notification itself, such as a \
            container runtime, gets EBUSY. Processes that the command leaves running continue: a process named \
            shmadm-trace answers for them until the last one has exited; if it is killed earlier, their shmget \
            calls fail with ENOSYS. While a call is held, a signal whose handler does not restart calls can end it \
            with EINTR, which does not happen without --trace.\n\n\
            Signals sent to leakcheck are passed on to the command, except SIGKILL and those that stop a process.\n\n\
            Reports have mode 0644 less the umask, regardless of the file that they replace. Only their owner may \
            write them, since `rm --from` removes what they list. A FIFO, a device or an open descriptor \
            (/dev/stdout, /dev/fd/3) is written to directly. leakcheck refuses to write to a symbolic link, through \
            a symbolic link of a user who is neither root nor the caller, or to a FIFO of such a user in a \
            directory like /tmp.",
};

pub(crate) const EXIT_STATUS: &[(u8, &str)] = &[
    (0, "The command succeeded and leaked no shared memory."),
    (65, "The command succeeded and leaked shared memory; --leak-exit-code changes this code."),
    (125, "leakcheck itself failed: usage error, isolation or tracing not possible, or report not written."),
    (126, "The command cannot be executed."),
    (127, "The command was not found."),
    (128, "Signal N terminated the command. Any other code is the command's own."),
];

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum IsolateArg {
    /// If no user namespace is needed
    Auto,
    /// Always, in a user namespace if needed
    Always,
    /// Never
    Never,
}

/// The meaning of "unattributed" and the exit codes, for the help.
const EXIT_CODES: &str = "Without isolation, a new segment of yours is unattributed if leakcheck did not
see which process created it: a process of the command that ran too briefly, or
another job. Unattributed segments count as leaks unless --lenient is given, and
are not removed unless --strict is given. With --trace there are almost none.

Exit codes:
  65             the command succeeded, but leaked memory (--leak-exit-code)
  125            leakcheck itself failed
  126            the command cannot be executed
  127            the command was not found
  128+N          signal N terminated the command
  other          exit code of the command, even if it failed and leaked memory";

#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct LeakcheckArgs {
    /// When to run the command in a private IPC namespace
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    isolate: IsolateArg,

    /// Observe shmget calls to identify creators that run only briefly
    #[arg(long)]
    trace: bool,

    /// Remove leaked segments
    #[arg(long)]
    rm: bool,

    /// Do not count unattributed segments as leaks
    #[arg(long, conflicts_with = "strict")]
    lenient: bool,

    /// Also remove unattributed segments
    #[arg(long, requires = "rm")]
    strict: bool,

    /// Exit code if shared memory was leaked
    #[arg(long, value_name = "N", default_value_t = 65)]
    leak_exit_code: u8,

    /// Write the report to FILE as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Write the report to FILE as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &LeakcheckArgs, context: &mut Context) -> Result<Exit, Error> {
    args.check(context)?;
    // A report that cannot be written must fail before an hour of tests, not after it.
    let files = Files::begin(args)?;
    let device = |system: &System| system.objects().ok().map(|directory| directory.device);
    let shared = device(&context.system);
    let (isolation, mut notes) = match args.isolate {
        IsolateArg::Never => (Isolation::None, Vec::new()),
        IsolateArg::Auto if context.has_ns => (Isolation::None, Vec::new()),
        when => isolate(&context.system, when == IsolateArg::Always)?,
    };
    if isolation != Isolation::None && !context.system.has_chosen_objects() {
        if args.reports_to(Path::new(DEV_SHM)) {
            context
                .ui
                .status("a report goes to /dev/shm, which is therefore not private: new objects may be unattributed");
        } else {
            notes.extend(isolate_objects(&context.system));
        }
    }
    notes.iter().for_each(|note| match isolation {
        Isolation::None => context.ui.status(note),
        _ => context.ui.warning(note),
    });
    if context.system.shares_objects() {
        warn_of_omitted(context);
    } else {
        context.ui.warning("objects omitted: the command uses the /dev/shm of this process, not that of --ns");
        context.system = context.system.renewed().with_objects_in(ObjectsLocation::Unknown);
    }
    let baseline = (isolation == Isolation::None).then(|| Baseline::record(&context.system)).transpose()?;
    // What the old `System` has cached belongs to the previous namespace.
    let system = context.system.renewed();
    let (mut creations, files_before) = match device(&system) == shared {
        true => (Creations::watch(&system), FileBaseline::record(&system)?),
        false => Default::default(),
    };
    let start = Instant::now();
    let supervised = supervise(&system, &args.command, args.trace, &mut creations)?;
    let seconds = start.elapsed().as_secs_f64();
    let exit_code = supervised.code;
    let before = (baseline.as_ref(), &files_before);
    let found = find(args, context, before, supervised, &mut creations, isolation, seconds);
    let result = found.and_then(|check| {
        print_summary(args, context, &check);
        files.write(&check)?;
        Ok(check.is_leak())
    });
    match result {
        Ok(true) if exit_code == 0 => Ok(Exit::Verdict(args.leak_exit_code)),
        Ok(_) => Ok(Exit::Verdict(exit_code)),
        Err(error) if exit_code == 0 => Err(error),
        // The command's own failure is the one that counts.
        Err(error) => {
            context.ui.error(&error);
            Ok(Exit::Verdict(exit_code))
        }
    }
}

impl LeakcheckArgs {
    /// Returns whether a report is to be written below a directory.
    fn reports_to(&self, directory: &Path) -> bool {
        let parent = |path: &PathBuf| std::path::absolute(path).ok()?.parent()?.canonicalize().ok();
        [&self.report, &self.junit].into_iter().flatten().filter_map(parent).any(|parent| parent.starts_with(directory))
    }

    /// Rejects options that cannot be combined, and output that would be mixed with that of the command.
    fn check(&self, context: &Context) -> Result<(), Error> {
        if self.isolate == IsolateArg::Always && context.has_ns {
            return Err(usage_error("--ns and --isolate always cannot be combined"));
        }
        if context.json() {
            return Err(usage_error("--json would be mixed with the command's own output")
                .hint("write JSON to a file", again("--report leaks.json").without(&["json", "format"])));
        }
        for (option, path) in [("--report", &self.report), ("--junit", &self.junit)] {
            path.as_deref().map_or(Ok(()), |path| check_not_dash(option, path))?;
        }
        Ok(())
    }
}

struct Files {
    json: Option<Report>,
    junit: Option<Report>,
}

impl Files {
    fn begin(args: &LeakcheckArgs) -> Result<Self, Error> {
        let begin = |option, path: &Option<PathBuf>| {
            let begin = |path| Report::begin(path).map_err(|error| with_link_target(error, option, path));
            path.as_deref().map(begin).transpose()
        };
        let (json, junit) = (begin("--report", &args.report)?, begin("--junit", &args.junit)?);
        if json.as_ref().zip(junit.as_ref()).is_some_and(|(json, junit)| json.is_same(junit)) {
            return Err(usage_error("--report and --junit name the same file"));
        }
        Ok(Self { json, junit })
    }

    fn write(self, check: &LeakCheck) -> Result<(), Error> {
        let json = self.json.map_or(Ok(()), |file| {
            let is_terminal = file.is_terminal();
            file.write(|out| {
                let mut text = Vec::new();
                write_report(&mut text, check)?;
                out.write_all(&if is_terminal { escape_json(&text) } else { text.as_slice().into() })
            })
        });
        let junit = self.junit.map_or(Ok(()), |file| file.write(|out| write_junit(out, check)));
        json.and(junit)
    }
}

/// Finds leaked segments, and removes them with --rm.
fn find(
    args: &LeakcheckArgs,
    context: &mut Context,
    (baseline, files_before): (Option<&Baseline>, &FileBaseline),
    supervised: Supervised,
    creations: &mut Creations,
    isolation: Isolation,
    seconds: f64,
) -> Result<LeakCheck, Error> {
    let system = context.system.renewed();
    let mut leaks = leaks(&system, baseline, supervised.evidence())?;
    let exit_code = supervised.code;
    drop(supervised);
    settle(&system, &mut leaks)?;
    let [leaked_objects, unattributed_objects] = files_before.leaked(&system, creations)?;
    if creations.lost && !unattributed_objects.is_empty() {
        context.ui.warning("events about new objects were lost: all of them are unattributed");
    }
    if args.rm {
        leaks.leaked.iter_mut().for_each(|leak| remove(&system, context, leak));
    }
    if args.strict {
        leaks.unattributed.iter_mut().for_each(|leak| remove(&system, context, leak));
    }
    let command = args.command.iter().map(|word| escape_invalid_utf8(word.as_encoded_bytes())).collect();
    let lenient = args.lenient;
    let objects_are_shared = files_before.is_shared();
    Ok(LeakCheck {
        command,
        exit_code,
        isolation,
        seconds,
        lenient,
        leaks,
        leaked_objects,
        unattributed_objects,
        objects_are_shared,
    })
}

/// Removes a leaked segment if it is an orphan.
fn remove(system: &System, context: &mut Context, leak: &mut Leak) {
    let reason = match leak.segment.state {
        Some(State::InUse | State::Dest) => "it is attached".to_owned(),
        Some(State::Idle) => "its creator or last user is running".to_owned(),
        Some(State::Unknown | State::Unlinked | State::Kept | State::Unused) | None => {
            "cannot determine whether its creator or last user is running".to_owned()
        }
        Some(State::Orphan) => match clean(system, &leak.segment, false) {
            Ok(Cleaned::Removed(removed)) => {
                let is_marked = removed.outcome == Outcome::Marked;
                leak.outcome = Some(if is_marked { LeakOutcome::Marked } else { LeakOutcome::Destroyed });
                return;
            }
            Ok(Cleaned::Kept(kept)) => kept.reason(),
            Err(error) => {
                context.ui.error(&error);
                error.to_string()
            }
        },
    };
    (leak.outcome, leak.reason) = (Some(LeakOutcome::Kept), Some(reason));
}
