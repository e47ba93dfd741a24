//! The segment that a user named by id, key or file, or the POSIX object named by its name or inode.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::errno::Errno;

use super::attempt::Attempt;
use super::diagnosis::{explain, gone};
use super::failure::NO_SHARED_MEMORY;
use super::files::{missing_file, with_directory_cause};
use super::refusal::describe_removed;
use crate::error::{Error, Hint, again, shmadm};
use crate::model::{FileId, FileType, Ftok, Ident, Key, Mode, Name, Needs, Object, ShmId, Target, path_text};
use crate::query::{
    QueryError, System, add_users, as_semaphore, can_inspect_all, find_by_key, instances, inventory, lookup,
    posix_objects_by_id, posix_objects_in, removed_with_key,
};
use crate::sys;

/// The number of names from which reading all segments once is faster than finding each.
const MANY: usize = 8;

/// Finds an object, with its users and state if they are needed.
pub(crate) fn resolve(system: &System, target: &Target, needs: Needs) -> Result<Object, Error> {
    let mut found = Resolver::new(system, &[target], needs).find(target)?;
    add_users(system, without_users([&mut found]), needs)?;
    Ok(found)
}

/// Finds several objects, with their users and states if they are needed: one scan of the processes for all.
pub(crate) fn resolve_all(system: &System, targets: &[&Target], needs: Needs) -> Vec<Result<Object, Error>> {
    let resolver = Resolver::new(system, targets, needs);
    let mut found: Vec<_> = targets.iter().map(|target| resolver.find(target)).collect();
    if let Err(error) = add_users(system, without_users(found.iter_mut().flatten()), needs) {
        let error = Error::from(error);
        found.iter_mut().filter(|one| one.as_ref().is_ok_and(|object| !object.is_segment())).for_each(|one| {
            *one = Err(error.clone());
        });
    }
    found
}

/// Reads one object, with its users and state if they are needed; `Ok(None)` if it does not exist.
pub(crate) fn find(system: &System, ident: Ident, needs: Needs) -> Result<Option<Object>, QueryError> {
    let mut found = match ident {
        Ident::File(file) => posix_objects_by_id(system, &HashSet::from([file]), needs)?.remove(&file),
        ident => lookup(system, ident, needs)?,
    };
    add_users(system, without_users(&mut found), needs)?;
    Ok(found)
}

/// Returns the POSIX objects whose users were not looked for.
fn without_users<'a>(objects: impl IntoIterator<Item = &'a mut Object>) -> impl Iterator<Item = &'a mut Object> {
    objects.into_iter().filter(|object| object.as_posix().is_some_and(|posix| posix.users.is_none()))
}

fn by_key(system: &System, target: &Target, key: Key) -> Result<ShmId, Error> {
    let error = match sys::find_key(key, 0) {
        Ok(id) => return Ok(id),
        Err(error) => error,
    };
    if error.errno != Errno::ENOENT
        && let Some(found) = find_by_key(system, key)
    {
        return Ok(found.sysv().id);
    }
    let explained = explain(system, &Attempt::Open { key, size: 0, mode: Mode::default() }, error);
    let explained = Error { message: format!("cannot find segment {target}"), ..explained }.target(&target.text);
    if error.errno != Errno::ENOENT {
        return Err(explained);
    }
    // Which segments had the key is optional, so a failure is ignored.
    let removed = removed_with_key(system, &[key], Needs::empty()).unwrap_or_default();
    Err(removed.iter().fold(explained, |error, segment| {
        let ident = segment.ident();
        error
            .also(&describe_removed(system, segment, ""))
            .hint(format!("show {ident}"), shmadm("stat").arg(ident.typed()))
    }))
}

/// Finds the objects of several targets.
struct Resolver<'a> {
    system: &'a System,
    needs: Needs,
    /// All segments, if they were read.
    segments: HashMap<ShmId, Object>,
    /// The objects that are named by device and inode.
    files: Result<HashMap<FileId, Object>, Error>,
}

impl<'a> Resolver<'a> {
    fn new(system: &'a System, targets: &[&Target], needs: Needs) -> Self {
        // Only /proc/sysvipc/shm is read from its start to the row of a segment; IPC_STAT is direct.
        let reads_all = targets.len() >= MANY && needs.contains(Needs::RESIDENT);
        let all = if reads_all { inventory(system, needs).ok() } else { None }.into_iter().flatten();
        let segments = all.map(|segment| (segment.sysv().id, segment)).collect();
        let named = |target: &&Target| if let Name::File(file) = target.name { Some(file) } else { None };
        let wanted: HashSet<FileId> = targets.iter().filter_map(named).collect();
        Self { system, needs, segments, files: posix_objects_by_id(system, &wanted, needs).map_err(Error::from) }
    }

    /// Finds an object, without its users if it has a name.
    fn find(&self, target: &Target) -> Result<Object, Error> {
        let ident = match &target.name {
            Name::Id(id) => Ident::Id(*id),
            Name::Key(key) => Ident::Id(by_key(self.system, target, *key)?),
            Name::Ftok(ftok) => Ident::Id(by_key(self.system, target, ftok_key(ftok)?)?),
            Name::Object(name) | Name::Semaphore(name, _) => Ident::Name(name.clone()),
            Name::File(file) => Ident::File(*file),
        };
        let found = match &ident {
            Ident::Id(id) if self.segments.contains_key(id) => self.segments.get(id).cloned(),
            Ident::File(file) => self.files.as_ref().map_err(Error::clone)?.get(file).cloned(),
            Ident::Id(_) | Ident::Name(_) => lookup(self.system, ident.clone(), self.needs)
                .map_err(|error| cannot_look_up(self.system, "find", &ident, error))?,
        };
        let found = match (found, &target.name) {
            (None, Name::Semaphore(_, musl)) => lookup(self.system, Ident::Name(musl.clone()), self.needs)?
                .and_then(|object| as_semaphore(self.system, object)),
            (found, _) => found,
        };
        let missing = || match ident {
            Ident::Id(id) => gone(self.system, &Attempt::Stat(id)),
            Ident::File(file) => missing_by_id(self.system, file),
            Ident::Name(_) => missing_file(&ident),
        };
        let found = found.ok_or_else(|| missing().target(&target.text))?;
        if let Some(posix) = found.as_posix()
            && !self.needs.contains(Needs::DIRECTORIES)
            && posix.file_type == FileType::Dir
            && let Some(name) = &posix.name
        {
            // Only some commands show directories.
            return Err(QueryError::NotAnObject(name.clone(), "a directory").into());
        }
        Ok(found)
    }
}

/// Returns the error for an object that could not be looked up; `verb` is what was attempted.
pub(crate) fn cannot_look_up(system: &System, verb: &str, ident: &Ident, error: QueryError) -> Error {
    in_no_directory(system, &format!("{verb} {ident}"), error).target(ident.argument())
}

/// Returns the error of an attempt (`find object /x`), which names it also if the directory of objects cannot be used,
/// with the cause if the caller may not look up names in it.
pub(crate) fn in_no_directory(system: &System, attempt: &str, error: QueryError) -> Error {
    use QueryError::{Directory, File, Link, NotSharedMemory};
    if let (File(_, errno), Ok(directory)) = (&error, system.objects()) {
        let errno = *errno;
        let error = Error { message: format!("cannot {attempt}"), ..error.into() };
        return with_directory_cause(system, error, directory, errno);
    }
    let (Directory(path, _) | Link { path, .. } | NotSharedMemory(path)) = &error else { return error.into() };
    let location = match system.objects_process() {
        Some((pid, directory)) => format!("{} of process {pid}", path_text(directory)),
        None => path_text(path),
    };
    let reason = if matches!(error, NotSharedMemory(_)) { NO_SHARED_MEMORY } else { "" };
    let message = format!("cannot {attempt} in {location}{reason}");
    Error { message, ..error.into() }
}

/// Returns the error for an object that was not found by device and inode, naming the process whose /dev/shm contains
/// it.
fn missing_by_id(system: &System, file: FileId) -> Error {
    let error = missing_file(&Ident::File(file));
    // Objects without a name are found only through the processes that use them.
    let error = match can_inspect_all(system) {
        true => error,
        false => Error { hints: vec![Hint::run_as_root()], ..error }.cause(
            "no object with this device and inode number was found: it was removed or never existed, or it has no \
             name and you are not permitted to inspect the processes that use it",
        ),
    };
    let is_own = system.objects().is_ok_and(|directory| directory.device == file.device);
    let Some(instances) = instances(system).ok().filter(|_| !is_own) else { return error };
    let others = instances.directories.iter().filter(|directory| directory.device == file.device);
    let mut others = others.filter_map(|directory| {
        let objects = posix_objects_in(system, [directory], Needs::empty()).ok()?;
        let object = objects.into_iter().find(|object| object.file() == Some(file))?;
        Some((directory.pid()?, object.posix().name.clone()?))
    });
    match others.next() {
        Some((pid, name)) => Error { hints: Vec::new(), ..error }
            .cause(format!("it is {} in the /dev/shm of pid {pid}", Ident::Name(name)))
            .hint("use that /dev/shm", again("--ns").arg(pid.to_string()).without(&["dir"])),
        None if instances.inaccessible != Some(0) => {
            error.also("it may be in the /dev/shm of a process that you are not permitted to inspect")
        }
        None => error,
    }
}

pub(crate) fn ftok_key(ftok: &Ftok) -> Result<Key, Error> {
    let path = &ftok.path;
    let file = std::fs::metadata(path).map_err(|error| {
        let cause = match error.kind() {
            ErrorKind::PermissionDenied => "this user lacks search permission for a directory in the path",
            _ => "ftok: requires an existing file, whose inode number is part of the key",
        };
        let whole = with_colon(ftok).map(|whole| {
            format!("the file {whole} exists, but PROJ follows the last colon: append :1 to name that file")
        });
        let message = format!("cannot compute the key of ftok:{}", path_text(&ftok.typed));
        let error = Error::io(message, &error, "stat").target(path_text(path)).cause(cause);
        whole.map_or(error.clone(), |whole| error.cause(whole))
    })?;
    Ok(Key::ftok(file.ino(), file.dev(), ftok.proj))
}

/// Returns the existing file whose name contains the colon that was parsed as the PROJ separator.
fn with_colon(ftok: &Ftok) -> Option<String> {
    let whole = |proj: String| {
        let mut path = ftok.path.clone().into_os_string();
        path.push(format!(":{proj}"));
        PathBuf::from(path)
    };
    let typed = [char::from(ftok.proj).to_string(), ftok.proj.to_string()];
    typed.map(whole).iter().find(|path| path.exists()).map(|path| path_text(path))
}
