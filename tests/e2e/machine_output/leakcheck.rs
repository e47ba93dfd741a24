//! `leakcheck --report` and `leakcheck --junit`.

use expect_test::expect;
use serde_json::Value;

use super::Machine;
use crate::actor::Request;
use crate::leakcheck::{actor, create, leakcheck, piped};
use crate::support::{Ran, finish};

/// Runs a leakcheck in a namespace of its own that observes every creator, and writes both reports.
fn reported(machine: &mut Machine, options: &[&str], script: &str) -> Ran {
    let (report, junit) = (machine.path("report"), machine.path("junit"));
    let files = ["--report", report.to_str().unwrap(), "--junit", junit.to_str().unwrap()];
    let ran = finish(&mut leakcheck(&[&["--isolate", "always", "--trace"], options, &files].concat(), script));
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    for leak in report["leaked"].as_array().unwrap() {
        machine.redaction.hide(leak["ns"].to_string(), "[NS]");
    }
    let junit = std::fs::read_to_string(junit).unwrap();
    let seconds = junit.split_once("time=\"").unwrap().1.split_once('"').unwrap().0;
    assert!(seconds.parse::<f64>().is_ok(), "{junit}");
    machine.redaction.hide(format!("time=\"{seconds}\""), "time=\"[SECONDS]\"");
    // Only a user who is not root has a user namespace as well.
    machine.redaction.hide("\"user+ipc\"", "\"ipc\"");
    ran
}

#[apply(test)]
fn leakcheck_reports_of_a_leak() {
    let mut machine = Machine::new();
    let script = piped(
        &[Request::Create { key: 7, size: 5000, flags: 0 }, create(0)],
        &format!("{} >/dev/null; exit 3", actor()),
    );
    reported(&mut machine, &["--rm"], &script).exits(3);
    machine.compare_file(
        "report",
        &expect![[r#"
            {"schema":1,"command":["sh","-c",
              "printf 'create 7 5000 0\\ncreate 0 4096 0\\n' | TEST --actor >/dev/null; exit 3"],"exit_code":3,
              "isolation":"ipc","leaked":[{"id":0,"key":"0x00000007","size":5000,"mode":"0600","uid":[UID],
              "owner":"[USER]","gid":[GID],"group":"[GROUP]","cuid":[UID],"creator":"[USER]","cgid":[GID],
              "creator_group":"[GROUP]","cpid":[PID],"lpid":null,"nattch":0,"atime":null,"dtime":null,"ctime":"[TIME]",
              "idle_seconds":[IDLE],"dest":false,"locked":false,"rss":0,"swap":0,"state":"orphan","ns":[NS],
              "creator_command":"TEST --actor","attachments":[],"hidden":[],"outcome":"destroyed","reason":null},{"id":1,
              "key":"0x00000000","size":4096,"mode":"0600","uid":[UID],"owner":"[USER]","gid":[GID],"group":"[GROUP]",
              "cuid":[UID],"creator":"[USER]","cgid":[GID],"creator_group":"[GROUP]","cpid":[PID],"lpid":null,"nattch":0,
              "atime":null,"dtime":null,"ctime":"[TIME]","idle_seconds":[IDLE],"dest":false,"locked":false,"rss":0,
              "swap":0,"state":"orphan","ns":[NS],"creator_command":"TEST --actor","attachments":[],"hidden":[],
              "outcome":"destroyed","reason":null}],"unattributed":[],"leaked_objects":[],"unattributed_objects":[]}
        "#]],
    );
    machine.compare_file("junit", &expect![[r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites tests="2" failures="1" errors="1" skipped="0" time="[SECONDS]">
          <testsuite name="shmadm leakcheck" tests="2" failures="1" errors="1" skipped="0" time="[SECONDS]">
            <properties>
              <property name="isolation" value="ipc"/>
              <property name="exit_code" value="3"/>
            </properties>
            <testcase classname="shmadm.leakcheck" name="sh -c printf &apos;create 7 5000 0\ncreate 0 4096 0\n&apos; | TEST --actor &gt;/dev/null; exit 3: succeeds" time="[SECONDS]">
              <error message="exit code 3" type="exit"/>
            </testcase>
            <testcase classname="shmadm.leakcheck" name="sh -c printf &apos;create 7 5000 0\ncreate 0 4096 0\n&apos; | TEST --actor &gt;/dev/null; exit 3: leaks no shared memory" time="0">
              <failure message="2 leaked System V shared memory segments" type="leak">segment 0 (key 0x00000007, 5000 bytes, 0 B resident), created by pid [PID] (TEST --actor), not attached; removed
        segment 1 (4 KiB, 0 B resident), created by pid [PID] (TEST --actor), not attached; removed</failure>
            </testcase>
          </testsuite>
        </testsuites>
    "#]]);
}

#[apply(test)]
fn leakcheck_reports_without_a_leak() {
    let mut machine = Machine::new();
    reported(&mut machine, &[], "echo '<\"&>' >/dev/null").exits(0);
    machine.compare_file(
        "report",
        &expect![[r#"
            {"schema":1,"command":["sh","-c","echo '<\"&>' >/dev/null"],"exit_code":0,"isolation":"ipc","leaked":[],
              "unattributed":[],"leaked_objects":[],"unattributed_objects":[]}
        "#]],
    );
    machine.compare_file("junit", &expect![[r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites tests="2" failures="0" errors="0" skipped="0" time="[SECONDS]">
          <testsuite name="shmadm leakcheck" tests="2" failures="0" errors="0" skipped="0" time="[SECONDS]">
            <properties>
              <property name="isolation" value="ipc"/>
              <property name="exit_code" value="0"/>
            </properties>
            <testcase classname="shmadm.leakcheck" name="sh -c echo &apos;&lt;&quot;&amp;&gt;&apos; &gt;/dev/null: succeeds" time="[SECONDS]"/>
            <testcase classname="shmadm.leakcheck" name="sh -c echo &apos;&lt;&quot;&amp;&gt;&apos; &gt;/dev/null: leaks no shared memory" time="0"/>
          </testsuite>
        </testsuites>
    "#]]);
}
