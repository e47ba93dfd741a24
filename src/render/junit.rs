//! The JUnit report of `leakcheck`: one test case for the command's exit code, and one for leaks.

use std::io::{self, Write};

use super::{escape, leak_line, object_leak_line};
use crate::model::{Leak, LeakCheck, Object, counted, enumerate, sum_of_objects};

/// Writes the report.
///
/// The names of the test cases contain the command, so that a CI system recognizes them in the next run.
pub(crate) fn write_junit(out: &mut impl Write, check: &LeakCheck) -> io::Result<()> {
    let lines = |leak: &Leak| xml_text(&leak_line(leak));
    let object_lines = |object: &Object| xml_text(&object_leak_line(object));
    let all_lines = |segments: &[Leak], objects: &[Object]| -> Vec<String> {
        segments.iter().map(lines).chain(objects.iter().map(object_lines)).collect()
    };
    let LeakCheck { leaks, leaked_objects, unattributed_objects, .. } = check;
    let mut found = vec![
        (leaks.leaked.len() as u64, "leaked System V shared memory segment"),
        (sum_of_objects(leaked_objects).0, "leaked POSIX shared memory object"),
    ];
    let mut failed = all_lines(&leaks.leaked, leaked_objects);
    let mut uncounted = all_lines(&leaks.unattributed, unattributed_objects);
    if !check.lenient {
        found.extend([
            (leaks.unattributed.len() as u64, "unattributed System V shared memory segment"),
            (sum_of_objects(unattributed_objects).0, "unattributed POSIX shared memory object"),
        ]);
        failed.extend(uncounted.drain(..).map(|line| format!("unattributed: {line}")));
    }
    let (command, code) = (xml_text(&check.command.join(" ")), check.exit_code);
    let time = format!("time=\"{:.3}\"", check.seconds);
    let (failures, errors) = (u8::from(!failed.is_empty()), u8::from(code != 0));
    let counts = format!("tests=\"2\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" {time}");
    let case = format!("    <testcase classname=\"shmadm.leakcheck\" name=\"{command}: ");
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites {counts}>")?;
    writeln!(out, "  <testsuite name=\"shmadm leakcheck\" {counts}>")?;
    writeln!(out, "    <properties>")?;
    writeln!(out, "      <property name=\"isolation\" value=\"{}\"/>", check.isolation.as_str())?;
    writeln!(out, "      <property name=\"exit_code\" value=\"{code}\"/>")?;
    writeln!(out, "    </properties>")?;
    write!(out, "{case}succeeds\" {time}")?;
    if code == 0 {
        writeln!(out, "/>")?;
    } else {
        writeln!(out, ">\n      <error message=\"exit code {code}\" type=\"exit\"/>\n    </testcase>")?;
    }
    write!(out, "{case}leaks no shared memory\" time=\"0\"")?;
    if failed.is_empty() && uncounted.is_empty() {
        writeln!(out, "/>")?;
    } else {
        writeln!(out, ">")?;
        if !failed.is_empty() {
            let found = found.into_iter().filter(|(count, _)| *count > 0);
            let found: Vec<String> = found.map(|(count, noun)| counted(count, noun)).collect();
            let message = enumerate(&found, "and");
            writeln!(out, "      <failure message=\"{message}\" type=\"leak\">{}</failure>", failed.join("\n"))?;
        }
        if !uncounted.is_empty() {
            writeln!(out, "      <system-out>unattributed, not counted:\n{}</system-out>", uncounted.join("\n"))?;
        }
        writeln!(out, "    </testcase>")?;
    }
    writeln!(out, "  </testsuite>\n</testsuites>")
}

/// Escapes text for XML. Control characters, and the two others that XML cannot represent, are replaced.
fn xml_text(text: &str) -> String {
    quick_xml::escape::escape(escape(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_xml_cannot_represent_are_replaced() {
        assert_eq!(xml_text("a\u{1b}\u{ffff}<&"), "a\\x1b\u{fffd}&lt;&amp;");
    }
}
