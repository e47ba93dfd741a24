//! Breaks messages between words; a terminal would break them anywhere.

use std::iter::repeat_n;

use unicode_width::UnicodeWidthStr;

/// Breaks a text that begins after `indent` columns, so that no line is wider than `width`. The other lines are
/// indented as much. A command in backticks is not broken, so that it can be copied.
pub(crate) fn wrap(text: &str, indent: usize, width: usize) -> String {
    let mut wrapped = String::with_capacity(text.len() + 8);
    let mut column = indent;
    for (index, word) in words(text).into_iter().enumerate() {
        if index > 0 && column + 1 + word.width() > width {
            wrapped.push('\n');
            wrapped.extend(repeat_n(' ', indent));
            column = indent;
        } else if index > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += word.width();
    }
    wrapped
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

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_end_between_words_and_commands_are_whole() {
        let text = "list the processes: `shmadm who 5` (or all)";
        assert_eq!(wrap(text, 6, 80), text);
        assert_eq!(wrap(text, 6, 30), "list the processes:\n      `shmadm who 5` (or all)");
        assert_eq!(wrap(text, 0, 14), "list the\nprocesses:\n`shmadm who 5`\n(or all)");
        assert_eq!(wrap("a-long-word b", 2, 5), "a-long-word\n  b");
    }
}
