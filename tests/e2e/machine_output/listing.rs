//! `list --json`, `stat --json` and `who --json`.

use expect_test::expect;

use super::Machine;
use crate::actor::{Actor, ChildRequest, Request};
use crate::fixtures::hostile_process;
use crate::holder::Holder;
use crate::oracle::{self, Attached};
use crate::support::{NOBODY, Running, finish, shmadm_as, wait_for};

/// The processes that created the segments, which end with this.
pub(super) struct Creators {
    /// The creator of most of them.
    _actor: Actor,
    /// A process whose command line has characters to escape.
    _hostile: Running,
}

/// Creates a segment for each state, with several keys, sizes and modes.
pub(super) fn segments(machine: &mut Machine) -> Creators {
    let mut actor = machine.actor("ACTOR");
    // Resident in part; attached twice.
    assert_eq!(actor.create(1234, 8192), 0);
    Attached::new(0).write(0, b"x");
    // At a low address, so that it is always the first of the two.
    assert_eq!(actor.ask(Request::AttachAt { id: 0, address: 0x20_0000_0000 }), "0x2000000000");
    actor.ask(Request::AttachReadOnly { id: 0 });
    // Mode 0640; never attached.
    assert_eq!(actor.create_with(0, 100, 32), 1);
    assert_eq!(actor.create(u32::MAX, 5000), 2);
    oracle::set(2, nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw(), 0);
    oracle::lock(2);
    let hostile = hostile_process();
    machine.redaction.name(i32::try_from(hostile.0.id()).unwrap(), "HOSTILE");
    wait_for("the first write", || oracle::row(3).unwrap().get("rss") == "4096");
    // Marked for destruction.
    assert_eq!(actor.create(153, 4096), 4);
    actor.attach(4);
    actor.remove(4);
    let mut exited = machine.actor("EXITED");
    assert_eq!(exited.create(2147483647, 1048576), 5);
    exited.leave();
    Creators { _actor: actor, _hostile: hostile }
}

#[apply(test)]
fn an_empty_list() {
    let machine = Machine::new();
    machine.snapshot(
        "list --json",
        expect![[r#"
            {"schema":1,"segments":[],"objects":[]}
        "#]],
    );
    machine.snapshot(
        "list --json -o ID,CONTAINER",
        expect![[r#"
        {"schema":1,"segments":[]}
    "#]],
    );
    machine.snapshot(
        "list --format csv",
        expect![[r#"
        ID,KEY,SIZE,MODE,UID,OWNER,GID,GROUP,CUID,CREATOR,CGID,CREATOR_GROUP,CPID,LPID,NATTCH,ATIME,DTIME,CTIME,IDLE,
          DEST,LOCKED,RSS,SWAP,STATE,NS␍
    "#]],
    );
    machine.snapshot("list --format csv --no-headings", expect![[""]]);
    machine.snapshot(
        "list --format tsv",
        expect![[r#"
        ID␉KEY␉SIZE␉MODE␉UID␉OWNER␉GID␉GROUP␉CUID␉CREATOR␉CGID␉CREATOR_GROUP␉CPID␉LPID␉NATTCH␉ATIME␉DTIME␉CTIME␉IDLE␉
          DEST␉LOCKED␉RSS␉SWAP␉STATE␉NS
    "#]],
    );
    machine.snapshot(
        "who --json",
        expect![[r#"
            {"schema":1,"segments":[],"objects":[]}
        "#]],
    );
    machine.snapshot(
        "who --format csv",
        expect![[r#"
        ID,PID,USER,ATTACHES,ACCESS,COMMAND,ADDRESS,SIZE,UID,NS,CERTAIN,SHARED_WITH,SEGMENT_NS␍
    "#]],
    );
    machine.snapshot(
        "who --format tsv",
        expect![[r#"
        ID␉PID␉USER␉ATTACHES␉ACCESS␉COMMAND␉ADDRESS␉SIZE␉UID␉NS␉CERTAIN␉SHARED_WITH␉SEGMENT_NS
    "#]],
    );
}

#[apply(test)]
fn list_json() {
    let mut machine = Machine::new();
    let _creators = segments(&mut machine);
    machine.snapshot(
        "list --json",
        expect![[r#"
            {"schema":1,"segments":[{"id":0,"key":"0x000004d2","size":8192,"mode":"0600","uid":[UID],"owner":"[USER]",
              "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
              "cpid":[ACTOR],"lpid":[ACTOR],"nattch":2,"atime":"[TIME]","dtime":"[TIME]","ctime":"[TIME]",
              "idle_seconds":null,"dest":false,"locked":false,"rss":4096,"swap":0,"state":"in-use","ns":[NS]},{"id":1,
              "key":"0x00000000","size":100,"mode":"0640","uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]",
              "cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]","cpid":[ACTOR],"lpid":null,
              "nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,"locked":false,
              "rss":0,"swap":0,"state":"idle","ns":[NS]},{"id":2,"key":"0xffffffff","size":5000,"mode":"0000","uid":[UID],
              "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
              "creator_group":"[GROUP]","cpid":[ACTOR],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]",
              "idle_seconds":[IDLE],"dest":false,"locked":true,"rss":0,"swap":0,"state":"idle","ns":[NS]},{"id":3,
              "key":"0x00000077","size":4096,"mode":"0600","uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]",
              "cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]","cpid":[HOSTILE],"lpid":[HOSTILE],
              "nattch":1,"atime":"[TIME]","dtime":null,"ctime":"[TIME]","idle_seconds":null,"dest":false,"locked":false,
              "rss":4096,"swap":0,"state":"in-use","ns":[NS]},{"id":4,"key":"0x00000000","size":4096,"mode":"0600",
              "uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
              "creator_group":"[GROUP]","cpid":[ACTOR],"lpid":[ACTOR],"nattch":1,"atime":"[TIME]","dtime":null,
              "ctime":"[TIME]","idle_seconds":null,"dest":true,"locked":false,"rss":0,"swap":0,"state":"dest","ns":[NS]},
              {"id":5,"key":"0x7fffffff","size":1048576,"mode":"0600","uid":[UID],"owner":"[USER]","gid":[GID],
              "group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]","cpid":[EXITED],
              "lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,
              "locked":false,"rss":0,"swap":0,"state":"orphan","ns":[NS]}],"objects":[]}
        "#]],
    );
    // Neither option changes machine output.
    machine.snapshot(
        "list --json --time unix --bytes --key 1234",
        expect![[r#"
            {"schema":1,"segments":[{"id":0,"key":"0x000004d2","size":8192,"mode":"0600","uid":[UID],"owner":"[USER]",
              "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
              "cpid":[ACTOR],"lpid":[ACTOR],"nattch":2,"atime":"[TIME]","dtime":"[TIME]","ctime":"[TIME]",
              "idle_seconds":null,"dest":false,"locked":false,"rss":4096,"swap":0,"state":"in-use","ns":[NS]}],
              "objects":[]}
        "#]],
    );
    machine.snapshot(
        "list --json --sort size --reverse --state idle -o KEY,SIZE,LOCKED,STATE",
        expect![[r#"
        {"schema":1,"segments":[{"key":"0xffffffff","size":5000,"locked":true,"state":"idle"},{"key":"0x00000000",
          "size":100,"locked":false,"state":"idle"}]}
    "#]],
    );
}

#[apply(test)]
fn list_json_of_every_other_column() {
    let mut machine = Machine::new();
    let _creators = segments(&mut machine);
    machine.redaction.hide_containers();
    machine.snapshot("list --json -o CCOMMAND,id,LCOMMAND,PIDS,COMMANDS,CONTAINER", expect![[r#"
        {"schema":1,"segments":[{"ccommand":"/proc/self/exe --actor","id":0,"lcommand":"/proc/self/exe --actor",
          "pids":[[ACTOR]],"commands":["/proc/self/exe --actor"],"container":[CONTAINER]},
          {"ccommand":"/proc/self/exe --actor","id":1,"lcommand":null,"pids":[],"commands":[],
          "container":[CONTAINER]},{"ccommand":"/proc/self/exe --actor","id":2,"lcommand":null,"pids":[],
          "commands":[],"container":[CONTAINER]},{"ccommand":"evil\n99 \"0x1\"\t'a\\b\u001b[2J⟨U+202E⟩xet\\xff,\r⟨U+009B⟩; demo writer --key 0x77 --interval 1h",
          "id":3,"lcommand":"evil\n99 \"0x1\"\t'a\\b\u001b[2J⟨U+202E⟩xet\\xff,\r⟨U+009B⟩; demo writer --key 0x77 --interval 1h",
          "pids":[[HOSTILE]],"commands":["evil\n99 \"0x1\"\t'a\\b\u001b[2J⟨U+202E⟩xet\\xff,\r⟨U+009B⟩; demo writer --key 0x77 --interval 1h"],
          "container":[CONTAINER]},{"ccommand":"/proc/self/exe --actor","id":4,"lcommand":"/proc/self/exe --actor",
          "pids":[[ACTOR]],"commands":["/proc/self/exe --actor"],"container":[CONTAINER]},{"ccommand":null,"id":5,
          "lcommand":null,"pids":[],"commands":[],"container":[CONTAINER]}]}
    "#]]);
    machine.snapshot(
        "list --list-columns --json",
        expect![[r#"
            {"schema":1,"columns":[{"column":"ID","json":"id","description":"id (shmid)"},{"column":"KEY","json":"key",
              "description":"key; 0x00000000 if private or marked for destruction"},{"column":"SIZE","json":"size",
              "description":"requested size in bytes"},{"column":"MODE","json":"mode","description":"permission bits"},
              {"column":"UID","json":"uid","description":"owner's user id"},{"column":"OWNER","json":"owner",
              "description":"owner's name"},{"column":"GID","json":"gid","description":"owner's group id"},
              {"column":"GROUP","json":"group","description":"owner's group"},{"column":"CUID","json":"cuid",
              "description":"creator's user id"},{"column":"CREATOR","json":"creator","description":"creator's name"},
              {"column":"CGID","json":"cgid","description":"creator's group id"},{"column":"CREATOR_GROUP",
              "json":"creator_group","description":"creator's group"},{"column":"CPID","json":"cpid",
              "description":"creator's pid"},{"column":"LPID","json":"lpid",
              "description":"last user: the process of the last attach or detach"},{"column":"NATTCH","json":"nattch",
              "description":"number of attachments (mappings)"},{"column":"ATIME","json":"atime",
              "description":"last attach"},{"column":"DTIME","json":"dtime","description":"last detach"},
              {"column":"CTIME","json":"ctime","description":"creation, or last change of owner or mode"},
              {"column":"IDLE","json":"idle_seconds","description":"time since the last attach, detach or change"},
              {"column":"DEST","json":"dest","description":"marked for destruction"},{"column":"LOCKED","json":"locked",
              "description":"locked in memory"},{"column":"RSS","json":"rss","description":"resident bytes"},
              {"column":"SWAP","json":"swap","description":"swapped bytes"},{"column":"STATE","json":"state",
              "description":"in-use, dest, idle, orphan or unknown"},{"column":"NS","json":"ns",
              "description":"IPC namespace number"},{"column":"CCOMMAND","json":"ccommand",
              "description":"command of the creator, while it is running"},{"column":"LCOMMAND","json":"lcommand",
              "description":"command of the last user, while it is running"},{"column":"PIDS","json":"pids",
              "description":"processes that have it attached"},{"column":"COMMANDS","json":"commands",
              "description":"commands of these processes"},{"column":"FORMER_KEY","json":"former_key",
              "description":"key before the segment was marked for destruction"},{"column":"PAGE_SIZE","json":"page_size",
              "description":"page size, if a visible process has it attached"},{"column":"PRODUCT","json":"product",
              "description":"program that it belongs to, as identify shows it"},{"column":"CONTAINER","json":"container",
              "description":"container or unit of the namespace"}]}
        "#]],
    );
}

#[apply(test)]
fn list_json_and_csv_in_all_namespaces() {
    let mut machine = Machine::new();
    // Listings of all namespaces include those of other tests: the key identifies this segment.
    let key = format!("0x{:08x}", fastrand::u32(0x1000_0000..0x7000_0000));
    let mut actor = machine.actor("ACTOR");
    actor.create(u32::from_str_radix(&key[2..], 16).unwrap(), 4096);
    actor.attach(0);
    machine.redaction.hide(key.clone(), "[KEY]");
    machine.redaction.hide_containers();
    machine.snapshot(
        &format!("list --all-ns --json --key {key}"),
        expect![[r#"
            {"schema":1,"segments":[{"id":0,"key":"[KEY]","size":4096,"mode":"0600","uid":[UID],"owner":"[USER]",
              "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
              "cpid":[ACTOR],"lpid":[ACTOR],"nattch":1,"atime":"[TIME]","dtime":null,"ctime":"[TIME]","idle_seconds":null,
              "dest":false,"locked":false,"rss":0,"swap":0,"state":"in-use","ns":[NS],"container":[CONTAINER]}],
              "objects":[]}
        "#]],
    );
    machine.snapshot(
        &format!("list --all-ns --format csv --key {key}"),
        expect![[r#"
        ID,KEY,SIZE,MODE,UID,OWNER,GID,GROUP,CUID,CREATOR,CGID,CREATOR_GROUP,CPID,LPID,NATTCH,ATIME,DTIME,CTIME,IDLE,
          DEST,LOCKED,RSS,SWAP,STATE,NS␍
        0,[KEY],4096,0600,[UID],[USER],[GID],[GROUP],[UID],[USER],[GID],[GROUP],[ACTOR],[ACTOR],1,[TIME],,[TIME],,
          false,false,0,0,in-use,[NS]␍
    "#]],
    );
}

#[apply(test)]
fn stat_json() {
    let mut machine = Machine::new();
    let _creators = segments(&mut machine);
    machine.snapshot(
        "stat 3 0x4d2 --json",
        expect![[r#"
            {"schema":1,"segments":[{"id":3,"key":"0x00000077","size":4096,"mode":"0600","uid":[UID],"owner":"[USER]",
              "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
              "cpid":[HOSTILE],"lpid":[HOSTILE],"nattch":1,"atime":"[TIME]","dtime":null,"ctime":"[TIME]",
              "idle_seconds":null,"dest":false,"locked":false,"rss":4096,"swap":0,"state":"in-use","ns":[NS],
              "former_key":null},{"id":0,"key":"0x000004d2","size":8192,"mode":"0600","uid":[UID],"owner":"[USER]",
              "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
              "cpid":[ACTOR],"lpid":[ACTOR],"nattch":2,"atime":"[TIME]","dtime":"[TIME]","ctime":"[TIME]",
              "idle_seconds":null,"dest":false,"locked":false,"rss":4096,"swap":0,"state":"in-use","ns":[NS],
              "former_key":null}],"objects":[],"failed":[]}
        "#]],
    );
    // What exists is reported if something else is missing.
    machine.snapshot(
        "stat 1 77 --json",
        expect![[r#"
            {"schema":1,"segments":[{"id":1,"key":"0x00000000","size":100,"mode":"0640","uid":[UID],"owner":"[USER]",
              "gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]",
              "cpid":[ACTOR],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]","idle_seconds":[IDLE],
              "dest":false,"locked":false,"rss":0,"swap":0,"state":"idle","ns":[NS],"former_key":null}],"objects":[],
              "failed":[{"target":"77","error":"cannot find segment 77: Invalid argument (EINVAL, shmctl IPC_STAT)",
              "errno":"EINVAL","code":3,
              "cause":"no segment in this IPC namespace has this id: it was removed or never existed",
              "hints":["list the segments: `shmadm list`"]}]}
            [exit code 3]
        "#]],
    );
}

#[apply(test)]
fn who_json() {
    let mut machine = Machine::new();
    let _creators = segments(&mut machine);
    machine.snapshot(
        "who 0 1 3 4 --json",
        expect![[r#"
            {"schema":1,"segments":[{"id":0,"ns":[NS],"nattch":2,"found":2,"attachments":[{"pid":[ACTOR],"uid":[UID],
              "user":"[USER]","command":"/proc/self/exe --actor","address":"[ADDRESS]","size":8192,"access":"rw",
              "ns":[NS],"certain":true,"shared_with":null},{"pid":[ACTOR],"uid":[UID],"user":"[USER]",
              "command":"/proc/self/exe --actor","address":"[ADDRESS]","size":8192,"access":"ro","ns":[NS],"certain":true,
              "shared_with":null}],"hidden":[],"container":null,"former_key":null},{"id":1,"ns":[NS],"nattch":0,"found":0,
              "attachments":[],"hidden":[],"container":null,"former_key":null},{"id":3,"ns":[NS],"nattch":1,"found":1,
              "attachments":[{"pid":[HOSTILE],"uid":[UID],"user":"[USER]",
              "command":"evil\n99 \"0x1\"\t'a\\b\u001b[2J⟨U+202E⟩xet\\xff,\r⟨U+009B⟩; demo writer --key 0x77 --interval 1h",
              "address":"[ADDRESS]","size":4096,"access":"rw","ns":[NS],"certain":true,"shared_with":null}],"hidden":[],
              "container":null,"former_key":null},{"id":4,"ns":[NS],"nattch":1,"found":1,"attachments":[{"pid":[ACTOR],
              "uid":[UID],"user":"[USER]","command":"/proc/self/exe --actor","address":"[ADDRESS]","size":4096,
              "access":"rw","ns":[NS],"certain":true,"shared_with":null}],"hidden":[],"container":null,
              "former_key":"0x00000099"}],"objects":[]}
        "#]],
    );
    machine.snapshot(
        "who 0 --mappings --json",
        expect![[r#"
            {"schema":1,"segments":[{"id":0,"ns":[NS],"nattch":2,"found":2,"attachments":[{"pid":[ACTOR],"uid":[UID],
              "user":"[USER]","command":"/proc/self/exe --actor","address":"[ADDRESS]","size":8192,"access":"rw",
              "ns":[NS],"certain":true,"shared_with":null},{"pid":[ACTOR],"uid":[UID],"user":"[USER]",
              "command":"/proc/self/exe --actor","address":"[ADDRESS]","size":8192,"access":"ro","ns":[NS],"certain":true,
              "shared_with":null}],"hidden":[],"container":null,"former_key":null}],"objects":[]}
        "#]],
    );
}

#[apply(test)]
fn who_json_of_processes_that_share_memory() {
    let mut machine = Machine::new();
    let mut actor = machine.actor("ACTOR");
    actor.create(7, 4096);
    actor.attach(0);
    machine.redaction.name(actor.number(ChildRequest::CloneVm), "CLONE");
    machine.snapshot(
        "who 0 --json",
        expect![[r#"
            {"schema":1,"segments":[{"id":0,"ns":[NS],"nattch":1,"found":1,"attachments":[{"pid":[ACTOR],"uid":[UID],
              "user":"[USER]","command":"/proc/self/exe --actor","address":"[ADDRESS]","size":4096,"access":"rw",
              "ns":[NS],"certain":true,"shared_with":null}],"hidden":[],"container":null,"former_key":null}],"objects":[]}
        "#]],
    );
}

#[apply(test)]
#[requires(Root)]
fn who_and_list_without_permission() {
    let mut machine = Machine::new();
    let id = oracle::create(fastrand::u32(0x1000_0000..), 4096, 0o666);
    let mut actor = machine.actor("ACTOR");
    actor.attach(0);
    let attach = finish(shmadm_as(NOBODY).args(["attach", "0", "--background"])).exits(0);
    let holder = Holder::printed(&attach);
    machine.redaction.name(holder.pid, "HOLDER");
    let nobody = |line: &str| finish(shmadm_as(NOBODY).args(machine.arguments(line)));
    machine.compare(
        &nobody("who 0 --json"),
        &expect![[r#"
            {"schema":1,"segments":[{"id":0,"ns":[NS],"nattch":2,"found":1,"attachments":[{"pid":[HOLDER],"uid":65534,
              "user":"nobody","command":"shmadm-hold id=0 access=rw","address":"[ADDRESS]","size":4096,"access":"rw",
              "ns":[NS],"certain":true,"shared_with":[]}],"hidden":[{"reason":"permission","count":1,"pids":null}],
              "container":null,"former_key":null}],"objects":[]}
        "#]],
    );
    machine.compare(
        &nobody("who 0 --format csv"),
        &expect![[r#"
        ID,PID,USER,ATTACHES,ACCESS,COMMAND,ADDRESS,SIZE,UID,NS,CERTAIN,SHARED_WITH,SEGMENT_NS␍
        0,[HOLDER],nobody,1,rw,shmadm-hold id=0 access=rw,[ADDRESS],4096,65534,[NS],true,,[NS]␍
    "#]],
    );
    oracle::set(id, 4_000_000_000, 4_000_000_001, 0o600);
    machine.compare(
        &nobody("list --json -o ID,MODE,OWNER,UID,GROUP,GID,PIDS,COMMANDS"),
        &expect![[r#"
        {"schema":1,"segments":[{"id":0,"mode":"0600","owner":null,"uid":4000000000,"group":null,"gid":4000000001,
          "pids":[[HOLDER]],"commands":["shmadm-hold id=0 access=rw"]}]}
    "#]],
    );
    machine.compare(
        &nobody("list --format csv -o OWNER,UID,GROUP,GID,PIDS"),
        &expect![[r#"
        OWNER,UID,GROUP,GID,PIDS␍
        ,4000000000,,4000000001,[HOLDER]␍
    "#]],
    );
}
