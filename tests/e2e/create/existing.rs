//! `create` with a key that already has a segment: opened if nothing would change, otherwise refused.

use serde_json::json;

use crate::fixtures::{assert_fields, this_process};
use crate::oracle;
use crate::support::{NOBODY, Ran, finish, run, shmadm, shmadm_as, wait_for};

/// Returns the caller's uid and gid.
fn caller() -> [String; 2] {
    [nix::unistd::geteuid().to_string(), nix::unistd::getegid().to_string()]
}

#[apply(test)]
fn an_existing_segment_with_the_requested_attributes_is_opened() {
    let id = oracle::create(0x4d2, 4096, 0o660);
    let before = oracle::rows();
    let [uid, gid] = caller();
    for options in [
        &["--size", "4096", "--mode", "660"][..],
        &["--mode", "0660", "--size", "1"],
        &["--owner", &uid],
        &["--group", &gid],
        &["--owner", &uid, "--group", &gid, "--mode", "660"],
    ] {
        let ran = run(["create", "--key", "0x4d2"].into_iter().chain(options.iter().copied())).exits(0);
        assert_eq!(ran.stdout, format!("{id}\n"), "{options:?}");
        ran.says(&format!("opened existing segment {id} (key 0x000004d2, 4 KiB)"));
        assert_eq!(oracle::rows(), before, "{options:?}");
    }
    let report = run(["create", "--key", "0x4d2", "--mode", "660", "--json"]).exits(0).json();
    assert_fields(&report, json!({ "created": false, "holder": null }));
    assert_fields(&report["segment"], json!({ "id": id, "mode": "0660" }));
}

#[apply(test)]
fn a_lock_that_the_segment_has_is_refused_without_a_command_to_lock_it() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    oracle::lock(id);
    let ran = run(["create", "--key", "0x4d2", "--lock"]).exits(5).prints_nothing();
    let ran = ran.says("cause: --lock is for a new segment, and this one is locked already\n");
    assert!(!ran.stderr.contains("shmadm set"), "{ran:?}");
}

#[apply(test)]
fn a_holder_whose_segment_cannot_be_printed_is_reported_as_terminated() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = shmadm().args(["create", "--key", "0x4d2", "--hold"]).stdout(full).output().unwrap();
    Ran::from(ran).exits(1).says(" was terminated, because the id could not be printed\n");
    wait_for("the holder to detach", || oracle::nattch(id) == 0);
}

#[apply(test)]
fn the_same_command_creates_and_then_opens() {
    let command = ["create", "--key", "0x4d2", "--size", "4096", "--mode", "660"];
    let first = run(command).exits(0).says("created segment");
    let second = run(command).exits(0).says("opened existing segment");
    assert_eq!(first.stdout, second.stdout);
}

#[apply(test)]
fn options_that_would_change_an_existing_segment_are_refused() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    drop(oracle::Attached::new(id));
    let before = oracle::rows();
    for (options, conflict) in [
        (&["--fill", "1"][..], "--fill would overwrite its contents"),
        (&["--mode", "640"], "--mode 0640 differs from its mode, 0600"),
        (&["--lock"], "--lock would lock it in memory"),
        (&["--huge"], "--huge cannot change its pages"),
        (&["--huge=2M"], "--huge cannot change its pages"),
        (&["--fill", "1", "--hold"], "--fill would overwrite its contents"),
    ] {
        let ran = run(["create", "--key", "1234"].into_iter().chain(options.iter().copied())).exits(5);
        let option = options[0].split('=').next().unwrap();
        let ran = ran.prints_nothing();
        let ran = ran.says(&format!("cannot apply {option}: segment {id} with key 0x000004d2 already exists"));
        assert!(ran.stderr.contains(&format!("cause: {conflict}")), "{ran:?}");
        assert_eq!(oracle::rows(), before, "{options:?}");
    }
    assert_eq!(oracle::contents(id), vec![0; 4096]);
}

#[apply(test)]
#[requires(Root)]
fn another_owner_or_group_for_an_existing_segment_is_refused() {
    oracle::create(0x4d2, 4096, 0o600);
    let before = oracle::rows();
    for (option, id) in [("--owner", "100000"), ("--group", "100001")] {
        let ran = run(["create", "--key", "1234", option, id]).exits(5).prints_nothing();
        ran.says(&format!("cannot apply {option}: ")).says(&format!("cause: {option} {id} differs from its "));
        assert_eq!(oracle::rows(), before, "{option}");
    }
    // Both by their names.
    let id = oracle::create(0x4d3, 4096, 0o600);
    oracle::set(id, NOBODY, NOBODY, 0o600);
    let nobody = nix::unistd::User::from_uid(NOBODY.into()).unwrap().map_or(NOBODY.to_string(), |user| user.name);
    let ran = run(["create", "--key", "0x4d3", "--owner", "0"]).exits(5);
    ran.says(&format!("cause: --owner root differs from its owner, {nobody}\n"));
}

#[apply(test)]
fn all_conflicts_with_an_existing_segment_are_reported() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let before = oracle::rows();
    let ran = run(["create", "--key", "1234", "--mode", "640", "--lock", "--fill", "7"]).exits(5).prints_nothing();
    let ran = ran.says(&format!("cannot apply --mode, --fill and --lock: segment {id} with key 0x000004d2"));
    let cause = "cause: --mode 0640 differs from its mode, 0600; --fill would overwrite its contents; \
                 --lock would lock it in memory\n";
    assert!(ran.stderr.contains(cause), "{ran:?}");
    assert!(ran.stderr.contains(&format!("`shmadm set {id} --mode 0640 --lock`")), "{ran:?}");
    assert!(ran.stderr.contains(&format!("`shmadm write {id} --fill 7`")), "{ran:?}");
    assert!(ran.stderr.contains("`shmadm create --key 1234`"), "{ran:?}");
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn a_larger_size_is_reported_before_the_other_conflicts() {
    let id = oracle::create(0x4d2, 16_384, 0o600);
    let before = oracle::rows();
    let ran = run(["create", "--key", "0x4d2", "--size", "32K", "--mode", "666"]).exits(1).prints_nothing();
    let ran = ran.says("error: cannot open a segment of 32 KiB with key 0x000004d2: Invalid argument (EINVAL, shmget)");
    let cause = format!(
        "cause: segment {id} has this key and is only 16 KiB; it was created by {}; --mode 0666 differs from its mode, \
         0600\n",
        this_process()
    );
    assert!(ran.stderr.contains(&cause), "{ran:?}");
    // An attribute that the segment already has does not conflict.
    let ran = run(["create", "--key", "0x4d2", "--size", "32K", "--mode", "600"]).exits(1);
    assert!(ran.stderr.contains(&format!("it was created by {}\n", this_process())), "{ran:?}");
    let error = run(["create", "--key", "0x4d2", "--size", "32K", "--lock", "--json"]).exits(1).json();
    assert_fields(&error["error"], json!({ "kind": "failed", "errno": "EINVAL", "call": "shmget" }));
    assert!(error["error"]["cause"].as_str().unwrap().ends_with("; --lock would lock it in memory"), "{error}");
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
#[requires(Root)]
fn opening_a_segment_without_access_to_it_warns() {
    let nobody = nix::unistd::User::from_uid(NOBODY.into()).unwrap().map_or(NOBODY.to_string(), |user| user.name);
    for (key, mode, rights) in [
        (1, 0o600, Some("no access")),
        (2, 0o660, Some("no access")),
        (3, 0o644, Some("read access only")),
        (4, 0, Some("no access")),
        (5, 0o666, None),
    ] {
        let id = oracle::create(key, 4096, mode);
        let key = key.to_string();
        for options in [&["create", "--key", &key][..], &["create", "--key", &key, "--quiet"]] {
            let ran = finish(shmadm_as(NOBODY).args(options)).exits(0);
            assert_eq!(ran.stdout, format!("{id}\n"));
            let warning = rights.map(|rights| {
                format!(
                    "warning: cannot attach segment {id} for reading and writing: mode {mode:04o}, owner root:root: \
                     user {nobody} (other) has {rights}\n"
                )
            });
            let warnings: String =
                ran.stderr.split_inclusive('\n').filter(|line| line.starts_with("warning: ")).collect();
            assert_eq!(warnings, warning.unwrap_or_default(), "{ran:?}");
        }
        // Root may access every segment.
        assert!(!run(["create", "--key", &key]).exits(0).stderr.contains("warning: "));
    }
}

#[apply(test)]
#[requires(Root)]
fn the_hint_names_the_owner() {
    oracle::create(0x4d2, 4096, 0o600);
    for (typed, named) in [("nobody", "nobody"), ("65534", "nobody"), ("77777", "77777")] {
        let ran = run(["create", "--key", "0x4d2", "--owner", typed]).exits(5);
        ran.says(&format!("hint: change the existing segment: `shmadm set 0 --owner {named}`\n"));
    }
}
