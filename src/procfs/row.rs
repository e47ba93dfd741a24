//! A row of /proc/sysvipc/shm.

use crate::model::{Key, Mode, Object, ObjectKind, ShmId, Stamp, SysV};

/// The fields of a row, separated by spaces: wide numbers overflow their columns.
///
/// Digits are parsed as bytes. With many segments, a conversion to str would cost as much as everything else.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the next field; empty after the last.
    pub(super) fn next(&mut self) -> &'a [u8] {
        let start = self.0.iter().position(|byte| *byte != b' ').unwrap_or(self.0.len());
        let rest = &self.0[start..];
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        self.0 = &rest[end..];
        &rest[..end]
    }

    /// Parses an unsigned number. The error is the name of the field, here and below.
    fn unsigned(&mut self, name: &'static str) -> Result<u64, &'static str> {
        digits(self.next(), 10).ok_or(name)
    }

    fn narrow<T: TryFrom<u64>>(&mut self, name: &'static str) -> Result<T, &'static str> {
        T::try_from(self.unsigned(name)?).map_err(|_| name)
    }

    fn signed(&mut self, name: &'static str) -> Result<i64, &'static str> {
        let number = match self.next() {
            [b'-', field @ ..] => digits(field, 10).and_then(|number| 0_i64.checked_sub_unsigned(number)),
            field => digits(field, 10).and_then(|number| i64::try_from(number).ok()),
        };
        number.ok_or(name)
    }

    /// Parses a pid; 0 is `None`.
    fn pid(&mut self, name: &'static str) -> Result<Option<i32>, &'static str> {
        self.narrow(name).map(|pid| (pid != 0).then_some(pid))
    }

    /// Parses a time; 0 is `None`.
    fn time(&mut self, name: &'static str) -> Result<Option<Stamp>, &'static str> {
        self.signed(name).map(Stamp::from_kernel)
    }

    /// Parses a number that older kernels do not print.
    fn optional(&mut self, name: &'static str) -> Result<Option<u64>, &'static str> {
        match self.next() {
            [] => Ok(None),
            field => digits(field, 10).map(Some).ok_or(name),
        }
    }
}

/// Parses digits of a base of at most ten; `None` for other characters, an empty field and overflow.
fn digits(field: &[u8], base: u64) -> Option<u64> {
    let value = |digit: u8| Some(u64::from(digit.wrapping_sub(b'0'))).filter(|value| *value < base);
    let step = |number: u64, digit: &u8| number.checked_mul(base)?.checked_add(value(*digit)?);
    if field.is_empty() { None } else { field.iter().try_fold(0, step) }
}

/// Parses one row.
pub(super) fn parse_line(line: &[u8]) -> Result<Object, &'static str> {
    let mut fields = Fields(line);
    let key = i32::try_from(fields.signed("key")?).map_err(|_| "key")?;
    let id = ShmId::new(fields.narrow("shmid")?).ok_or("shmid")?;
    let mode = digits(fields.next(), 8).and_then(|mode| u32::try_from(mode).ok()).ok_or("perms")?;
    let size = fields.unsigned("size")?;
    let (cpid, lpid) = (fields.pid("cpid")?, fields.pid("lpid")?);
    let nattch = fields.unsigned("nattch")?;
    let (uid, gid) = (fields.narrow("uid")?, fields.narrow("gid")?);
    let (cuid, cgid) = (fields.narrow("cuid")?, fields.narrow("cgid")?);
    let (atime, dtime, ctime) = (fields.time("atime")?, fields.time("dtime")?, fields.time("ctime")?);
    // Kernels before 2.6.34 lack these columns.
    let (rss, swap) = (fields.optional("rss")?, fields.optional("swap")?);
    Ok(Object {
        size,
        mode: Mode::from_kernel(mode),
        uid,
        owner: None,
        gid,
        group: None,
        ctime,
        idle_seconds: None,
        rss,
        swap,
        state: None,
        scope: None,
        attachers: None,
        container: None,
        kind: ObjectKind::SysV(SysV {
            id,
            key: Key::from_kernel(key),
            cuid,
            creator: None,
            cgid,
            creator_group: None,
            cpid,
            lpid,
            nattch,
            atime,
            dtime,
            dest: Mode::is_marked(mode),
            locked: Mode::is_locked(mode),
            creator_command: None,
            last_command: None,
        }),
    })
}
