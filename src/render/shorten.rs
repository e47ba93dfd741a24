//! Shortens texts for narrow terminals.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Shortens a text to a width: omits the directories of the program that it begins with, then what follows the
/// program's name, then the middle of the name. What stays longest is where commands differ: the name and the end.
pub(super) fn text(text: &str, width: usize, ellipsis: &str) -> String {
    let room = width.saturating_sub(ellipsis.width());
    let program = text.split(' ').next().unwrap_or_default();
    let ends = program.rmatch_indices('/').map(|(slash, _)| &text[slash..]);
    if let Some(end) = ends.take_while(|end| end.width() <= room).last() {
        return format!("{ellipsis}{end}");
    }
    let directories = program.rfind('/').map_or(0, |slash| slash + 1);
    let (program, text) = (&program[directories..], &text[directories..]);
    if text.width() <= width {
        return text.to_owned();
    }
    if program.width() <= room {
        return format!("{program}{ellipsis}{}", last(&text[program.len()..], room - program.width()));
    }
    name(program, width, ellipsis)
}

/// Shortens a name to a width: omits its middle.
pub(super) fn name(name: &str, width: usize, ellipsis: &str) -> String {
    let room = width.saturating_sub(ellipsis.width());
    let end = last(name, room / 2);
    format!("{}{ellipsis}{end}", first(name, room - end.width()))
}

/// Shortens a sentence to a width: omits its end.
pub(super) fn sentence(sentence: &str, width: usize, ellipsis: &str) -> String {
    format!("{}{ellipsis}", first(sentence, width.saturating_sub(ellipsis.width())).trim_end())
}

/// Shortens a reason to a width: omits its first clause, which many reasons have in common, then its end.
pub(super) fn reason(reason: &str, width: usize, ellipsis: &str) -> String {
    match reason.split_once("; ") {
        Some((_, rest)) if rest.width() <= width => rest.to_owned(),
        Some((_, rest)) => sentence(rest, width, ellipsis),
        None => sentence(reason, width, ellipsis),
    }
}

/// Shortens numbers that are separated by commas: omits the last ones.
pub(super) fn list(list: &str, width: usize, ellipsis: &str) -> String {
    let shown = first(list, width.saturating_sub(ellipsis.width()));
    format!("{}{ellipsis}", &shown[..shown.rfind(',').map_or(0, |comma| comma + 1)])
}

/// Returns the beginning of a text that is at most this wide.
pub(super) fn first(text: &str, width: usize) -> &str {
    &text[..fitting(text.chars(), width)]
}

/// Returns the end of a text that is at most this wide.
fn last(text: &str, width: usize) -> &str {
    &text[text.len() - fitting(text.chars().rev(), width)..]
}

/// Returns the length in bytes of the characters that fit in a width.
fn fitting(characters: impl Iterator<Item = char>, mut width: usize) -> usize {
    let fits = |character: &char| {
        let rest = width.checked_sub(character.width().unwrap_or(0));
        width = rest.unwrap_or(0);
        rest.is_some()
    };
    characters.take_while(fits).map(char::len_utf8).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_end_of_a_command_stays() {
        for (width, short) in [
            (38, "…/lib/long/path/3.11/reader --all /srv"),
            (29, "…/path/3.11/reader --all /srv"),
            (28, "…/3.11/reader --all /srv"),
            (18, "reader --all /srv"),
            (12, "reader… /srv"),
            (8, "reader…v"),
            (7, "reader…"),
            (6, "rea…er"),
        ] {
            let text = "/usr/lib/long/path/3.11/reader --all /srv";
            assert_eq!(super::text(text, width, "…"), short, "{width}");
        }
        assert_eq!(super::text("postgres: checkpointer of main", 16, "..."), "postgres:...main");
        let [one, two] = ["one", "two"].map(|end| super::text(&format!("/usr/bin/prog-{end} hold 4096 0"), 8, "…"));
        assert_eq!([one.as_str(), &two], ["prog…one", "prog…two"]);
        assert_eq!(super::text("日本日本日本", 7, "…"), "日本…本");
    }

    #[test]
    fn both_ends_of_a_name_stay() {
        for (width, short) in [(12, "/obje...0001"), (8, "/ob...01"), (3, "...")] {
            assert_eq!(super::name("/object-00001", width, "..."), short);
        }
    }

    #[test]
    fn the_beginning_of_a_sentence_stays() {
        for (width, short) in [(20, "1 process cannot be…"), (10, "1 process…"), (11, "1 process…"), (1, "…")] {
            assert_eq!(super::sentence("1 process cannot be inspected", width, "…"), short, "{width}");
        }
    }

    #[test]
    fn a_number_is_never_cut() {
        for (width, short) in [(12, "1234,56789,…"), (11, "1234,…"), (9, "1234,…"), (5, "…")] {
            assert_eq!(super::list("1234,56789,101112", width, "…"), short, "{width}");
        }
    }
}
