//! `limits` and `check` in every format, and `demo --json`.

use expect_test::expect;
use nix::libc;

use super::Machine;
use crate::oracle::{self, Attached};
use crate::support::{finish, mount_tmpfs_on, run, shmadm};

#[apply(test)]
fn limits_in_every_format() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=1M,nr_inodes=100"));
    let machine = Machine::new();
    machine.snapshot(
        "limits --json",
        expect![[r#"
            {"schema":1,"limits":{"shmmni":4096,"shmmax":18446744073692774399,"shmall":18446744073692774399,"shmmin":1,
              "page_size":4096,"rmid_forced":false},"usage":{"segments":0,"pages":0,"size":0,"rss":0,"swap":0},
              "posix":{"mount":"/dev/shm","dev":"[DEV]","size":1048576,"used":0,"inodes":100,"inodes_used":1,"unlinked":0,
              "huge":false,"huge_pages":"never"}}
        "#]],
    );
    // Their sum exceeds 64 bits.
    for _ in 0..3 {
        oracle::create(0, (1 << 63) - 4096, 0o600 | libc::SHM_NORESERVE);
    }
    Attached::new(oracle::create(0, 5000, 0o600)).write(0, b"x");
    machine.snapshot(
        "limits --json",
        expect![[r#"
            {"schema":1,"limits":{"shmmni":4096,"shmmax":18446744073692774399,"shmall":18446744073692774399,"shmmin":1,
              "page_size":4096,"rmid_forced":false},"usage":{"segments":4,"pages":6755399441055743,
              "size":27670116110564320136,"rss":4096,"swap":0},"posix":{"mount":"/dev/shm","dev":"[DEV]","size":1048576,
              "used":0,"inodes":100,"inodes_used":1,"unlinked":0,"huge":false,"huge_pages":"never"}}
        "#]],
    );
    machine.snapshot(
        "limits --format csv",
        expect![[r#"
            RESOURCE,DESCRIPTION,LIMIT,USED,USE%␍
            SHMMNI,segments,4096,4,0.10␍
            SHMALL,pages in all segments,18446744073692774399,6755399441055743,0.04␍
            SHMMAX,maximum size of a segment,18446744073692774399,,␍
            SHMMIN,minimum size of a segment,1,,␍
            SIZE,size of all segments,,27670116110564320136,␍
            RSS,resident memory of all segments,,4096,␍
            SWAP,swapped memory of all segments,,0,␍
            PAGE_SIZE,page size in bytes,4096,,␍
            RMID_FORCED,unattached segments are destroyed,false,,␍
            POSIX_SIZE,memory in /dev/shm,1048576,0,0.00␍
            POSIX_INODES,files in /dev/shm,100,1,1.00␍
            POSIX_UNLINKED,memory of objects without a name,,0,␍
            POSIX_HUGE,files in /dev/shm with huge pages,never,,␍
        "#]],
    );
    machine.snapshot(
        "limits --format tsv --no-headings",
        expect![[r#"
            SHMMNI␉segments␉4096␉4␉0.10
            SHMALL␉pages in all segments␉18446744073692774399␉6755399441055743␉0.04
            SHMMAX␉maximum size of a segment␉18446744073692774399␉␉
            SHMMIN␉minimum size of a segment␉1␉␉
            SIZE␉size of all segments␉␉27670116110564320136␉
            RSS␉resident memory of all segments␉␉4096␉
            SWAP␉swapped memory of all segments␉␉0␉
            PAGE_SIZE␉page size in bytes␉4096␉␉
            RMID_FORCED␉unattached segments are destroyed␉false␉␉
            POSIX_SIZE␉memory in /dev/shm␉1048576␉0␉0.00
            POSIX_INODES␉files in /dev/shm␉100␉1␉1.00
            POSIX_UNLINKED␉memory of objects without a name␉␉0␉
            POSIX_HUGE␉files in /dev/shm with huge pages␉never␉␉
        "#]],
    );
}

#[apply(test)]
fn check_as_text_and_json() {
    let mut machine = Machine::new();
    let mut exited = machine.actor("EXITED");
    exited.create(0, 5000);
    exited.create(0, 100);
    exited.leave();
    machine.snapshot("check", expect![[r#"
        SHM OK: 2 of 4096 segments (0.05%), 3 of 18446744073692774399 pages (0.00%) | 'segments'=2;3276.8;3686.4;0;4096 'pages'=3;14757395258954219519.2;16602069666323496959.1;0;18446744073692774399
    "#]]);
    machine.snapshot(
        "check --json",
        expect![[r#"
        {"schema":1,"status":"OK","code":0,"checks":[{"what":"segments","status":"OK","value":2,"limit":4096,
          "warning":"80%","critical":"90%"},{"what":"pages","status":"OK","value":3,"limit":18446744073692774399,
          "warning":"80%","critical":"90%"}]}
    "#]],
    );
    let line = "check -w orphans=1 -w segments=80% -c orphan-bytes=1M -c dest=@1:2";
    machine.snapshot(line, expect![[r#"
        SHM WARNING: 2 orphans [warning 1], 2 of 4096 segments (0.05%), 5K in orphans (5100 bytes), 0 segments marked for destruction | 'segments'=2;3276.8;;0;4096 'orphans'=2;1;;0;4096 'orphan-bytes'=5100B;;1048576;0 'dest'=0;;@1:2;0;4096
        [exit code 1]
    "#]]);
    machine.snapshot(&format!("{line} -vv"), expect![[r#"
        SHM WARNING: 2 orphans [warning 1], 2 of 4096 segments (0.05%) [warning 80%], 5K in orphans (5100 bytes) [critical 1M], 0 segments marked for destruction [critical @1:2] | 'segments'=2;3276.8;;0;4096 'orphans'=2;1;;0;4096 'orphan-bytes'=5100B;;1048576;0 'dest'=0;;@1:2;0;4096
        segments: OK: 2 of 4096 segments (0.05%) [warning 80%]
        orphans: WARNING: 2 orphans [warning 1]
        orphan-bytes: OK: 5K in orphans (5100 bytes) [critical 1M]
        dest: OK: 0 segments marked for destruction [critical @1:2]
        kernel.shmmni=4096, kernel.shmmax=18446744073692774399, kernel.shmall=18446744073692774399, pages of 4096 bytes
        [exit code 1]
    "#]]);
    machine.snapshot(
        &format!("{line} --json"),
        expect![[r#"
        {"schema":1,"status":"WARNING","code":1,"checks":[{"what":"segments","status":"OK","value":2,"limit":4096,
          "warning":"80%","critical":null},{"what":"orphans","status":"WARNING","value":2,"limit":4096,"warning":"1",
          "critical":null},{"what":"orphan-bytes","status":"OK","value":5100,"limit":null,"warning":null,
          "critical":"1M"},{"what":"dest","status":"OK","value":0,"limit":4096,"warning":null,"critical":"@1:2"}]}
        [exit code 1]
    "#]],
    );
    machine.snapshot(
        "check -c segments=5: --json",
        expect![[r#"
        {"schema":1,"status":"CRITICAL","code":2,"checks":[{"what":"segments","status":"CRITICAL","value":2,
          "limit":4096,"warning":null,"critical":"5:"}]}
        [exit code 2]
    "#]],
    );
    machine.snapshot("check -c nonsense=5", expect![[r#"
        SHM UNKNOWN: invalid --critical "nonsense=5": unknown measure "nonsense": expected one of segments, pages, orphans, orphan-bytes, dest, shm-used, shm-inodes, unlinked-bytes, objects-orphan
        [exit code 3]
    "#]]);
    machine.snapshot("check -c nonsense=5 --json", expect![[r#"
        {"schema":1,"error":{"kind":"usage","errno":null,"call":null,"target":null,
          "message":"invalid --critical \"nonsense=5\": unknown measure \"nonsense\": expected one of segments, pages, orphans, orphan-bytes, dest, shm-used, shm-inodes, unlinked-bytes, objects-orphan",
          "cause":null,"hints":[]}}
        [exit code 3]
    "#]]);
}

#[apply(test)]
fn demo_json() {
    let machine = Machine::new();
    let ran = run("demo --json --rounds 1 --interval 2s".split(' ')).exits(0);
    // The processes report concurrently, so their events are sorted by process.
    let mut report = String::new();
    for role in ["demo", "writer", "reader"] {
        let own = |line: &&str| line.contains(&format!("\"role\":\"{role}\""));
        for line in ran.stdout.lines().filter(own) {
            report.push_str(&without_chance(line));
            report.push('\n');
        }
    }
    assert_eq!(report.lines().count(), ran.stdout.lines().count());
    expect![[r#"
        {"schema":1,"event":"call","step":"create","role":"demo","pid":[PID],"call":"shmget(0x000004d2, 4096, IPC_CREAT|IPC_EXCL|0600)",
          "result":"0","value":null,"text":null,"segment":null}
        {"schema":1,"event":"stat","step":"create","role":"demo","pid":[PID],"call":null,"result":null,"value":null,
          "text":"nattch 0, cpid [PID], lpid -, rss 0","segment":{"id":0,"key":"0x000004d2","size":4096,"mode":"0600",
          "uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
          "creator_group":"[GROUP]","cpid":[PID],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]",
          "idle_seconds":[IDLE],"dest":false,"locked":false,"rss":0,"swap":0,"state":"idle","ns":[NS]}}
        {"schema":1,"event":"note","step":"create","role":"demo","pid":[PID],"call":null,"result":null,"value":null,
          "text":"The segment now exists, even though it is not attached. It has a size but no memory yet (rss 0): the kernel allocates a page when it is first touched. Its creator (cpid) is a helper process of the demo, which removes it if the demo is killed.",
          "segment":null}
        {"schema":1,"event":"stat","step":"attach","role":"demo","pid":[PID],"call":null,"result":null,"value":null,
          "text":"nattch 2, cpid [PID], lpid [PID], rss [RSS]","segment":{"id":0,"key":"0x000004d2","size":4096,
          "mode":"0600","uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]",
          "cgid":[GID],"creator_group":"[GROUP]","cpid":[PID],"lpid":[PID],"nattch":2,"atime":"[TIME]","dtime":null,
          "ctime":"[TIME]","idle_seconds":null,"dest":false,"locked":false,"rss":[RSS],"swap":0,"state":"in-use",
          "ns":[NS]}}
        {"schema":1,"event":"note","step":"attach","role":"demo","pid":[PID],"call":null,"result":null,"value":null,
          "text":"Two processes have found the segment by its key and mapped the same memory, each at its own address. nattch counts mappings, not processes.",
          "segment":null}
        {"schema":1,"event":"note","step":"use","role":"demo","pid":[PID],"call":null,"result":null,"value":null,
          "text":"Neither access enters the kernel: this is plain memory. Nothing synchronizes the two processes: the reader sees whatever the memory contains at that moment.",
          "segment":null}
        {"schema":1,"event":"stat","step":"detach","role":"demo","pid":[PID],"call":null,"result":null,"value":null,
          "text":"nattch 0, cpid [PID], lpid [PID], rss 4096","segment":{"id":0,"key":"0x000004d2","size":4096,
          "mode":"0600","uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]",
          "cgid":[GID],"creator_group":"[GROUP]","cpid":[PID],"lpid":[PID],"nattch":0,"atime":"[TIME]",
          "dtime":"[TIME]","ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,"locked":false,"rss":4096,"swap":0,
          "state":"idle","ns":[NS]}}
        {"schema":1,"event":"note","step":"detach","role":"demo","pid":[PID],"call":null,"result":null,"value":null,
          "text":"The last detach has not destroyed the segment: it and its contents still exist. They would be gone only if it had already been marked for destruction, or if kernel.shm_rmid_forced were 1.",
          "segment":null}
        {"schema":1,"event":"call","step":"destroy","role":"demo","pid":[PID],"call":"shmctl(0, IPC_RMID, NULL)",
          "result":"0","value":null,"text":null,"segment":null}
        {"schema":1,"event":"call","step":"destroy","role":"demo","pid":[PID],"call":"shmctl(0, IPC_STAT, &ds)",
          "result":"-1 EINVAL (Invalid argument)","value":null,"text":null,"segment":null}
        {"schema":1,"event":"note","step":"destroy","role":"demo","pid":[PID],"call":null,"result":null,"value":null,
          "text":"IPC_RMID has destroyed the segment at once, because it was not attached. An attached segment only loses its key; its memory is freed at the last detach.",
          "segment":null}
        {"schema":1,"event":"call","step":"attach","role":"writer","pid":[PID],"call":"shmget(0x000004d2, 0, 0)",
          "result":"0","value":null,"text":null,"segment":null}
        {"schema":1,"event":"call","step":"attach","role":"writer","pid":[PID],"call":"shmat(0, NULL, 0)",
          "result":"[ADDRESS]","value":null,"text":null,"segment":null}
        {"schema":1,"event":"use","step":"use","role":"writer","pid":[PID],"call":"*(int32_t *)[ADDRESS]",
          "result":null,"value":[VALUE],"text":null,"segment":null}
        {"schema":1,"event":"call","step":"detach","role":"writer","pid":[PID],"call":"shmdt([ADDRESS])","result":"0",
          "value":null,"text":null,"segment":null}
        {"schema":1,"event":"call","step":"attach","role":"reader","pid":[PID],"call":"shmget(0x000004d2, 0, 0)",
          "result":"0","value":null,"text":null,"segment":null}
        {"schema":1,"event":"call","step":"attach","role":"reader","pid":[PID],"call":"shmat(0, NULL, SHM_RDONLY)",
          "result":"[ADDRESS]","value":null,"text":null,"segment":null}
        {"schema":1,"event":"use","step":"use","role":"reader","pid":[PID],"call":"*(int32_t *)[ADDRESS]",
          "result":null,"value":[VALUE],"text":null,"segment":null}
        {"schema":1,"event":"call","step":"detach","role":"reader","pid":[PID],"call":"shmdt([ADDRESS])","result":"0",
          "value":null,"text":null,"segment":null}
    "#]].assert_eq(&machine.redaction.redact(&report));
}

#[apply(test)]
fn the_path_of_the_program_makes_no_difference() {
    let machine = Machine::new();
    let path = machine.path("another name");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_shmadm"), &path).unwrap();
    for line in ["list --json", "limits --json", "stat 77 --json", "rm 77 --json", "list --nonsense --json"] {
        let mut command = std::process::Command::new(&path);
        let command = command.env_clear().env("LC_ALL", "C.UTF-8").args(line.split(' '));
        let ran = finish(shmadm().args(line.split(' ')));
        assert_eq!(finish(command).stdout, ran.stdout, "{line}");
    }
}

/// Replaces the integer in an event of the demo, and the resident size where the writer may have written already.
fn without_chance(event: &str) -> String {
    let mut event = event.to_owned();
    let mut fields = vec![("\"value\":", "[VALUE]")];
    if event.contains("\"step\":\"attach\"") {
        fields.extend([("\"rss\":", "[RSS]"), (" rss ", "[RSS]")]);
    }
    for (before, placeholder) in fields {
        let Some(start) = event.find(before).map(|start| start + before.len()) else { continue };
        let rest = event[start..].trim_start_matches(|character: char| character.is_ascii_digit());
        let end = event.len() - rest.len();
        if end > start {
            event.replace_range(start..end, placeholder);
        }
    }
    event
}
