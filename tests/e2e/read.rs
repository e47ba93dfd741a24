//! `read`: the contents of a segment in each form.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use nix::unistd::getpid;
use serde_json::json;

use crate::oracle::{self, Attached};
use crate::support::{NOBODY, Running, finish, noise, run, shmadm, shmadm_as};
use crate::terminal::on_terminal;

/// Larger than one piece of a copy, and not a multiple of the page size.
const LARGE: usize = (8 << 20) + (1 << 16) + 4567;

#[apply(test)]
fn the_hex_dump_is_the_same_with_and_without_holes() {
    let page = oracle::page_size();
    let id = oracle::create(0, 4 * page, 0o600);
    let name = id.to_string();
    let attached = Attached::new(id);
    attached.write(0, b"at the beginning");
    attached.write(2 * page, b"after a page that was never touched");
    for offset in [0, 5, 16, page - 1, page + 3, 2 * page - 7] {
        let read = || run(["read", &name, "--offset", &offset.to_string()]).exits(0).stdout;
        let with_holes = read();
        let lines: Vec<_> = with_holes.lines().collect();
        let whole = lines[..lines.len() - 2].iter().filter(|line| **line != "*");
        assert!(whole.clone().all(|line| line.len() == lines[0].len()), "{offset}: {with_holes}");
        let raw = finish(shmadm().args(["read", &name, "--raw", "--offset", &offset.to_string()]));
        // The same bytes in a segment without holes.
        let other = oracle::create(0, 4 * page, 0o600);
        Attached::new(other).write(offset, raw.exits(0).stdout.as_bytes());
        let dense = run(["read", &other.to_string(), "--offset", &offset.to_string()]).exits(0).stdout;
        assert_eq!(with_holes, dense, "{offset}");
    }
}

#[apply(test)]
fn the_hex_format_matches_hexdump() {
    let id = oracle::create(0, 150, 0o600).to_string();
    let segment = Attached::new(id.parse().unwrap());
    segment.write(0, b"Hello, world!\n\x00\xff");
    segment.write(80, b"~\x7f end");
    segment.write(148, b"|z");
    let expected = "\
00000000  48 65 6c 6c 6f 2c 20 77  6f 72 6c 64 21 0a 00 ff  |Hello, world!...|
00000010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
00000050  7e 7f 20 65 6e 64 00 00  00 00 00 00 00 00 00 00  |~. end..........|
00000060  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
00000090  00 00 00 00 7c 7a                                 |....|z|
00000096
";
    assert_eq!(run(["read", &id]).exits(0).stdout, expected);
    assert_eq!(run(["read", &id, "--hex"]).exits(0).stdout, expected);
    let expected = "\
00000003  6c 6f 2c 20 77 6f 72 6c  64 21 0a 00 ff 00 00 00  |lo, world!......|
00000013  00                                                |.|
00000014
";
    assert_eq!(run(["read", &id, "--offset", "3", "--length", "17"]).exits(0).stdout, expected);
}

#[apply(test)]
fn raw_is_every_byte_to_a_pipe_and_to_a_file() {
    raw(&shmadm);
}

#[apply(test)]
#[requires(Root)]
fn raw_is_every_byte_for_another_user() {
    raw(&|| shmadm_as(NOBODY));
}

#[apply(test)]
fn raw_reads_untouched_pages_as_zeros() {
    let id = oracle::create(0, LARGE, 0o600);
    Attached::new(id).write(LARGE - 3, b"end");
    let mut expected = vec![0; LARGE];
    expected[LARGE - 3..].copy_from_slice(b"end");
    let output = shmadm().args(["read", &id.to_string(), "--raw"]).output().unwrap();
    assert!(output.status.success() && output.stdout == expected);
}

#[apply(test)]
fn raw_is_refused_on_a_terminal() {
    oracle::create(0, 16, 0o600);
    let before = oracle::rows();
    let ran = on_terminal(shmadm().args(["read", "0", "--raw"]), 80).exits(5).prints_nothing();
    let hint = "hint: show them in hexadecimal: `shmadm read 0 --raw | od -A d -t x1z`";
    assert!(ran.stderr.contains(hint), "{ran:?}");
    assert_eq!(oracle::rows(), before, "the segment was attached");
    assert!(on_terminal(shmadm().args(["read", "0"]), 80).exits(0).stdout.contains("|......"));
}

#[apply(test)]
fn raw_and_json_conflict() {
    oracle::create(0, 16, 0o600);
    run(["read", "0", "--raw", "--json"]).exits(2);
}

#[apply(test)]
fn text_ends_at_the_first_nul() {
    let id = oracle::create(0, 70_000, 0o600);
    let segment = Attached::new(id);
    let text = |options: &[&str]| run([&["read", "0", "--text"], options].concat()).exits(0).stdout;
    assert_eq!(text(&[]), "\n");
    segment.write(0, "gr\u{fc}n\tto\n\0hidden".as_bytes());
    assert_eq!(text(&[]), "gr\u{fc}n\tto\n");
    assert_eq!(text(&["--length", "3"]).as_bytes()[..2], *b"gr");
    assert_eq!(text(&["--offset", "10"]), "hidden\n");
    segment.write(0, &[b'x'; 70_000]);
    assert_eq!(text(&[]), format!("{}\n", "x".repeat(70_000)));
}

#[apply(test)]
fn text_is_escaped_on_a_terminal_and_in_json() {
    let id = oracle::create(0, 70_000, 0o600);
    Attached::new(id).write(0, b"a\x1b[2Jb\xff\r\0xxx");
    let shown = on_terminal(shmadm().args(["read", "0", "--text"]), 80).exits(0).stdout;
    assert_eq!(shown, "a\\x1b[2Jb\\xff\\r\n");
    let json = run(["read", "0", "--text", "--json", "--length", "12"]).exits(0).json();
    assert_eq!(json, json!({ "schema": 1, "id": id, "offset": 0, "text": "a\u{1b}[2Jb\\xff\r" }));
}

#[apply(test)]
fn text_in_json_is_as_long_as_the_text() {
    let id = oracle::create(0, 1 << 30, 0o600 | libc::SHM_NORESERVE);
    let read = || run(["read", "0", "--text", "--json"]).exits(0);
    assert_eq!(read().stdout, "{\"schema\":1,\"id\":0,\"offset\":0,\"text\":\"\"}\n");
    let text = "x".repeat(70_000);
    Attached::new(id).write(0, text.as_bytes());
    assert_eq!(read().json(), json!({ "schema": 1, "id": id, "offset": 0, "text": text }));
    let at_the_end = run(["read", "0", "--text", "--json", "--offset", "1G"]).exits(0).json();
    assert_eq!(at_the_end, json!({ "schema": 1, "id": id, "offset": 1 << 30, "text": "" }));
}

#[apply(test)]
fn a_range_that_exceeds_the_segment_is_refused() {
    let id = oracle::create(0, 100, 0o600).to_string();
    let before = oracle::rows();
    for arguments in [
        vec!["--offset", "101"],
        vec!["--offset", "100", "--length", "1"],
        vec!["--length", "101"],
        vec!["--offset", "18446744073709551615", "--length", "2"],
        vec!["--offset", "97", "--type", "i32"],
        vec!["--type", "u64", "--count", "13"],
        vec!["--type", "u64", "--count", "18446744073709551615"],
    ] {
        for form in [&["--json"][..], &[]] {
            let fixed = ["read", &id];
            let ran = run(fixed.iter().chain(&arguments).chain(form)).exits(1).says(" exceeds segment ");
            assert!(ran.stdout.is_empty() || ran.json()["error"]["kind"] == "failed", "{ran:?}");
        }
    }
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn an_empty_range_at_the_end_is_read() {
    oracle::create(0, 100, 0o600);
    assert_eq!(run(["read", "0", "--offset", "100"]).exits(0).stdout, "00000064\n");
}

#[apply(test)]
fn conflicting_options_are_refused() {
    let id = oracle::create(0, 100, 0o600).to_string();
    for arguments in [
        vec!["--type", "i33"],
        vec!["--count", "2"],
        vec!["--rounds", "2"],
        vec!["--raw", "--text"],
        vec!["--type", "i32", "--raw"],
        vec!["--every", "1"],
        vec!["--type", "i32", "--count", "0"],
        vec!["--type", "i32", "--length", "6"],
        vec!["--type", "i32", "--length", "8", "--count", "2"],
    ] {
        run(["read", &id].iter().map(|word| &**word).chain(arguments)).exits(2).prints_nothing();
    }
}

#[apply(test)]
fn changes_nothing() {
    let id = oracle::create(0, 8192, 0o400);
    Attached::new(oracle::create(0, 1, 0o600)).write(0, b"x");
    run(["read", &id.to_string()]).exits(0);
    let row = oracle::row(id).unwrap();
    assert_eq!((row.get("nattch"), row.get("perms")), ("0", "400"));
}

/// Creates a segment whose creator has exited and whose last user is this process.
fn last_used_here() -> String {
    let name = run(["create"]).exits(0).stdout.trim().to_owned();
    let id = name.parse().unwrap();
    drop(Attached::new(id));
    assert_eq!(oracle::row(id).unwrap().get("lpid"), getpid().to_string());
    name
}

#[apply(test)]
fn warns_that_the_only_running_process_in_the_record_is_replaced() {
    let name = last_used_here();
    let warning = format!("pid {}", getpid());
    let ran = run(["read", &name, "--quiet"]).exits(0).says("warning: ").says(&warning);
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    let name = last_used_here();
    run(["write", &name, "x"]).exits(0).says("warning: ").says(&warning);
}

#[apply(test)]
fn does_not_warn_if_no_process_in_the_record_is_running() {
    let name = run(["create"]).exits(0).stdout.trim().to_owned();
    assert_eq!(run(["read", &name]).exits(0).stderr, "", "it has no last user");
    // Its last user is now a `shmadm read` that has exited.
    assert_eq!(run(["write", &name, "x", "--quiet"]).exits(0).stderr, "");
}

#[apply(test)]
fn does_not_warn_if_the_creator_is_running() {
    let id = oracle::create(0, 16, 0o600);
    drop(Attached::new(id));
    assert_eq!(run(["read", &id.to_string()]).exits(0).stderr, "");
}

/// Reads ranges of a large segment to a pipe and to a file.
fn raw(program: &dyn Fn() -> Command) {
    let bytes = noise(LARGE, 7);
    let id = oracle::create(0, LARGE, 0o644);
    Attached::new(id).write(0, &bytes);
    let directory = tempfile::tempdir().unwrap();
    for (offset, length) in [
        (0, LARGE),
        (1, LARGE - 1),
        (4097, LARGE - 4097),
        (12_345, 1),
        (4095, 3),
        (8 << 20, 4567),
        (77, 8 << 20),
        (LARGE, 0),
    ] {
        let read = || {
            let mut command = program();
            command.args(["read", &id.to_string(), "--raw", "--offset", &offset.to_string()]);
            command.args(["--length", &length.to_string()]);
            command
        };
        let expected = &bytes[offset..offset + length];
        let output = read().output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout == expected, "{length} bytes at {offset} to a pipe");

        let path = directory.path().join("output");
        std::fs::write(&path, b"before ").unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        assert!(read().stdout(file).status().unwrap().success());
        let written = std::fs::read(&path).unwrap();
        assert!(written.strip_prefix(b"before ") == Some(expected), "{length} bytes at {offset} to a file");
    }
    // A reader that reads little and closes the pipe early.
    let mut child = program()
        .args(["read", &id.to_string(), "--raw"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = vec![0; 70_001];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(some == bytes[..70_001]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// Writes bytes to a segment at offset 8 and reads them as numbers, as text and in JSON.
#[track_caller]
fn assert_numbers(kind: &str, bytes: &[u8], count: usize, text: &str, values: serde_json::Value) {
    let id = oracle::create(0, 64, 0o600);
    Attached::new(id).write(8, bytes);
    let (name, count) = (id.to_string(), count.to_string());
    let arguments = ["read", &name, "--offset", "8", "--type", kind, "--count", &count];
    assert_eq!(run(arguments).exits(0).stdout, text);
    let json = run(arguments.iter().chain(&["--json"])).exits(0).json();
    assert_eq!(json, json!({"schema": 1, "id": id, "offset": 8, "type": kind, "values": values}));
}

#[apply(test)]
fn integers_have_their_type_and_native_byte_order() {
    let three = [523, -1, i32::MIN].map(i32::to_ne_bytes).concat();
    assert_numbers("i32", &three, 3, "523\n-1\n-2147483648\n", json!([523, -1, i32::MIN]));
    assert_numbers("u8", &[0, 255], 2, "0\n255\n", json!([0, 255]));
    assert_numbers("i8", &[0x80], 1, "-128\n", json!([-128]));
    assert_numbers("u16", &u16::MAX.to_ne_bytes(), 1, "65535\n", json!([65_535]));
    assert_numbers("i16", &i16::MIN.to_ne_bytes(), 1, "-32768\n", json!([-32_768]));
    assert_numbers("u32", &u32::MAX.to_ne_bytes(), 1, "4294967295\n", json!([u32::MAX]));
    assert_numbers("u64", &u64::MAX.to_ne_bytes(), 1, "18446744073709551615\n", json!([u64::MAX]));
    assert_numbers("i64", &i64::MIN.to_ne_bytes(), 1, "-9223372036854775808\n", json!([i64::MIN]));
}

// JSON has no numbers for NaN and infinity.
#[apply(test)]
fn floating_point_numbers_have_their_shortest_form() {
    let five = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 0.5].map(f64::to_ne_bytes).concat();
    let values = json!(["NaN", "inf", "-inf", 1e300, 0.5]);
    assert_numbers("f64", &five, 5, "NaN\ninf\n-inf\n1e300\n0.5\n", values);
    assert_numbers("f64", &0.1_f64.to_ne_bytes(), 1, "0.1\n", json!([0.1]));
    assert_numbers("f32", &[f32::NAN, 0.1].map(f32::to_ne_bytes).concat(), 2, "NaN\n0.1\n", json!(["NaN", 0.1]));
}

#[apply(test)]
fn the_count_or_the_length_is_the_number_of_values() {
    let id = oracle::create(0, 64, 0o600);
    Attached::new(id).write(0, &7_u32.to_ne_bytes());
    assert_eq!(run(["read", "0", "--type", "u32"]).exits(0).stdout, "7\n", "one by default");
    assert_eq!(run(["read", "0", "--type", "u16", "--length", "4"]).exits(0).stdout.lines().count(), 2);
}

#[apply(test)]
fn without_a_type_json_has_the_bytes_in_hex() {
    let id = oracle::create(0, 64, 0o600);
    Attached::new(id).write(0, b"\x00\x0f\xff");
    let ran = run(["read", "0", "--length", "3", "--json"]).exits(0);
    assert_eq!(ran.stdout, format!("{{\"schema\":1,\"id\":{id},\"offset\":0,\"hex\":\"000fff\"}}\n"));
}

#[apply(test)]
fn every_repeats_the_values() {
    let id = oracle::create(0, 16, 0o600);
    let before = Instant::now();
    let ran = run(["read", "0", "--type", "i32", "--every", "20ms", "--rounds", "3", "--json"]).exits(0);
    assert!(before.elapsed() >= Duration::from_millis(40), "two intervals lie between three rounds");
    let one = format!("{{\"schema\":1,\"id\":{id},\"offset\":0,\"type\":\"i32\",\"values\":[0]}}\n");
    assert_eq!(ran.stdout, one.repeat(3));
}

#[apply(test)]
fn every_shows_changes_until_its_output_is_closed() {
    let id = oracle::create(0, 16, 0o600);
    let segment = Attached::new(id);
    let mut command = shmadm();
    command.args(["read", "0", "--type", "i32", "--every", "5ms"]).stdout(Stdio::piped());
    let mut child = Running(command.spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "0");
    segment.write(0, &999_i32.to_ne_bytes());
    assert!(lines.by_ref().any(|line| line.unwrap() == "999"), "lines are not written at once");
    assert_eq!(oracle::nattch(id), 2);
    drop(lines);
    assert!(child.0.wait().unwrap().success());
    assert_eq!(oracle::nattch(id), 1);
}
