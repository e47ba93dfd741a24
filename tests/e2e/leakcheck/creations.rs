//! `leakcheck` attributes POSIX objects in a shared /dev/shm by proof: the kernel reports the process that creates one.

use std::fs;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};

use super::attribution::Checked;
use super::shared::Meanwhile;
use super::{leakcheck, reported, reported_with};
use crate::actor::{Actor, ChildRequest};
use crate::holder::Holder;
use crate::objects::{create, names};
use crate::sandbox::without;
use crate::support::{finish, run_with_input, wait_for};

/// Returns the names of the leaked and of the unattributed objects, sorted.
fn objects(report: &Value) -> [Vec<String>; 2] {
    ["leaked_objects", "unattributed_objects"].map(|list| {
        let objects = report[list].as_array().unwrap().iter();
        let mut names: Vec<String> = objects.map(|object| object["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    })
}

#[apply(test)]
#[requires(Root)]
fn objects_that_the_command_creates_are_leaked() {
    let link = format!("exec {} create -q --size 4k /linked", env!("CARGO_BIN_EXE_shmadm"));
    let scripts = [
        ("echo hello >/dev/shm/x", "/x"),
        (&link, "/linked"),
        ("echo >/dev/shm/x; exec mv /dev/shm/x /dev/shm/moved", "/moved"),
        ("echo >/dev/shm/x; exec mv /dev/shm/x /dev/shm/before", "/before"),
        ("echo >/dev/shm/x; rm /dev/shm/x; echo >/dev/shm/x", "/x"),
    ];
    for trace in [&[][..], &["--trace"]] {
        for (script, name) in scripts {
            create("before", 4096);
            let (ran, report) = reported(&[&["--isolate", "never", "--lenient"], trace].concat(), script);
            ran.exits(65).says("leaked: object /").says("hint: remove them: `shmadm rm /");
            assert_eq!(objects(&report), [vec![name.to_owned()], vec![]], "{script}");
            let ran = run_with_input(["rm", "--from", "-"], report.to_string().as_bytes()).exits(0);
            assert_eq!(
                ran.stderr,
                "ignored 1 leaked object: rm --from removes only the segments in a leakcheck report\n"
            );
            names().iter().for_each(|name| fs::remove_file(format!("/dev/shm/{name}")).unwrap());
        }
    }
    // Without a name it is compared with what was created as well.
    let script = "exec 3>/dev/shm/x; echo hello >&3; rm /dev/shm/x; sleep 60 >&- 2>&- & echo $!";
    let (ran, report) = reported(&["--isolate", "never"], &format!("{{ {script}; }}"));
    let pid = nix::unistd::Pid::from_raw(ran.stdout.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!((&report["leaked_objects"][0]["name"], &report["unattributed_objects"]), (&json!(null), &json!([])));
    // They are not destroyed with a namespace, and not removed.
    let ran = finish(&mut leakcheck(&["--isolate", "never", "--rm"], "echo >/dev/shm/x")).exits(65);
    assert!(!ran.stderr.contains("destroyed"), "{ran:?}");
    ran.says("no object was removed").says("hint: remove them: `shmadm rm /x`\n");
    assert_eq!(names(), ["x"]);
}

#[apply(test)]
#[requires(Root)]
fn directories_that_the_command_creates_are_leaked() {
    // The command itself: another process could be reaped before its event is read.
    let script = "cd /dev/shm; : >file; exec mkdir -p folder/inner other";
    let (ran, report) = reported(&["--isolate", "never"], script);
    let ran = ran.exits(65).says("leaked: object /folder").says("hint: remove them: `shmadm rm /file`\n");
    let hint = ran.stderr.lines().find(|line| line.contains("`rm -r")).unwrap();
    let directories = hint.strip_prefix("hint: remove directories and everything in them: `rm -r ").unwrap();
    let mut directories: Vec<&str> = directories.trim_end_matches('`').split(' ').collect();
    directories.sort_unstable();
    assert_eq!(directories, ["/dev/shm/folder", "/dev/shm/other"]);
    assert_eq!(objects(&report), [["/file", "/folder", "/other"].map(str::to_owned).to_vec(), vec![]]);
}

#[apply(test)]
#[requires(Root)]
fn objects_that_another_process_created_or_named_are_unattributed() {
    fs::create_dir("/dev/shm/directory").unwrap();
    create("directory/earlier", 4096);
    let script = "echo >/dev/shm/renamed; echo >/dev/shm/replaced; echo ready; read line; \
                  exec ln /dev/shm/other /dev/shm/link";
    let meanwhile = Meanwhile::start(&["--isolate", "never"], script);
    create("other", 4096);
    fs::rename("/dev/shm/renamed", "/dev/shm/taken").unwrap();
    fs::remove_file("/dev/shm/replaced").unwrap();
    create("replaced", 4096);
    let (code, report) = meanwhile.end_well();
    let unattributed = ["/link", "/other", "/replaced", "/taken"].map(str::to_owned).to_vec();
    assert_eq!((code, objects(&report)), (65, [vec![], unattributed]));
    // A file that the command only moves here.
    let (ran, report) = reported(&["--isolate", "never"], "exec mv /dev/shm/directory/earlier /dev/shm/");
    assert_eq!((ran.code, objects(&report)), (Some(65), [vec![], vec!["/earlier".to_owned()]]));
}

#[apply(test)]
#[requires(Root)]
fn objects_of_processes_that_were_reaped_too_early_are_unattributed() {
    let mut stranger = Actor::start();
    let pid = stranger.number(ChildRequest::Fork);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(stranger.number(ChildRequest::Reap { pid }), -9);
    let mut checked = Checked::start(&[]);
    let supervisor = Holder::new(checked.command.pid());
    supervisor.stop();
    // A process of the command gets the pid of another one that has created an object.
    let create_as =
        |actor: &mut Actor, pid, path: &str| actor.number(ChildRequest::CreateFileAs { pid, path: path.to_owned() });
    assert_eq!(create_as(&mut stranger, pid, "/dev/shm/other"), 0);
    assert_eq!(create_as(&mut checked.command, 0, "/dev/shm/own"), 0);
    assert_eq!(checked.command.number(ChildRequest::StartAs { pid }), pid);
    supervisor.signal(libc::SIGCONT);
    assert_eq!(objects(&checked.end()), [vec![], vec!["/other".to_owned(), "/own".to_owned()]]);
}

#[apply(test)]
#[requires(Root)]
fn objects_of_orphans_are_leaked_and_those_of_earlier_children_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let job = format!("( ( read go <{}; echo >/dev/shm/x ) & )", go.display());
    let end = |meanwhile: Meanwhile| {
        fs::write(&go, "\n").unwrap();
        wait_for("the object", || names() == ["x"]);
        let (_, report) = meanwhile.end_well();
        fs::remove_file("/dev/shm/x").unwrap();
        objects(&report)
    };
    let x = vec!["/x".to_owned()];
    assert_eq!(end(Meanwhile::start(&["--isolate", "never"], &job)), [x.clone(), vec![]]);
    let job = format!("{{ read go <{}; echo >/dev/shm/x; }} &", go.display());
    assert_eq!(end(Meanwhile::becoming(&job, &[])), [vec![], x]);
}

#[apply(test)]
#[requires(Root)]
fn if_events_are_lost_all_new_objects_are_unattributed() {
    let (ran, report) = reported_with(&["--isolate", "never"], "echo >/dev/shm/x", |command| {
        without(command, libc::SYS_ioctl, Some(u32::try_from(libc::FIONREAD).unwrap()), Errno::ENOMEM)
    });
    ran.exits(65).says("warning: events about new objects were lost: all of them are unattributed\n");
    assert_eq!(objects(&report), [vec![], vec!["/x".to_owned()]]);
}

#[apply(test)]
#[requires(Root)]
fn the_command_keeps_its_scheduling_policy() {
    // Its nice value and its policy.
    let script = "sed 's/.*) //' /proc/$$/stat | cut -d' ' -f 17,39";
    let alone = Command::new("sh").args(["-c", script]).output().unwrap();
    let ran = finish(&mut leakcheck(&["--isolate", "never"], script)).exits(0);
    assert_eq!(ran.stdout.as_bytes(), alone.stdout);
}
