//! `diff` in every format.

use expect_test::expect;

use super::Machine;
use crate::oracle;
use crate::support::run;

#[apply(test)]
fn diff_of_what_is_the_same() {
    let machine = Machine::new();
    std::fs::write(machine.path("before.json"), run(["list", "--json"]).stdout).unwrap();
    machine.snapshot(
        "diff DIR/before.json --json",
        expect![[r#"
            {"schema":1,"created":[],"removed":[],"changed":[],"objects":{"created":[],"removed":[],"changed":[]}}
        "#]],
    );
    machine.snapshot(
        "diff DIR/before.json --format csv",
        expect![[r#"
        CHANGE,ID,KEY,OWNER,MODE,SIZE,NATTCH,CPID,WHAT,NS␍
    "#]],
    );
    machine.snapshot(
        "diff DIR/before.json --format tsv",
        expect![[r#"
        CHANGE␉ID␉KEY␉OWNER␉MODE␉SIZE␉NATTCH␉CPID␉WHAT␉NS
    "#]],
    );
}

#[apply(test)]
fn diff_of_what_was_created_removed_and_changed() {
    let mut machine = Machine::new();
    let mut actor = machine.actor("ACTOR");
    for (id, (key, size)) in (0..4).zip([(1, 4096), (0, 4097), (3, 4098), (4, 4099)]) {
        assert_eq!(actor.create(key, size), id);
    }
    actor.attach(2);
    std::fs::write(machine.path("before.json"), run(["list", "--json"]).stdout).unwrap();
    oracle::remove(0);
    oracle::set(1, nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw(), 0o644);
    oracle::lock(1);
    actor.attach(2);
    oracle::remove(2);
    assert_eq!(actor.create(5, 100), 4);
    std::fs::write(machine.path("after.json"), run(["list", "--json"]).stdout).unwrap();
    machine.snapshot(
        "diff DIR/before.json --json",
        expect![[r#"
            {"schema":1,"created":[{"id":4,"key":"0x00000005","size":100,"mode":"0600","uid":[UID],"owner":"[USER]",
              "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
              "cpid":[ACTOR],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]","idle_seconds":[IDLE],
              "dest":false,"locked":false,"rss":0,"swap":0,"state":"idle","ns":[NS]}],"removed":[{"id":0,
              "key":"0x00000001","size":4096,"mode":"0600","uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]",
              "cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]","cpid":[ACTOR],"lpid":null,
              "nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,"locked":false,
              "rss":0,"swap":0,"state":"idle","ns":[NS]}],"changed":[{"changes":["mode","locked"],"before":{"id":1,
              "key":"0x00000000","size":4097,"mode":"0600","uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]",
              "cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]","cpid":[ACTOR],"lpid":null,
              "nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,"locked":false,
              "rss":0,"swap":0,"state":"idle","ns":[NS]},"after":{"id":1,"key":"0x00000000","size":4097,"mode":"0644",
              "uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
              "creator_group":"[GROUP]","cpid":[ACTOR],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]",
              "idle_seconds":[IDLE],"dest":false,"locked":true,"rss":0,"swap":0,"state":"idle","ns":[NS]}},
              {"changes":["attached","key","marked"],"before":{"id":2,"key":"0x00000003","size":4098,"mode":"0600",
              "uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
              "creator_group":"[GROUP]","cpid":[ACTOR],"lpid":[ACTOR],"nattch":1,"atime":"[TIME]","dtime":null,
              "ctime":"[TIME]","idle_seconds":null,"dest":false,"locked":false,"rss":0,"swap":0,"state":"in-use",
              "ns":[NS]},"after":{"id":2,"key":"0x00000000","size":4098,"mode":"0600","uid":[UID],"owner":"[USER]",
              "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
              "cpid":[ACTOR],"lpid":[ACTOR],"nattch":2,"atime":"[TIME]","dtime":null,"ctime":"[TIME]","idle_seconds":null,
              "dest":true,"locked":false,"rss":0,"swap":0,"state":"dest","ns":[NS]}}],"objects":{"created":[],
              "removed":[],"changed":[]}}
            [exit code 1]
        "#]],
    );
    machine.snapshot(
        "diff DIR/before.json --format csv",
        expect![[r#"
        CHANGE,ID,KEY,OWNER,MODE,SIZE,NATTCH,CPID,WHAT,NS␍
        created,4,0x00000005,[USER],0600,100,0,[ACTOR],,[NS]␍
        removed,0,0x00000001,[USER],0600,4096,0,[ACTOR],,[NS]␍
        changed,1,0x00000000,[USER],0644,4097,0,[ACTOR],mode 0600 -> 0644; locked,[NS]␍
        changed,2,0x00000000,[USER],0600,4098,2,[ACTOR],attached 1 -> 2; key 0x00000003 -> 0x00000000; marked,[NS]␍
        [exit code 1]
    "#]],
    );
    machine.snapshot(
        "diff DIR/before.json DIR/after.json --format tsv",
        expect![[r#"
        CHANGE␉ID␉KEY␉OWNER␉MODE␉SIZE␉NATTCH␉CPID␉WHAT␉NS
        created␉4␉0x00000005␉[USER]␉0600␉100␉0␉[ACTOR]␉␉[NS]
        removed␉0␉0x00000001␉[USER]␉0600␉4096␉0␉[ACTOR]␉␉[NS]
        changed␉1␉0x00000000␉[USER]␉0644␉4097␉0␉[ACTOR]␉mode 0600 -> 0644; locked␉[NS]
        changed␉2␉0x00000000␉[USER]␉0600␉4098␉2␉[ACTOR]␉attached 1 -> 2; key 0x00000003 -> 0x00000000; marked␉[NS]
        [exit code 1]
    "#]],
    );
    machine.snapshot(
        "diff DIR/after.json DIR/after.json --json",
        expect![[r#"
            {"schema":1,"created":[],"removed":[],"changed":[],"objects":{"created":[],"removed":[],"changed":[]}}
        "#]],
    );
    machine.snapshot(
        "diff DIR/missing.json --json",
        expect![[r#"
        {"schema":1,"error":{"kind":"failed","errno":"ENOENT","call":"open","target":"DIR/missing.json",
          "message":"cannot read DIR/missing.json: No such file or directory (ENOENT, open)","cause":null,"hints":[]}}
        [exit code 2]
    "#]],
    );
}
