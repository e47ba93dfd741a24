//! Families: the objects that a program needs as long as it uses one of them.
//!
//! A PostgreSQL server always has its control object mapped, but others only while a session uses them. An unused
//! object does not prove that the server has exited. An entirely unused family does, if it is proven to be the
//! program's: by the contents of an object, or by a lock file.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::failure::QueryError;
use super::host::System;
use super::inventory;
use super::postgres::{self, is_of_server};
use super::state::state;
use crate::model::{Claim, Device, Family, FileId, Needs, Object};
use crate::procfs;

/// The name of a family, and the file system in which it is.
type FamilyKey = (Device, Arc<str>);

fn key(object: &Object) -> Option<FamilyKey> {
    let posix = object.as_posix()?;
    Some((posix.file().device, posix.rule.family.clone()?))
}

/// Returns the other objects in the families of some objects, without users and states. The directory is read only if
/// one of them has a family.
pub(super) fn relatives<'a>(
    system: &System,
    objects: impl IntoIterator<Item = &'a Object>,
) -> Result<Vec<Object>, QueryError> {
    let (mut families, mut known) = (HashSet::new(), HashSet::<FileId>::new());
    for object in objects {
        families.extend(key(object));
        known.extend(object.file());
    }
    if families.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = inventory::posix_objects(system, system.objects()?, Needs::empty())?;
    found.retain(|object| {
        key(object).is_some_and(|key| families.contains(&key))
            && object.file().is_some_and(|file| !known.contains(&file))
    });
    Ok(found)
}

/// Adds to objects with all their families, whose users must be known, what is known of these, and corrects their
/// states.
pub(super) fn judge<'a>(system: &System, objects: impl IntoIterator<Item = &'a mut Object>) {
    let mut objects: Vec<&mut Object> = objects.into_iter().filter(|object| key(object).is_some()).collect();
    add_locks(system, &mut objects);
    let families = Families::of(objects.iter().map(|object| &**object));
    // While the server has its control object mapped, its segment would add no information.
    let may_have_ended = |object: &&mut &mut Object| is_of_server(object) && families.get(object).in_use == Some(false);
    postgres::add_claims(system, objects.iter_mut().filter(may_have_ended).map(|object| &mut **object));
    let families = Families::of(objects.iter().map(|object| &**object));
    objects.into_iter().for_each(|object| families.add_to(system, object));
}

/// Adds a claim to the lock files that are locked, and removes earlier claims.
fn add_locks(system: &System, objects: &mut [&mut Object]) {
    let has_locks = objects.iter().any(|object| object.posix().rule.is_lock);
    let locked = if has_locks { procfs::locked_files(system.proc()) } else { HashSet::new() };
    for posix in objects.iter_mut().map(|object| object.posix_mut()) {
        if posix.family.claim == Some(Claim::Segment) {
            posix.maker = None;
        }
        posix.family.claim = (posix.rule.is_lock && locked.contains(&posix.file())).then_some(Claim::Lock);
    }
}

/// Families, each with the owners of the objects that prove it: another user's file proves nothing.
#[derive(Debug, Default)]
pub(super) struct Families(HashMap<FamilyKey, (Family, HashSet<u32>)>);

impl Families {
    /// Judges families by all their objects.
    fn of<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut families = HashMap::new();
        for object in objects {
            let Some(key) = key(object) else { continue };
            let Family { claim, is_proven, .. } = object.posix().family;
            let in_use = if claim.is_some() { Some(true) } else { object.posix().in_use() };
            let unused = || (Family { in_use: Some(false), ..Family::default() }, HashSet::new());
            let (all, provers) = families.entry(key).or_insert_with(unused);
            all.in_use = either(all.in_use, in_use);
            all.claim = all.claim.or(claim);
            provers.extend(is_proven.then_some(object.uid));
        }
        Self(families)
    }

    fn get(&self, object: &Object) -> Family {
        let known = key(object).and_then(|key| self.0.get(&key));
        known.map(|(all, provers)| Family { is_proven: provers.contains(&object.uid), ..*all }).unwrap_or_default()
    }

    /// Adds to an object what is known of its family, and corrects its state.
    pub(super) fn add_to(&self, system: &System, object: &mut Object) {
        if key(object).is_none() {
            return;
        }
        object.posix_mut().family = self.get(object);
        if object.state.is_some() {
            object.state = Some(state(system, object));
        }
    }
}

fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}
