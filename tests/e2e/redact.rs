//! Redaction of values that differ between runs. Quotes, spaces, order and escapes stay as they are.

use expect_test::Expect;
use nix::sys::utsname::uname;
use nix::unistd::{Group, User, getegid, geteuid};

use crate::oracle;
use crate::support::Ran;

/// The longest line of a snapshot; a longer one continues in lines that begin with two spaces.
const WIDTH: usize = 110;

/// The shape of a time, before its zone.
const TIME: &str = "0000-00-00T00:00:00";

/// What to replace.
pub(crate) struct Redaction {
    /// Texts to replace wherever they are, with their placeholders.
    hidden: Vec<(String, &'static str)>,
    /// Pids with names.
    pids: Vec<(i32, &'static str)>,
    /// The caller's ids, as written in numbers.
    ids: [String; 2],
    /// The caller's user name and group name.
    names: [Option<String>; 2],
    /// Whether to replace containers: where the tests run decides whether there is one.
    containers: bool,
}

/// The forms of output.
#[derive(Clone, Copy)]
enum Form {
    /// JSON, one object per line.
    Json,
    /// CSV or TSV, with its separator and the sign for it in a snapshot.
    Rows(char, char),
    /// Anything else.
    Text,
}

impl Redaction {
    /// Prepares to replace what depends on the machine, the caller and the IPC namespace.
    pub(crate) fn new() -> Self {
        let (uid, gid) = (geteuid(), getegid());
        let mut this = Self {
            hidden: Vec::new(),
            pids: Vec::new(),
            ids: [uid.to_string(), gid.to_string()],
            names: [
                User::from_uid(uid).unwrap().map(|user| user.name),
                Group::from_gid(gid).unwrap().map(|group| group.name),
            ],
            containers: false,
        };
        this.hide(oracle::namespace().to_string(), "[NS]");
        this.hide(env!("CARGO_BIN_EXE_shmadm"), "SHMADM");
        this.hide(std::env::current_exe().unwrap().to_string_lossy(), "TEST");
        this.hide(uname().unwrap().release().to_string_lossy(), "[KERNEL]");
        this
    }

    /// Replaces a text wherever it is.
    pub(crate) fn hide(&mut self, text: impl Into<String>, placeholder: &'static str) {
        self.hidden.push((text.into(), placeholder));
    }

    /// Replaces containers, or null where there is none.
    pub(crate) fn hide_containers(&mut self) {
        self.containers = true;
    }

    /// Replaces a pid by a name; pids without one are `[PID]`.
    pub(crate) fn name(&mut self, pid: i32, name: &'static str) {
        self.pids.push((pid, name));
    }

    /// Compares everything that a run printed, and an exit code other than 0, with a snapshot.
    pub(crate) fn check(&self, ran: &Ran, expected: &Expect) {
        let mut shown = self.redact(&ran.stdout);
        if !ran.stderr.is_empty() {
            shown += &format!("[stderr]\n{}", self.redact(&ran.stderr));
        }
        if ran.code != Some(0) {
            shown += &format!("[exit code {}]\n", ran.code.unwrap());
        }
        expected.assert_eq(&shown);
    }

    /// Returns output as a snapshot shows it.
    pub(crate) fn redact(&self, text: &str) -> String {
        let form = Form::of(text);
        let text = match form {
            Form::Json => self.json(text),
            Form::Rows(separator, _) => self.rows(text, separator),
            Form::Text => text.to_owned(),
        };
        fold(&visible(&self.text(text)), form)
    }

    /// Replaces the values of JSON by their keys.
    fn json(&self, text: &str) -> String {
        let mut redacted = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('"') {
            let (string, after) = rest.split_at(start + string_length(&rest[start..]));
            redacted.push_str(string);
            rest = after;
            if let Some(value) = after.strip_prefix(':') {
                let (value, after) = value.split_at(value_length(value));
                redacted.push(':');
                redacted.push_str(&self.value(&string[start + 1..string.len() - 1], value));
                rest = after;
            }
        }
        redacted + rest
    }

    /// Replaces the fields of CSV or TSV by the names in the first line.
    fn rows(&self, text: &str, separator: char) -> String {
        let mut names: Vec<&str> = Vec::new();
        let mut redacted = String::new();
        let (mut start, mut column, mut quoted, mut first) = (0, 0, false, true);
        for (index, character) in text.char_indices() {
            // TSV has no quotes.
            quoted ^= character == '"' && separator == ',';
            if quoted || (character != separator && character != '\r' && character != '\n') {
                continue;
            }
            let field = &text[start..index];
            if first {
                names.push(field);
                redacted.push_str(field);
            } else if character != '\n' || !text[..index].ends_with('\r') {
                redacted.push_str(&self.value(names.get(column).copied().unwrap_or_default(), field));
            }
            redacted.push(character);
            start = index + 1;
            column = if character == separator { column + 1 } else { 0 };
            first &= character == separator;
        }
        redacted + &text[start..]
    }

    /// Replaces the value of a key or a column.
    fn value(&self, name: &str, raw: &str) -> String {
        let account = |index: usize, placeholder: &str| match &self.names[index] {
            Some(name) if raw.trim_matches('"') == name => raw.replace(name.as_str(), placeholder),
            None if raw == "null" => format!("\"{placeholder}\""),
            None if raw.is_empty() => placeholder.to_owned(),
            _ => raw.to_owned(),
        };
        match name.to_ascii_lowercase().as_str() {
            "cpid" | "lpid" | "pid" | "pids" | "shared_with" | "detached" | "holder" => {
                numbers(raw, |number| self.pid(number))
            }
            "dev" => "\"[DEV]\"".to_owned(),
            // In JSON, `idle` is a count.
            "idle" if name != "IDLE" => raw.to_owned(),
            "idle" | "idle_seconds" => numbers(raw, |_| "[IDLE]".to_owned()),
            "uid" | "cuid" if raw == self.ids[0] => "[UID]".to_owned(),
            "gid" | "cgid" if raw == self.ids[1] => "[GID]".to_owned(),
            "owner" | "creator" | "user" => account(0, "[USER]"),
            "group" | "creator_group" => account(1, "[GROUP]"),
            "container" if self.containers => "[CONTAINER]".to_owned(),
            _ => raw.to_owned(),
        }
    }

    /// Returns the caller's user or group with its number, as `stat` prints it.
    fn account(&self, index: usize) -> String {
        let id = &self.ids[index];
        self.names[index].as_ref().map_or_else(|| id.clone(), |name| format!("{name} ({id})"))
    }

    /// Returns the name of a pid.
    fn pid(&self, number: &str) -> String {
        let named = |(pid, name): &(i32, &str)| (pid.to_string() == number).then(|| format!("[{name}]"));
        self.pids.iter().find_map(named).unwrap_or_else(|| "[PID]".to_owned())
    }

    /// Replaces values that are recognized without a key: hidden texts, times, addresses, and pids and idle times in
    /// sentences.
    fn text(&self, mut text: String) -> String {
        for (hidden, placeholder) in &self.hidden {
            text = text.replace(hidden, placeholder);
        }
        let user = self.names[0].clone().unwrap_or_else(|| self.ids[0].clone());
        for word in ["of", "user", "(owner"] {
            text = text.replace(&format!(" {word} {user}"), &format!(" {word} [USER]"));
        }
        for (fields, account) in
            [(["Owner: ", "Creator: "], self.account(0)), (["Group: ", "Creator's group: "], self.account(1))]
        {
            for field in fields {
                text = text.replace(&format!("{field}{account}\n"), &format!("{field}[CALLER]\n"));
            }
        }
        let mut redacted = String::new();
        let mut rest = text.as_str();
        while let Some(character) = rest.chars().next() {
            let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
            let address = rest
                .strip_prefix("0x")
                .map_or(0, |rest| rest.find(|character: char| !character.is_ascii_hexdigit()).unwrap_or(rest.len()));
            let taken = if is_time(rest) {
                redacted.push_str("[TIME]");
                let zone = if rest.as_bytes()[TIME.len()] == b'Z' { 1 } else { "+00:00".len() };
                TIME.len() + zone
            } else if address > 8 {
                // Keys have eight digits.
                redacted.push_str("[ADDRESS]");
                "0x".len() + address
            } else if digits > 0 {
                let pid = ["pid ", "pid: ", "creator ", "last user "].iter().any(|word| redacted.ends_with(word));
                redacted.push_str(&match &rest[..digits] {
                    number if pid => self.pid(number),
                    // The column IDLE of a table is the only one with seconds.
                    _ if redacted.ends_with("  ") && rest[digits..].starts_with("s  ") => "[IDLE]".to_owned(),
                    _ if redacted.ends_with("idle for ") => "[IDLE]".to_owned(),
                    number => number.to_owned(),
                });
                digits
            } else {
                redacted.push(character);
                character.len_utf8()
            };
            rest = &rest[taken..];
        }
        redacted.replace(&format!("] ({user}, "), "] ([USER], ")
    }
}

impl Form {
    /// Recognizes the form of output.
    fn of(text: &str) -> Self {
        let first = text.lines().next().unwrap_or_default();
        if first.starts_with('{') {
            Self::Json
        } else if first.contains('\t') {
            Self::Rows('\t', '␉')
        } else if text.contains("\r\n") {
            Self::Rows(',', ',')
        } else {
            Self::Text
        }
    }
}

/// Returns the length of a JSON string at the beginning of a text, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let end = *character == '"' && !escaped;
        escaped = *character == '\\' && !escaped;
        end
    });
    end.unwrap().0 + 1
}

/// Returns the length of a JSON value if that is a string, a word, a number or a list of numbers; otherwise 0.
fn value_length(text: &str) -> usize {
    let list = text.find(']').filter(|end| text[..*end].chars().skip(1).all(|c| c.is_ascii_digit() || c == ','));
    match text.chars().next().unwrap() {
        '"' => string_length(text),
        '[' => list.map_or(0, |end| end + 1),
        '{' => 0,
        _ => text.find([',', '}', ']']).unwrap(),
    }
}

/// Replaces each number in a text.
fn numbers(text: &str, replace: impl Fn(&str) -> String) -> String {
    let mut replaced = String::new();
    for part in text.split_inclusive(|character: char| !character.is_ascii_digit()) {
        let digits = part.trim_end_matches(|character: char| !character.is_ascii_digit());
        if !digits.is_empty() {
            replaced.push_str(&replace(digits));
        }
        replaced.push_str(&part[digits.len()..]);
    }
    replaced
}

/// Returns whether a text begins with a time as RFC 3339 in UTC writes it.
fn is_time(text: &str) -> bool {
    let same = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    let zone = text.get(TIME.len()..).unwrap_or_default();
    text.as_bytes().iter().zip(TIME.as_bytes()).all(same) && (zone.starts_with('Z') || zone.starts_with("+00:00"))
}

/// Replaces characters that cannot be seen in a snapshot, or that Rust does not allow in a literal.
fn visible(text: &str) -> String {
    let spell = |character: char| match character {
        '\n' => "\n".to_owned(),
        '\t' => "␉".to_owned(),
        '\r' => "␍".to_owned(),
        '\u{202e}' => "⟨U+202E⟩".to_owned(),
        _ if character.is_control() => format!("⟨U+{:04X}⟩", u32::from(character)),
        _ => character.to_string(),
    };
    text.chars().map(spell).collect()
}

/// Breaks long lines of JSON before a key or an object, and those of CSV and TSV after a separator.
fn fold(text: &str, form: Form) -> String {
    let separator = match form {
        Form::Json => ',',
        Form::Rows(_, shown) => shown,
        Form::Text => return text.to_owned(),
    };
    let mut folded = String::new();
    for line in text.split_inclusive('\n') {
        let mut width = 0;
        for part in line.split_inclusive(separator) {
            // In the middle of a JSON string, something else follows a comma.
            let breaks = matches!(form, Form::Rows(..)) || part.starts_with(['{', '"']);
            let length = part.trim_end().chars().count();
            if width > 0 && width + length > WIDTH && breaks {
                folded.push_str("\n  ");
                width = 2;
            }
            folded.push_str(part);
            width += length;
        }
    }
    folded
}
