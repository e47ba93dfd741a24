//! Opens the contents of segments and POSIX objects for the commands that read, write or inspect them.

use clap::Args;

use super::Context;
use crate::act::{self, Address, Attachment, Lifetime};
use crate::contents::{self, Allocation, Opening, Range, Source};
use crate::error::{Error, Kind, again};
use crate::model::{Access, Object};
use crate::query::last_user_preventing_orphan;

#[derive(Args, Debug)]
pub(crate) struct SourceArgs {
    /// Read via another process's attachment, changing no times (privileged)
    #[arg(long)]
    peek: bool,

    /// Allow reading to allocate memory for untouched pages
    #[arg(long, conflicts_with = "peek")]
    allow_allocation: bool,
}

impl SourceArgs {
    pub(super) fn allocation(&self) -> Allocation {
        if self.allow_allocation { Allocation::Allowed } else { Allocation::Refused }
    }
}

impl Context {
    /// Opens an object to read `length` bytes at `offset`, or up to the end.
    pub(super) fn open_to_read(
        &mut self,
        object: &Object,
        args: &SourceArgs,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Source, Error> {
        // The file of a POSIX object is read directly, with O_NOATIME where that is permitted.
        if args.peek && object.is_segment() {
            return Source::via_peer(&self.system, object);
        }
        let mut source = self.open(object, Access::ReadOnly, Opening::Inspect)?;
        let range = Range::within(source.ident().clone(), source.size(), offset, length)?;
        source.refresh(&self.system, range, args.allocation())?;
        Ok(source)
    }

    /// Opens an object to write to it.
    pub(super) fn open_to_write(&mut self, object: &Object) -> Result<Source, Error> {
        self.open(object, Access::ReadWrite, Opening::Write)
    }

    /// Opens an object to find its extents: through another process's attachment if nothing is swapped, since only an
    /// own attachment shows swapped pages.
    pub(super) fn open_to_inspect(&mut self, object: &Object) -> Result<Source, Error> {
        if object.is_segment()
            && object.is_in_use()
            && object.swap == Some(0)
            && let Ok(source) = Source::via_peer(&self.system, object)
        {
            return Ok(source);
        }
        self.open(object, Access::ReadOnly, Opening::InspectNow)
    }

    /// Attaches a segment until it is closed, or opens the file of a POSIX object.
    fn open(&mut self, object: &Object, access: Access, how: Opening) -> Result<Source, Error> {
        if !object.is_segment() {
            return Source::file(&self.system, object, how);
        }
        self.warn_of_lost_record(object);
        let attachment = act::attach(&self.system, object, access, Address::Any, false, Lifetime::Transient)?;
        Ok(Source::attached(&self.system, attachment))
    }

    /// Copies a range to standard output, bypassing its buffer; with `sparse`, untouched pages become holes of a file.
    pub(super) fn send(
        &mut self,
        source: &Source,
        range: Range,
        sparse: bool,
        message: &'static str,
    ) -> Result<(), Error> {
        let mut line = self.ui.progress(message, Some(range.length()));
        let stdout = self.ui.descriptor()?;
        let sent = contents::send(&self.system, source, range, stdout, sparse, &mut |bytes| line.advance(bytes))?;
        if sent < range.length() {
            self.ui.mark_closed();
        }
        Ok(())
    }

    /// Closes an object, and reports a failed detach.
    pub(super) fn close(&self, source: Source) -> Result<(), Error> {
        source.into_attachment().map_or(Ok(()), |attachment| act::detach_checked(&self.system, attachment))
    }

    /// Attaches a new segment, to fill it. If the detach can destroy it, `create` has refused to create it, or cannot
    /// know that; then the segment is not found afterwards.
    pub(super) fn attach_new(&self, segment: &Object) -> Result<Attachment, Error> {
        act::attach(&self.system, segment, Access::ReadWrite, Address::Any, false, Lifetime::Persistent)
    }

    /// Warns that attaching replaces the last user, if only that process keeps the segment from being an orphan.
    pub(super) fn warn_of_lost_record(&mut self, object: &Object) {
        if !object.is_in_use()
            && let Some(pid) = last_user_preventing_orphan(&self.system, object)
        {
            let command = self.system.command(pid).map(|command| format!(" ({command})")).unwrap_or_default();
            self.ui.warning(&format!(
                "attaching {} replaces its last user, pid {pid}{command}, which is still running: \
                 the creator has exited, so the segment will be shown as an orphan",
                object.ident()
            ));
        }
    }

    /// Refuses to write raw bytes to a terminal.
    pub(super) fn check_not_terminal(&self) -> Result<(), Error> {
        if !self.ui.is_terminal() {
            return Ok(());
        }
        let message = "cannot write raw bytes to a terminal: control sequences could change its state";
        Err(Error::new(Kind::Refused, message)
            .hint("show them in hexadecimal", again("").redirected("| od -A d -t x1z")))
    }
}
