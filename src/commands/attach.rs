use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::args::ObjectArg;
use super::{Context, Manual, exit_after, usage_error};
use crate::act::{self, Address};
use crate::error::{Error, Exit};
use crate::explain::suggest_any_address;
use crate::model::{Access, Needs, NewAttachment, Object, Size, parse_duration, parse_integer};
use crate::process::{Hold, Interrupts, start_holder};
use crate::query::rmid_forced;

pub(crate) const MANUAL: Manual = Manual {
    summary: "Attach a segment or POSIX object",
    description: "Attaches a segment and prints its address, size, access and the pid of the attached process. The \
                  segment stays attached until Ctrl-C, SIGTERM or the end of the --for duration; then it is \
                  detached, and the exit code is 0.\n\n\
                  With --background a holder, a process named shmadm-hold, attaches the segment. The command \
                  returns as soon as it is attached and prints the pid of the holder. `shmadm detach` ends holders.\n\n\
                  A POSIX object is mapped (mmap with MAP_SHARED) in the same way.\n\n\
                  The kernel chooses the address unless --address is given (segments only). Access is read-write \
                  unless --read-only is given.",
    examples: &[
        ("shmadm attach 0x4d2 --for 1s", "keep the segment with key 0x4d2 attached for a second"),
        ("shmadm attach 0x4d2 --background", "keep it attached in a background process and print its pid"),
        (
            "shmadm attach 0x4d2 --read-only --address 0x7f0000000123 --round --for 1s",
            "attach it at a given address, rounded down to a page",
        ),
    ],
    json: "{\"schema\":1,\"attachment\":{\"id\":5,\"pid\":4711,\"address\":\"0x7f…\",\"size\":4096,\"access\":\"rw\"|\"ro\",\"exec\":false}}; \"name\" or \"object\" instead of \"id\" for a POSIX object",
    notes: "SIGTERM ends a holder too. The segment is detached even if the holder is killed.\n\n\
            The last detach destroys the segment only if it was marked for destruction, or if \
            kernel.shm_rmid_forced is 1. attach warns if this setting will destroy the segment.",
};

#[derive(Args, Debug)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    segment: ObjectArg,

    /// Attach read-only (SHM_RDONLY)
    #[arg(long)]
    read_only: bool,

    /// Allow execution of the contents (SHM_EXEC)
    #[arg(long)]
    exec: bool,

    /// Attach at ADDR (shmat's second argument)
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    address: Option<usize>,

    /// Round the address down to a page boundary (SHM_RND)
    #[arg(long, requires = "address")]
    round: bool,

    /// Detach after DURATION (250ms, 10m)
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,

    /// Attach in a background process and print its pid
    #[arg(long)]
    background: bool,
}

fn parse_address(text: &str) -> Result<usize, String> {
    usize::try_from(parse_integer(text)?).map_err(|_| format!("address {text} is out of range"))
}

pub(crate) fn run(args: &AttachArgs, context: &mut Context) -> Result<Exit, Error> {
    let access = if args.read_only { Access::ReadOnly } else { Access::ReadWrite };
    let object = args.segment.resolve(context, Needs::empty())?;
    if args.address.is_some() && !object.is_segment() {
        return Err(usage_error("--address is only for segments"));
    }
    let address = args.address(context)?;
    context.warn_of_lost_record(&object);
    warn_of_last_detach(context, &object);
    let interrupts = Interrupts::watch()?;
    if args.background {
        let hold = Hold { access, exec: args.exec, address, duration: args.duration };
        let holder = start_holder(&context.system, &object, hold)?;
        interrupts.check()?;
        // A holder whose pid was not printed would keep the segment attached forever.
        report(args, context, holder.attached()).map_err(|error| {
            error.also(&format!("holder {} was terminated, because its pid could not be printed", holder.pid()))
        })?;
        holder.keep();
        return Ok(Exit::Done);
    }
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    let ident = object.ident();
    let held = act::hold(&context.system, &object, access, address, args.exec)?;
    let (address, size) = (held.address(), held.size());
    report(args, context, &NewAttachment { ident: ident.clone(), pid, address, size, access, exec: args.exec })?;
    let outcome = interrupts.wait(args.duration, None)?;
    act::release(&context.system, held)?;
    context.ui.status(&format!("detached {ident}"));
    Ok(exit_after(outcome))
}

impl AttachArgs {
    fn address(&self, context: &Context) -> Result<Address, Error> {
        let Some(address) = self.address else { return Ok(Address::Any) };
        let page = usize::try_from(context.system.page_size()).unwrap_or(4096);
        let why = match address {
            0 => "0 means",
            _ if self.round && address < page => "it rounds down to 0, which means",
            _ if self.round => return Ok(Address::Rounded(address)),
            _ => return Ok(Address::Exact(address)),
        };
        Err(usage_error(format!("invalid address {address:#x}: {why} that the kernel chooses the address"))
            .with(suggest_any_address()))
    }
}

/// Warns if the last detach will destroy the segment, unless another process has it attached.
fn warn_of_last_detach(context: &mut Context, object: &Object) {
    let (ident, forced) = (object.ident(), rmid_forced(&context.system));
    if !object.is_segment() || object.is_in_use() || forced == Some(false) {
        return;
    }
    context.ui.warning(&if forced.is_some() {
        format!("kernel.shm_rmid_forced is 1: the last detach will destroy {ident}")
    } else {
        format!("cannot read kernel.shm_rmid_forced: if it is 1, the last detach will destroy {ident}")
    });
}

/// Prints the attachment, or the pid of a holder, and flushes standard output.
fn report(args: &AttachArgs, context: &mut Context, attached: &NewAttachment) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Report<'a> {
        attachment: &'a NewAttachment,
    }
    let NewAttachment { ident, pid, address, size, access, .. } = attached;
    let line = format!("attached {ident} at {address:#x}, {}, {}, pid {pid}", Size(*size), access.as_str());
    if context.json() {
        context.report(&Report { attachment: attached })?;
    } else if args.background {
        context.ui.status(&line);
        context.ui.print(&pid.to_string())?;
    } else {
        context.ui.print(&line)?;
    }
    context.ui.flush()
}
