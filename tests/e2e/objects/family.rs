//! Objects that a program needs as long as it uses one of them. A PostgreSQL server always has its control object
//! mapped, but others only while a session uses them; participants of Fast DDS open the semaphore of a port only to
//! lock it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use serde_json::json;

use super::prune::{ALL, wait_for_watch};
use super::{create, names};
use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::oracle;
use crate::sandbox::{ShownProcesses, with_new_pid_namespace, without};
use crate::support::{NOBODY, Ran, finish, run, shmadm, shmadm_as};
use crate::vanish::Stopped;

/// Removes orphans at once.
const ORPHANS: [&str; 5] = ["prune", "--older-than", "0s", "--yes", "--any-owner"];

/// Creates an object that begins as one by which a server finds its others.
pub(super) fn create_control(name: &str) -> String {
    let path = create(name, 4096);
    write_header(&path);
    path
}

fn write_header(path: &str) {
    File::options().write(true).open(path).unwrap().write_all(&0x9a50_3d32_u32.to_ne_bytes()).unwrap();
}

/// Starts a server with a control object and an object that it does not have mapped.
fn server() -> Actor {
    let mut server = Actor::start();
    server.ask(Request::MapFile { path: create_control("PostgreSQL.1") });
    create("PostgreSQL.2", 8192);
    server
}

/// Returns a command that runs the program in a new pid namespace.
pub(super) fn inside_pid_namespace(arguments: &[&str]) -> Command {
    let mut shell = Command::new("/bin/sh");
    // The shell itself is still outside the namespace of its children.
    shell.args(["-c", "\"$0\" \"$@\"; exit $?", env!("CARGO_BIN_EXE_shmadm")]).args(arguments);
    with_new_pid_namespace(&mut shell);
    shell
}

/// Returns the state of the object that the server does not have mapped.
#[track_caller]
fn state(command: &mut Command) -> String {
    let report = finish(command.arg("--json")).exits(0).json();
    let objects = report["objects"].as_array().unwrap();
    objects.iter().find(|one| one["name"] == "/PostgreSQL.2").unwrap()["state"].as_str().unwrap().to_owned()
}

#[apply(test)]
fn an_object_is_kept_while_another_of_its_server_is_in_use() {
    let server = server();
    for arguments in [
        &["list", "--probe"][..],
        &["list", "--probe", "--name", "/PostgreSQL.2"],
        &["stat", "--probe", "/PostgreSQL.2"],
    ] {
        assert_eq!(state(shmadm().args(arguments)), "kept", "{arguments:?}");
    }
    for options in [&[][..], &["--dry-run"], &["--name", "/PostgreSQL.2"], &["--exclude", "/PostgreSQL.1", "-n"]] {
        run([&ALL, options].concat()).exits(0).says("nothing to prune\n").says("1 needed by its program");
    }
    for options in [&[][..], &["-n"]] {
        run([&["rm", "/PostgreSQL.2"], options].concat())
            .exits(5)
            .says("cannot remove object /PostgreSQL.2: it is kept while other objects of postgresql are in use\n")
            .says(&format!("cause: object /PostgreSQL.1: mapped by pid {} (", server.pid()))
            .says("hint: remove anyway: `shmadm rm ");
    }
    assert_eq!(names(), ["PostgreSQL.1", "PostgreSQL.2"]);
    run(["rm", "--force", "/PostgreSQL.2"]).exits(0);
}

#[apply(test)]
fn objects_of_a_server_that_has_ended_are_orphans() {
    drop(server());
    for arguments in [&["list", "--probe"][..], &["stat", "--probe", "/PostgreSQL.2"]] {
        assert_eq!(state(shmadm().args(arguments)), "orphan", "{arguments:?}");
    }
    let rows = run([&ORPHANS[..], &["-n", "--format", "csv"]].concat()).exits(0).stdout;
    assert!(rows.contains("not in use; no other object of its program is in use"), "{rows}");
    run(ORPHANS).exits(0).says("removed object /PostgreSQL.2");
    assert_eq!(names(), [""; 0]);
    drop(server());
    run(["rm", "/PostgreSQL.2"]).exits(0);
    assert_eq!(names(), ["PostgreSQL.1"]);
}

#[apply(test)]
fn an_object_that_only_has_such_a_name_is_not_an_orphan() {
    let names_only = ["PostgreSQL.77", "fastrtps_port7411", "sem.fastrtps_port7411_mutex"];
    for name in names_only {
        create(name, 4096);
    }
    let shown = run(["list", "--posix", "--probe", "--json"]).exits(0).json();
    let states = shown["objects"].as_array().unwrap().iter().map(|object| object["state"].as_str().unwrap());
    assert_eq!(states.collect::<Vec<_>>(), ["unused"; 3]);
    run(ORPHANS).exits(0).says("nothing to prune\n");
    assert_eq!(names(), names_only);
}

#[apply(test)]
#[requires(Root)]
fn an_object_that_cannot_be_read_proves_nothing() {
    drop(server());
    let shown = finish(shmadm_as(NOBODY).args(["list", "--probe", "--json"])).exits(0).json();
    assert!(shown["objects"].as_array().unwrap().iter().all(|object| object["state"] != "orphan"), "{shown}");
}

#[apply(test)]
fn the_segment_that_leads_a_server_to_its_objects_is_removed_after_them() {
    let mut server = server();
    let id = server.create(7, 56);
    drop(server);
    let stopped = Stopped::before(1, |call| call.is_shmctl(libc::IPC_RMID), &ORPHANS);
    assert_eq!(names(), [""; 0]);
    stopped.go_on().exits(0).says("removed segment");
    assert!(oracle::stat(id).is_none());
}

#[apply(test)]
#[requires(Root)]
fn the_users_of_other_objects_are_found_by_a_scan_where_it_is_complete() {
    let server = server();
    let shown = ShownProcesses::new(&[server.pid()]);
    let list = |options: &[&str]| state(shown.to(shmadm().args(["list", "--probe"]).args(options)));
    let stat = || state(shown.to(shmadm().args(["stat", "/PostgreSQL.2"])));
    assert_eq!([list(&[]), list(&["--name", "/PostgreSQL.2"]), stat()], ["kept"; 3]);
    finish(shown.to(shmadm().args(ALL))).exits(0).says("1 needed by its program");
    drop(server);
    assert_eq!([list(&[]), list(&["--name", "/PostgreSQL.2"]), stat()], ["orphan"; 3]);
    finish(shown.to(shmadm().args(ORPHANS))).exits(0);
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
#[requires(Root)]
fn an_object_whose_family_cannot_be_judged_is_kept() {
    drop(server());
    let without_leases = |arguments: &[&str]| {
        let mut command = inside_pid_namespace(arguments);
        finish(without(&mut command, libc::SYS_fcntl, Some(libc::F_SETLEASE.cast_unsigned()), Errno::EACCES))
    };
    without_leases(&["rm", "/PostgreSQL.2"])
        .exits(5)
        .says("it is kept while other objects of postgresql are in use")
        .says("cannot determine whether object /PostgreSQL.1 is in use: /proc belongs to another pid namespace");
    without_leases(&ALL).exits(0);
    assert_eq!(state(&mut inside_pid_namespace(&["list"])), "unknown");
    assert_eq!(names(), ["PostgreSQL.1", "PostgreSQL.2"]);
}

#[apply(test)]
#[requires(Root)]
fn the_objects_of_another_owner_are_not_of_its_family() {
    let server = server();
    write_header("/dev/shm/PostgreSQL.2");
    chown("/dev/shm/PostgreSQL.2", Some(NOBODY), Some(NOBODY)).unwrap();
    assert_eq!(state(shmadm().args(["list", "--probe"])), "orphan");
    // The owner needs no privilege.
    finish(shmadm_as(NOBODY).args(ORPHANS)).exits(0).says("removed object /PostgreSQL.2");
    assert_eq!(names(), ["PostgreSQL.1"], "the server of the other owner is running: {}", server.pid());
}

#[apply(test)]
#[requires(Root)]
fn a_server_outside_the_pid_namespace_keeps_its_objects() {
    let server = server();
    let inside = |arguments: &[&str]| finish(&mut inside_pid_namespace(arguments));
    inside(&ALL).exits(0).says("1 needed by its program");
    inside(&["rm", "/PostgreSQL.2"]).exits(5).says("it is kept while other objects of postgresql are in use");
    assert_eq!(names(), ["PostgreSQL.1", "PostgreSQL.2"]);
    drop(server);
    inside(&ORPHANS).exits(0);
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
fn a_program_that_starts_after_the_listing_keeps_its_objects() {
    drop(server());
    create("mine", 4096);
    let mut prune = shmadm();
    prune.args(["prune", "--posix", "--unattached", "--older-than", "0s", "--settle", "2s", "--yes"]);
    let waiting = prune.stderr(Stdio::piped()).spawn().unwrap();
    wait_for_watch(waiting.id());
    let mut server = Actor::start();
    server.ask(Request::MapFile { path: "/dev/shm/PostgreSQL.1".to_owned() });
    let ran: Ran = waiting.wait_with_output().unwrap().into();
    ran.exits(0).says(": kept while other objects of the same program are in use");
    assert_eq!(names(), ["PostgreSQL.1", "PostgreSQL.2"]);
}

#[apply(test)]
fn the_objects_of_a_port_are_kept_while_a_participant_has_its_lock_open() {
    let mut participant = Actor::start();
    for port in ["fastrtps_port7411", "fastrtps_port7413"] {
        create(port, 4096);
        create(&format!("sem.{port}_mutex"), 32);
    }
    participant.ask(Request::OpenFile { path: create("fastrtps_port7411_el", 0) });
    create("fastrtps_port7413_el", 0);
    run(ALL).exits(0).says("2 needed by their programs");
    assert_eq!(names(), ["fastrtps_port7411", "fastrtps_port7411_el", "sem.fastrtps_port7411_mutex"]);
    run(["rm", "sem:/fastrtps_port7411_mutex"])
        .exits(5)
        .says("it is kept while other objects of fast-dds are in use\n")
        .says("cause: object /fastrtps_port7411_el: open by pid ");
    drop(participant);
    run(ORPHANS).exits(0).says("removed semaphore sem:/fastrtps_port7411_mutex");
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
#[requires(Root)]
fn a_lock_file_of_another_user_proves_nothing() {
    create("fastrtps_port7411", 4096);
    chown(create("fastrtps_port7411_el", 0), Some(NOBODY), None).unwrap();
    let states =
        || run(["list", "--posix", "--probe", "--no-headings", "-o", "NAME,STATE", "--sort", "name"]).exits(0).stdout;
    assert_eq!(states(), "/fastrtps_port7411     unused\n/fastrtps_port7411_el  orphan\n");
    run(["prune", "--older-than", "0s", "--yes"]).exits(0).says("1 unused");
    chown("/dev/shm/fastrtps_port7411_el", Some(0), None).unwrap();
    assert_eq!(states(), "/fastrtps_port7411     orphan\n/fastrtps_port7411_el  orphan\n");
}

#[apply(test)]
fn the_objects_of_a_port_are_idle_while_its_lock_is_held() {
    for name in ["fastrtps_port7411", "sem.fastrtps_port7411_mutex"] {
        create(name, 32);
    }
    let path = create("fastrtps_port7411_el", 0);
    let lock = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let found = run(["identify", "--probe", "--json", "/fastrtps_port7411"]).exits(0).json();
    let expected = json!({ "evidence": ["lock", "name"], "confidence": "likely", "cleanup": "fastdds shm clean" });
    assert_fields(&found["identities"][0], expected);
    let listed = run(["list", "--posix", "--probe", "--format", "tsv", "-o", "NAME,STATE", "--sort", "name"]).exits(0);
    let expected = "/fastrtps_port7411\tidle\n/fastrtps_port7411_el\tin-use\nsem:/fastrtps_port7411_mutex\tidle\n";
    assert_eq!(listed.stdout, format!("NAME\tSTATE\n{expected}"));
    run(ALL).exits(0).says("2 needed by their programs");
    run(["rm", "/fastrtps_port7411"])
        .exits(5)
        .says("it is kept while other objects of fast-dds are in use\n")
        .says("cause: object /fastrtps_port7411_el: ")
        .says("hint: let fast-dds clean up: `fastdds shm clean`\n");
    assert_eq!(names().len(), 3);
    drop(lock);
    run(ORPHANS).exits(0);
    assert_eq!(names(), [""; 0]);
}

/// Returns the header of a PostgreSQL server's segment.
pub(crate) fn segment_header(pid: i32, control: u32) -> Vec<u8> {
    // magic, pid, total size, offset of the free space, number of the control object.
    [679_834_894, pid.cast_unsigned(), 4096, 0, 56, 0, control].map(u32::to_ne_bytes).concat()
}

#[apply(test)]
#[requires(Root)]
fn the_objects_of_a_server_are_idle_while_its_segment_is_attached() {
    let mut server = Actor::start();
    let id = server.create(7, 4096);
    server.attach(id);
    let header = |control| segment_header(server.pid(), control);
    oracle::Attached::new(id).write(0, &header(1));
    create_control("PostgreSQL.1");
    create("PostgreSQL.2", 4096);
    let found = run(["identify", "--probe", "--json", "/PostgreSQL.1"]).exits(0).json();
    let expected = json!({ "evidence": ["content", "name"], "maker": server.pid(), "maker_running": true,
                           "cleanup": null });
    assert_fields(&found["identities"][0], expected);
    for arguments in [&["list", "--probe"][..], &["stat", "--probe", "/PostgreSQL.1", "/PostgreSQL.2"]] {
        let shown = run([arguments, &["--json"]].concat()).exits(0).json();
        for object in shown["objects"].as_array().unwrap() {
            let maker = (object["name"] == "/PostgreSQL.1").then_some(server.pid());
            assert_fields(object, json!({ "state": "idle", "maker": maker }));
        }
    }
    run(ORPHANS).exits(0).says("2 needed by their programs");
    run(ALL).exits(0).says("2 needed by their programs");
    for name in ["/PostgreSQL.1", "/PostgreSQL.2"] {
        run(["rm", name])
            .exits(5)
            .says("it is kept while postgresql is running\n")
            .says(&format!("cause: object /PostgreSQL.1 is named in an attached segment of pid {} (", server.pid()));
    }
    // That of another user proves nothing.
    chown("/dev/shm/PostgreSQL.1", Some(NOBODY), Some(NOBODY)).unwrap();
    chown("/dev/shm/PostgreSQL.2", Some(NOBODY), Some(NOBODY)).unwrap();
    assert_eq!(state(shmadm().args(["list", "--probe"])), "orphan");
    chown("/dev/shm/PostgreSQL.1", Some(0), Some(0)).unwrap();
    chown("/dev/shm/PostgreSQL.2", Some(0), Some(0)).unwrap();
    // Nor does one that names another object, or that no process has attached.
    oracle::Attached::new(id).write(0, &header(3));
    assert_eq!(state(shmadm().args(["list", "--probe"])), "orphan");
    oracle::Attached::new(id).write(0, &header(1));
    assert_eq!(state(shmadm().args(["list", "--probe"])), "idle");
    drop(server);
    run(ORPHANS).exits(0);
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
#[requires(Root)]
fn the_maker_of_an_object_in_use_is_that_of_the_segment() {
    let mut server = server();
    let id = server.create(7, 4096);
    server.attach(id);
    oracle::Attached::new(id).write(0, &segment_header(server.pid(), 1));
    let found = run(["identify", "--probe", "--json", "/PostgreSQL.1"]).exits(0).json();
    assert_fields(&found["identities"][0], json!({ "maker": server.pid(), "maker_running": true }));
}
