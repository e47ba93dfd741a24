//! Families: the objects that a program needs as long as it uses one of them.
//!
//! A PostgreSQL server always has its control object mapped, but others only while a session uses them. That no process
//! uses an object does not show that the server has ended; that no process uses any object of its family does, if one of
//! them is more than a name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::failure::QueryError;
use super::host::System;
use super::inventory;
use super::state::state;
use crate::model::{Device, FileId, Needs, Object};

/// A family, and the file system in which it is.
type Key = (Device, Arc<str>);

fn key(object: &Object) -> Option<Key> {
    let posix = object.as_posix()?;
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

/// Whether each family is in use (`None` if that is unknown), and whether it is proven to be its program's.
#[derive(Debug, Default)]
pub(super) struct Families(HashMap<Key, (Option<bool>, bool)>);

impl Families {
    /// Judges families by all their objects, whose users must be known.
    pub(super) fn of<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut families = HashMap::new();
        for object in objects {
            let Some(key) = key(object) else { continue };
            let one = (object.posix().in_use(), object.posix().is_proven);
            let add = |all: &mut (_, _)| *all = (either(all.0, one.0), all.1 || one.1);
            families.entry(key).and_modify(add).or_insert(one);
        }
        Self(families)
    }

    /// Adds to an object what is known of its family, and corrects its state.
    pub(super) fn add_to(&self, system: &System, object: &mut Object) {
        let Some(key) = key(object) else { return };
        let family = self.0.get(&key).copied().unwrap_or_default();
        let posix = object.posix_mut();
        (posix.family_in_use, posix.is_proven) = family;
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
