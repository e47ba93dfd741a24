//! The error object that `--json` prints instead of a report.

use expect_test::expect;

use super::Machine;
use crate::oracle;
use crate::support::{NOBODY, finish, shmadm_as};

#[apply(test)]
fn usage_errors() {
    let machine = Machine::new();
    machine.snapshot(
        "nonsense --json",
        expect![[r#"
        {"schema":1,"error":{"kind":"usage","errno":null,"call":null,"target":null,
          "message":"unrecognized subcommand 'nonsense'","cause":null,"hints":[]}}
        [exit code 2]
    "#]],
    );
    machine.snapshot(
        "list -o nonsense --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"usage","errno":null,"call":null,"target":null,
              "message":"invalid column \"nonsense\": --list-columns lists the available ones","cause":null,"hints":[]}}
            [exit code 2]
        "#]],
    );
    machine.snapshot(
        "stat 12abc --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"usage","errno":null,"call":null,"target":null,
              "message":"invalid segment \"12abc\": expected an id (65538), a key (0x4d2, key:1234), ftok:PATH, /NAME, sem:/NAME or obj:MAJ:MIN:INODE",
              "cause":null,"hints":[]}}
            [exit code 2]
        "#]],
    );
    machine.snapshot("stat key:0 --json", expect![[r#"
        {"schema":1,"error":{"kind":"usage","errno":null,"call":null,"target":null,
          "message":"invalid segment \"key:0\": key 0 is IPC_PRIVATE, which names no segment: use the id, as shown by `shmadm list`",
          "cause":null,"hints":[]}}
        [exit code 2]
    "#]]);
    machine.snapshot(
        "list --format csv --json",
        expect![[r#"
        {"schema":1,"error":{"kind":"usage","errno":null,"call":null,"target":null,
          "message":"--format json and --format csv cannot be combined; --json is the same as json","cause":null,
          "hints":[]}}
        [exit code 2]
    "#]],
    );
    machine.snapshot(
        "create --size \"1\\ --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"usage","errno":null,"call":null,"target":null,
              "message":"invalid --size \"\\\"1\\\\\": expected a size such as 4096, 64K or 1GiB","cause":null,
              "hints":[]}}
            [exit code 2]
        "#]],
    );
    machine.snapshot(
        "metrics --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"usage","errno":null,"call":null,"target":null,
              "message":"metrics cannot print JSON: its format is OpenMetrics text","cause":null,
              "hints":["print the limits and their usage in JSON: `shmadm limits --json`",
              "print the segments in JSON: `shmadm list --json`"]}}
            [exit code 2]
        "#]],
    );
}

#[apply(test)]
fn errors_of_missing_segments() {
    let machine = Machine::new();
    oracle::create(1234, 100, 0o600);
    machine.snapshot(
        "stat 77 --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"not-found","errno":"EINVAL","call":"shmctl IPC_STAT","target":"77",
              "message":"cannot find segment 77: Invalid argument (EINVAL, shmctl IPC_STAT)",
              "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
              "hints":["list the segments: `shmadm list`"]}}
            [exit code 3]
        "#]],
    );
    machine.snapshot(
        "stat 1234 --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"not-found","errno":"EINVAL","call":"shmctl IPC_STAT","target":"1234",
              "message":"cannot find segment 1234: Invalid argument (EINVAL, shmctl IPC_STAT)",
              "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
              "hints":["a segment with key 1234 (0x4d2) exists: write key:1234"]}}
            [exit code 3]
        "#]],
    );
    machine.snapshot(
        "read 0x77 --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"not-found","errno":"ENOENT","call":"shmget","target":"0x77",
              "message":"cannot find segment 0x77: No such file or directory (ENOENT, shmget)",
              "cause":"no segment in this IPC namespace has this key","hints":["list the segments: `shmadm list`"]}}
            [exit code 3]
        "#]],
    );
    machine.snapshot(
        "write ftok:DIR/missing x --json",
        expect![[r#"
        {"schema":1,"error":{"kind":"failed","errno":"ENOENT","call":"stat","target":"DIR/missing",
          "message":"cannot compute the key of ftok:DIR/missing: No such file or directory (ENOENT, stat)",
          "cause":"ftok: requires an existing file, whose inode number is part of the key","hints":[]}}
        [exit code 1]
    "#]],
    );
}

#[apply(test)]
fn different_errors_of_several_targets_are_in_a_report() {
    let mut machine = Machine::new();
    machine.snapshot(
        "stat 99 /x --json",
        expect![[r#"
        {"schema":1,"segments":[],"objects":[],"failed":[{"target":"99",
          "error":"cannot find segment 99: Invalid argument (EINVAL, shmctl IPC_STAT)","errno":"EINVAL","code":3,
          "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
          "hints":["list the segments: `shmadm list`"]},{"target":"/x",
          "error":"cannot find object /x: No such file or directory (ENOENT, statx)","errno":"ENOENT","code":3,
          "cause":"no object has this name: it was removed or never existed",
          "hints":["list the objects: `shmadm list --posix`"]}]}
        [exit code 3]
    "#]],
    );
    machine.snapshot(
        "who 99 /x --json",
        expect![[r#"
        {"schema":1,"segments":[],"objects":[],"failed":[{"target":"99",
          "error":"cannot find segment 99: Invalid argument (EINVAL, shmctl IPC_STAT)","errno":"EINVAL","code":3,
          "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
          "hints":["list the segments: `shmadm list`"]},{"target":"/x",
          "error":"cannot find object /x: No such file or directory (ENOENT, statx)","errno":"ENOENT","code":3,
          "cause":"no object has this name: it was removed or never existed",
          "hints":["list the objects: `shmadm list --posix`"]}]}
        [exit code 3]
    "#]],
    );
    machine.snapshot(
        "identify 99 /x --json",
        expect![[r#"
        {"schema":1,"identities":[],"failed":[{"target":"99",
          "error":"cannot find segment 99: Invalid argument (EINVAL, shmctl IPC_STAT)","errno":"EINVAL","code":3,
          "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
          "hints":["list the segments: `shmadm list`"]},{"target":"/x",
          "error":"cannot find object /x: No such file or directory (ENOENT, statx)","errno":"ENOENT","code":3,
          "cause":"no object has this name: it was removed or never existed",
          "hints":["list the objects: `shmadm list --posix`"]}]}
        [exit code 3]
    "#]],
    );
    machine.snapshot(
        "stat 98 99 --json",
        expect![[r#"
        {"schema":1,"error":{"kind":"not-found","errno":"EINVAL","call":"shmctl IPC_STAT","target":null,
          "message":"cannot find 2 segments (98 and 99): Invalid argument (EINVAL, shmctl IPC_STAT)",
          "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
          "hints":["list the segments: `shmadm list`"]}}
        [exit code 3]
    "#]],
    );
    let mut actor = machine.actor("ACTOR");
    actor.create(1, 4096);
    machine.snapshot(
        "who 0 99 --json",
        expect![[r#"
        {"schema":1,"segments":[{"id":0,"ns":[NS],"nattch":0,"found":0,"attachments":[],"hidden":[],"container":null,
          "former_key":null}],"objects":[],"failed":[{"target":"99",
          "error":"cannot find segment 99: Invalid argument (EINVAL, shmctl IPC_STAT)","errno":"EINVAL","code":3,
          "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
          "hints":["list the segments: `shmadm list`"]}]}
        [exit code 3]
    "#]],
    );
    machine.snapshot(
        "identify 0 99 --json",
        expect![[r#"
        {"schema":1,"identities":[],"failed":[{"target":"99",
          "error":"cannot find segment 99: Invalid argument (EINVAL, shmctl IPC_STAT)","errno":"EINVAL","code":3,
          "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
          "hints":["list the segments: `shmadm list`"]}]}
        [exit code 3]
    "#]],
    );
}

/// A pid that no process has.
const NO_PROCESS: &str = "4194304";

#[apply(test)]
fn processes_that_cannot_be_inspected_are_in_the_report() {
    let mut machine = Machine::new();
    let mut actor = machine.actor("ACTOR");
    machine.redaction.hide(NO_PROCESS, "[MISSING]");
    let id = actor.create(1, 4096);
    actor.attach(id);
    let pids = format!("{NO_PROCESS},{}", actor.pid());
    machine.snapshot(
        &format!("list --json -o ID --pid {pids}"),
        expect![[r#"
        {"schema":1,"failed":[{"target":"[MISSING]","error":"cannot find process [MISSING]","errno":null,"code":3,
          "cause":null,"hints":[]}],"segments":[{"id":0}]}
        [exit code 3]
    "#]],
    );
    machine.snapshot(
        &format!("list --json --pid {NO_PROCESS}"),
        expect![[r#"
        {"schema":1,"failed":[{"target":"[MISSING]","error":"cannot find process [MISSING]","errno":null,"code":3,
          "cause":null,"hints":[]}],"segments":[],"objects":[]}
        [exit code 3]
    "#]],
    );
    machine.snapshot(
        &format!("list --json --posix --pid {NO_PROCESS}"),
        expect![[r#"
        {"schema":1,"failed":[{"target":"[MISSING]","error":"cannot find process [MISSING]","errno":null,"code":3,
          "cause":null,"hints":[]}],"objects":[]}
        [exit code 3]
    "#]],
    );
    machine.snapshot(
        &format!("who --json --pid {pids}"),
        expect![[r#"
        {"schema":1,"segments":[{"id":0,"ns":[NS],"nattch":1,"found":1,"attachments":[{"pid":[ACTOR],"uid":[UID],
          "user":"[USER]","command":"/proc/self/exe --actor","address":"[ADDRESS]","size":4096,"access":"rw",
          "ns":[NS],"certain":true,"shared_with":null}],"hidden":[],"container":null,"former_key":null}],"objects":[],
          "failed":[{"target":"[MISSING]","error":"cannot find process [MISSING]","errno":null,"code":3,"cause":null,
          "hints":[]}]}
        [exit code 3]
    "#]],
    );
    machine.snapshot(
        &format!("who --json --pid {NO_PROCESS}"),
        expect![[r#"
        {"schema":1,"error":{"kind":"not-found","errno":null,"call":null,"target":"[MISSING]",
          "message":"cannot find process [MISSING]","cause":null,"hints":[]}}
        [exit code 3]
    "#]],
    );
}

#[apply(test)]
fn errors_of_segments_that_exist() {
    let mut machine = Machine::new();
    let mut actor = machine.actor("ACTOR");
    actor.create(1234, 100);
    actor.attach(0);
    machine.snapshot(
        "create --key 1234 --exclusive --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"exists","errno":"EEXIST","call":"shmget","target":"0x000004d2",
              "message":"cannot create a segment of 4 KiB with key 0x000004d2: File exists (EEXIST, shmget)",
              "cause":"segment 0 (owner [USER]) has this key; it was created by pid [ACTOR] (/proc/self/exe --actor, running)",
              "hints":["open the existing segment: `shmadm create --key 1234 --json`",
              "create a segment with an unused key: `shmadm create --exclusive --json --key random`"]}}
            [exit code 6]
        "#]],
    );
    machine.snapshot(
        "create --key 1234 --fill 0 --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"refused","errno":null,"call":null,"target":"0x000004d2",
              "message":"cannot apply --fill: segment 0 with key 0x000004d2 already exists",
              "cause":"--fill would overwrite its contents",
              "hints":["fill the existing segment: `shmadm write 0 --fill 0`",
              "open it unchanged: `shmadm create --key 1234 --json`"]}}
            [exit code 5]
        "#]],
    );
    machine.snapshot(
        "create --key 1234 --size 8192 --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"failed","errno":"EINVAL","call":"shmget","target":"0x000004d2",
              "message":"cannot open a segment of 8 KiB with key 0x000004d2: Invalid argument (EINVAL, shmget)",
              "cause":"segment 0 has this key and is only 100 bytes; it was created by pid [ACTOR] (/proc/self/exe --actor, running)",
              "hints":["open it with its current size: `shmadm create --key 1234 --json`"]}}
            [exit code 1]
        "#]],
    );
    machine.snapshot(
        "create --size 0 --json",
        expect![[r#"
        {"schema":1,"error":{"kind":"failed","errno":"EINVAL","call":"shmget","target":null,
          "message":"cannot create a segment of 0 bytes: Invalid argument (EINVAL, shmget)",
          "cause":"the size is 0; the minimum is 1 byte",
          "hints":["omit --size to create a segment of one page: `shmadm create --json`"]}}
        [exit code 1]
    "#]],
    );
    machine.snapshot(
        "read 0 --offset 101 --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"failed","errno":null,"call":null,"target":"0",
              "message":"offset 101 exceeds segment 0 (100 bytes)","cause":null,"hints":[]}}
            [exit code 1]
        "#]],
    );
    machine.snapshot(&format!("detach 0 --pid {} --json", actor.pid()), expect![[r#"
        {"schema":1,"error":{"kind":"refused","errno":null,"call":null,"target":"0",
          "message":"cannot detach segment 0: pid [ACTOR] is not a holder of it; no holder of user [USER] has it attached",
          "cause":"attached by pid [ACTOR] ([USER], /proc/self/exe --actor); creator and last user pid [ACTOR] ([USER], /proc/self/exe --actor) is running",
          "hints":["list the attached processes; only they can detach: `shmadm who 0`"]}}
        [exit code 5]
    "#]]);
}

#[apply(test)]
#[requires(Root)]
fn different_errors_of_several_processes_are_in_a_report() {
    let mut machine = Machine::new();
    let actor = machine.actor("ACTOR");
    machine.redaction.hide(NO_PROCESS, "[MISSING]");
    machine.redaction.hide(actor.pid().to_string(), "[ACTOR]");
    let arguments = ["who", "--json", "--pid", NO_PROCESS, "--pid", &actor.pid().to_string()];
    machine.compare(
        &finish(shmadm_as(NOBODY).args(arguments)),
        &expect![[r#"
            {"schema":1,"segments":[],"objects":[],"failed":[{"target":"[ACTOR]",
              "error":"cannot inspect process [ACTOR]: Permission denied (EACCES, open)","errno":"EACCES","code":4,
              "cause":"it is a process of user [USER]; to inspect it, you need CAP_SYS_PTRACE in its user namespace",
              "hints":["run as root: `sudo shmadm who --json --pid [MISSING] --pid [ACTOR]`"]},{"target":"[MISSING]",
              "error":"cannot find process [MISSING]","errno":null,"code":3,"cause":null,"hints":[]}]}
            [exit code 1]
        "#]],
    );
}

#[apply(test)]
#[requires(Root)]
fn errors_of_missing_permission() {
    let machine = Machine::new();
    oracle::create(1234, 100, 0o600);
    let nobody = |line: &str| finish(shmadm_as(NOBODY).args(machine.arguments(line)));
    machine.compare(
        &nobody("read 1234 --json"),
        &expect![[r#"
            {"schema":1,"error":{"kind":"not-found","errno":"EINVAL","call":"shmctl IPC_STAT","target":"1234",
              "message":"cannot find segment 1234: Invalid argument (EINVAL, shmctl IPC_STAT)",
              "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
              "hints":["a segment with key 1234 (0x4d2) exists: write key:1234"]}}
            [exit code 3]
        "#]],
    );
    machine.compare(
        &nobody("read 0 --json"),
        &expect![[r#"
            {"schema":1,"error":{"kind":"permission","errno":"EACCES","call":"shmat","target":"0",
              "message":"cannot attach segment 0 for reading: Permission denied (EACCES, shmat)","cause":"mode 0600, owner root:root: user nobody (other) has no access",
              "hints":["run as root, which bypasses the permission bits: `sudo shmadm read 0 --json`"]}}
            [exit code 4]
        "#]],
    );
    machine.compare(
        &nobody("set 0 --mode 666 --json"),
        &expect![[r#"
            {"schema":1,"error":{"kind":"permission","errno":"EPERM","call":"shmctl IPC_SET","target":"0",
              "message":"cannot change segment 0: Operation not permitted (EPERM, shmctl IPC_SET)",
              "cause":"user nobody is neither the owner (root) nor the creator (root), and CAP_SYS_ADMIN is missing",
              "hints":["root can do this: `sudo shmadm set --mode 666 --json 0`"]}}
            [exit code 4]
        "#]],
    );
    machine.compare(&nobody("rm 0 --json"), &expect![[r#"
        {"schema":1,"dry_run":false,"removed":[],"failed":[{"target":"0",
          "error":"cannot remove segment 0: Operation not permitted (EPERM, shmctl IPC_RMID)","errno":"EPERM",
          "code":4,"cause":"user nobody is neither the owner (root) nor the creator (root), and CAP_SYS_ADMIN is missing",
          "hints":["root can do this: `sudo shmadm rm --json 0`"]}]}
        [exit code 4]
    "#]]);
    machine.compare(
        &nobody("create --key 1234 --json"),
        &expect![[r#"
        {"schema":1,"created":false,"segment":{"id":0,"key":"0x000004d2","size":100,"mode":"0600","uid":[UID],
          "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
          "creator_group":"[GROUP]","cpid":[PID],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]",
          "idle_seconds":[IDLE],"dest":false,"locked":false,"rss":0,"swap":0,"state":"idle","ns":[NS]},"holder":null}
    "#]],
    );
}
