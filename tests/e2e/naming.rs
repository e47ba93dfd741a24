//! Names of segments: ids, keys and files.

use crate::oracle;
use crate::support::run;

#[apply(test)]
fn an_invalid_segment_is_a_usage_error_and_changes_nothing() {
    // A name that is wrongly parsed as 0 would match this id, and one that overflows would match this key.
    let first = oracle::create(1, 4096, 0o600);
    assert_eq!(first, 0, "the first id of a namespace is 0");
    let before = oracle::rows();
    for name in ["", "12abc", "-1", "010", "4294967296", "key:0", "key:0x100000001", "0x", "//name", "key:", "ftok:"] {
        for command in ["rm", "stat", "read", "write", "attach", "detach", "set"] {
            let ran = run([command, name]).exits(2).prints_nothing();
            assert!(ran.stderr.starts_with("error: "), "{command} {name:?}: {ran:?}");
            assert_eq!(oracle::rows(), before, "{command} {name:?} changed something");
        }
    }
    run(["rm", "key:0"]).exits(2).says("IPC_PRIVATE");
    let bad = "+1|2147483648|1e3| 5|5 |key:0x0|key:00|key:4294967296|key:--1|0x0|0xg|id:|id:0x5|id:-1|ftok::1|ftok:/a:|\
               ftok:/a:0|ftok:/a:256|ftok:/a:ab|ftok:/a:07|ftok:/a:é|shm|٣";
    for name in bad.split('|') {
        run(["stat", name]).exits(2).prints_nothing();
    }
}

#[apply(test)]
fn a_key_given_as_an_id_is_pointed_out() {
    let id = oracle::create(1234, 4096, 0o600);
    let ran = run(["stat", "1234"]).exits(3).prints_nothing();
    assert!(ran.stderr.contains("hint: a segment with key 1234 (0x4d2) exists: write key:1234"), "{ran:?}");
    for name in ["0x4d2", "0x000004d2", "key:1234", "key:0x4d2", "key:02322", &id.to_string(), &format!("id:{id}")] {
        let json = run(["stat", name, "--json"]).exits(0).json();
        assert_eq!(json["segments"][0]["id"], id, "{name}");
    }
}

#[apply(test)]
fn a_signed_key_of_proc_names_the_segment() {
    let id = oracle::create((-865_219_304_i32).cast_unsigned(), 4096, 0o600);
    assert_eq!(oracle::row(id).unwrap().get("key"), "-865219304");
    for line in [
        &["stat", "key:-865219304"][..],
        &["list", "--key=-865219304"],
        &["list", "--key", "-865219304"],
        &["list", "--key", "key:-865219304"],
    ] {
        let json = run([line, &["--json"]].concat()).exits(0).json();
        assert_eq!(json["segments"][0]["id"], id, "{line:?}");
    }
    assert_eq!(run(["create", "--key", "-865219304"]).exits(0).stdout, format!("{id}\n"));
    for bad in ["key:-0", "key:-2147483649", "key:--1", "key:-0x1", "key:-01"] {
        run(["stat", bad]).exits(2).prints_nothing();
    }
}
