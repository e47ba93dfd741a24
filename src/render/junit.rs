//! The JUnit report of `leakcheck`: one test case for the command's exit code, and one for leaks.

use std::io::{self, Write};

use quick_xml::events::{BytesDecl, BytesText, Event};
use quick_xml::writer::{ElementWriter, Writer};

use super::{escape, leak_line};
use crate::model::LeakCheck;

/// Writes the report.
///
/// The names of the test cases contain the command, so that a CI system recognizes them in the next run.
pub(crate) fn write_junit(out: &mut impl Write, check: &LeakCheck) -> io::Result<()> {
    let leaked: Vec<String> = check.counted().map(|leak| xml_text(&leak_line(leak))).collect();
    let uncounted = if check.lenient { check.leaks.unattributed.as_slice() } else { &[] };
    let uncounted: Vec<String> = uncounted.iter().map(|leak| xml_text(&leak_line(leak))).collect();
    let count = |occurred: bool| if occurred { "1" } else { "0" };
    let (failures, errors) = (count(!leaked.is_empty()), count(check.exit_code != 0));
    let seconds = format!("{:.3}", check.seconds);
    let counts = [("tests", "2"), ("failures", failures), ("errors", errors), ("skipped", "0"), ("time", &seconds)];
    let exit_code = check.exit_code.to_string();
    let command = xml_text(&check.command.join(" "));
    let name = |claim: &str| format!("{command}: {claim}");
    let (succeeds, leaks_nothing) = (name("succeeds"), name("leaks no shared memory"));
    let mut writer = Writer::new_with_indent(out, b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.create_element("testsuites").with_attributes(counts).write_inner_content(|writer| {
        let suite = writer.create_element("testsuite").with_attribute(("name", "shmadm leakcheck"));
        suite.with_attributes(counts).write_inner_content(|writer| {
            writer.create_element("properties").write_inner_content(|writer| {
                for property in [("isolation", check.isolation.as_str()), ("exit_code", &exit_code)] {
                    let element = writer.create_element("property");
                    element.with_attributes([("name", property.0), ("value", property.1)]).write_empty()?;
                }
                Ok(())
            })?;
            let test_case = case(writer, &succeeds, &seconds);
            if check.exit_code == 0 {
                test_case.write_empty()?;
            } else {
                test_case.write_inner_content(|writer| {
                    let message = format!("exit code {exit_code}");
                    let error = writer.create_element("error");
                    error.with_attributes([("message", message.as_str()), ("type", "exit")]).write_empty()?;
                    Ok(())
                })?;
            }
            let test_case = case(writer, &leaks_nothing, "0");
            if leaked.is_empty() && uncounted.is_empty() {
                return test_case.write_empty().map(drop);
            }
            test_case.write_inner_content(|writer| {
                if !leaked.is_empty() {
                    let segments = if leaked.len() == 1 { "segment" } else { "segments" };
                    let message = format!("{} leaked System V shared memory {segments}", leaked.len());
                    let failure = writer.create_element("failure");
                    let failure = failure.with_attributes([("message", message.as_str()), ("type", "leak")]);
                    failure.write_text_content(BytesText::new(&leaked.join("\n")))?;
                }
                if !uncounted.is_empty() {
                    let output = format!("unattributed, not counted:\n{}", uncounted.join("\n"));
                    writer.create_element("system-out").write_text_content(BytesText::new(&output))?;
                }
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    })?;
    writer.into_inner().write_all(b"\n")
}

fn case<'a, W: Write>(writer: &'a mut Writer<W>, name: &str, seconds: &str) -> ElementWriter<'a, W> {
    let attributes = [("classname", "shmadm.leakcheck"), ("name", name), ("time", seconds)];
    writer.create_element("testcase").with_attributes(attributes)
}

/// Escapes control characters, and replaces the two characters that XML cannot represent even escaped.
fn xml_text(text: &str) -> String {
    escape(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Isolation, Leaks};

    #[test]
    fn special_characters_of_the_command_are_escaped() {
        let check = LeakCheck {
            command: vec!["sh".to_owned(), "a<b&\"c\"\u{1b}\u{ffff}".to_owned()],
            exit_code: 3,
            isolation: Isolation::Ipc,
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
             <testsuites tests=\"2\" failures=\"0\" errors=\"1\" skipped=\"0\" time=\"0.250\">\n  \
             <testsuite name=\"shmadm leakcheck\" tests=\"2\" failures=\"0\" errors=\"1\" skipped=\"0\" time=\"0.250\">\n    \
             <properties>\n      <property name=\"isolation\" value=\"ipc\"/>\n      \
             <property name=\"exit_code\" value=\"3\"/>\n    </properties>\n    \
             <testcase classname=\"shmadm.leakcheck\" name=\"sh a&lt;b&amp;&quot;c&quot;\\x1b\u{fffd}: succeeds\" time=\"0.250\">\n      \
             <error message=\"exit code 3\" type=\"exit\"/>\n    </testcase>\n    \
             <testcase classname=\"shmadm.leakcheck\" name=\"sh a&lt;b&amp;&quot;c&quot;\\x1b\u{fffd}: leaks no shared memory\" time=\"0\"/>\n  \
             </testsuite>\n</testsuites>\n"
        );
    }
}
