//! JSON, written field by field.

use std::io::{self, Write};

use super::Column;
use crate::error::Error;

/// An object that is being written.
pub(crate) struct Object<'w, W: Write> {
    /// Where to.
    out: &'w mut W,
    /// Whether a comma is due before the next field.
    comma: bool,
}

impl<'w, W: Write> Object<'w, W> {
    /// Begins an object with `"schema":1`, as everything at the top has it.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn schema(out: &'w mut W) -> io::Result<Self> {
        let mut object = Self::open(out)?;
        object.number("schema", 1)?;
        Ok(object)
    }

    /// Begins an object.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn open(out: &'w mut W) -> io::Result<Self> {
        out.write_all(b"{")?;
        Ok(Self { out, comma: false })
    }

    /// Writes a field's key, and lends the writer for its value.
    ///
    /// # Errors
    /// The writer's.
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

    /// Writes a number.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn number(&mut self, key: &str, number: impl Into<i128>) -> io::Result<()> {
        let number = number.into();
        write!(self.field(key)?, "{number}")
    }

    /// Writes a number, or null.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn optional(&mut self, key: &str, number: Option<u64>) -> io::Result<()> {
        serde_json::to_writer(self.field(key)?, &number).map_err(Into::into)
    }

    /// Writes text, or null.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn text<'a>(&mut self, key: &str, text: impl Into<Option<&'a str>>) -> io::Result<()> {
        let text = text.into();
        serde_json::to_writer(self.field(key)?, &text).map_err(Into::into)
    }

    /// Writes yes or no, or null.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn flag(&mut self, key: &str, flag: impl Into<Option<bool>>) -> io::Result<()> {
        let flag = flag.into();
        serde_json::to_writer(self.field(key)?, &flag).map_err(Into::into)
    }

    /// Writes the fields of a row.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn row<R>(&mut self, columns: &[&Column<R>], row: &R) -> io::Result<()> {
        for column in columns {
            (column.cell)(row).write_json(self.field(column.json)?)?;
        }
        Ok(())
    }

    /// Writes a row as an object of its own.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn object<R>(&mut self, key: &str, columns: &[&Column<R>], row: &R) -> io::Result<()> {
        let mut object = Object::open(self.field(key)?)?;
        object.row(columns, row)?;
        object.close()
    }

    /// Writes a list of rows.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn list<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut W, T) -> io::Result<()>,
    ) -> io::Result<()> {
        let out = self.field(key)?;
        out.write_all(b"[")?;
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                out.write_all(b",")?;
            }
            write(out, item)?;
        }
        out.write_all(b"]")
    }

    /// Ends the object.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn close(self) -> io::Result<()> {
        self.out.write_all(b"}")
    }

    /// Ends the object, and the line.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn end(self) -> io::Result<()> {
        self.out.write_all(b"}\n")
    }
}

/// Writes text as a JSON string.
///
/// # Errors
/// The writer's.
pub(crate) fn write_string(out: &mut impl Write, text: &str) -> io::Result<()> {
    serde_json::to_writer(out, text).map_err(Into::into)
}

/// Writes a part of a JSON string, without the quotes at its ends.
///
/// # Errors
/// The writer's.
pub(crate) fn write_within_string(out: &mut impl Write, text: &str) -> io::Result<()> {
    let quoted = serde_json::to_vec(text)?;
    out.write_all(&quoted[1..quoted.len() - 1])
}

/// Writes the object of a command that failed without a report.
///
/// # Errors
/// The writer's.
pub(crate) fn write_error_json(out: &mut impl Write, error: &Error) -> io::Result<()> {
    let mut object = Object::schema(out)?;
    let mut inner = Object::open(object.field("error")?)?;
    inner.text("kind", error.kind.word())?;
    inner.text("errno", error.source.map(|source| source.name()).as_deref())?;
    inner.text("call", error.source.map(|source| source.call))?;
    inner.text("target", error.target.as_deref())?;
    inner.text("message", error.to_string().as_str())?;
    inner.text("cause", error.cause.as_deref())?;
    inner.list("hints", &error.hints, |out, hint| write_string(out, hint))?;
    inner.close()?;
    object.end()
}
