//! The program that an object belongs to, by the rules of products.toml and of the user.

use super::host::{ProcessStatus, System};
use super::inventory::begins_with;
use super::postgres::{self, Header, POSTGRESQL};
use super::product::{Product, Recognized};
use super::state::{creator_and_last_user, maker_status};
use crate::model::{Claim, Confidence, Evidence, Identification, Object, ObjectKind, Posix, SysV};

/// Identifies the program of an object whose users are known; `None` if no rule applies.
pub(crate) fn identify(system: &System, object: &Object) -> Option<Identification> {
    match &object.kind {
        ObjectKind::Posix(posix) => identify_object(system, object, posix),
        ObjectKind::SysV(segment) => identify_segment(system, object, segment),
    }
}

/// Adds the programs to segments whose attachers are known.
pub(crate) fn add_products(system: &System, segments: &mut [Object]) {
    for segment in segments {
        segment.product = identify(system, segment).map(|found| found.product);
    }
}

/// Adds the creator to objects of PostgreSQL that its segment names, in use or not.
pub(crate) fn add_servers(system: &System, objects: &mut [Object]) {
    let of_server = objects.iter_mut().filter(|object| !object.is_segment() && postgres::is_of_server(object));
    postgres::add_claims(system, of_server);
}

fn identity(object: &Object, product: &Product, mut evidence: Vec<Evidence>) -> Identification {
    evidence.sort_unstable();
    Identification {
        target: object.ident().argument(),
        product: product.id.clone(),
        what: product.what.clone(),
        confidence: Confidence::of(&evidence),
        evidence,
        maker: None,
        maker_running: None,
        keep: product.keep,
        cleanup: product.cleanup.clone().filter(|_| object.can_be_cleaned_up(product.keep)),
        source: product.source.clone(),
    }
}

fn identify_object(system: &System, object: &Object, posix: &Posix) -> Option<Identification> {
    let name = posix.name.as_ref()?;
    let directory = system.objects().ok();
    let on_hugetlbfs = directory.is_some_and(|directory| directory.is_huge);
    let Recognized { product, .. } = system.rules().find(name, &posix.stat, on_hugetlbfs)?;
    let mut evidence = vec![Evidence::Name];
    let users = posix.users.as_ref().map(|users| users.pids().collect::<Vec<_>>());
    if is_used_by(system, product, &users.unwrap_or_default()) {
        evidence.push(Evidence::Users);
    }
    if posix.family.claim == Some(Claim::Lock) {
        evidence.push(Evidence::Lock);
    }
    let (maker, is_named) = (posix.maker, posix.family.claim == Some(Claim::Segment) && posix.maker.is_some());
    if is_named || directory.is_some_and(|directory| begins_with(directory, name, &posix.stat, product.magic)) {
        evidence.push(Evidence::Content);
    }
    // A process that has the segment attached is one of this pid namespace, whereas a pid in a name may be another's.
    let status = |pid| match is_named {
        true => Some(system.process_status(pid)),
        false => maker_status(system, object, pid),
    };
    let maker_running = maker.and_then(status).and_then(is_running);
    Some(Identification { maker, maker_running, ..identity(object, product, evidence) })
}

fn identify_segment(system: &System, object: &Object, segment: &SysV) -> Option<Identification> {
    let attachers = object.attachers.clone().unwrap_or_default();
    let pids: Vec<i32> = attachers.pids().collect();
    let header = if pids.is_empty() { None } else { Header::read(system, object) };
    let found = system.rules().all().find_map(|product| {
        let mut evidence = Vec::new();
        if *product.id == *POSTGRESQL && header.is_some() {
            evidence.push(Evidence::Content);
        }
        if product.has_key(segment.key) {
            evidence.push(Evidence::Key);
        }
        if product.has_segments && is_used_by(system, product, &pids) && (!product.dest || segment.dest) {
            evidence.push(Evidence::Users);
        }
        (!evidence.is_empty()).then_some((product, evidence))
    });
    let (product, evidence) = found?;
    let [creator, _] = creator_and_last_user(system, object);
    let mut identity = Identification {
        maker: segment.cpid,
        maker_running: is_running(creator),
        ..identity(object, product, evidence)
    };
    match header {
        Some(header) if identity.evidence.contains(&Evidence::Content) => {
            let control = (header.control != 0).then(|| format!(", with /PostgreSQL.{}", header.control));
            identity.what = Some(format!("main shared memory of the server{}", control.unwrap_or_default()));
        }
        // The rule describes its objects. A server creates both kinds of segments, and only the contents differ.
        _ if *identity.product == *POSTGRESQL => identity.what = Some("shared memory of a database server".to_owned()),
        _ => {}
    }
    Some(identity)
}

fn is_running(status: ProcessStatus) -> Option<bool> {
    match status {
        ProcessStatus::Running(_) => Some(true),
        ProcessStatus::Exited => Some(false),
        ProcessStatus::Unknown => None,
    }
}

/// Returns whether a process runs one of the programs of a rule. A process can give itself any name.
fn is_used_by(system: &System, product: &Product, pids: &[i32]) -> bool {
    let is_it = |name: &[u8], user: &str| match user.strip_suffix('*') {
        Some(start) => name.starts_with(start.as_bytes()),
        None => name == user.as_bytes(),
    };
    let mut names = pids.iter().filter_map(|pid| system.process_name(*pid));
    names.any(|name| product.users.iter().any(|user| is_it(&name, user)))
}
