//! `write`: the bytes that are written, and the input that is refused.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use nix::libc;
use nix::sys::signal::Signal;

use crate::oracle;
use crate::support::{Ran, file, finish, noise, run, run_with_input, shmadm};
use crate::vanish::Stopped;

#[apply(test)]
fn attach_and_write_is_an_alias() {
    let id = oracle::create(1234, 4096, 0o600);
    let ran = run(["attach-and-write", "key:1234", "hello, world", "--json"]).exits(0);
    assert_eq!(ran.stdout, format!("{{\"schema\":1,\"id\":{id},\"offset\":0,\"written\":12}}\n"));
    // Before this process attaches it: a child that another test forks at that moment would inherit the attachment.
    assert_eq!(oracle::nattch(id), 0, "it has detached");
    assert_eq!(&oracle::contents(id)[..13], b"hello, world\0");
    let ran = run_with_input(["write", "0x4d2", "--offset", "0x10", "--json"], b"abc").exits(0);
    assert_eq!(ran.stdout, format!("{{\"schema\":1,\"id\":{id},\"offset\":16,\"written\":3}}\n"));
}

#[apply(test)]
fn a_text_that_looks_like_an_option_requires_dashes() {
    let id = oracle::create(0, 64, 0o600);
    let name = id.to_string();
    for text in ["-hello", "-h5", "-hV", "-Version", "--hello", "-x", "-qhello"] {
        let ran = run(["write", &name, text]).exits(2).prints_nothing().says("error: ");
        assert!(!ran.stderr.contains("Examples:"), "{text} prints the help: {ran:?}");
    }
    run(["write", "-hello", &name]).exits(2).prints_nothing();
    assert_eq!(oracle::contents(id), [0; 64], "nothing was written");
    run(["write", &name, "--", "-hello"]).exits(0).prints_nothing();
    assert_eq!(&oracle::contents(id)[..7], b"-hello\0");
    let help = run(["write", "--help"]).exits(0);
    assert!(help.stdout.contains("Examples:"), "{help:?}");
}

#[apply(test)]
fn a_closed_standard_input_is_not_an_empty_one() {
    let id = oracle::create(0, 64, 0o600).to_string();
    let shell = |redirection: &str| {
        let script = format!("exec \"$0\" write {id} {redirection}");
        finish(std::process::Command::new("sh").args(["-c", &script]).arg(shmadm().get_program()))
    };
    shell("<&-").exits(1).prints_nothing().says("(EBADF, read)").says("standard input is closed");
    shell("</dev/null").exits(0).says("wrote 0 bytes");
}

#[apply(test)]
fn an_interrupted_write_ends_by_the_signal() {
    let id = oracle::create(0, 64, 0o600).to_string();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut command = shmadm();
    command.args(["write", &id]).stdin(reader).stdout(Stdio::piped()).stderr(Stdio::piped());
    std::io::Write::write_all(&mut writer, b"abc").unwrap();
    // Ctrl-C ends the writer, and so the input.
    drop(writer);
    let stopped = Stopped::command_before(1, |call| call.number == libc::SYS_shmdt, command);
    stopped.signal(Signal::SIGINT);
    let ran = stopped.go_on();
    assert_eq!((ran.signal, ran.stderr.as_str()), (Some(libc::SIGINT), ""), "{ran:?}");
    assert_eq!(&oracle::contents(id.parse().unwrap())[..4], b"abc\0");
}

#[apply(test)]
fn a_stream_that_is_too_long_fills_the_segment_and_fails() {
    let id = oracle::create(0, 100_001, 0o600).to_string();
    let input = noise(200_000, 1);
    let ran = run_with_input(["write", &id, "--offset", "1"], &input).exits(1).says("100000 bytes");
    let contents = oracle::contents(id.parse().unwrap());
    assert_eq!(contents[0], 0);
    assert!(contents[1..] == input[..100_000], "{ran:?}");
    let json = run_with_input(["write", &id, "--json"], &input).exits(1).json();
    assert!(json["error"]["message"].as_str().unwrap().contains("100001 bytes"), "{json}");
}

#[apply(test)]
fn a_stream_may_end_exactly_at_the_end_of_the_segment() {
    let id = oracle::create(0, 100_001, 0o600);
    let input = noise(100_001, 1);
    run_with_input(["write", "0"], &input).exits(0);
    assert!(oracle::contents(id) == input);
}

#[apply(test)]
fn only_an_empty_stream_fits_at_the_end_of_the_segment() {
    oracle::create(0, 100_001, 0o600);
    run_with_input(["write", "0", "--offset", "100001"], b"").exits(0);
    run_with_input(["write", "0", "--offset", "100001"], b"x").exits(1).says("0 bytes");
}

#[apply(test)]
fn megabytes_are_written_completely_at_odd_offsets() {
    let size = (9 << 20) + 4567;
    for (seed, (offset, length)) in
        [(0, size), (1, size - 1), (4095, (1 << 20) + 1), (4097, 8 << 20), (12_345, 5_000_003)].into_iter().enumerate()
    {
        let id = oracle::create(0, size, 0o600);
        // The second time the pages are resident, which is another code path.
        for seed in [seed as u64, seed as u64 + 100] {
            let input = noise(length, seed);
            run_with_input(["write", &id.to_string(), "--offset", &offset.to_string()], &input).exits(0);
            let mut expected = vec![0; size];
            expected[offset..offset + length].copy_from_slice(&input);
            assert!(oracle::contents(id) == expected, "{length} bytes at {offset}");
        }
        oracle::remove(id);
    }
}

#[apply(test)]
fn a_text_that_begins_with_a_minus_sign_is_written_after_dashes() {
    let name = oracle::create(0, 50, 0o600).to_string();
    for text in ["-5", "-1.5", "-1e5", "-"] {
        run(["write", &name, text])
            .exits(2)
            .says(&format!("invalid text \"{text}\": put text that starts with - after --\n"));
        run(["write", &name, "--", text]).exits(0);
    }
    for text in ["-foo", "-n", "-hello"] {
        let ran = run(["write", &name, text]).exits(2).says(&format!("unexpected argument '{text}' found\n"));
        ran.says(&format!("hint: put text that starts with - after --: `shmadm write {name} -- {text}`\n"));
    }
    // No option stands for a second text.
    let ran = run(["write", &name, "x", "-n"]).exits(2).says("unexpected argument '-n' found\n");
    assert!(!ran.stderr.contains("hint:") && !ran.stderr.contains("tip:"), "{ran:?}");
    run(["write", &name, "--type", "i32", "-5"]).exits(0);
}

/// Writes from each kind of source into the middle of a segment, and compares the whole contents.
#[apply(test)]
fn each_source_writes_exactly_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "input", b"\x00from\nfile\xff");
    let path = path.to_str().unwrap();
    let check = |arguments: &[&str], input: &[u8], expected: &[u8]| {
        let id = oracle::create(0, 50, 0o600);
        let name = id.to_string();
        let fixed = ["write", &name, "--offset", "10"];
        run_with_input(fixed.iter().chain(arguments), input).exits(0).prints_nothing();
        let mut all = [0; 50];
        all[10..10 + expected.len()].copy_from_slice(expected);
        assert_eq!(oracle::contents(id), all, "{arguments:?}");
        oracle::remove(id);
    };
    check(&["grün\n"], b"", "grün\n".as_bytes());
    check(&[""], b"not this", b"");
    check(&["--", "-1"], b"", b"-1");
    check(&["--input", path], b"not this", b"\x00from\nfile\xff");
    check(&[], b"from\0pipe", b"from\0pipe");
    check(&["--input", "-"], b"from pipe", b"from pipe");
    check(&["--hex", "00fF7a"], b"", b"\x00\xff\x7a");
    check(&["--fill", "0xa5", "--length", "7"], b"", &[0xa5; 7]);
    check(&["--fill", "255"], b"", &[255; 40]);
    check(&["--fill", "1", "--length", "0"], b"", b"");
}

#[apply(test)]
fn standard_input_that_is_a_file_ends_where_the_file_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "input", b"\x00from\nfile\xff");
    let id = oracle::create(0, 50, 0o600);
    finish(shmadm().args(["write", &id.to_string()]).stdin(File::open(path).unwrap())).exits(0);
    assert_eq!(&oracle::contents(id)[..12], b"\x00from\nfile\xff\0");
}

#[apply(test)]
fn an_invalid_or_second_source_is_refused() {
    let id = oracle::create(0, 50, 0o600);
    for wrong in [
        vec!["one", "two"],
        vec!["text", "--hex", "00"],
        vec!["text", "--input", "/dev/null"],
        vec!["--hex", "0"],
        vec!["--hex", "zz"],
        vec!["--fill", "256"],
        vec!["--fill", "x"],
        vec!["--length", "4"],
        vec!["--fill", "1", "--hex", "00"],
        vec!["text", "--offset", "-1"],
        vec!["text", "--offset", "1E"],
    ] {
        let before = oracle::contents(id);
        let name = id.to_string();
        run(["write", &name].iter().map(|word| &**word).chain(wrong.iter().copied())).exits(2).prints_nothing();
        assert_eq!(oracle::contents(id), before, "{wrong:?}");
    }
}

#[apply(test)]
fn an_input_that_cannot_be_read_is_an_error() {
    oracle::create(0, 50, 0o600);
    run(["write", "0", "--input", "/no such file"]).exits(1).says("/no such file");
    run(["write", "0", "--input", "/"]).exits(1);
}

#[apply(test)]
fn numbers_have_native_byte_order() {
    let id = oracle::create(0, 64, 0o600);
    let name = id.to_string();
    let check = |arguments: &[&str], expected: &[u8]| {
        run(["write", &name, "--fill", "0"]).exits(0);
        let fixed = ["write", &name, "--type"];
        run(fixed.iter().chain(arguments)).exits(0).prints_nothing();
        let contents = oracle::contents(id);
        assert_eq!(&contents[..expected.len()], expected, "{arguments:?}");
        assert!(contents[expected.len()..].iter().all(|byte| *byte == 0), "{arguments:?}");
    };
    check(&["i32", "523", "-1", "-2147483648"], &[523_i32, -1, i32::MIN].map(i32::to_ne_bytes).concat());
    check(&["u8", "0", "255", "0x7f"], &[0, 255, 0x7f]);
    check(&["i8", "-128", "127"], &[0x80, 0x7f]);
    check(&["u16", "65535"], &u16::MAX.to_ne_bytes());
    check(&["i16", "-2"], &(-2_i16).to_ne_bytes());
    check(&["u32", "0xffffffff", "1"], &[u32::MAX, 1].map(u32::to_ne_bytes).concat());
    check(&["u64", "18446744073709551615"], &u64::MAX.to_ne_bytes());
    check(&["i64", "-9223372036854775808"], &i64::MIN.to_ne_bytes());
    check(&["f32", "-1.5", "1e-40"], &[-1.5_f32, 1e-40].map(f32::to_ne_bytes).concat());
    check(
        &["f64", "-2.25", "-1e300", "--", "-inf"],
        &[-2.25_f64, -1e300, f64::NEG_INFINITY].map(f64::to_ne_bytes).concat(),
    );
}

#[apply(test)]
fn a_number_out_of_range_is_refused() {
    let name = oracle::create(0, 64, 0o600).to_string();
    for (kind, value) in [
        ("u8", "256"),
        ("u8", "-1"),
        ("i8", "128"),
        ("i8", "-129"),
        ("i32", "1.5"),
        ("i32", ""),
        ("i32", "x"),
        ("u64", "18446744073709551616"),
        ("f64", "one"),
        ("i128", "1"),
    ] {
        run(["write", &name, "--type", kind, value]).exits(2).prints_nothing();
    }
    run(["write", &name, "--type", "i32"]).exits(2).prints_nothing();
    let reason = "expected 0 to 65535, in decimal without + or a leading zero, or in hexadecimal (0x1f)\n";
    for value in ["010", "+5", ""] {
        run(["write", &name, "--type", "u16", value]).exits(2).says(&format!("invalid u16 {value:?}: {reason}"));
    }
}

#[apply(test)]
fn input_that_exceeds_the_segment_is_refused_before_writing() {
    let directory = tempfile::tempdir().unwrap();
    let long = file(directory.path(), "long", &noise(101, 3));
    let fitting = file(directory.path(), "fitting", &noise(100, 4));
    let id = oracle::create(0, 100, 0o600);
    let name = id.to_string();
    let row = || oracle::row(id).unwrap();
    let before = row();
    let refused = |arguments: &[&str]| -> Ran {
        let fixed = ["write", &name];
        let ran = run(fixed.iter().chain(arguments)).exits(1).prints_nothing().says(" exceeds segment ");
        assert_eq!(row(), before, "{arguments:?}: the segment was attached");
        ran
    };
    refused(&["--input", long.to_str().unwrap()]);
    refused(&["--input", fitting.to_str().unwrap(), "--offset", "1"]);
    refused(&["x", "--offset", "100"]);
    refused(&["x", "--offset", "101"]);
    refused(&["", "--offset", "101"]);
    refused(&["xy", "--offset", "99"]);
    refused(&["x", "--offset", "18446744073709551615"]).says("offset").says(&name);
}

#[apply(test)]
fn the_suggested_size_holds_the_whole_input() {
    let directory = tempfile::tempdir().unwrap();
    let long = file(directory.path(), "long", &noise(1000, 3));
    let id = oracle::create(0, 100, 0o600).to_string();
    let write = |input: &Path, name: &str, options: &[&str]| {
        let mut command = shmadm();
        command.args(["write", name, "--offset", "40"]).args(options).stdin(File::open(input).unwrap());
        finish(&mut command)
    };
    for options in [&[][..], &["--sparse"]] {
        let ran = write(&long, &id, options).exits(1).says("60 bytes were written");
        ran.says("hint: create a larger segment: `shmadm create --size 1040`\n");
        let endless = write(Path::new("/dev/zero"), &id, options).exits(1).says("60 bytes were written");
        assert!(!endless.stderr.contains("hint: "), "{endless:?}");
    }
    let larger = oracle::create(0, 1040, 0o600).to_string();
    write(&long, &larger, &[]).exits(0);
}
