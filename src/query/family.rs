//! Families: the objects that a program needs as long as it uses one of them.
//!
//! A PostgreSQL server always has its control object mapped, but others only while a session uses them. That no process
//! uses an object does not show that the server has ended; that no process uses any object of its family does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::failure::QueryError;
use super::host::System;
use super::inventory;
use super::state::state;
use crate::model::{Device, FileId, Needs, Object, ObjectKind};

/// A family, and the file system in which it is.
type Key = (Device, Arc<str>);

fn key(object: &Object) -> Option<Key> {
    let ObjectKind::Posix(posix) = &object.kind else { return None };
    Some((posix.file().device, posix.family.clone()?))
}

/// Returns the other objects in the families of some objects, without users and states. The directory is read only if one
/// of them has a family.
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

/// Whether each family is in use; `None` if that is unknown.
#[derive(Debug, Default)]
pub(super) struct Families(HashMap<Key, Option<bool>>);

impl Families {
    /// Judges families by all their objects, whose users must be known.
    pub(super) fn of<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut families = HashMap::new();
        for object in objects {
            let Some(key) = key(object) else { continue };
            let one = object.posix().in_use();
            families.entry(key).and_modify(|all| *all = either(*all, one)).or_insert(one);
        }
        Self(families)
    }

    /// Adds to an object whether its family is in use, and corrects its state.
    pub(super) fn add_to(&self, system: &System, object: &mut Object) {
        let Some(in_use) = key(object).map(|key| self.0.get(&key).copied().flatten()) else { return };
        if let ObjectKind::Posix(posix) = &mut object.kind {
            posix.family_in_use = in_use;
        }
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
