//! A JSON writer that writes objects field by field, without building a tree.

use std::io::{self, Write};

use super::Column;
use crate::error::Error;

/// A JSON object that is being written.
pub(crate) struct JsonObject<'w, W: Write> {
    out: &'w mut W,
    /// Whether the next field needs a comma.
    comma: bool,
}

impl<'w, W: Write> JsonObject<'w, W> {
    /// Opens a top-level object, which starts with `"schema":1`.
    pub(crate) fn schema(out: &'w mut W) -> io::Result<Self> {
        let mut object = Self::open(out)?;
        object.number("schema", 1)?;
        Ok(object)
    }

    pub(crate) fn open(out: &'w mut W) -> io::Result<Self> {
        out.write_all(b"{")?;
        Ok(Self { out, comma: false })
    }

    /// Writes a key and returns the writer for its value.
    pub(crate) fn field(&mut self, key: &str) -> io::Result<&mut W> {
        if self.comma {
            self.out.write_all(b",")?;
        }
        self.comma = true;
        self.out.write_all(b"\"")?;
        self.out.write_all(key.as_bytes())?;
        self.out.write_all(b"\":")?;
        Ok(self.out)
    }

    /// Writes a number field.
    pub(crate) fn number(&mut self, key: &str, number: impl Into<i128>) -> io::Result<()> {
        let number = number.into();
        write!(self.field(key)?, "{number}")
    }

    /// Writes a number or null.
    pub(crate) fn optional(&mut self, key: &str, number: Option<u64>) -> io::Result<()> {
        serde_json::to_writer(self.field(key)?, &number).map_err(Into::into)
    }

    /// Writes a string or null.
    pub(crate) fn text<'a>(&mut self, key: &str, text: impl Into<Option<&'a str>>) -> io::Result<()> {
        let text = text.into();
        serde_json::to_writer(self.field(key)?, &text).map_err(Into::into)
    }

    /// Writes a boolean or null.
    pub(crate) fn flag(&mut self, key: &str, flag: impl Into<Option<bool>>) -> io::Result<()> {
        let flag = flag.into();
        serde_json::to_writer(self.field(key)?, &flag).map_err(Into::into)
    }

    /// Writes one field for each column.
    pub(crate) fn row<R>(&mut self, columns: &[&Column<R>], row: &R) -> io::Result<()> {
        for column in columns {
            (column.cell)(row).write_json(self.field(column.json)?)?;
        }
        Ok(())
    }

    /// Writes a row as a nested object.
    pub(crate) fn object<R>(&mut self, key: &str, columns: &[&Column<R>], row: &R) -> io::Result<()> {
        let mut object = JsonObject::open(self.field(key)?)?;
        object.row(columns, row)?;
        object.close()
    }

    /// Writes an array; `write` writes each item.
    pub(crate) fn list<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut W, T) -> io::Result<()>,
    ) -> io::Result<()> {
        let out = self.field(key)?;
        out.write_all(b"[")?;
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                out.write_all(b",")?;
            }
            write(out, item)?;
        }
        out.write_all(b"]")
    }

    /// Closes a nested object.
    pub(crate) fn close(self) -> io::Result<()> {
        self.out.write_all(b"}")
    }

    /// Closes the top-level object and ends the line.
    pub(crate) fn end(self) -> io::Result<()> {
        self.out.write_all(b"}\n")
    }
}

pub(crate) fn write_string(out: &mut impl Write, text: &str) -> io::Result<()> {
    serde_json::to_writer(out, text).map_err(Into::into)
}

/// Writes part of a JSON string, without the enclosing quotes.
pub(crate) fn write_within_string(out: &mut impl Write, text: &str) -> io::Result<()> {
    let quoted = serde_json::to_vec(text)?;
    out.write_all(&quoted[1..quoted.len() - 1])
}

/// Writes the error object of a command that failed without a report.
pub(crate) fn write_error_json(out: &mut impl Write, error: &Error) -> io::Result<()> {
    let mut object = JsonObject::schema(out)?;
    let mut inner = JsonObject::open(object.field("error")?)?;
    inner.text("kind", error.kind.as_str())?;
    inner.text("errno", error.source.map(|source| source.name()).as_deref())?;
    inner.text("call", error.source.map(|source| source.call))?;
    inner.text("target", error.target.as_deref())?;
    inner.text("message", error.to_string().as_str())?;
    inner.text("cause", error.cause.as_deref())?;
    inner.list("hints", &error.hints, |out, hint| write_string(out, &hint.to_string()))?;
    inner.close()?;
    object.end()
}
