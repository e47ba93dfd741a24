//! `shmadm demo`: the life of a segment, with real system calls.

mod half;
mod narrator;
mod whole;

use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Args, Subcommand};

use super::args::key;
use super::{Context, Manual, usage_error};
use crate::act::Creation;
use crate::error::{Error, Exit};
use crate::explain::ftok_key;
use crate::model::{Key, KeySpec, Mode, parse_count, parse_duration};
use crate::process::Role;

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show the life of a segment, with a writer and a reader",
    description: "Shows the life of a segment with real system calls: a helper process creates the segment; two \
                  others, a writer and a reader, attach it, use it and detach; then it is destroyed. Each step is \
                  explained. Unless --keep is given, the segment is removed at the end, even after Ctrl-C.\n\n\
                  `demo writer` and `demo reader` run the two halves in separate terminals. They write and read a \
                  native 32-bit integer, 0 to 999, at offset 0 of the one-page segment with key 1234, as any other \
                  program could. The half that starts first creates the segment and removes it when it ends.\n\n\
                  The writer writes to an existing segment only if it looks like the demo's: one page, with such an \
                  integer at offset 0 and zeros after it, and no process of another user has it attached. Otherwise \
                  it refuses (exit code 5); in that case, run the writer and the reader with another key (--key).",
    examples: &[
        ("shmadm demo --interval 100ms", "watch the life of a segment, faster than by default"),
        ("shmadm demo writer --rounds 2 --interval 100ms", "run the writer in one terminal"),
        ("shmadm demo reader --rounds 2 --interval 100ms", "run the reader in another"),
    ],
    json: "One object per line: \
           {\"schema\":1,\"event\":\"call\"|\"use\"|\"stat\"|\"note\",\"step\":\"create\"|\"attach\"|\"use\"|\"detach\"|\"destroy\",\"role\":\"demo\"|\"writer\"|\"reader\",\"pid\":4711,\"call\":\"…\",\"result\":\"…\",\"value\":523,\"text\":\"…\",\"segment\":{…}}. \
           Fields that do not apply to an event are null.",
    notes: "If a segment with key 1234 exists, the whole demo leaves it unchanged and uses another key.\n\n\
            A second process, shmadm-guard, makes the call that creates the segment of the whole demo, and removes it \
            if the demo is killed (by SIGKILL or the OOM killer). It is shown as the creator. `demo writer` and `demo \
            reader` create the segment themselves, and leave it if they are killed.",
};

/// The key of most textbook examples.
const DEFAULT_KEY: Key = Key::new(1234);

#[derive(Args, Debug)]
#[command(disable_help_subcommand = true)]
pub(crate) struct DemoArgs {
    #[command(subcommand)]
    role: Option<RoleCommand>,

    #[command(flatten)]
    pace: PaceArgs,

    /// Keep the segment
    #[arg(long)]
    keep: bool,
}

#[derive(Subcommand, Debug)]
enum RoleCommand {
    /// Write an integer every second until Ctrl-C
    #[command(after_help = "The writer attaches the segment with key 1234, or creates it, and stores a random 32-bit \
                            integer at offset 0 in each round. At the end it detaches the segment, and removes it if \
                            it created it. The writer does not write to a segment that looks like another program's.")]
    Writer(PaceArgs),
    /// Read the integer every second until Ctrl-C
    #[command(
        after_help = "The reader attaches the segment with key 1234, or creates it, and shows the 32-bit integer \
                            at offset 0 in each round. At the end it detaches the segment, and removes it if it created \
                            it."
    )]
    Reader(PaceArgs),
}

#[derive(Args, Debug)]
struct PaceArgs {
    /// Key of the segment [default: 1234]
    #[arg(long, value_name = "KEY", allow_negative_numbers = true, value_parser = key("expected a key (0x4d2, 1234) or ftok:PATH").try_map(check_demo_key))]
    key: Option<KeySpec>,

    /// Number of rounds
    #[arg(long, value_name = "N", value_parser = parse_count)]
    rounds: Option<u64>,

    /// Interval between rounds [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    interval: Option<Duration>,
}

/// Requires a key by which the processes find the segment.
fn check_demo_key(key: KeySpec) -> Result<KeySpec, String> {
    match key {
        KeySpec::Private | KeySpec::Random => Err("the writer and the reader need a common key".to_owned()),
        key => Ok(key),
    }
}

impl PaceArgs {
    fn interval(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_secs(1))
    }

    fn is_given(&self) -> bool {
        self.key.is_some() || self.rounds.is_some() || self.interval.is_some()
    }

    fn key(&self) -> Result<Option<Key>, Error> {
        match &self.key {
            Some(KeySpec::Key(key)) => Ok(Some(*key)),
            Some(KeySpec::Ftok(ftok)) => ftok_key(ftok).map(Some),
            Some(KeySpec::Private | KeySpec::Random) | None => Ok(None),
        }
    }
}

/// Returns the attributes of the demo's segment: one page for the caller only.
fn creation(key: Key, exclusive: bool) -> Creation {
    Creation {
        key: KeySpec::Key(key),
        mode: Mode::PRIVATE,
        exclusive,
        // The creator runs to the end, so the segment survives even if kernel.shm_rmid_forced is 1.
        held: true,
        ..Creation::default()
    }
}

pub(crate) fn run(args: &DemoArgs, context: &mut Context) -> Result<Exit, Error> {
    // clap's args_conflicts_with_subcommands would also reject the global options.
    if args.role.is_some() && (args.keep || args.pace.is_given()) {
        return Err(usage_error(
            "options of `demo writer` and `demo reader` must follow the word `writer` or `reader`; --keep applies \
             only to the whole demo",
        ));
    }
    match &args.role {
        None => whole::run(&args.pace, args.keep, context),
        Some(RoleCommand::Writer(pace)) => half::run(Role::Writer, pace, context),
        Some(RoleCommand::Reader(pace)) => half::run(Role::Reader, pace, context),
    }
}
