//! `rm --json`, and `prune` in every format.

use expect_test::{Expect, expect};
use nix::libc;

use super::Machine;
use crate::oracle;
use crate::vanish::Stopped;

/// Creates a segment whose creator has exited.
fn orphan(machine: &mut Machine, key: u32, size: usize) -> i32 {
    let mut actor = machine.actor("EXITED");
    let id = actor.create(key, size);
    oracle::Attached::new(id).write(0, b"x");
    // Last used by a process that has exited, too.
    actor.attach(id);
    actor.leave();
    id
}

#[apply(test)]
fn rm_json() {
    let mut machine = Machine::new();
    let mut actor = machine.actor("ACTOR");
    for key in 1..=3 {
        actor.create(key, 4096);
    }
    actor.attach(1);
    machine.snapshot("rm 0x1 77 --dry-run --json", expect![[r#"
        {"schema":1,"dry_run":true,"removed":[{"id":0,"key":"0x00000001","size":4096,"mode":"0600","uid":[UID],
          "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
          "creator_group":"[GROUP]","cpid":[ACTOR],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]",
          "idle_seconds":[IDLE],"dest":false,"locked":false,"rss":0,"swap":0,"state":"idle","ns":[NS],
          "outcome":"destroyed"}],"failed":[{"target":"77","error":"cannot find segment 77: Invalid argument (EINVAL, shmctl IPC_STAT)",
          "errno":"EINVAL","code":3,
          "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
          "hints":["list the segments: `shmadm list`"]}]}
        [exit code 3]
    "#]]);
    // An attached and a missing segment do not prevent the removal of the third.
    machine.snapshot("rm 0 1 77 --json", expect![[r#"
        {"schema":1,"dry_run":false,"removed":[{"id":0,"key":"0x00000001","size":4096,"mode":"0600","uid":[UID],
          "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
          "creator_group":"[GROUP]","cpid":[ACTOR],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]",
          "idle_seconds":[IDLE],"dest":false,"locked":false,"rss":0,"swap":0,"state":"idle","ns":[NS],
          "outcome":"destroyed"}],"failed":[{"target":"77","error":"cannot find segment 77: Invalid argument (EINVAL, shmctl IPC_STAT)",
          "errno":"EINVAL","code":3,
          "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
          "hints":["list the segments: `shmadm list`"]},{"target":"1",
          "error":"cannot remove segment 1: it is attached","errno":null,"code":5,
          "cause":"attached by pid [ACTOR] ([USER], /proc/self/exe --actor); creator and last user pid [ACTOR] ([USER], /proc/self/exe --actor) is running",
          "hints":["mark for destruction, which frees the key now and the memory at the last detach: `shmadm rm --json --force 1`"]}]}
        [exit code 1]
    "#]]);
    machine.snapshot("rm 1 --json", expect![[r#"
        {"schema":1,"dry_run":false,"removed":[],"failed":[{"target":"1",
          "error":"cannot remove segment 1: it is attached","errno":null,"code":5,
          "cause":"attached by pid [ACTOR] ([USER], /proc/self/exe --actor); creator and last user pid [ACTOR] ([USER], /proc/self/exe --actor) is running",
          "hints":["mark for destruction, which frees the key now and the memory at the last detach: `shmadm rm --json --force 1`"]}]}
        [exit code 5]
    "#]]);
    machine.snapshot(
        "rm 1 --force --dry-run --json",
        expect![[r#"
        {"schema":1,"dry_run":true,"removed":[{"id":1,"key":"0x00000002","size":4096,"mode":"0600","uid":[UID],
          "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
          "creator_group":"[GROUP]","cpid":[ACTOR],"lpid":[ACTOR],"nattch":1,"atime":"[TIME]","dtime":null,
          "ctime":"[TIME]","idle_seconds":null,"dest":false,"locked":false,"rss":0,"swap":0,"state":"in-use",
          "ns":[NS],"outcome":"marked"}],"failed":[]}
    "#]],
    );
    machine.snapshot(
        "rm 1 0x2 --force --json",
        expect![[r#"
        {"schema":1,"dry_run":false,"removed":[{"id":1,"key":"0x00000002","size":4096,"mode":"0600","uid":[UID],
          "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
          "creator_group":"[GROUP]","cpid":[ACTOR],"lpid":[ACTOR],"nattch":1,"atime":"[TIME]","dtime":null,
          "ctime":"[TIME]","idle_seconds":null,"dest":false,"locked":false,"rss":0,"swap":0,"state":"in-use",
          "ns":[NS],"outcome":"marked"}],"failed":[]}
    "#]],
    );
    machine.snapshot(
        "rm 77 0x99 --ignore-missing --json",
        expect![[r#"
        {"schema":1,"dry_run":false,"removed":[],"failed":[]}
    "#]],
    );
    machine.snapshot(
        "rm 2 --json",
        expect![[r#"
        {"schema":1,"dry_run":false,"removed":[{"id":2,"key":"0x00000003","size":4096,"mode":"0600","uid":[UID],
          "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
          "creator_group":"[GROUP]","cpid":[ACTOR],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]",
          "idle_seconds":[IDLE],"dest":false,"locked":false,"rss":0,"swap":0,"state":"idle","ns":[NS],
          "outcome":"destroyed"}],"failed":[]}
    "#]],
    );
}

#[apply(test)]
fn prune_json() {
    let mut machine = Machine::new();
    machine.snapshot(
        "prune --yes --json",
        expect![[r#"
            {"schema":1,"dry_run":false,"removed":[],"failed":[],"skipped":[],"kept":{"young":0,"other_owner":0,"idle":0,
              "unknown":0,"attached":0,"excluded":0,"in_use":0,"unused":0,"persistent":0,"directory":0,"linked":0},
              "freed":{"segments":0,"objects":0,"size":0,"rss":0,"swap":0}}
        "#]],
    );
    orphan(&mut machine, 0x4d2, 5000);
    orphan(&mut machine, 0, 1 << 20);
    machine.snapshot(
        "prune --yes --json",
        expect![[r#"
            {"schema":1,"dry_run":false,"removed":[],"failed":[],"skipped":[],"kept":{"young":2,"other_owner":0,"idle":0,
              "unknown":0,"attached":0,"excluded":0,"in_use":0,"unused":0,"persistent":0,"directory":0,"linked":0},
              "freed":{"segments":0,"objects":0,"size":0,"rss":0,"swap":0}}
        "#]],
    );
    machine.snapshot("prune --older-than 0s --json", expect![[r#"
        {"schema":1,"error":{"kind":"refused","errno":null,"call":null,"target":null,
          "message":"cannot remove 2 segments: confirmation required","cause":"--yes was not given, and there is no terminal for the prompt",
          "hints":["show what would be removed: `shmadm prune --older-than 0s --json --dry-run`",
          "remove without asking: `shmadm prune --older-than 0s --json --yes`"]}}
        [exit code 5]
    "#]]);
    machine.snapshot(
        "prune --older-than 0s --dry-run --json",
        expect![[r#"
            {"schema":1,"dry_run":true,"removed":[{"id":0,"key":"0x000004d2","size":5000,"mode":"0600","uid":[UID],
              "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
              "creator_group":"[GROUP]","cpid":[EXITED],"lpid":[EXITED],"nattch":0,"atime":"[TIME]","dtime":"[TIME]",
              "ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,"locked":false,"rss":4096,"swap":0,"state":"orphan",
              "ns":[NS],"outcome":"destroyed"},{"id":1,"key":"0x00000000","size":1048576,"mode":"0600","uid":[UID],
              "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
              "creator_group":"[GROUP]","cpid":[EXITED],"lpid":[EXITED],"nattch":0,"atime":"[TIME]","dtime":"[TIME]",
              "ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,"locked":false,"rss":4096,"swap":0,"state":"orphan",
              "ns":[NS],"outcome":"destroyed"}],"failed":[],"skipped":[],"kept":{"young":0,"other_owner":0,"idle":0,
              "unknown":0,"attached":0,"excluded":0,"in_use":0,"unused":0,"persistent":0,"directory":0,"linked":0},
              "freed":{"segments":2,"objects":0,"size":1053576,"rss":8192,"swap":0}}
        "#]],
    );
    machine.snapshot(
        "prune --older-than 0s --yes --key 0x4d2 --json",
        expect![[r#"
            {"schema":1,"dry_run":false,"removed":[{"id":0,"key":"0x000004d2","size":5000,"mode":"0600","uid":[UID],
              "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
              "creator_group":"[GROUP]","cpid":[EXITED],"lpid":[EXITED],"nattch":0,"atime":"[TIME]","dtime":"[TIME]",
              "ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,"locked":false,"rss":4096,"swap":0,"state":"orphan",
              "ns":[NS],"outcome":"destroyed"}],"failed":[],"skipped":[],"kept":{"young":0,"other_owner":0,"idle":0,
              "unknown":0,"attached":0,"excluded":1,"in_use":0,"unused":0,"persistent":0,"directory":0,"linked":0},
              "freed":{"segments":1,"objects":0,"size":5000,"rss":4096,"swap":0}}
        "#]],
    );
}

#[apply(test)]
fn prune_rows() {
    let mut machine = Machine::new();
    machine.snapshot(
        "prune --yes --format csv",
        expect![[r#"
            ID,KEY,OWNER,SIZE,RSS,SWAP,STATE,IDLE,OUTCOME,WHY,NS,CONTAINER,NAME␍
        "#]],
    );
    orphan(&mut machine, 0x4d2, 5000);
    orphan(&mut machine, 0, 1 << 20);
    machine.snapshot(
        "prune --older-than 0s --dry-run --format tsv",
        expect![[r#"
            ID␉KEY␉OWNER␉SIZE␉RSS␉SWAP␉STATE␉IDLE␉OUTCOME␉WHY␉NS␉CONTAINER␉NAME
            0␉0x000004d2␉[USER]␉5000␉4096␉0␉orphan␉[IDLE]␉destroyed␉
              creator pid [EXITED] and last user pid [EXITED] have exited, idle for [IDLE]s␉[NS]␉␉0
            1␉0x00000000␉[USER]␉1048576␉4096␉0␉orphan␉[IDLE]␉destroyed␉
              creator pid [EXITED] and last user pid [EXITED] have exited, idle for [IDLE]s␉[NS]␉␉1
        "#]],
    );
    machine.snapshot(
        "prune --older-than 0s --yes --format csv",
        expect![[r#"
            ID,KEY,OWNER,SIZE,RSS,SWAP,STATE,IDLE,OUTCOME,WHY,NS,CONTAINER,NAME␍
            0,0x000004d2,[USER],5000,4096,0,orphan,[IDLE],destroyed,
              "creator pid [EXITED] and last user pid [EXITED] have exited, idle for [IDLE]s",[NS],,0␍
            1,0x00000000,[USER],1048576,4096,0,orphan,[IDLE],destroyed,
              "creator pid [EXITED] and last user pid [EXITED] have exited, idle for [IDLE]s",[NS],,1␍
        "#]],
    );
}

#[apply(test)]
fn prune_of_a_segment_that_was_attached_since() {
    let mut machine = Machine::new();
    orphan(&mut machine, 0x4d2, 4096);
    let skipped = |machine: &mut Machine, format: &str, expected: Expect| {
        let line = ["prune", "--yes", "--older-than", "0s", "--format", format];
        let stopped = Stopped::before(1, |call| call.is_shmctl(libc::IPC_STAT), &line);
        let mut actor = machine.actor("EXITED");
        actor.attach(0);
        machine.compare(&stopped.go_on(), &expected);
        actor.leave();
    };
    skipped(
        &mut machine,
        "json",
        expect![[r#"
            {"schema":1,"dry_run":false,"removed":[],"failed":[],"skipped":[{"id":0,"reason":"attached since the listing",
              "ns":[NS]}],"kept":{"young":0,"other_owner":0,"idle":0,"unknown":0,"attached":0,"excluded":0,"in_use":0,
              "unused":0,"persistent":0,"directory":0,"linked":0},"freed":{"segments":0,"objects":0,"size":0,"rss":0,
              "swap":0}}
        "#]],
    );
    skipped(
        &mut machine,
        "csv",
        expect![[r#"
            ID,KEY,OWNER,SIZE,RSS,SWAP,STATE,IDLE,OUTCOME,WHY,NS,CONTAINER,NAME␍
            0,0x000004d2,[USER],4096,4096,0,orphan,[IDLE],skipped,attached since the listing,[NS],,0␍
        "#]],
    );
    skipped(
        &mut machine,
        "tsv",
        expect![[r#"
            ID␉KEY␉OWNER␉SIZE␉RSS␉SWAP␉STATE␉IDLE␉OUTCOME␉WHY␉NS␉CONTAINER␉NAME
            0␉0x000004d2␉[USER]␉4096␉4096␉0␉orphan␉[IDLE]␉skipped␉attached since the listing␉[NS]␉␉0
        "#]],
    );
}
