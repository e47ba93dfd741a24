//! Rounds: what usage shows, and the change since the previous round.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::commands::Context;
use crate::commands::memory::MemoryUsage;
use crate::error::Error;
use crate::model::{Holding, Ident, Instance, Needs, Source, Stamp, named};
use crate::process::Interrupts;
use crate::query::System;
use crate::render::{By, LargeObject, UsageRow};

/// The time between two scans, as a multiple of the duration of the first one.
const REST: u32 = 4;

/// How many values of Shmem are kept.
const HISTORY: usize = 60;

/// Starts a round when it is due, and keeps what the next one is compared with.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) every: Duration,
    pub(super) by: By,
    /// Shmem of the last rounds.
    pub(super) history: VecDeque<u64>,
    /// Whether the next round is due as soon as the scan allows.
    pub(super) is_requested: bool,
    scan: Duration,
    start: Instant,
    rounds: u64,
    previous: Option<Previous>,
}

/// Resident bytes of the previous round.
#[derive(Debug)]
struct Previous {
    at: Instant,
    shmem: u64,
    sources: [u64; Source::ALL.len()],
    by: By,
    groups: HashMap<Option<String>, u64>,
    objects: HashMap<Key, u64>,
}

/// Identifies an object on this machine.
pub(super) type Key = (Instance, Ident);

/// What a scan has found.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) number: u64,
    pub(super) time: Stamp,
    pub(super) scan: Duration,
    pub(super) usage: MemoryUsage,
    pub(super) by: By,
    pub(super) rows: Vec<UsageRow>,
    pub(super) objects: Vec<LargeObject>,
    /// Of Shmem, in bytes per second.
    pub(super) change: Option<i64>,
}

named! {
    /// What segments and objects are sorted by.
    #[derive(Default)]
    pub(crate) enum Sort {
        #[default]
        Rss = "rss",
        Change = "change",
        Size = "size",
        Name = "name",
    }
}

impl Meter {
    pub(super) fn new(every: Duration, by: By) -> Self {
        Self {
            every,
            by,
            history: VecDeque::with_capacity(HISTORY),
            is_requested: false,
            scan: Duration::ZERO,
            start: Instant::now(),
            rounds: 0,
            previous: None,
        }
    }

    /// Returns the time from the start of one round to that of the next.
    pub(super) fn interval(&self) -> Duration {
        self.every.max(self.scan * (REST + 1))
    }

    pub(super) fn time_left(&self) -> Duration {
        let interval = if self.is_requested { self.scan * (REST + 1) } else { self.interval() };
        interval.saturating_sub(self.start.elapsed())
    }

    /// Requests a round with the next groups as soon as the scan allows.
    pub(super) fn request_next_group(&mut self) {
        (self.by, self.is_requested) = (next_of(&By::ALL, self.by), true);
    }

    /// Scans the machine.
    pub(super) fn next_round(&mut self, context: &mut Context, interrupts: &Interrupts) -> Result<Round, Error> {
        self.start = Instant::now();
        self.is_requested = false;
        // What it has cached is from the previous round.
        context.system = context.system.renewed();
        // The list of the largest segments and objects shows their programs.
        let found = MemoryUsage::find(context, self.by, Needs::PRODUCT)
            .and_then(|usage| Ok((usage.rows(context, self.by)?, usage)));
        interrupts.check()?;
        let (rows, usage) = found?;
        self.scan = self.start.elapsed();
        self.rounds += 1;
        let mut round = Round {
            number: self.rounds,
            time: context.system.now(),
            scan: self.scan,
            by: self.by,
            rows,
            objects: Vec::new(),
            change: None,
            usage,
        };
        self.compare(&context.system, &mut round);
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(round.usage.shmem);
        Ok(round)
    }

    /// Adds the objects and all changes, and keeps the round for the next one.
    fn compare(&mut self, system: &System, round: &mut Round) {
        let previous = self.previous.take();
        let elapsed = previous.as_ref().map(|previous| self.start - previous.at);
        let rate = |now: u64, before: Option<u64>| Some(per_second(now, before.unwrap_or(0), elapsed?));
        let Round { usage, rows, .. } = round;
        round.change = rate(usage.shmem, previous.as_ref().map(|previous| previous.shmem));
        let sources = usage.sources.map(|source| source.memory.rss);
        for (index, source) in usage.sources.iter_mut().enumerate() {
            source.change = rate(sources[index], previous.as_ref().map(|previous| previous.sources[index]));
        }
        let mut groups = HashMap::new();
        if self.by == By::Source {
            rows.iter_mut().zip(&usage.sources).for_each(|(row, source)| row.change = source.change);
        } else if let Some(previous) = previous.as_ref().filter(|previous| previous.by == self.by) {
            let before = |row: &UsageRow| previous.groups.get(&row.name).copied();
            rows.iter_mut().for_each(|row| row.change = rate(row.memory.rss, before(row)));
        }
        if self.by != By::Source {
            groups = rows.iter().map(|row| (row.name.clone(), row.memory.rss)).collect();
        }
        rows.retain(|row| row.memory.allocated() > 0 || row.change.is_some_and(|change| change != 0));
        let mut objects = HashMap::new();
        for holding in usage.objects() {
            let Some(mut object) = object(system, usage, holding) else { continue };
            let before = previous.as_ref().and_then(|previous| previous.objects.get(&object.key).copied());
            object.change = rate(object.rss, before);
            objects.insert(object.key.clone(), object.rss);
            round.objects.push(object);
        }
        self.previous = Some(Previous { at: self.start, shmem: usage.shmem, sources, by: self.by, groups, objects });
    }
}

/// Returns the element after this one, or the first.
pub(super) fn next_of<T: Copy + PartialEq>(all: &[T], one: T) -> T {
    all.iter().cycle().skip_while(|it| **it != one).nth(1).copied().unwrap_or(one)
}

fn object(system: &System, usage: &MemoryUsage, holding: &Holding) -> Option<LargeObject> {
    let ident = holding.ident.clone()?;
    let ns = usage.namespace_of(holding);
    Some(LargeObject {
        target: ident.argument(),
        key: (holding.instance.clone(), ident),
        ns,
        is_here: ns.is_none() || (holding.source == Source::SysV && ns == system.namespace()),
        source: holding.source,
        uid: holding.uid,
        owner: holding.uid.and_then(|uid| system.user_name(uid)),
        container: holding.container.clone(),
        product: holding.product.clone(),
        size: holding.memory.size,
        rss: holding.memory.rss,
        swap: holding.memory.swap,
        change: None,
    })
}

/// Returns the change in bytes per second.
fn per_second(now: u64, before: u64, elapsed: Duration) -> i64 {
    let difference = i128::from(now) - i128::from(before);
    let milliseconds = i128::try_from(elapsed.as_millis()).unwrap_or(1).max(1);
    i64::try_from(difference * 1000 / milliseconds).unwrap_or(0)
}

impl Round {
    /// Sorts segments and objects: the largest first, or by name.
    pub(super) fn sort(&mut self, sort: Sort) {
        self.objects.sort_by(|one, next| {
            let order = match sort {
                Sort::Rss => next.rss.cmp(&one.rss),
                Sort::Change => next.change.cmp(&one.change),
                Sort::Size => next.size.cmp(&one.size),
                Sort::Name => one.target.cmp(&next.target),
            };
            order.then_with(|| next.rss.cmp(&one.rss)).then_with(|| one.key.cmp(&next.key))
        });
    }
}
