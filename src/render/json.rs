//! JSON: a report is a type that implements [`Serialize`], written as one line.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::{Error, Hint};

/// Writes a report as one line that starts with `"schema":1`.
pub(crate) fn write_report(out: &mut impl Write, report: &impl Serialize) -> io::Result<()> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        schema: u8,
        #[serde(flatten)]
        report: &'a T,
    }
    serde_json::to_writer(&mut *out, &Versioned { schema: 1, report })?;
    out.write_all(b"\n")
}

/// Writes a report without its end, and the name of one more field: the caller writes its value, and `}`.
pub(crate) fn begin_report(out: &mut impl Write, report: &impl Serialize, field: &str) -> io::Result<()> {
    let mut text = Vec::new();
    write_report(&mut text, report)?;
    text.truncate(text.len() - "}\n".len());
    out.write_all(&text)?;
    write!(out, ",\"{field}\":")
}

/// Writes part of a JSON string, without the enclosing quotes.
pub(crate) fn write_within_string(out: &mut impl Write, text: &str) -> io::Result<()> {
    let quoted = serde_json::to_vec(text)?;
    out.write_all(&quoted[1..quoted.len() - 1])
}

/// Writes the report of a command that failed without another one.
pub(crate) fn write_error_json(out: &mut impl Write, error: &Error) -> io::Result<()> {
    #[derive(Serialize)]
    struct Failed<'a> {
        error: Report<'a>,
    }
    #[derive(Serialize)]
    struct Report<'a> {
        kind: &'a str,
        errno: Option<String>,
        call: Option<&'a str>,
        target: Option<&'a str>,
        message: String,
        cause: Option<&'a str>,
        hints: &'a [Hint],
    }
    let error = Report {
        kind: error.kind.as_str(),
        errno: error.source.map(|source| source.name()),
        call: error.source.map(|source| source.call),
        target: error.target.as_deref(),
        message: error.to_string(),
        cause: error.cause.as_deref(),
        hints: &error.hints,
    };
    write_report(out, &Failed { error })
}
