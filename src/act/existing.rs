//! The segment that already has a key. `create` opens it if it has everything that was asked for.

use nix::errno::Errno;

use super::create::Creation;
use crate::error::{Error, Hint, Kind, again, shmadm};
use crate::explain::{Attempt, explain};
use crate::model::{Access, Key, Mode, Needs, Object, ShmId, enumerate};
use crate::query::{Account, System, find_by_key, lookup, may_control};
use crate::sys::{self, Address, CreateFlags, SysError};

/// Attributes that the user asked for. `create` gives them to a new segment only.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requested {
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) mode: Option<Mode>,
    pub(crate) fill: Option<u8>,
    pub(crate) lock: bool,
}

/// An option that an existing segment does not satisfy.
struct Conflict {
    /// Without its dashes.
    option: &'static str,
    reason: String,
    /// Its arguments for `shmadm set`, if that can apply it.
    change: Option<String>,
}

/// Returns the segment with a key if it has what was requested; `None` if there is no such segment.
///
/// # Errors
/// Fails as shmget(2) if the segment is too small. Refuses if it differs from what was requested.
pub(super) fn find_existing(system: &System, key: Key, creation: &Creation) -> Result<Option<ShmId>, Error> {
    let found = match sys::find_key(key, 0) {
        Ok(id) => id,
        Err(error) if error.errno == Errno::ENOENT => return Ok(None),
        Err(error) => return Err(explain(system, &Attempt::Open { key, size: 0, mode: Mode::default() }, error)),
    };
    let Some(segment) = lookup(system, found, Needs::empty())? else { return Ok(None) };
    let conflicts = conflicts(system, &segment, creation);
    let size = creation.size.unwrap_or(0);
    match sys::find_key(key, size) {
        // Another segment has the key by now.
        Ok(id) if id != found => Ok(None),
        Ok(id) if conflicts.is_empty() => Ok(Some(id)),
        Ok(_) => Err(refusal(system, &segment, creation, &conflicts)),
        Err(error) if error.errno == Errno::ENOENT => Ok(None),
        Err(error) => {
            let mut error = explain(system, &Attempt::Open { key, size, mode: Mode::default() }, error);
            let options: Vec<&str> = conflicts.iter().map(|conflict| conflict.option).chain(["size"]).collect();
            let how = if conflicts.is_empty() { "open it with its current size" } else { "open it unchanged" };
            error.hints = vec![Hint::new(how, again("").without(&options))];
            let causes = error.cause.take().map(String::from).into_iter();
            let causes: Vec<String> = causes.chain(conflicts.into_iter().map(|conflict| conflict.reason)).collect();
            Err(error.cause(causes.join("; ")))
        }
    }
}

fn conflicts(system: &System, segment: &Object, creation: &Creation) -> Vec<Conflict> {
    let Requested { owner, group, mode, fill, lock } = creation.requested;
    let mut conflicts = Vec::new();
    let mut add = |option, reason, change| conflicts.push(Conflict { option, reason, change });
    for (account, requested, current) in [(Account::User, owner, segment.uid), (Account::Group, group, segment.gid)] {
        // The overflow id may stand for another one.
        if let Some(id) = requested.filter(|id| *id != current || system.may_be_unmapped(account, current)) {
            let (word, [wanted, name]) = match account {
                Account::User => ("owner", [id, current].map(|id| system.user(id))),
                Account::Group => ("group", [id, current].map(|id| system.group(id))),
            };
            // The overflow id has a name, too.
            let wanted = if wanted == name { id.to_string() } else { wanted };
            let reason = format!("--{word} {wanted} differs from its {word}, {name}");
            let argument = if wanted.contains(char::is_whitespace) { id.to_string() } else { wanted };
            add(word, reason, Some(format!("--{word} {argument}")));
        }
    }
    if let Some(mode) = mode.filter(|mode| *mode != segment.mode) {
        let reason = format!("--mode {mode} differs from its mode, {}", segment.mode);
        add("mode", reason, Some(format!("--mode {mode}")));
    }
    if fill.is_some() {
        add("fill", "--fill would overwrite its contents".to_owned(), None);
    }
    if lock && segment.sysv().locked {
        add("lock", "--lock is for a new segment, and this one is locked already".to_owned(), None);
    } else if lock {
        add("lock", "--lock would lock it in memory".to_owned(), Some("--lock".to_owned()));
    }
    if creation.huge.is_some() {
        add("huge", "--huge cannot change its pages".to_owned(), None);
    }
    conflicts
}

/// Explains that a key exists (EEXIST), and how to open its segment: without the options that it does not satisfy.
pub(super) fn exists(system: &System, key: Key, creation: &Creation, flags: CreateFlags) -> Error {
    let size = creation.size(system);
    let failure = SysError { errno: Errno::EEXIST, call: "shmget" };
    let mut error = explain(system, &Attempt::Create { key, size, flags }, failure);
    if let Some(segment) = find_by_key(system, key) {
        let mut options = vec!["exclusive"];
        options.extend(conflicts(system, &segment, creation).iter().map(|conflict| conflict.option));
        options.extend(creation.size.filter(|size| *size > segment.size).map(|_| "size"));
        error.hints.insert(0, Hint::new("open the existing segment", again("").without(&options)));
    }
    error
}

/// Returns the refusal to change an existing segment, with the commands that change it.
fn refusal(system: &System, segment: &Object, creation: &Creation, conflicts: &[Conflict]) -> Error {
    let (id, key) = (segment.sysv().id, segment.sysv().key);
    let options: Vec<&str> = conflicts.iter().map(|conflict| conflict.option).collect();
    let listed: Vec<String> = options.iter().map(|option| format!("--{option}")).collect();
    let reasons: Vec<&str> = conflicts.iter().map(|conflict| conflict.reason.as_str()).collect();
    let message = format!("cannot apply {}: segment {id} with key {key} already exists", enumerate(&listed, "and"));
    let mut error = Error::new(Kind::Refused, message).target(key.to_string()).cause(reasons.join("; "));
    let changes: Vec<&str> = conflicts.iter().filter_map(|conflict| conflict.change.as_deref()).collect();
    if !changes.is_empty() && may_control(system, segment) != Some(false) {
        error = error.hint("change the existing segment", shmadm(format!("set {id} {}", changes.join(" "))));
    }
    if let Some(byte) = creation.requested.fill
        && sys::check_access(key).is_ok()
    {
        error = error.hint("fill the existing segment", shmadm(format!("write {id} --fill {byte}")));
    }
    error.hint("open it unchanged", again("").without(&options))
}

/// Returns the error with which an attach for reading and writing would fail, if the mode denies it.
pub(crate) fn denied_access(system: &System, segment: &Object) -> Option<Error> {
    let error = sys::check_access(segment.sysv().key).err().filter(|error| error.errno == Errno::EACCES)?;
    let (id, access) = (segment.sysv().id, Access::ReadWrite);
    let error =
        explain(system, &Attempt::Attach { id, access, exec: false, address: Address::Any, remap: false }, error);
    // Nothing was attached.
    Some(Error { source: None, ..error })
}
