mod live;
mod meter;
mod users;

use std::time::Duration;

use clap::Args;

use self::meter::{Meter, Round, Sort};
use super::args::word;
use super::memory::check_whole_machine;
use super::{Context, Manual, usage_error};
use crate::error::{Error, Exit, again};
use crate::model::{parse_count, parse_duration};
use crate::process::Interrupts;
use crate::render::{
    By, LARGEST_DROP_ORDER, TopReport, USAGE_DROP_ORDER, interval, largest_columns, summary, top_columns,
};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show shared memory usage continuously",
    description: "Shows what usage shows, every second (--every), with the change per second. Below are the \
                  largest segments and objects: those of every /dev/shm, including unlinked ones, memfds, shared \
                  anonymous memory, and the segments of all IPC namespaces. It removes nothing.\n\n\
                  On a terminal it uses the whole screen. Keys, some as in htop: q or F10 quits, ? or F1 shows \
                  help, / or F4 filters by name, s or F6 changes the sort order, b switches to the next value of \
                  --by, w shows the processes that use the selected segment or object (or the first), p or space \
                  pauses; arrow and page keys select.\n\n\
                  --batch prints each round as text, --json as one line of JSON, with the twenty largest segments \
                  and objects. Without a terminal, one of the two is required.\n\n\
                  Scanning takes at most a fifth of the time: after a scan that took 600 ms, the next one begins \
                  2.4 s later, and the header says so.",
    examples: &[
        ("shmadm top", "watch the shared memory of the machine"),
        ("shmadm top --by process --every 5s", "watch which processes use it, every five seconds"),
        ("shmadm top --batch --rounds 1", "print one round as text"),
        ("shmadm top --json --rounds 1", "the same as JSON, with exact numbers"),
    ],
    json: "{\"schema\":1,\"round\":1,\"time\":\"…\",\"every\":1.0,\"scan\":0.012,\"change\":null,\"shmem\":…,…, \
           \"largest\":[{\"target\":\"65538\"|\"/psm_1a2b3c4d\"|\"obj:0:27:4\",\"ns\":…,\"source\":\"sysv\", \"uid\":0,\"owner\":\"root\",\"container\":null,\"product\":null, \"size\":…,\"rss\":…,\"swap\":0,\"change\":null}]}, \
           one line per round. The fields of usage follow \"change\". Changes are bytes per second since the previous round; \
           \"sources\" and \"groups\" have them as well, as \"change\", from the second round on.",
    notes: "For a segment or object that was created since the previous round, the change is its entire memory; \
            removed ones are not listed.\n\n\
            The terminal is also restored after a signal. Ctrl-Z (SIGTSTP) stops the program, and fg continues it. \
            Warnings are printed before the first round only.",
};

#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Start a round every DURATION (250ms, 10s)
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    every: Duration,

    /// Group the memory by WHAT
    #[arg(long, value_name = "WHAT", default_value = "source", value_parser = word(By::ALL.map(|by| (by.as_str(), by))))]
    by: By,

    /// Exit after N rounds
    #[arg(long, value_name = "N", value_parser = parse_count)]
    rounds: Option<u64>,

    /// Print text instead of a screen
    #[arg(long)]
    batch: bool,
}

/// How many segments and objects a printed round has.
const PRINTED: usize = 20;

pub(crate) fn run(args: &TopArgs, context: &mut Context) -> Result<Exit, Error> {
    check_whole_machine(context, "top")?;
    let is_live = !args.batch && !context.json();
    if is_live && let Some(why) = context.ui.why_not_drawable() {
        return Err(usage_error("top without --batch requires a terminal")
            .cause(why)
            .hint("print text", again("--batch"))
            .hint("print JSON", again("--json")));
    }
    let interrupts = Interrupts::watch()?;
    let mut meter = Meter::new(args.every, args.by);
    let result = match is_live {
        true => live::run(args, context, &interrupts, &mut meter),
        false => print_rounds(args, context, &interrupts, &mut meter),
    };
    context.ui.mute(false);
    result
}

fn print_rounds(
    args: &TopArgs,
    context: &mut Context,
    interrupts: &Interrupts,
    meter: &mut Meter,
) -> Result<Exit, Error> {
    loop {
        let mut round = meter.next_round(context, interrupts)?;
        // They would be the same in every round.
        context.ui.mute(true);
        round.sort(Sort::Rss);
        print(context, meter, &round)?;
        context.ui.flush()?;
        if args.rounds == Some(round.number) || context.ui.is_closed() {
            return Ok(Exit::Done);
        }
        interrupts.wait(Some(meter.time_left()), None)?;
        interrupts.check()?;
    }
}

fn print(context: &mut Context, meter: &Meter, round: &Round) -> Result<(), Error> {
    let largest = &round.objects[..round.objects.len().min(PRINTED)];
    let actual = meter.interval();
    if context.json() {
        let report = TopReport {
            round: round.number,
            time: round.time,
            every: actual.as_secs_f64(),
            scan: round.scan.as_secs_f64(),
            change: round.change,
            usage: round.usage.report(round.by, &round.rows, None),
            largest,
        };
        return context.report(&report);
    }
    if round.number > 1 {
        context.ui.print("")?;
    }
    let summary = summary(round.usage.shmem, round.change, round.usage.accounted);
    let interval = interval(meter.every, actual, round.scan);
    context.ui.print(&format!("{}: {summary}, {interval}", round.time))?;
    let rows = round.rows.iter().cloned().chain(round.usage.totals(round.by)).collect();
    let style = context.table(USAGE_DROP_ORDER);
    context.print_rows("", &top_columns(round.by), rows, &style)?;
    context.ui.print("")?;
    let columns = largest_columns(largest);
    let style = context.table(LARGEST_DROP_ORDER);
    context.print_rows("", &columns, largest.to_vec(), &style)
}
