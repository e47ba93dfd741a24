//! The screen: a header, the table of `usage`, the segments and objects, and what keys do.

use std::cmp::Reverse;

use super::TopArgs;
use super::meter::{Key as ObjectKey, Meter, Round, Sort, next_of};
use super::users::users;
use crate::commands::Context;
use crate::error::{Error, Exit};
use crate::process::{Interrupts, WaitOutcome};
use crate::render::{
    Column, Format, LARGEST_DROP_ORDER, LargeObject, TableStyle, USAGE_DROP_ORDER, UsageRow, clip, escape, interval,
    largest_columns, spark_line, summary, top_columns, write_rows,
};
use crate::ui::{Key, Look, Screen};

const HELP: &str = "\
q, F10     quit
?, F1      show this page
/, F4      filter by name; Enter ends the input
s, F6      change the sort order: rss, change, size, name
b          change the grouping: source, instance,
           process, user, cgroup, container, product
w          show the processes that use the selected segment
           or object, or the first one
p, space   pause, continue
arrows, page keys, home, end: select a segment or object
Escape     clear the selection and the filter";

const KEYS: &str = "q quit  ? help  / filter  s sort  b by  w who  p pause";

/// What is shown instead of the tables, if anything.
#[derive(Debug, Default)]
enum Page {
    #[default]
    Tables,
    /// Lines, until a key is pressed.
    Text(Vec<String>),
}

/// What the user has chosen.
#[derive(Debug, Default)]
struct View {
    page: Page,
    sort: Sort,
    filter: String,
    /// Whether keys are the text of the filter.
    is_typing: bool,
    is_paused: bool,
    /// The index of a row, if one is selected.
    selected: Option<usize>,
    /// The object in that row.
    object: Option<ObjectKey>,
    /// The first row on the screen.
    first: usize,
    /// How many rows fit.
    height: usize,
    /// Shown instead of the keys.
    notice: Option<String>,
}

/// Draws rounds until the user quits.
pub(super) fn run(
    args: &TopArgs,
    context: &mut Context,
    interrupts: &Interrupts,
    meter: &mut Meter,
) -> Result<Exit, Error> {
    // Its warnings precede the screen, and are visible again after it.
    let mut round = meter.next_round(context, interrupts)?;
    context.ui.mute(true);
    interrupts.add_terminal()?;
    let mut screen = context.ui.open_screen()?;
    let mut view = View { height: 1, ..View::default() };
    loop {
        let visible = view.update(&mut round);
        screen.draw(&view.lines(context, meter, &round, &visible, screen.size()))?;
        let timeout = (!view.is_paused || meter.is_requested).then(|| meter.time_left());
        match interrupts.wait(timeout, Some(screen.input()))? {
            WaitOutcome::Terminate(signal) | WaitOutcome::Signal(signal) => return Err(Error::interrupted(signal)),
            WaitOutcome::Redraw => screen.enter()?,
            WaitOutcome::Suspend => {
                screen.leave();
                interrupts.stop()?;
                screen.enter()?;
            }
            WaitOutcome::Timeout if args.rounds.is_some_and(|rounds| round.number >= rounds) => {
                return Ok(Exit::Done);
            }
            WaitOutcome::Timeout => match meter.next_round(context, interrupts) {
                Ok(next) => round = next,
                // Not every machine has control groups with memory.
                Err(error) if meter.by != round.by => {
                    view.notice = Some(error.to_string());
                    meter.request_next_group();
                }
                Err(error) => return Err(error),
            },
            WaitOutcome::Ready => {
                let Some(keys) = screen.keys()? else { return Ok(Exit::Done) };
                for key in keys {
                    let shown = visible.iter().filter_map(|index| round.objects.get(*index));
                    let object = shown.clone().nth(view.selected.unwrap_or(0));
                    match view.press(key, shown.count()) {
                        Action::None => {}
                        Action::Quit => return Ok(Exit::Done),
                        Action::Group => meter.request_next_group(),
                        Action::Users => view.show_users(context, object, &screen),
                    }
                }
                view.remember(&round, &visible);
            }
        }
    }
}

/// What a key press asks of the caller, because the view cannot do it.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    None,
    Quit,
    Group,
    Users,
}

impl View {
    /// Sorts and filters; returns the indexes of the objects to show.
    fn update(&mut self, round: &mut Round) -> Vec<usize> {
        round.sort(self.sort);
        let filter = self.filter.to_lowercase();
        let is_shown = |object: &LargeObject| filter.is_empty() || object.target.to_lowercase().contains(&filter);
        let visible: Vec<_> =
            (0..).zip(&round.objects).filter(|(_, it)| is_shown(it)).map(|(index, _)| index).collect();
        if let Some(key) = &self.object {
            let is_selected = |index: &usize| round.objects.get(*index).is_some_and(|it| it.key == *key);
            self.selected = visible.iter().position(is_selected).or(self.selected);
        }
        self.selected = self.selected.filter(|_| !visible.is_empty()).map(|index| index.min(visible.len() - 1));
        visible
    }

    /// Keeps the selected object, which the next update finds again.
    fn remember(&mut self, round: &Round, visible: &[usize]) {
        let index = self.selected.and_then(|selected| visible.get(selected));
        let object = index.and_then(|index| round.objects.get(*index));
        self.object = object.map(|object| object.key.clone());
    }

    fn press(&mut self, key: Key, count: usize) -> Action {
        self.notice = None;
        if self.is_typing {
            match key {
                Key::Character(character) => self.filter.push(character),
                Key::Backspace => drop(self.filter.pop()),
                Key::Escape => (self.is_typing, self.filter) = (false, String::new()),
                Key::Enter => self.is_typing = false,
                _ => {}
            }
            return Action::None;
        }
        if matches!(key, Key::Character('q') | Key::Function(10)) {
            return Action::Quit;
        }
        if matches!(self.page, Page::Text(_)) {
            self.page = Page::Tables;
            return Action::None;
        }
        let (last, row) = (count.saturating_sub(1), self.selected);
        let select = |row: usize| (count > 0).then(|| row.min(last));
        match key {
            Key::Character('?') | Key::Function(1) => {
                self.page = Page::Text(HELP.lines().map(ToOwned::to_owned).collect());
            }
            Key::Character('/') | Key::Function(4) => self.is_typing = true,
            Key::Character('s') | Key::Function(6) => self.sort = next_of(&Sort::ALL, self.sort),
            Key::Character('b') => return Action::Group,
            Key::Character('w') => return Action::Users,
            Key::Character('p' | ' ') => self.is_paused = !self.is_paused,
            Key::Escape => (self.selected, self.first, self.filter) = (None, 0, String::new()),
            Key::Down => self.selected = select(row.map_or(0, |row| row + 1)),
            Key::Up => self.selected = select(row.unwrap_or(0).saturating_sub(1)),
            Key::PageDown => self.selected = select(row.unwrap_or(0) + self.height),
            Key::PageUp => self.selected = select(row.unwrap_or(0).saturating_sub(self.height)),
            Key::Home => self.selected = select(0),
            Key::End => self.selected = select(last),
            _ => {}
        }
        Action::None
    }

    fn show_users(&mut self, context: &mut Context, object: Option<&LargeObject>, screen: &Screen) {
        let Some(object) = object else { return };
        let lines = users(context, object, screen.size().0);
        self.page = Page::Text(lines.unwrap_or_else(|error| vec![escape(&error.to_string()).into_owned()]));
    }

    /// Returns what is on the screen.
    fn lines(
        &mut self,
        context: &Context,
        meter: &Meter,
        round: &Round,
        visible: &[usize],
        (columns, rows): (usize, usize),
    ) -> Vec<(Look, String)> {
        let mut summary = summary(round.usage.shmem, round.change, round.usage.accounted) + "  ";
        let width = columns.saturating_sub(summary.len());
        summary.push_str(&spark_line(meter.history.iter().copied(), width, context.ui.is_utf8()));
        let mut lines = vec![(Look::Bold, summary), (Look::Plain, self.status(meter, round, columns))];
        // The last line is the keys'.
        let height = rows.saturating_sub(lines.len() + 1);
        match &self.page {
            Page::Text(text) => {
                let fits = if text.len() > height { height.saturating_sub(1) } else { height };
                lines.extend(text.iter().take(fits).map(|line| (Look::Plain, line.clone())));
                if text.len() > fits {
                    lines.push((Look::Plain, format!("{} more", text.len() - fits)));
                }
            }
            Page::Tables => {
                let style =
                    |droppable, width| TableStyle { width: Some(width), color: false, ..context.table(droppable) };
                let mut groups = largest_rows(&round.rows, (height / 2).saturating_sub(2));
                groups.extend(round.usage.totals(round.by).into_iter().nth(1));
                let upper = table(&top_columns(round.by), groups, &style(USAGE_DROP_ORDER, columns));
                lines.extend(with_heading(upper));
                self.height = (rows.saturating_sub(lines.len() + 2)).max(1);
                let row = self.selected.unwrap_or(0);
                let last = visible.len().saturating_sub(self.height);
                self.first = self.first.min(row).max((row + 1).saturating_sub(self.height)).min(last);
                let shown = visible.iter().skip(self.first).take(self.height);
                let shown: Vec<_> = shown.filter_map(|index| round.objects.get(*index)).cloned().collect();
                let width = columns.saturating_sub(2).max(1);
                let lower = table(&largest_columns(&shown), shown, &style(LARGEST_DROP_ORDER, width));
                lines.extend(with_heading(lower).map(|(look, line)| (look, format!("  {line}"))));
                let start = lines.len().saturating_sub(visible.len().saturating_sub(self.first).min(self.height));
                let selected = self.selected.and_then(|row| lines.get_mut(start + row - self.first));
                if let Some((look, line)) = selected {
                    (*look, *line) = (Look::Reverse, format!("> {}", &line[2..]));
                }
            }
        }
        lines.truncate(rows.saturating_sub(1));
        lines.resize(rows.saturating_sub(1), (Look::Plain, String::new()));
        lines.push((Look::Plain, self.last_line()));
        lines
    }

    /// Returns the second line, without the reason for infrequent rounds if it does not fit.
    fn status(&self, meter: &Meter, round: &Round, columns: usize) -> String {
        let actual = meter.interval();
        let full = self.status_with(interval(meter.every, actual, round.scan), meter, round);
        if clip(&full, columns) == full {
            return full;
        }
        self.status_with(interval(actual, actual, round.scan), meter, round)
    }

    fn status_with(&self, interval: String, meter: &Meter, round: &Round) -> String {
        let mut parts = vec![interval];
        if self.is_paused {
            parts.insert(0, "paused".to_owned());
        }
        if meter.by != round.by {
            parts.push(format!("by {} next", meter.by.as_str()));
        }
        if !self.filter.is_empty() && !self.is_typing {
            parts.push(format!("filter {}", escape(&self.filter)));
        }
        parts.push(format!("sorted by {}", self.sort.as_str()));
        parts.join("; ")
    }

    fn last_line(&self) -> String {
        match (&self.notice, &self.page) {
            _ if self.is_typing => format!("/{}_", escape(&self.filter)),
            (Some(notice), _) => escape(notice).into_owned(),
            (None, Page::Tables) => KEYS.to_owned(),
            (None, Page::Text(_)) => "q quits, any other key returns".to_owned(),
        }
    }
}

/// Returns the largest rows, in their order.
fn largest_rows(rows: &[UsageRow], count: usize) -> Vec<UsageRow> {
    let mut largest: Vec<_> = (0..).zip(rows).collect();
    largest.sort_by_key(|(_, row)| Reverse(row.memory.rss));
    largest.truncate(count);
    largest.sort_by_key(|(index, _): &(usize, _)| *index);
    largest.into_iter().map(|(_, row)| row.clone()).collect()
}

/// Returns the lines of a table.
pub(super) fn table<R>(columns: &[&'static Column<R>], rows: Vec<R>, style: &TableStyle<'_>) -> Vec<String> {
    let mut text = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = write_rows(&mut text, Format::Table, &(), "", columns, rows, style);
    String::from_utf8_lossy(&text).lines().map(ToOwned::to_owned).collect()
}

fn with_heading(table: Vec<String>) -> impl Iterator<Item = (Look, String)> {
    let looks = std::iter::once(Look::Bold).chain(std::iter::repeat(Look::Plain));
    looks.zip(table)
}
