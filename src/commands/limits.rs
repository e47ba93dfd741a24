use clap::Args;

use super::args::TableArgs;
use super::objects::warn_of_unlisted;
use super::{Context, Manual};
use crate::error::{Error, Exit};
use crate::model::Needs;
use crate::query;
use crate::render::{LIMITS, LimitsReport, PosixLimits, limit_rows};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show the kernel limits and their usage",
    description: "Shows the kernel's limits for System V shared memory in this IPC namespace, and how much of each \
                  is used. The rows that begin with POSIX are about the file system of POSIX objects, /dev/shm. \
                  Objects without a name (unlinked, but still open or mapped) account for the memory used in \
                  addition to the named objects. POSIX_HUGE shows which files get huge pages (mount option huge); \
                  on a hugetlbfs (--dir), the pool of its page size.",
    examples: &[
        ("shmadm limits", "show the limits and their usage"),
        ("shmadm limits --json", "the same as JSON, with exact numbers"),
    ],
    json: "{\"schema\":1,\"limits\":{\"shmmni\":4096,\"shmmax\":…,\"shmall\":…, \"shmmin\":1,\"page_size\":4096,\"rmid_forced\":false}, \"usage\":{\"segments\":3,\"pages\":9,\"size\":…,\"rss\":…,\"swap\":…}, \"posix\":{\"mount\":\"/dev/shm\",\"dev\":\"0:27\",\"size\":…,\"used\":…, \"inodes\":…,\"inodes_used\":…, \"unlinked\":0,\"huge\":false,\"huge_pages\":\"never\"}}. \
           Sizes are bytes, shmall and pages are pages.",
    notes: "Change the limits with sysctl(8): kernel.shmmni, kernel.shmmax, kernel.shmall, kernel.shm_rmid_forced.",
};

#[derive(Args, Debug)]
pub(crate) struct LimitsArgs {
    #[command(flatten)]
    table: TableArgs,
}

pub(crate) fn run(args: &LimitsArgs, context: &mut Context) -> Result<Exit, Error> {
    let posix = match query::posix_usage(&context.system, Needs::empty()) {
        Err(error) if error.is_without_objects() => {
            warn_of_unlisted(context, error);
            None
        }
        found => Some(PosixLimits {
            usage: found?.0,
            huge_pages: context.system.objects()?.huge_pages(context.system.proc()),
        }),
    };
    let system = &context.system;
    let space = || system.objects().ok()?.space().ok();
    let pool = space().filter(|space| space.is_huge).and_then(|space| query::huge_page_pool(space.page));
    let pool = pool.map(|pool| (pool.total, pool.free));
    let report = LimitsReport { limits: query::limits(system)?, usage: query::usage(system)?, posix, pool };
    if context.json() {
        context.report(&report)?;
        return Ok(Exit::Done);
    }
    let style = args.table.style(context, &["DESCRIPTION"]);
    let columns: Vec<_> = LIMITS.iter().collect();
    context.print_rows("limits", &columns, limit_rows(&report), &style)?;
    Ok(Exit::Done)
}
