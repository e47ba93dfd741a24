//! Breaks text between words; a terminal would break it anywhere.

use std::borrow::Cow;
use std::iter::repeat_n;

use unicode_width::UnicodeWidthStr;

/// Breaks a text that begins after `indent` columns, so that no line is wider than `width`. The other lines are
/// indented as much. A command in backticks is not broken, so that it can be copied.
pub(crate) fn wrap(text: &str, indent: usize, width: usize) -> String {
    wrap_from(indent, text, indent, width)
}

/// Breaks the lines of clap's help and usage errors, which can contain colors. The rest of a line is indented like what
/// follows its label (`Usage: `) or its first column. The commands of examples are not broken.
pub(crate) fn wrap_lines(text: &str, width: usize) -> String {
    let lines = text.split('\n').map(|line| {
        let plain = plain(line);
        if plain.trim_start().starts_with("shmadm ") {
            return line.to_owned();
        }
        wrap_from(0, line, hanging_indent(&plain), width)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Breaks a text that begins in this column, if the next line would begin before it.
fn wrap_from(mut column: usize, text: &str, indent: usize, width: usize) -> String {
    let mut wrapped = String::with_capacity(text.len() + 8);
    for (index, word) in words(text).into_iter().enumerate() {
        let word_width = plain(word).width();
        if index > 0 && column >= indent && column + 1 + word_width > width {
            wrapped.push('\n');
            wrapped.extend(repeat_n(' ', indent));
            column = indent;
        } else if index > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += word_width;
    }
    wrapped
}

/// Returns the column in which the text of a line begins.
fn hanging_indent(line: &str) -> usize {
    let text = line.trim_start();
    let start = line.len() - text.len();
    match text.split_once(": ") {
        Some((label, rest)) if !label.contains(' ') && !rest.starts_with(' ') => start + label.width() + 2,
        _ => text
            .split_once("  ")
            .map_or(start, |(first, rest)| start + first.width() + 2 + (rest.len() - rest.trim_start().len())),
    }
}

/// Splits a text at spaces that are not between backticks.
fn words(text: &str) -> Vec<&str> {
    let mut in_command = false;
    let is_end = |character: char| {
        in_command ^= character == '`';
        character == ' ' && !in_command
    };
    text.split(is_end).collect()
}

/// Removes colors, such as `\x1b[1m`.
fn plain(text: &str) -> Cow<'_, str> {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default();
    let rest: String = parts.filter_map(|part| part.split_once('m')).map(|(_, text)| text).collect();
    if rest.is_empty() { first.into() } else { format!("{first}{rest}").into() }
}

#[cfg(test)]
mod tests {
    use super::{wrap, wrap_lines};

    #[test]
    fn lines_end_between_words_and_commands_are_whole() {
        let text = "list the processes: `shmadm who 5` (or all)";
        assert_eq!(wrap(text, 6, 80), text);
        assert_eq!(wrap(text, 6, 30), "list the processes:\n      `shmadm who 5` (or all)");
        assert_eq!(wrap(text, 0, 14), "list the\nprocesses:\n`shmadm who 5`\n(or all)");
        assert_eq!(wrap("a-long-word b", 2, 5), "a-long-word\n  b");
    }

    #[test]
    fn lines_of_clap_are_indented_like_their_text() {
        for (line, wrapped) in [
            ("error: unexpected argument", "error: unexpected\n       argument"),
            ("error: \"unexpected-argument\"", "error: \"unexpected-argument\""),
            ("Usage: shmadm [OPTIONS]", "Usage: shmadm\n       [OPTIONS]"),
            ("  tip: an argument exists", "  tip: an argument\n       exists"),
            ("  [possible values: a, b]", "  [possible values: a,\n  b]"),
            ("  map    show what is there", "  map    show what is\n         there"),
            ("  10:    less than ten or 20", "  10:    less than ten\n         or 20"),
            ("  shmadm list -o ID,KEY,SIZE", "  shmadm list -o ID,KEY,SIZE"),
            ("\x1b[1m\x1b[31merror:\x1b[0m two words here", "\x1b[1m\x1b[31merror:\x1b[0m two words here"),
            (
                "\x1b[1merror:\x1b[0m the argument '\x1b[33m-x\x1b[0m'",
                "\x1b[1merror:\x1b[0m the argument\n       '\x1b[33m-x\x1b[0m'",
            ),
        ] {
            assert_eq!(wrap_lines(line, 22), wrapped);
        }
        assert_eq!(wrap_lines("one\n\ntwo three\n", 5), "one\n\ntwo\nthree\n");
    }
}
