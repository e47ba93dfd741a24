//! The key that a segment had before it was marked for destruction, which its mappings still show.

use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::actor::Actor;
use crate::fixtures::assert_fields;
use crate::namespaces::{elsewhere, unique_key};
use crate::oracle;
use crate::support::{NOBODY, finish, run, shmadm_as};

const KEY: u32 = 0x4e54_5032;

/// A process that has the segment with the key, which was then removed, and another that has created the next one.
fn parted() -> ([Actor; 2], [i32; 2]) {
    let mut actors = [Actor::start(), Actor::start()];
    let removed = actors[0].create(KEY, 4096);
    actors[0].attach(removed);
    actors[0].remove(removed);
    let current = actors[1].create(KEY, 4096);
    actors[1].attach(current);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", actors[0].pid())).unwrap();
    assert!(maps.contains("/SYSV4e545032 (deleted)"), "{maps}");
    (actors, [removed, current])
}

fn segment(command: &str, id: i32) -> Value {
    run([command, &id.to_string(), "--json"]).exits(0).json()["segments"][0].clone()
}

#[apply(test)]
fn stat_and_who_report_it() {
    let (_actors, [removed, current]) = parted();
    for command in ["stat", "who"] {
        assert_eq!(segment(command, removed)["former_key"], "0x4e545032", "{command}");
        assert_eq!(segment(command, current)["former_key"], Value::Null, "{command}");
    }
    let table = run(["stat", &removed.to_string()]).exits(0).stdout;
    assert!(table.contains("Key: none (marked for destruction; it was 0x4e545032, 1314148402)\n"), "{table}");
}

#[apply(test)]
fn a_private_segment_had_none() {
    let mut actor = Actor::start();
    let id = actor.create(0, 4096);
    actor.attach(id);
    actor.remove(id);
    assert_fields(&segment("stat", id), json!({ "dest": true, "former_key": null }));
}

#[apply(test)]
fn list_and_who_by_key_mention_the_removed_segment() {
    let (actors, [removed, current]) = parted();
    let warning = format!(
        "warning: segment {removed} had key 0x4e545032 until it was marked for destruction; still attached by pid {} (",
        actors[0].pid()
    );
    for arguments in [&["list", "--json", "--key", "0x4e545032"][..], &["who", "--json", "0x4e545032"]] {
        let ran = run(arguments).exits(0).says(&warning);
        assert_eq!(ran.json()["segments"].as_array().unwrap().len(), 1, "{ran:?}");
        assert_eq!(ran.json()["segments"][0]["id"], current);
    }
    oracle::remove(current);
    let [first, second] = actors;
    drop(second);
    let cause = format!(
        "cause: no segment in this IPC namespace has this key; segment {removed} had key 0x4e545032 until it was marked for \
         destruction; still attached by pid {} (",
        first.pid()
    );
    for command in ["stat", "rm", "read", "who"] {
        let ran = run([command, "0x4e545032"]).exits(3).says(&cause);
        let ran = ran.says(&format!("hint: show segment {removed}: `shmadm stat {removed}`\n"));
        assert!(!ran.stderr.contains("warning:"), "{ran:?}");
    }
    run(["list", "--key", "0x4e545032"]).exits(0).says(&warning);
    let bystander = Actor::start();
    let (excluded, other) = (removed.to_string(), bystander.pid().to_string());
    let list = ["list", "--key", "0x4e545032"];
    let conditions = ["--exclude", &excluded, "--owner", "12345", "--state", "orphan", "--pid", &other];
    let filtered = conditions.chunks(2).map(|condition| [&list, condition].concat());
    let unmentioned =
        [&["list"][..], &["list", "--key", "0x4e545033"], &["list", "--key", "private"], &["who", "--all"]];
    for arguments in unmentioned.map(<[_]>::to_vec).into_iter().chain(filtered) {
        assert!(!run(&arguments).exits(0).stderr.contains("had key"), "{arguments:?}");
    }
    let pid = first.pid().to_string();
    run([&list[..], &["--state", "dest", "--pid", &pid, "--exclude", "12345"]].concat()).exits(0).says(&warning);
}

#[apply(test)]
#[requires(Root)]
fn list_and_who_by_key_mention_the_removed_segments_of_all_namespaces() {
    let (mut actor, number) = elsewhere();
    let key = unique_key();
    let id = actor.create(key, 4096);
    actor.attach(id);
    actor.remove(id);
    let (key, pid) = (format!("{key:#x}"), actor.pid());
    let warning = format!(
        "warning: segment {id} in namespace {number} had key {key} until it was marked for destruction; still \
         attached by pid {pid} ("
    );
    for command in ["list", "who"] {
        let command = [command, "--all-ns", "--key", &key];
        run(command).exits(0).says(&warning);
        let filtered = run([&command[..], &["--min-size", "1G"]].concat()).exits(0);
        let unrelated = run([command[0], "--all-ns", "--key", "private"]).exits(0);
        assert!(!filtered.stderr.contains("had key"), "{filtered:?}");
        assert!(!unrelated.stderr.contains("had key"), "{unrelated:?}");
    }
}

#[apply(test)]
fn it_is_a_column() {
    let (_actors, [removed, current]) = parted();
    let json = run(["list", "--json", "-o", "id,former_key"]).exits(0).json();
    let expected = json!([{ "id": removed, "former_key": "0x4e545032" }, { "id": current, "former_key": null }]);
    assert_eq!(json["segments"], expected);
}

#[apply(test)]
#[requires(Root)]
fn it_is_unknown_if_the_process_is_another_users() {
    let (_actors, [removed, _]) = parted();
    let ran = finish(shmadm_as(NOBODY).args(["stat", &removed.to_string(), "--json"])).exits(0);
    assert_fields(&ran.json()["segments"][0], json!({ "dest": true, "former_key": null }));
}

#[apply(test)]
fn rm_force_warns_of_later_users_of_the_key() {
    let mut actor = Actor::start();
    for (key, warns, effect) in [(KEY, true, "its key is freed now, the memory "), (0, false, "its memory is freed ")] {
        let id = actor.create(key, 4096);
        actor.attach(id);
        let ran = run(["rm", "--force", &id.to_string()]).exits(0).says(effect);
        let later = "; processes that ask for key 0x4e545032 afterwards get another segment";
        assert_eq!(ran.stderr.contains(later), warns, "{ran:?}");
    }
}

#[apply(test)]
fn the_name_of_a_process_forges_no_line() {
    let mut actor = Actor::spawn(Command::new("/proc/self/exe").arg0("evil\nwarning: x\x1b[2J"));
    let id = actor.create(KEY, 4096);
    actor.attach(id);
    actor.remove(id);
    let ran = run(["list", "--key", "0x4e545032"]).exits(0).says("evil\\nwarning: x\\x1b[2J");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}
