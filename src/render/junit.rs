//! A JUnit file, as CI systems show it: two test cases, one of the command's exit code, and one of what it left behind.

use std::io::{self, Write};

use quick_xml::events::{BytesDecl, BytesText, Event};
use quick_xml::writer::{ElementWriter, Writer};

use super::{escape, leak_line};
use crate::model::LeakCheck;

/// Writes it.
///
/// The cases have the command in their names, so that their history in a CI system goes on from run to run.
///
/// # Errors
/// The writer's.
pub(crate) fn write_junit(out: &mut impl Write, check: &LeakCheck) -> io::Result<()> {
    let leaked: Vec<String> = check.counted().map(|leak| text(&leak_line(leak))).collect();
    let uncounted = if check.lenient { check.leaks.unattributed.as_slice() } else { &[] };
    let uncounted: Vec<String> = uncounted.iter().map(|leak| text(&leak_line(leak))).collect();
    let number = |is: bool| if is { "1" } else { "0" };
    let (failures, errors) = (number(!leaked.is_empty()), number(check.exit_code != 0));
    let seconds = format!("{:.3}", check.seconds);
    let counts = [("tests", "2"), ("failures", failures), ("errors", errors), ("skipped", "0"), ("time", &seconds)];
    let exit_code = check.exit_code.to_string();
    let command = text(&check.command.join(" "));
    let name = |what: &str| format!("{command}: {what}");
    let (succeeds, leaves_nothing) = (name("succeeds"), name("leaks no shared memory"));
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
            let ran = case(writer, &succeeds, &seconds);
            if check.exit_code == 0 {
                ran.write_empty()?;
            } else {
                ran.write_inner_content(|writer| {
                    let message = format!("exit code {exit_code}");
                    let error = writer.create_element("error");
                    error.with_attributes([("message", message.as_str()), ("type", "exit")]).write_empty()?;
                    Ok(())
                })?;
            }
            let left = case(writer, &leaves_nothing, "0");
            if leaked.is_empty() && uncounted.is_empty() {
                return left.write_empty().map(drop);
            }
            left.write_inner_content(|writer| {
                if !leaked.is_empty() {
                    let segments = if leaked.len() == 1 { "segment" } else { "segments" };
                    let message = format!("{} leaked System V shared memory {segments}", leaked.len());
                    let failure = writer.create_element("failure");
                    let failure = failure.with_attributes([("message", message.as_str()), ("type", "leak")]);
                    failure.write_text_content(BytesText::new(&leaked.join("\n")))?;
                }
                if !uncounted.is_empty() {
                    let told = format!("unattributed, not counted:\n{}", uncounted.join("\n"));
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

/// Begins a test case.
fn case<'a, W: Write>(writer: &'a mut Writer<W>, name: &str, seconds: &str) -> ElementWriter<'a, W> {
    let attributes = [("classname", "shmadm.leakcheck"), ("name", name), ("time", seconds)];
    writer.create_element("testcase").with_attributes(attributes)
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
    fn each_thing_that_went_wrong_is_a_case_whatever_the_words_of_the_command_are() {
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
