//! A JUnit file, as CI systems show it: one test case, which fails if anything was left behind.

use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::{escape, leak_line};
use crate::model::LeakCheck;

/// Writes it.
///
/// The case has the command for its name, so that its history in a CI system goes on from run to run.
///
/// # Errors
/// The writer's.
pub(crate) fn write_junit(out: &mut impl Write, check: &LeakCheck) -> io::Result<()> {
    let leaked: Vec<String> = check.counted().map(|leak| text(&leak_line(leak))).collect();
    let skipped = if check.lenient { check.leaks.unattributed.as_slice() } else { &[] };
    let skipped: Vec<String> = skipped.iter().map(|leak| text(&leak_line(leak))).collect();
    let failures = if leaked.is_empty() { "0" } else { "1" };
    let seconds = format!("{:.3}", check.seconds);
    let counts = [("tests", "1"), ("failures", failures), ("errors", "0"), ("skipped", "0"), ("time", &seconds)];
    let exit_code = check.exit_code.to_string();
    let command = text(&check.command.join(" "));
    let mut writer = Writer::new_with_indent(out, b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.create_element("testsuites").with_attributes(counts).write_inner_content(|writer| {
        let suite = writer.create_element("testsuite").with_attribute(("name", "shmadm leakcheck"));
        suite.with_attributes(counts).write_inner_content(|writer| {
            writer.create_element("properties").write_inner_content(|writer| {
                for property in [("isolation", check.isolation), ("exit_code", &exit_code)] {
                    let element = writer.create_element("property");
                    element.with_attributes([("name", property.0), ("value", property.1)]).write_empty()?;
                }
                Ok(())
            })?;
            let case = writer.create_element("testcase").with_attributes([
                ("classname", "shmadm.leakcheck"),
                ("name", &command),
                ("time", &seconds),
            ]);
            if leaked.is_empty() && skipped.is_empty() {
                return case.write_empty().map(drop);
            }
            case.write_inner_content(|writer| {
                if !leaked.is_empty() {
                    let segments = if leaked.len() == 1 { "segment" } else { "segments" };
                    let message = format!("{} shared memory {segments} left behind", leaked.len());
                    let failure = writer.create_element("failure");
                    let failure = failure.with_attributes([("message", message.as_str()), ("type", "leak")]);
                    failure.write_text_content(BytesText::new(&leaked.join("\n")))?;
                }
                if !skipped.is_empty() {
                    let told = format!("not attributed, and not counted:\n{}", skipped.join("\n"));
                    writer.create_element("system-out").write_text_content(BytesText::new(&told))?;
                }
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    })?;
    writer.into_inner().write_all(b"\n")
}

/// Leaves out what XML has no way to write, which escaping cannot help; controls are spelled out.
fn text(text: &str) -> String {
    escape(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Leaks;

    #[test]
    fn a_command_that_left_nothing_is_a_case_that_passed_whatever_its_words_are() {
        let check = LeakCheck {
            command: vec!["sh".to_owned(), "a<b&\"c\"\u{1b}\u{ffff}".to_owned()],
            exit_code: 3,
            isolation: "ipc",
            seconds: 0.25,
            lenient: false,
            leaks: Leaks::default(),
        };
        let mut out = Vec::new();
        write_junit(&mut out, &check).unwrap();
        let written = String::from_utf8(out).unwrap();
        assert_eq!(
            written,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"0\" time=\"0.250\">\n  \
             <testsuite name=\"shmadm leakcheck\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"0\" time=\"0.250\">\n    \
             <properties>\n      <property name=\"isolation\" value=\"ipc\"/>\n      \
             <property name=\"exit_code\" value=\"3\"/>\n    </properties>\n    \
             <testcase classname=\"shmadm.leakcheck\" name=\"sh a&lt;b&amp;&quot;c&quot;\\x1b\u{fffd}\" time=\"0.250\"/>\n  \
             </testsuite>\n</testsuites>\n"
        );
    }
}
