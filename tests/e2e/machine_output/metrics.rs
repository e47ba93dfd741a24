//! `metrics`.

use expect_test::expect;

use super::Machine;
use crate::oracle::{self, Attached};
use crate::support::{NOBODY, mount_tmpfs_on};

// The output has lines for root even without segments of root, so another user has more lines.
#[apply(test)]
#[requires(Root)]
fn metrics() {
    let mut machine = Machine::new();
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=1m,nr_inodes=100"));
    let dev = crate::objects::file_id("/dev/shm").replace("obj:", "dev=\"").rsplit_once(':').unwrap().0.to_owned();
    machine.redaction.hide(dev + "\"", "dev=\"[DEV]\"");
    // In use by this process.
    let _object = std::fs::File::open(crate::objects::create("x", 4096)).unwrap();
    machine.redaction.hide(format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), "version=\"[VERSION]\"");
    let mut exited = machine.actor("EXITED");
    assert_eq!(exited.create(0, 5000), 0);
    exited.leave();
    for (id, owner) in [(1, 0), (2, NOBODY), (3, 4_000_000_000)] {
        assert_eq!(oracle::create(0, 4096 << id, 0o600), id);
        oracle::set(id, owner, 0, 0o600);
    }
    let attached = Attached::new(1);
    attached.write(0, b"x");
    oracle::remove(1);
    machine.snapshot(
        "metrics",
        expect![[r##"
            # HELP shmadm_build_info Version of shmadm; always 1.
            # TYPE shmadm_build_info gauge
            shmadm_build_info{version="[VERSION]"} 1
            # HELP shmadm_sysv_page_size_bytes Page size, the unit of the page limits.
            # TYPE shmadm_sysv_page_size_bytes gauge
            # UNIT shmadm_sysv_page_size_bytes bytes
            shmadm_sysv_page_size_bytes 4096
            # HELP shmadm_sysv_segments System V shared memory segments that exist.
            # TYPE shmadm_sysv_segments gauge
            shmadm_sysv_segments{ns="[NS]",owner="4000000000"} 1
            shmadm_sysv_segments{ns="[NS]",owner="nobody"} 1
            shmadm_sysv_segments{ns="[NS]",owner="root"} 2
            # HELP shmadm_sysv_pages Pages of all segments, as counted against shmall.
            # TYPE shmadm_sysv_pages gauge
            shmadm_sysv_pages{ns="[NS]",owner="4000000000"} 8
            shmadm_sysv_pages{ns="[NS]",owner="nobody"} 4
            shmadm_sysv_pages{ns="[NS]",owner="root"} 4
            # HELP shmadm_sysv_size_bytes Sum of the requested sizes of all segments.
            # TYPE shmadm_sysv_size_bytes gauge
            # UNIT shmadm_sysv_size_bytes bytes
            shmadm_sysv_size_bytes{ns="[NS]",owner="4000000000"} 32768
            shmadm_sysv_size_bytes{ns="[NS]",owner="nobody"} 16384
            shmadm_sysv_size_bytes{ns="[NS]",owner="root"} 13192
            # HELP shmadm_sysv_resident_bytes Resident memory of all segments.
            # TYPE shmadm_sysv_resident_bytes gauge
            # UNIT shmadm_sysv_resident_bytes bytes
            shmadm_sysv_resident_bytes{ns="[NS]",owner="4000000000"} 0
            shmadm_sysv_resident_bytes{ns="[NS]",owner="nobody"} 0
            shmadm_sysv_resident_bytes{ns="[NS]",owner="root"} 4096
            # HELP shmadm_sysv_swapped_bytes Swapped memory of all segments.
            # TYPE shmadm_sysv_swapped_bytes gauge
            # UNIT shmadm_sysv_swapped_bytes bytes
            shmadm_sysv_swapped_bytes{ns="[NS]",owner="4000000000"} 0
            shmadm_sysv_swapped_bytes{ns="[NS]",owner="nobody"} 0
            shmadm_sysv_swapped_bytes{ns="[NS]",owner="root"} 0
            # HELP shmadm_sysv_orphans Segments that are not attached and whose creator and last user have exited.
            # TYPE shmadm_sysv_orphans gauge
            shmadm_sysv_orphans{ns="[NS]",owner="4000000000"} 0
            shmadm_sysv_orphans{ns="[NS]",owner="nobody"} 0
            shmadm_sysv_orphans{ns="[NS]",owner="root"} 1
            # HELP shmadm_sysv_orphan_bytes Sum of the requested sizes of all orphans.
            # TYPE shmadm_sysv_orphan_bytes gauge
            # UNIT shmadm_sysv_orphan_bytes bytes
            shmadm_sysv_orphan_bytes{ns="[NS]",owner="4000000000"} 0
            shmadm_sysv_orphan_bytes{ns="[NS]",owner="nobody"} 0
            shmadm_sysv_orphan_bytes{ns="[NS]",owner="root"} 5000
            # HELP shmadm_sysv_unknown Unattached segments for which it cannot be determined whether the creator or last user is running.
            # TYPE shmadm_sysv_unknown gauge
            shmadm_sysv_unknown{ns="[NS]",owner="4000000000"} 0
            shmadm_sysv_unknown{ns="[NS]",owner="nobody"} 0
            shmadm_sysv_unknown{ns="[NS]",owner="root"} 0
            # HELP shmadm_sysv_dest Segments that are marked for destruction and still attached.
            # TYPE shmadm_sysv_dest gauge
            shmadm_sysv_dest{ns="[NS]",owner="4000000000"} 0
            shmadm_sysv_dest{ns="[NS]",owner="nobody"} 0
            shmadm_sysv_dest{ns="[NS]",owner="root"} 1
            # HELP shmadm_sysv_attachments Attachments of all segments, counted as mappings.
            # TYPE shmadm_sysv_attachments gauge
            shmadm_sysv_attachments{ns="[NS]",owner="4000000000"} 0
            shmadm_sysv_attachments{ns="[NS]",owner="nobody"} 0
            shmadm_sysv_attachments{ns="[NS]",owner="root"} 1
            # HELP shmadm_sysv_limit_segments Maximum number of segments (kernel.shmmni).
            # TYPE shmadm_sysv_limit_segments gauge
            shmadm_sysv_limit_segments{ns="[NS]"} 4096
            # HELP shmadm_sysv_limit_pages Maximum number of pages in all segments (kernel.shmall).
            # TYPE shmadm_sysv_limit_pages gauge
            shmadm_sysv_limit_pages{ns="[NS]"} 18446744073692774399
            # HELP shmadm_sysv_limit_segment_size_bytes Maximum size of a segment (kernel.shmmax).
            # TYPE shmadm_sysv_limit_segment_size_bytes gauge
            # UNIT shmadm_sysv_limit_segment_size_bytes bytes
            shmadm_sysv_limit_segment_size_bytes{ns="[NS]"} 18446744073692774399
            # HELP shmadm_sysv_rmid_forced 1 if unattached segments are destroyed (kernel.shm_rmid_forced), otherwise 0.
            # TYPE shmadm_sysv_rmid_forced gauge
            shmadm_sysv_rmid_forced{ns="[NS]"} 0
            # HELP shmadm_posix_size_bytes Size of the file system of POSIX shared memory objects.
            # TYPE shmadm_posix_size_bytes gauge
            # UNIT shmadm_posix_size_bytes bytes
            shmadm_posix_size_bytes{dev="[DEV]"} 1048576
            # HELP shmadm_posix_used_bytes Memory and swap used in the file system of POSIX objects.
            # TYPE shmadm_posix_used_bytes gauge
            # UNIT shmadm_posix_used_bytes bytes
            shmadm_posix_used_bytes{dev="[DEV]"} 0
            # HELP shmadm_posix_unlinked_bytes Memory and swap of objects that have no name but are still in use.
            # TYPE shmadm_posix_unlinked_bytes gauge
            # UNIT shmadm_posix_unlinked_bytes bytes
            shmadm_posix_unlinked_bytes{dev="[DEV]"} 0
            # HELP shmadm_posix_inodes Maximum number of files in the file system of POSIX objects.
            # TYPE shmadm_posix_inodes gauge
            shmadm_posix_inodes{dev="[DEV]"} 100
            # HELP shmadm_posix_inodes_used Files in the file system of POSIX objects.
            # TYPE shmadm_posix_inodes_used gauge
            shmadm_posix_inodes_used{dev="[DEV]"} 2
            # HELP shmadm_posix_objects POSIX shared memory objects and named semaphores that have a name.
            # TYPE shmadm_posix_objects gauge
            shmadm_posix_objects{dev="[DEV]",owner="root",state="in-use"} 1
            shmadm_posix_objects{dev="[DEV]",owner="root",state="idle"} 0
            shmadm_posix_objects{dev="[DEV]",owner="root",state="unknown"} 0
            shmadm_posix_objects{dev="[DEV]",owner="root",state="orphan"} 0
            shmadm_posix_objects{dev="[DEV]",owner="root",state="kept"} 0
            shmadm_posix_objects{dev="[DEV]",owner="root",state="unused"} 0
            # EOF
        "##]],
    );
}
