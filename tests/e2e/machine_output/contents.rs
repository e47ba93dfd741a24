//! `read`, `write`, `map`, `dump` and `restore`.

use expect_test::expect;

use super::Machine;
use crate::oracle::{self, Attached};

/// Creates a segment with these first bytes.
fn segment(bytes: &[u8]) -> i32 {
    let id = oracle::create(0x4d2, 100, 0o600);
    Attached::new(id).write(0, bytes);
    id
}

#[apply(test)]
fn read_json_of_bytes_and_text() {
    let machine = Machine::new();
    segment(b"quote \" backslash \\ tab \t line \n escape \x1b \xff\xc2 \xc3\xa9 \x7f\0after");
    machine.snapshot(
        "read 0x4d2 --length 10 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"hex":"71756f74652022206261"}
    "#]],
    );
    machine.snapshot(
        "read 0 --offset 98 --hex --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":98,"hex":"0000"}
    "#]],
    );
    machine.snapshot(
        "read 0 --offset 100 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":100,"hex":""}
    "#]],
    );
    machine.snapshot(
        "read 0 --text --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,
          "text":"quote \" backslash \\ tab \t line \n escape \u001b \\xff\\xc2 é ⟨U+007F⟩"}
    "#]],
    );
    machine.snapshot(
        "read 0 --text --offset 99 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":99,"text":""}
    "#]],
    );
    machine.snapshot(
        "read 0 --length 2 --every 1ms --rounds 2 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"hex":"7175"}
        {"schema":1,"id":0,"offset":0,"hex":"7175"}
    "#]],
    );
    machine.snapshot(
        "read 0 --raw --offset 0 --length 5",
        expect![[r#"
        quote[no newline at the end]
    "#]],
    );
}

#[apply(test)]
fn read_json_of_integers() {
    let machine = Machine::new();
    segment(&[0xff; 16]);
    machine.snapshot(
        "read 0 --type u8 --count 2 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"type":"u8","values":[255,255]}
    "#]],
    );
    machine.snapshot(
        "read 0 --type i8 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"type":"i8","values":[-1]}
    "#]],
    );
    machine.snapshot(
        "read 0 --type u16 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"type":"u16","values":[65535]}
    "#]],
    );
    machine.snapshot(
        "read 0 --type i16 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"type":"i16","values":[-1]}
    "#]],
    );
    machine.snapshot(
        "read 0 --type u32 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"type":"u32","values":[4294967295]}
    "#]],
    );
    machine.snapshot(
        "read 0 --type i32 --offset 4 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":4,"type":"i32","values":[-1]}
    "#]],
    );
    machine.snapshot(
        "read 0 --type u64 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"type":"u64","values":[18446744073709551615]}
    "#]],
    );
    machine.snapshot(
        "read 0 --type i64 --count 3 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"type":"i64","values":[-1,-1,0]}
    "#]],
    );
    machine.snapshot(
        "read 0 --type i32 --every 1ms --rounds 2 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"type":"i32","values":[-1]}
        {"schema":1,"id":0,"offset":0,"type":"i32","values":[-1]}
    "#]],
    );
}

#[apply(test)]
fn read_json_of_floating_point_numbers() {
    let machine = Machine::new();
    let doubles = [1.5, -0.0, 0.1, 1e300, 5e-324, 1e16, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    segment(&doubles.map(f64::to_ne_bytes).concat());
    machine.snapshot(
        "read 0 --type f64 --count 9 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"type":"f64","values":[1.5,-0.0,0.1,1e300,5e-324,1e16,"NaN","inf","-inf"]}
    "#]],
    );
    let singles = [1.5, -0.0, 0.1, 1e38, 1e-45, 16_777_216.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    Attached::new(0).write(0, &singles.map(f32::to_ne_bytes).concat());
    machine.snapshot(
        "read 0 --type f32 --count 9 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"type":"f32","values":[1.5,-0.0,0.1,1e38,1e-45,16777216.0,"NaN","inf","-inf"]}
    "#]],
    );
}

#[apply(test)]
fn write_json() {
    let machine = Machine::new();
    segment(b"");
    machine.snapshot(
        "write 0x4d2 hello --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"written":5}
    "#]],
    );
    machine.snapshot(
        "write 0 --hex 00ff --offset 8 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":8,"written":2}
    "#]],
    );
    machine.snapshot(
        "write 0 --fill 0xff --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":0,"written":100}
    "#]],
    );
    machine.snapshot(
        "write 0 --type i32 -5 7 --offset 4 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":4,"written":8}
    "#]],
    );
    machine.snapshot(
        "write 0 hello --offset 96 --json",
        expect![[r#"
        {"schema":1,"error":{"kind":"failed","errno":null,"call":null,"target":"0",
          "message":"range 96..101 exceeds segment 0 (100 bytes)","cause":null,"hints":[]}}
        [exit code 1]
    "#]],
    );
}

#[apply(test)]
fn map_in_every_format() {
    let machine = Machine::new();
    let id = oracle::create(0x4d2, 5 * 4096 - 1, 0o600);
    let attached = Attached::new(id);
    attached.write(0, b"x");
    attached.write(3 * 4096, b"x");
    machine.snapshot(
        "map 0 --json",
        expect![[r#"
        {"schema":1,"id":0,"size":20479,"page_size":4096,"resident":8192,"swapped":0,"untouched":12287,"unknown":0,
          "rss":8192,"extents":[{"offset":0,"length":4096,"state":"resident"},{"offset":4096,"length":8192,
          "state":"untouched"},{"offset":12288,"length":4096,"state":"resident"},{"offset":16384,"length":4095,
          "state":"untouched"}]}
    "#]],
    );
    machine.snapshot(
        "map 0 --format csv",
        expect![[r#"
        OFFSET,LENGTH,STATE␍
        0,4096,resident␍
        4096,8192,untouched␍
        12288,4096,resident␍
        16384,4095,untouched␍
    "#]],
    );
    machine.snapshot(
        "map 0 --format tsv",
        expect![[r#"
        OFFSET␉LENGTH␉STATE
        0␉4096␉resident
        4096␉8192␉untouched
        12288␉4096␉resident
        16384␉4095␉untouched
    "#]],
    );
}

#[apply(test)]
fn dump_and_restore_json() {
    let mut machine = Machine::new();
    // Created by the program, so that the creator has exited.
    machine.snapshot(
        "create --key 0x4d2 --size 8191 --mode 640 -q",
        expect![[r#"
        0
    "#]],
    );
    machine.snapshot(
        "write 0 hello --offset 4096 --json",
        expect![[r#"
        {"schema":1,"id":0,"offset":4096,"written":5}
    "#]],
    );
    machine.snapshot(
        "dump 0x4d2 --output DIR/dump --json",
        expect![[r#"
        {"schema":1,"id":0,"file":"DIR/dump","size":8191,"checksum":{"algorithm":"blake3-blocks",
          "value":"4830f40c5c7be4b2f5d9a06ed638d8b4b3e0a88d7ccd39ec8ce646aa34555c66"}}
    "#]],
    );
    machine.compare_file(
        "dump.json",
        &expect![[r#"
        {"schema":1,"segment":{"id":0,"key":"0x000004d2","size":8191,"mode":"0640","uid":[UID],"owner":"[USER]",
          "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
          "cpid":[PID],"lpid":[PID],"nattch":0,"atime":"[TIME]","dtime":"[TIME]","ctime":"[TIME]",
          "idle_seconds":[IDLE],"dest":false,"locked":false,"rss":4096,"swap":0,"state":"orphan","ns":[NS]},
          "page_size":4096,"huge_page_size":null,"created":"[TIME]","kernel":"[KERNEL]",
          "checksum":{"algorithm":"blake3-blocks",
          "value":"4830f40c5c7be4b2f5d9a06ed638d8b4b3e0a88d7ccd39ec8ce646aa34555c66"}}
    "#]],
    );
    machine.snapshot(
        "restore DIR/dump --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"exists","errno":"EEXIST","call":"shmget","target":"0x000004d2",
              "message":"cannot create a segment of 8191 bytes with key 0x000004d2: File exists (EEXIST, shmget)",
              "cause":"segment 0 (owner [USER]) has this key; it was created by pid [PID], which has exited",
              "hints":["use another key: `shmadm restore DIR/dump --json --key random`",
              "show the segment with this key: `shmadm stat 0x000004d2`","remove it: `shmadm rm 0x000004d2`"]}}
            [exit code 6]
        "#]],
    );
    machine.snapshot(
        "restore DIR/dump --key private --mode 600 --json",
        expect![[r#"
        {"schema":1,"segment":{"id":1,"key":"0x00000000","size":8191,"mode":"0600","uid":[UID],"owner":"[USER]",
          "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
          "cpid":[PID],"lpid":[PID],"nattch":0,"atime":"[TIME]","dtime":"[TIME]","ctime":"[TIME]",
          "idle_seconds":[IDLE],"dest":false,"locked":false,"rss":4096,"swap":0,"state":"idle","ns":[NS]},
          "holder":null}
    "#]],
    );
    let _holder = machine.snapshot_with_holder(
        "restore DIR/dump --key 7 --hold --json",
        &expect![[r#"
        {"schema":1,"segment":{"id":2,"key":"0x00000007","size":8191,"mode":"0640","uid":[UID],"owner":"[USER]",
          "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
          "cpid":[PID],"lpid":[PID],"nattch":1,"atime":"[TIME]","dtime":"[TIME]","ctime":"[TIME]","idle_seconds":null,
          "dest":false,"locked":false,"rss":4096,"swap":0,"state":"in-use","ns":[NS]},"holder":[HOLDER]}
    "#]],
    );
    machine.snapshot(
        "read 2 --text --offset 4096 --length 8 --json",
        expect![[r#"
        {"schema":1,"id":2,"offset":4096,"text":"hello"}
    "#]],
    );
}
