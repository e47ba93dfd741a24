//! `list`, `stat` and `who` as CSV and TSV.

use expect_test::expect;

use super::Machine;
use super::listing::segments;

#[apply(test)]
fn list_csv() {
    let mut machine = Machine::new();
    let _creators = segments(&mut machine);
    machine.snapshot(
        "list --format csv",
        expect![[r#"
        ID,KEY,SIZE,MODE,UID,OWNER,GID,GROUP,CUID,CREATOR,CGID,CREATOR_GROUP,CPID,LPID,NATTCH,ATIME,DTIME,CTIME,IDLE,
          DEST,LOCKED,RSS,SWAP,STATE,NS␍
        0,0x000004d2,8192,0600,[UID],[USER],[GID],[GROUP],[UID],[USER],[GID],[GROUP],[ACTOR],[ACTOR],2,[TIME],[TIME],
          [TIME],,false,false,4096,0,in-use,[NS]␍
        1,0x00000000,100,0640,[UID],[USER],[GID],[GROUP],[UID],[USER],[GID],[GROUP],[ACTOR],,0,,,[TIME],[IDLE],false,
          false,0,0,idle,[NS]␍
        2,0xffffffff,5000,0000,[UID],[USER],[GID],[GROUP],[UID],[USER],[GID],[GROUP],[ACTOR],,0,,,[TIME],[IDLE],false,
          true,0,0,idle,[NS]␍
        3,0x00000077,4096,0600,[UID],[USER],[GID],[GROUP],[UID],[USER],[GID],[GROUP],[HOSTILE],[HOSTILE],1,[TIME],,
          [TIME],,false,false,4096,0,in-use,[NS]␍
        4,0x00000000,4096,0600,[UID],[USER],[GID],[GROUP],[UID],[USER],[GID],[GROUP],[ACTOR],[ACTOR],1,[TIME],,[TIME],
          ,true,false,0,0,dest,[NS]␍
        5,0x7fffffff,1048576,0600,[UID],[USER],[GID],[GROUP],[UID],[USER],[GID],[GROUP],[EXITED],,0,,,[TIME],[IDLE],
          false,false,0,0,orphan,[NS]␍
    "#]],
    );
    machine.snapshot(
        "list --format csv --time iso --bytes -o id,SIZE,CTIME,RSS --key 1234",
        expect![[r#"
        ID,SIZE,CTIME,RSS␍
        0,8192,[TIME],4096␍
    "#]],
    );
    machine.snapshot(
        "list --format csv --no-headings -o KEY,MODE,SIZE,DEST",
        expect![[r#"
        0x000004d2,0600,8192,false␍
        0x00000000,0640,100,false␍
        0xffffffff,0000,5000,false␍
        0x00000077,0600,4096,false␍
        0x00000000,0600,4096,true␍
        0x7fffffff,0600,1048576,false␍
    "#]],
    );
    machine.redaction.hide_containers();
    machine.snapshot(
        "list --format csv -o CCOMMAND,ID,LCOMMAND,PIDS,COMMANDS,CONTAINER",
        expect![[r#"
        CCOMMAND,ID,LCOMMAND,PIDS,COMMANDS,CONTAINER␍
        /proc/self/exe --actor,0,/proc/self/exe --actor,[ACTOR],/proc/self/exe --actor,[CONTAINER]␍
        /proc/self/exe --actor,1,,,,[CONTAINER]␍
        /proc/self/exe --actor,2,,,,[CONTAINER]␍
        "evil
        99 ""0x1""␉'a\b⟨U+001B⟩[2J⟨U+202E⟩xet\xff,␍⟨U+009B⟩; demo writer --key 0x77 --interval 1h",3,"evil
        99 ""0x1""␉'a\b⟨U+001B⟩[2J⟨U+202E⟩xet\xff,␍⟨U+009B⟩; demo writer --key 0x77 --interval 1h",[HOSTILE],"evil
        99 ""0x1""␉'a\b⟨U+001B⟩[2J⟨U+202E⟩xet\xff,␍⟨U+009B⟩; demo writer --key 0x77 --interval 1h",[CONTAINER]␍
        /proc/self/exe --actor,4,/proc/self/exe --actor,[ACTOR],/proc/self/exe --actor,[CONTAINER]␍
        ,5,,,,[CONTAINER]␍
    "#]],
    );
}

#[apply(test)]
fn list_tsv() {
    let mut machine = Machine::new();
    let _creators = segments(&mut machine);
    machine.snapshot(
        "list --format tsv",
        expect![[r#"
        ID␉KEY␉SIZE␉MODE␉UID␉OWNER␉GID␉GROUP␉CUID␉CREATOR␉CGID␉CREATOR_GROUP␉CPID␉LPID␉NATTCH␉ATIME␉DTIME␉CTIME␉IDLE␉
          DEST␉LOCKED␉RSS␉SWAP␉STATE␉NS
        0␉0x000004d2␉8192␉0600␉[UID]␉[USER]␉[GID]␉[GROUP]␉[UID]␉[USER]␉[GID]␉[GROUP]␉[ACTOR]␉[ACTOR]␉2␉[TIME]␉[TIME]␉
          [TIME]␉␉false␉false␉4096␉0␉in-use␉[NS]
        1␉0x00000000␉100␉0640␉[UID]␉[USER]␉[GID]␉[GROUP]␉[UID]␉[USER]␉[GID]␉[GROUP]␉[ACTOR]␉␉0␉␉␉[TIME]␉[IDLE]␉false␉
          false␉0␉0␉idle␉[NS]
        2␉0xffffffff␉5000␉0000␉[UID]␉[USER]␉[GID]␉[GROUP]␉[UID]␉[USER]␉[GID]␉[GROUP]␉[ACTOR]␉␉0␉␉␉[TIME]␉[IDLE]␉false␉
          true␉0␉0␉idle␉[NS]
        3␉0x00000077␉4096␉0600␉[UID]␉[USER]␉[GID]␉[GROUP]␉[UID]␉[USER]␉[GID]␉[GROUP]␉[HOSTILE]␉[HOSTILE]␉1␉[TIME]␉␉
          [TIME]␉␉false␉false␉4096␉0␉in-use␉[NS]
        4␉0x00000000␉4096␉0600␉[UID]␉[USER]␉[GID]␉[GROUP]␉[UID]␉[USER]␉[GID]␉[GROUP]␉[ACTOR]␉[ACTOR]␉1␉[TIME]␉␉[TIME]␉
          ␉true␉false␉0␉0␉dest␉[NS]
        5␉0x7fffffff␉1048576␉0600␉[UID]␉[USER]␉[GID]␉[GROUP]␉[UID]␉[USER]␉[GID]␉[GROUP]␉[EXITED]␉␉0␉␉␉[TIME]␉[IDLE]␉
          false␉false␉0␉0␉orphan␉[NS]
    "#]],
    );
    machine.snapshot(
        "list --format tsv --no-headings -o KEY,MODE,SIZE,DEST",
        expect![[r#"
        0x000004d2␉0600␉8192␉false
        0x00000000␉0640␉100␉false
        0xffffffff␉0000␉5000␉false
        0x00000077␉0600␉4096␉false
        0x00000000␉0600␉4096␉true
        0x7fffffff␉0600␉1048576␉false
    "#]],
    );
    machine.redaction.hide_containers();
    machine.snapshot(
        "list --format tsv -o CCOMMAND,ID,LCOMMAND,PIDS,COMMANDS,CONTAINER",
        expect![[r#"
        CCOMMAND␉ID␉LCOMMAND␉PIDS␉COMMANDS␉CONTAINER
        /proc/self/exe --actor␉0␉/proc/self/exe --actor␉[ACTOR]␉/proc/self/exe --actor␉[CONTAINER]
        /proc/self/exe --actor␉1␉␉␉␉[CONTAINER]
        /proc/self/exe --actor␉2␉␉␉␉[CONTAINER]
        evil\n99 "0x1"\t'a\\b⟨U+001B⟩[2J⟨U+202E⟩xet\\xff,\r⟨U+009B⟩; demo writer --key 0x77 --interval 1h␉3␉
          evil\n99 "0x1"\t'a\\b⟨U+001B⟩[2J⟨U+202E⟩xet\\xff,\r⟨U+009B⟩; demo writer --key 0x77 --interval 1h␉[HOSTILE]␉
          evil\n99 "0x1"\t'a\\b⟨U+001B⟩[2J⟨U+202E⟩xet\\xff,\r⟨U+009B⟩; demo writer --key 0x77 --interval 1h␉
          [CONTAINER]
        /proc/self/exe --actor␉4␉/proc/self/exe --actor␉[ACTOR]␉/proc/self/exe --actor␉[CONTAINER]
        ␉5␉␉␉␉[CONTAINER]
    "#]],
    );
}

#[apply(test)]
fn columns_as_rows() {
    let machine = Machine::new();
    machine.snapshot(
        "list --list-columns --format csv",
        expect![[r#"
            COLUMN,JSON,DESCRIPTION␍
            ID,id,id (shmid)␍
            KEY,key,key; 0x00000000 if private or marked for destruction␍
            SIZE,size,requested size in bytes␍
            MODE,mode,permission bits␍
            UID,uid,owner's user id␍
            OWNER,owner,owner's name␍
            GID,gid,owner's group id␍
            GROUP,group,owner's group␍
            CUID,cuid,creator's user id␍
            CREATOR,creator,creator's name␍
            CGID,cgid,creator's group id␍
            CREATOR_GROUP,creator_group,creator's group␍
            CPID,cpid,creator's pid␍
            LPID,lpid,last user: the process of the last attach or detach␍
            NATTCH,nattch,number of attachments (mappings)␍
            ATIME,atime,last attach␍
            DTIME,dtime,last detach␍
            CTIME,ctime,"creation, or last change of owner or mode"␍
            IDLE,idle_seconds,"time since the last attach, detach or change"␍
            DEST,dest,marked for destruction␍
            LOCKED,locked,locked in memory␍
            RSS,rss,resident bytes␍
            SWAP,swap,swapped bytes␍
            STATE,state,"in-use, dest, idle, orphan or unknown"␍
            NS,ns,IPC namespace number␍
            CCOMMAND,ccommand,"command of the creator, while it is running"␍
            LCOMMAND,lcommand,"command of the last user, while it is running"␍
            PIDS,pids,processes that have it attached␍
            COMMANDS,commands,commands of these processes␍
            FORMER_KEY,former_key,key before the segment was marked for destruction␍
            PAGE_SIZE,page_size,"page size, if a visible process has it attached"␍
            PRODUCT,product,"program that it belongs to, as identify shows it"␍
            CONTAINER,container,container or unit of the namespace␍
        "#]],
    );
    machine.snapshot(
        "list --list-columns --format tsv --no-headings",
        expect![[r#"
            ID␉id␉id (shmid)
            KEY␉key␉key; 0x00000000 if private or marked for destruction
            SIZE␉size␉requested size in bytes
            MODE␉mode␉permission bits
            UID␉uid␉owner's user id
            OWNER␉owner␉owner's name
            GID␉gid␉owner's group id
            GROUP␉group␉owner's group
            CUID␉cuid␉creator's user id
            CREATOR␉creator␉creator's name
            CGID␉cgid␉creator's group id
            CREATOR_GROUP␉creator_group␉creator's group
            CPID␉cpid␉creator's pid
            LPID␉lpid␉last user: the process of the last attach or detach
            NATTCH␉nattch␉number of attachments (mappings)
            ATIME␉atime␉last attach
            DTIME␉dtime␉last detach
            CTIME␉ctime␉creation, or last change of owner or mode
            IDLE␉idle_seconds␉time since the last attach, detach or change
            DEST␉dest␉marked for destruction
            LOCKED␉locked␉locked in memory
            RSS␉rss␉resident bytes
            SWAP␉swap␉swapped bytes
            STATE␉state␉in-use, dest, idle, orphan or unknown
            NS␉ns␉IPC namespace number
            CCOMMAND␉ccommand␉command of the creator, while it is running
            LCOMMAND␉lcommand␉command of the last user, while it is running
            PIDS␉pids␉processes that have it attached
            COMMANDS␉commands␉commands of these processes
            FORMER_KEY␉former_key␉key before the segment was marked for destruction
            PAGE_SIZE␉page_size␉page size, if a visible process has it attached
            PRODUCT␉product␉program that it belongs to, as identify shows it
            CONTAINER␉container␉container or unit of the namespace
        "#]],
    );
}

#[apply(test)]
fn stat_rows() {
    let mut machine = Machine::new();
    let _creators = segments(&mut machine);
    machine.snapshot(
        "stat 3 0x4d2 --format csv",
        expect![[r#"
        ID,KEY,SIZE,MODE,UID,OWNER,GID,GROUP,CUID,CREATOR,CGID,CREATOR_GROUP,CPID,LPID,NATTCH,ATIME,DTIME,CTIME,IDLE,
          DEST,LOCKED,RSS,SWAP,STATE,NS␍
        3,0x00000077,4096,0600,[UID],[USER],[GID],[GROUP],[UID],[USER],[GID],[GROUP],[HOSTILE],[HOSTILE],1,[TIME],,
          [TIME],,false,false,4096,0,in-use,[NS]␍
        0,0x000004d2,8192,0600,[UID],[USER],[GID],[GROUP],[UID],[USER],[GID],[GROUP],[ACTOR],[ACTOR],2,[TIME],[TIME],
          [TIME],,false,false,4096,0,in-use,[NS]␍
    "#]],
    );
    machine.snapshot(
        "stat 3 0x4d2 --format tsv",
        expect![[r#"
        ID␉KEY␉SIZE␉MODE␉UID␉OWNER␉GID␉GROUP␉CUID␉CREATOR␉CGID␉CREATOR_GROUP␉CPID␉LPID␉NATTCH␉ATIME␉DTIME␉CTIME␉IDLE␉
          DEST␉LOCKED␉RSS␉SWAP␉STATE␉NS
        3␉0x00000077␉4096␉0600␉[UID]␉[USER]␉[GID]␉[GROUP]␉[UID]␉[USER]␉[GID]␉[GROUP]␉[HOSTILE]␉[HOSTILE]␉1␉[TIME]␉␉
          [TIME]␉␉false␉false␉4096␉0␉in-use␉[NS]
        0␉0x000004d2␉8192␉0600␉[UID]␉[USER]␉[GID]␉[GROUP]␉[UID]␉[USER]␉[GID]␉[GROUP]␉[ACTOR]␉[ACTOR]␉2␉[TIME]␉[TIME]␉
          [TIME]␉␉false␉false␉4096␉0␉in-use␉[NS]
    "#]],
    );
}

#[apply(test)]
fn who_rows() {
    let mut machine = Machine::new();
    let _creators = segments(&mut machine);
    machine.snapshot(
        "who 0 1 3 --format csv",
        expect![[r#"
        ID,PID,USER,ATTACHES,ACCESS,COMMAND,ADDRESS,SIZE,UID,NS,CERTAIN,SHARED_WITH,SEGMENT_NS␍
        0,[ACTOR],[USER],1,rw,/proc/self/exe --actor,[ADDRESS],8192,[UID],[NS],true,,[NS]␍
        0,[ACTOR],[USER],1,ro,/proc/self/exe --actor,[ADDRESS],8192,[UID],[NS],true,,[NS]␍
        3,[HOSTILE],[USER],1,rw,"evil
        99 ""0x1""␉'a\b⟨U+001B⟩[2J⟨U+202E⟩xet\xff,␍⟨U+009B⟩; demo writer --key 0x77 --interval 1h",[ADDRESS],4096,
          [UID],[NS],true,,[NS]␍
    "#]],
    );
    machine.snapshot(
        "who 0 --mappings --format csv",
        expect![[r#"
        ID,PID,USER,ATTACHES,ACCESS,COMMAND,ADDRESS,SIZE,UID,NS,CERTAIN,SHARED_WITH,SEGMENT_NS␍
        0,[ACTOR],[USER],1,rw,/proc/self/exe --actor,[ADDRESS],8192,[UID],[NS],true,,[NS]␍
        0,[ACTOR],[USER],1,ro,/proc/self/exe --actor,[ADDRESS],8192,[UID],[NS],true,,[NS]␍
    "#]],
    );
    machine.snapshot(
        "who 0 1 3 --format tsv",
        expect![[r#"
        ID␉PID␉USER␉ATTACHES␉ACCESS␉COMMAND␉ADDRESS␉SIZE␉UID␉NS␉CERTAIN␉SHARED_WITH␉SEGMENT_NS
        0␉[ACTOR]␉[USER]␉1␉rw␉/proc/self/exe --actor␉[ADDRESS]␉8192␉[UID]␉[NS]␉true␉␉[NS]
        0␉[ACTOR]␉[USER]␉1␉ro␉/proc/self/exe --actor␉[ADDRESS]␉8192␉[UID]␉[NS]␉true␉␉[NS]
        3␉[HOSTILE]␉[USER]␉1␉rw␉
          evil\n99 "0x1"\t'a\\b⟨U+001B⟩[2J⟨U+202E⟩xet\\xff,\r⟨U+009B⟩; demo writer --key 0x77 --interval 1h␉[ADDRESS]␉
          4096␉[UID]␉[NS]␉true␉␉[NS]
    "#]],
    );
}
