mod log;
mod summary;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use self::log::Log;
use self::summary::Summary;
use super::files::{check_not_dash, with_link_target};
use super::{Context, Manual, usage_error};
use crate::act::Report;
use crate::error::{Error, Exit, again};
use crate::model::parse_pid;
use crate::process::{FailureFormat, Observed, trace_command, trace_process};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Trace the shared memory calls of a command or process",
    description: "Runs a command, or attaches to a process (--pid), and prints each of its System V shared memory \
                  calls with decoded arguments and the result, as strace(1) does. A failed call is followed by the \
                  cause that create, attach or rm would print, but from the point of view of the traced process \
                  (its user, limits and IPC namespace), and by hints for you.\n\n\
                  With --posix, calls on POSIX objects are shown too: open, openat, link and unlink below /dev/shm \
                  (--dir), as made by shm_open(3), sem_open(3) and shm_unlink(3); ftruncate and mmap of these \
                  files; and memfd_create.\n\n\
                  Children and threads are traced as well. The trace ends when the last of these processes has \
                  exited. The output goes to standard error or FILE; standard output belongs to the command. The \
                  exit code is that of the command.\n\n\
                  With --pid, the trace ends when the process and the children that it started during the trace \
                  have exited, or on Ctrl-C, after which the process continues. If shmadm is killed, a command that \
                  it started is killed too, and a process to which it attached continues.",
    examples: &[
        ("shmadm trace -- sh -c 'shmadm rm $(shmadm create)'", "show the calls of a command and its children"),
        ("shmadm trace --failed --summary -- shmadm create", "show failed calls only, and a summary at the end"),
        ("shmadm trace -o trace.json --json --posix -- shmadm create /demo", "write all calls to a file, as JSON"),
    ],
    json: "{\"schema\":1, \"time\":\"…\", \"pid\":4711, \"thread\":4711, \"call\":\"shmget\", \"args\":{\"key\":\"0x000004d2\", \"size\":65536, \"flags\":[\"IPC_CREAT\"], \"mode\":\"0666\"}, \"result\":-1, \"errno\":\"EINVAL\", \"cause\":\"…\", \"hints\":[\"…\"]}, \
           one line per call, on standard output or in FILE. --summary adds a last line, {\"schema\":1, \"summary\":[{\"pid\":4711, \"command\":\"./server\", \"calls\":{\"shmget\":{\"made\":2, \"failed\":1}}, \"created\":[4], \"leaked\":[4]}]}.",
    notes: "A command is stopped only at these calls, by a seccomp filter, and otherwise runs at full speed. \
            Without CAP_SYS_ADMIN the filter requires no_new_privs; setuid programs then run without their \
            privileges, as under any unprivileged tracer. In four cases, a process is stopped at every system call \
            instead, which is slow: with --pid, if no filter can be installed, if the filter of a sandbox decides \
            first, and once the process has installed a filter of its own.\n\n\
            [PID] precedes each call, or [PID:THREAD] if a thread other than the first made it. A call without a \
            result (?) did not return, will be repeated after a signal, or was denied by a seccomp filter with \
            SIGSYS.\n\n\
            No other tracer, such as a debugger, can attach to a traced process. 32-bit system calls are not \
            decoded; a warning names the process. A child that was started with CLONE_UNTRACED is not traced, and \
            its calls fail with ENOSYS.\n\n\
            Attaching can make a blocking call, such as epoll_wait(2) or semop(2), fail with EINTR, just as SIGSTOP \
            and SIGCONT can. Detaching cannot.\n\n\
            Signals sent to shmadm are passed on to the command, except SIGKILL, SIGURG, and those that stop a \
            process. After the command has exited, they are passed on to the processes that it left running.\n\n\
            FILE is replaced; its mode is 0644 less the umask. A FIFO, a device or an open descriptor (/dev/fd/3) \
            is not replaced but written to. A segment counts as leaked if the process created it and it still \
            exists at the end.",
};

pub(crate) const EXIT_STATUS: &[(u8, &str)] = &[
    (0, "The command succeeded; with --pid, the process has exited, or a signal ended the trace."),
    (125, "trace itself failed: usage error, tracing not permitted, or output not written."),
    (126, "The command cannot be executed."),
    (127, "The command was not found."),
    (128, "Signal N terminated the command. Any other code is the command's own."),
];

const EXIT_CODES: &str = "Exit codes:
  125            trace itself failed
  126            the command cannot be executed
  127            the command was not found
  128+N          signal N terminated the command
  other          exit code of the command; with --pid 0";

#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct TraceArgs {
    /// Trace the running process PID
    #[arg(short, long, value_name = "PID", value_parser = parse_pid, conflicts_with = "command")]
    pid: Option<i32>,

    /// Write to FILE instead of standard error
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Show failed calls only
    #[arg(long)]
    failed: bool,

    /// Also show calls on POSIX objects
    #[arg(long)]
    posix: bool,

    /// Print counts, and segments created and leaked, at the end
    #[arg(long)]
    summary: bool,

    /// Accepted as in strace: children and threads are always traced
    #[arg(short, long)]
    follow: bool,

    /// Command and its arguments
    #[arg(trailing_var_arg = true, required_unless_present = "pid", value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &TraceArgs, context: &mut Context) -> Result<Exit, Error> {
    if args.pid.is_some() && context.has_ns {
        return Err(usage_error("--ns and --pid cannot be combined: a process is traced in its own namespaces")
            .hint("omit --ns", again("").without(&["ns"])));
    }
    let file = args.output.as_deref().map(open).transpose()?;
    let system = context.system.renewed();
    let start = system.now();
    let format = if context.json() { FailureFormat::Json } else { FailureFormat::Text };
    let mut summary = Summary::default();
    let mut log = Log::new(context, file);
    let mut observe = |observed| match observed {
        Observed::Attached(process) => {
            log.context.ui.status(&format!("tracing process {process}; Ctrl-C ends the trace"))
        }
        Observed::OtherArchitecture(process) => {
            let message = format!("process {process} makes 32-bit system calls, which are not decoded");
            log.context.ui.warning(&message);
        }
        Observed::Executed(process) => summary.forget_command(process),
        Observed::Call(call) => {
            if args.summary {
                summary.add(&log.context.system, start, &call);
            }
            if !args.failed || call.call.has_failed() {
                log.show(&call);
            }
        }
    };
    let code = match args.pid {
        Some(pid) => trace_process(&system, pid, args.posix, &mut observe).map(|()| 0),
        None => trace_command(&system, &args.command, args.posix, format, &mut observe),
    }?;
    if args.summary {
        let report = summary.end(&system.renewed());
        if log.context.json() { log.report(&report) } else { log.write(&report.lines()) }
    }
    match log.end() {
        // The command's own failure is the one that counts.
        Err(error) if code != 0 => {
            context.ui.error(&error);
            context.ui.mark_closed();
        }
        result => result?,
    }
    Ok(Exit::Verdict(code))
}

fn open(path: &Path) -> Result<crate::act::Log, Error> {
    check_not_dash("--output", path)?;
    let opened = Report::begin(path).and_then(Report::into_log);
    opened.map_err(|error| with_link_target(error, "--output", path))
}
