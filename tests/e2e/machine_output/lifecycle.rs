//! `create --json`, `attach --json`, `detach --json` and `set --json`.

use expect_test::expect;

use super::Machine;

#[apply(test)]
fn create_json() {
    let machine = Machine::new();
    machine.snapshot(
        "create --json",
        expect![[r#"
        {"schema":1,"created":true,"segment":{"id":0,"key":"0x00000000","size":4096,"mode":"0600","uid":[UID],
          "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
          "creator_group":"[GROUP]","cpid":[PID],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]",
          "idle_seconds":[IDLE],"dest":false,"locked":false,"rss":0,"swap":0,"state":"idle","ns":[NS]},"holder":null}
    "#]],
    );
    machine.snapshot(
        "create --key 0x4d2 --size 5000 --mode 640 --fill 0x41 --json",
        expect![[r#"
        {"schema":1,"created":true,"segment":{"id":1,"key":"0x000004d2","size":5000,"mode":"0640","uid":[UID],
          "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
          "creator_group":"[GROUP]","cpid":[PID],"lpid":[PID],"nattch":0,"atime":"[TIME]","dtime":"[TIME]",
          "ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,"locked":false,"rss":8192,"swap":0,"state":"idle",
          "ns":[NS]},"holder":null}
    "#]],
    );
    machine.snapshot(
        "create --key 0x4d2 --json",
        expect![[r#"
        {"schema":1,"created":false,"segment":{"id":1,"key":"0x000004d2","size":5000,"mode":"0640","uid":[UID],
          "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
          "creator_group":"[GROUP]","cpid":[PID],"lpid":[PID],"nattch":0,"atime":"[TIME]","dtime":"[TIME]",
          "ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,"locked":false,"rss":8192,"swap":0,"state":"orphan",
          "ns":[NS]},"holder":null}
    "#]],
    );
}

#[apply(test)]
fn create_json_with_a_holder() {
    let mut machine = Machine::new();
    let _holder = machine.snapshot_with_holder(
        "create --key 7 --hold --json",
        &expect![[r#"
            {"schema":1,"created":true,"segment":{"id":0,"key":"0x00000007","size":4096,"mode":"0600","uid":[UID],
              "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
              "creator_group":"[GROUP]","cpid":[PID],"lpid":[HOLDER],"nattch":1,"atime":"[TIME]","dtime":null,
              "ctime":"[TIME]","idle_seconds":null,"dest":false,"locked":false,"rss":0,"swap":0,"state":"in-use",
              "ns":[NS]},"holder":[HOLDER]}
        "#]],
    );
    machine.snapshot(
        "who 0 --json",
        expect![[r#"
            {"schema":1,"segments":[{"id":0,"ns":[NS],"nattch":1,"found":1,"attachments":[{"pid":[HOLDER],"uid":[UID],
              "user":"[USER]","command":"shmadm-hold id=0 access=rw","address":"[ADDRESS]","size":4096,"access":"rw",
              "ns":[NS],"certain":true,"shared_with":null}],"hidden":[],"container":null,"former_key":null}],"objects":[]}
        "#]],
    );
    machine.snapshot(
        "detach 0 --json",
        expect![[r#"
        {"schema":1,"id":0,"detached":[[HOLDER]],"nattch_before":1,"nattch_after":0}
    "#]],
    );
}

#[apply(test)]
fn attach_and_detach_json() {
    let mut machine = Machine::new();
    machine.snapshot(
        "create --key 0x4d2 --size 5000 --mode 700 -q",
        expect![[r#"
        0
    "#]],
    );
    let _first = machine.snapshot_with_holder(
        "attach 0x4d2 --background --read-only --json",
        &expect![[r#"
        {"schema":1,"attachment":{"id":0,"pid":[HOLDER],"address":"[ADDRESS]","size":5000,"access":"ro","exec":false}}
    "#]],
    );
    let second = machine.snapshot_with_holder(
        "attach 0 --background --exec --json",
        &expect![[r#"
        {"schema":1,"attachment":{"id":0,"pid":[HOLDER],"address":"[ADDRESS]","size":5000,"access":"rw","exec":true}}
    "#]],
    );
    machine.snapshot(
        &format!("detach 0 --pid {} --json", second.pid),
        expect![[r#"
        {"schema":1,"id":0,"detached":[[HOLDER]],"nattch_before":2,"nattch_after":1}
    "#]],
    );
    machine.snapshot(
        "detach 0 --json",
        expect![[r#"
        {"schema":1,"id":0,"detached":[[HOLDER]],"nattch_before":1,"nattch_after":0}
    "#]],
    );
    machine.snapshot(
        "detach 0 --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"not-found","errno":null,"call":null,"target":"0",
              "message":"cannot detach segment 0: it is not attached","cause":null,"hints":[]}}
            [exit code 3]
        "#]],
    );
    machine.snapshot(
        "attach 0 --for 1ms --json",
        expect![[r#"
        {"schema":1,"attachment":{"id":0,"pid":[PID],"address":"[ADDRESS]","size":5000,"access":"rw","exec":false}}
    "#]],
    );
}

#[apply(test)]
fn detach_json_of_what_others_have_attached() {
    let mut machine = Machine::new();
    let mut actor = machine.actor("ACTOR");
    actor.create(7, 4096);
    actor.attach(0);
    machine.snapshot("detach 0 --json", expect![[r#"
        {"schema":1,"error":{"kind":"refused","errno":null,"call":null,"target":"0",
          "message":"cannot detach segment 0: no holder of user [USER] has it attached",
          "cause":"attached by pid [ACTOR] ([USER], /proc/self/exe --actor); creator and last user pid [ACTOR] ([USER], /proc/self/exe --actor) is running",
          "hints":["list the attached processes; only they can detach: `shmadm who 0`"]}}
        [exit code 5]
    "#]]);
}

#[apply(test)]
fn set_json() {
    let machine = Machine::new();
    machine.snapshot(
        "create --key 0x4d2 -q",
        expect![[r#"
        0
    "#]],
    );
    machine.snapshot(
        "set 0x4d2 --mode 604 --lock --json",
        expect![[r#"
        {"schema":1,"segment":{"id":0,"key":"0x000004d2","size":4096,"mode":"0604","uid":[UID],"owner":"[USER]",
          "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
          "cpid":[PID],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]","idle_seconds":[IDLE],
          "dest":false,"locked":true,"rss":0,"swap":0,"state":"orphan","ns":[NS]}}
    "#]],
    );
    machine.snapshot(
        "set 0 --unlock --json",
        expect![[r#"
        {"schema":1,"segment":{"id":0,"key":"0x000004d2","size":4096,"mode":"0604","uid":[UID],"owner":"[USER]",
          "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
          "cpid":[PID],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]","idle_seconds":[IDLE],
          "dest":false,"locked":false,"rss":0,"swap":0,"state":"orphan","ns":[NS]}}
    "#]],
    );
    machine.snapshot(
        "set 77 --mode 600 --json",
        expect![[r#"
            {"schema":1,"error":{"kind":"not-found","errno":"EINVAL","call":"shmctl IPC_STAT","target":"77",
              "message":"cannot find segment 77: Invalid argument (EINVAL, shmctl IPC_STAT)",
              "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
              "hints":["list the segments: `shmadm list`"]}}
            [exit code 3]
        "#]],
    );
}
