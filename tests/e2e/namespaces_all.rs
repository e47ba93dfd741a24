//! `--all-ns`: every IPC namespace at once.

use libtest_mimic::Trial;
use nix::libc;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::namespaces::{all_ns, container_of_nobody, elsewhere, other_thread, unique_key};
use crate::oracle;
use crate::support::{NOBODY, finish, root_trial, run, shmadm, shmadm_as, trial};
use crate::vanish::{Call, Stopped};

/// Gives the trials of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        root_trial("namespaces::every_one_is_visited_once", || {
            let key = unique_key();
            oracle::create(key, 100, 0o600);
            let mut expected = vec![oracle::namespace()];
            let mut actors: Vec<(Actor, u64)> = (0..12).map(|_| elsewhere()).collect();
            for (actor, number) in &mut actors {
                actor.number(&format!("create {key} 100 0"));
                expected.push(*number);
            }
            // Two in one namespace are one; and a thread alone can be in another.
            let (mut second, number) = elsewhere();
            assert_eq!(second.say(&format!("enter /proc/{}/ns/ipc", actors[0].0.pid())), "0");
            assert_ne!(second.say("namespace"), number.to_string());
            let rows = all_ns(&["list", "--all-ns", "--key", &format!("{key:#x}"), "--json"]);
            let mut found: Vec<u64> = rows.iter().map(|row| row["ns"].as_u64().unwrap()).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
            for row in &rows {
                let creator = actors
                    .iter()
                    .find(|(_, number)| row["ns"] == *number)
                    .map_or_else(|| i32::try_from(std::process::id()).unwrap(), |(actor, _)| actor.pid());
                assert_eq!((&row["cpid"], &row["state"]), (&json!(creator), &json!("idle")), "{row}");
            }
            let table = run(["list", "--all-ns", "--key", &format!("{key:#x}")]).exits(0).stdout;
            assert!(table.trim_start().starts_with("NS  CONTAINER"), "{table}");
            assert_eq!(table.lines().count(), 14);
        }),
        root_trial("namespaces::one_that_a_thread_alone_is_in_is_visited", || {
            let mut actor = Actor::start();
            assert_eq!(actor.say("thread-unshare"), "0");
            let place = other_thread(&actor);
            let key = format!("{:#x}", unique_key());
            run(["--ns", &place, "create", "--key", &key]).exits(0);
            let rows = all_ns(&["list", "--all-ns", "--key", &key, "--json"]);
            assert_eq!(rows.len(), 1, "{rows:?}");
            run(["--ns", &place, "rm", &key]).exits(0);
        }),
        root_trial("namespaces::one_look_tells_who_is_attached_in_all_of_them", || {
            let mut expected = Vec::new();
            let mut actors = Vec::new();
            for _ in 0..5 {
                let (mut actor, number) = elsewhere();
                // The same id, key, size and mostly the same second in each.
                let id = actor.number("create 1234 4096 0");
                actor.say(&format!("attach {id}"));
                expected.push((number, id, actor.pid()));
                actors.push(actor);
            }
            let segments = all_ns(&["who", "--all", "--all-ns", "--json"]);
            for (number, id, pid) in expected {
                let of_it = |segment: &&Value| segment["ns"] == number && segment["id"] == id;
                let segment = segments.iter().find(of_it).unwrap();
                let attachments = segment["attachments"].as_array().unwrap();
                assert_eq!((attachments.len(), &attachments[0]["pid"]), (1, &json!(pid)), "{segment}");
                assert_eq!((&attachments[0]["certain"], &segment["hidden"]), (&json!(true), &json!([])), "{segment}");
            }
        }),
        root_trial("namespaces::what_lives_by_an_attachment_alone_is_reported", || {
            let mut actor = Actor::start();
            let home = format!("/proc/{}/ns/ipc", std::process::id());
            assert_eq!(actor.say("unshare"), "0");
            let key = unique_key();
            let id = actor.number(&format!("create {key} 4096 0"));
            let address = actor.say(&format!("attach {id}"));
            // Nobody is in that namespace any more.
            assert_eq!(actor.say(&format!("enter {home}")), "0");
            let ran = run(["who", "--all", "--all-ns", "--json"]).exits(0).says("lives by the attachment alone");
            let segments = ran.json()["segments"].as_array().unwrap().clone();
            let stray = segments
                .iter()
                .find(|segment| segment["ns"].is_null() && segment["attachments"][0]["pid"] == actor.pid());
            let stray = stray.unwrap_or_else(|| panic!("{segments:?}"));
            assert_eq!((&stray["id"], &stray["nattch"], &stray["found"]), (&json!(id), &Value::Null, &json!(1)));
            assert_eq!(stray["attachments"][0]["address"], address.as_str());
        }),
        root_trial("namespaces::without_rights_what_can_be_seen_is_shown_and_the_rest_is_a_warning", || {
            let mut actor = container_of_nobody();
            let key = unique_key();
            actor.number(&format!("create {key} 4096 0"));
            let number: u64 = actor.say("namespace").parse().unwrap();
            let ran = finish(shmadm_as(NOBODY).args(["list", "--all-ns", "--key", &format!("{key:#x}"), "--json"]));
            let ran = ran.exits(0).says("which IPC namespace they are in");
            // The caller's own is never left out.
            let mine = oracle::create(key, 100, 0o600);
            let both = finish(shmadm_as(NOBODY).args(["list", "--all-ns", "--key", &format!("{key:#x}"), "--json"]));
            let both = both.exits(0).json()["segments"].clone();
            let is_mine = |row: &&Value| row["ns"] == oracle::namespace() && row["id"] == mine;
            assert!(both.as_array().unwrap().iter().any(|row| is_mine(&row)), "{both}");
            let rows = ran.json()["segments"].as_array().unwrap().clone();
            assert_eq!(rows.len(), 1, "through a process of its own: {ran:?}");
            assert_eq!((&rows[0]["ns"], &rows[0]["uid"]), (&json!(number), &json!(NOBODY)), "{rows:?}");
        }),
        root_trial("namespaces::of_a_user_namespace_of_ours_a_thread_s_is_the_thread_s", || {
            // The leader is in one namespace, and a thread of it alone in another; both take another process to list.
            let mut actor = container_of_nobody();
            let key = unique_key();
            actor.number(&format!("create {key} 4096 0"));
            assert_eq!(actor.say("thread-unshare"), "0");
            let place = other_thread(&actor);
            let text = format!("{key:#x}");
            finish(shmadm_as(NOBODY).args(["--ns", &place, "create", "--key", &text])).exits(0);
            let ran = finish(shmadm_as(NOBODY).args(["list", "--all-ns", "--key", &text, "--json"])).exits(0);
            let rows = ran.json()["segments"].as_array().unwrap().clone();
            assert_eq!(rows.len(), 2, "{rows:?}");
            assert_ne!(rows[0]["ns"], rows[1]["ns"]);
            for view in ["-t", "-p", "-c"] {
                let told = run(["list", "--all-ns", view]).exits(0).stdout;
                assert!(told.trim_start().starts_with("NS "), "{view}: {told}");
                assert!(run(["list", view]).exits(0).stdout.trim_start().starts_with("ID "), "{view}");
            }
        }),
        root_trial("namespaces::what_is_attached_after_it_was_listed_is_no_stray", || {
            let mut actor = Actor::start();
            let id = actor.number("create 0 4096 0");
            let looks = |call: &Call| call.number == libc::SYS_memfd_create;
            let stopped = Stopped::before(1, looks, &["who", "--all", "--all-ns", "--json"]);
            actor.say(&format!("attach {id}"));
            let ran = stopped.go_on().exits(0);
            let stray = |one: &Value| one["ns"].is_null() && one["attachments"][0]["pid"] == actor.pid();
            assert!(!ran.json()["segments"].as_array().unwrap().iter().any(stray), "{ran:?}");
        }),
        trial("namespaces::an_unprivileged_user_still_sees_his_own", || {
            let key = unique_key();
            oracle::create(key, 100, 0o600);
            let rows = all_ns(&["list", "--all-ns", "--key", &format!("{key:#x}"), "--json"]);
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0]["ns"], oracle::namespace());
            assert!(rows[0].as_object().unwrap().contains_key("container"));
        }),
        root_trial("namespaces::without_proc_our_own_is_shown_and_the_lack_is_told", || {
            oracle::create(7, 4096, 0o600);
            let mut command = shmadm();
            crate::sandbox::with_empty_proc(&mut command);
            let ran = finish(command.args(["list", "--all-ns", "--json"])).exits(0).says("others cannot be found");
            assert_eq!(ran.json()["segments"].as_array().unwrap().len(), 1);
        }),
    ]
}
