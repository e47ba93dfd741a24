//! Objects in another directory (`--dir`) or of another process (`--ns`).

use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

use serde_json::json;

use super::create;
use crate::actor::{Actor, Request};
use crate::fixtures::{assert_fields, file_names};
use crate::namespaces::container_of;
use crate::support::{NOBODY, Running, finish, mount_tmpfs_on, run, shmadm_as};

/// Starts a shell in its own mount namespace that runs a script, then waits; returns when the script is done.
pub(crate) fn container(script: &str) -> Running {
    let mut shell = Command::new("unshare");
    started(shell.args(["--mount", "sh", "-c", &format!("{script}; echo ready; read line")]))
}

/// Starts a command and waits until it prints `ready`.
pub(super) fn started(command: &mut Command) -> Running {
    let mut running = Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    running
}

#[apply(test)]
fn another_tmpfs_directory_is_used_with_dir() {
    create("here", 4096);
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::write(directory.path().join("there"), "").unwrap();
    let path = directory.path().to_str().unwrap();
    let names =
        run(["list", "--dir", path, "--posix", "-o", "NAME", "--no-headings", "--format", "tsv"]).exits(0).stdout;
    assert_eq!(names, "/there\n");
    run(["--dir", path, "rm", "/there"]).exits(0);
    assert!(!directory.path().join("there").exists());
    // A name that contains /dev/shm is not one in another directory.
    std::fs::write(directory.path().join("here"), "").unwrap();
    for arguments in [
        &["rm", "/dev/shm/here"][..],
        &["stat", "/dev/shm/here"],
        &["list", "--exclude", "/x,/dev/shm/here"],
        &["create", "/dev/shm/here"],
    ] {
        run([arguments, &["--dir", path]].concat())
            .exits(2)
            .says(&format!("error: /dev/shm/here is not in {path}, the directory of --dir\n"))
            .says(&format!("cause: /NAME is an object in {path}; without --dir, it is one in /dev/shm\n"));
    }
    assert!(directory.path().join("here").exists());
    run(["--dir", "/dev/shm", "rm", "/dev/shm/here"]).exits(0);
    run(["list", "--posix", "--dir", "/etc"])
        .exits(1)
        .says("cannot use /etc: neither a tmpfs nor a hugetlbfs is mounted there");
    run(["list", "--posix", "--dir", "/missing"])
        .exits(3)
        .says("cannot list /missing: No such file or directory (ENOENT, open)");
}

#[apply(test)]
#[requires(Root)]
fn the_objects_of_a_process_are_those_of_its_mount_namespace() {
    create("here", 4096);
    let container = container("mount -t tmpfs none /dev/shm && echo hello >/dev/shm/inside");
    let pid = container.pid().to_string();
    let list = ["--ns", &pid, "list", "--posix", "-o", "NAME", "--no-headings", "--format", "tsv"];
    assert_eq!(run(list).exits(0).stdout, "/inside\n");
    assert_eq!(run(["--ns", &pid, "read", "/inside", "--text"]).exits(0).stdout, "hello\n");
    run(["--ns", &pid, "rm", "/here"]).exits(3);
    run(["--ns", &pid, "rm", "/inside"]).exits(0);
    assert_eq!(run(list).exits(0).stdout, "");
    assert_eq!(super::names(), ["here"]);
}

#[apply(test)]
#[requires(Root)]
fn a_symbolic_link_in_place_of_a_processs_dev_shm_is_refused() {
    for script in ["ln -s /etc /dev/shm", "ln -s ../../../../etc /dev/shm", "mkdir /dev/shm"] {
        let container = container(&format!("mount -t tmpfs none /dev && {script}"));
        let pid = container.pid().to_string();
        let ran = run(["--ns", &pid, "list", "--posix"]);
        let is_directory = script.starts_with("mkdir");
        // A directory of the container's own tmpfs is not /etc.
        assert_eq!(ran.code, Some(if is_directory { 0 } else { 1 }), "{ran:?}");
        if !is_directory {
            let problem = "(ELOOP, openat2)\ncause: it or a directory above it is a symbolic link, ";
            ran.says(problem);
            let failed = format!("error: cannot find object /x in /dev/shm of process {pid}: ");
            run(["--ns", &pid, "stat", "/x"]).exits(1).says(problem).says(&failed);
        }
    }
}

#[apply(test)]
#[requires(Root)]
fn a_process_without_a_dev_shm_is_named_with_the_object() {
    let container = container("mount -t tmpfs none /dev");
    let pid = container.pid().to_string();
    let error = format!(
        "error: cannot find object /x in /dev/shm of process {pid}: No such file or directory (ENOENT, open)\n"
    );
    for command in ["read", "stat", "rm"] {
        run(["--ns", &pid, command, "/x"]).exits(3).says(&error);
    }
    let [create, trace] = ["create object /x", "trace the calls on objects"].map(|attempt| {
        format!("error: cannot {attempt} in /dev/shm of process {pid}: No such file or directory (ENOENT, open)\n")
    });
    run(["--ns", &pid, "create", "/x"]).exits(3).says(&create);
    let planned = run(["--ns", &pid, "create", "/x", "-n"]).exits(3).says("error: would fail: cannot create object /x");
    assert!(!planned.stderr.contains("ENOENT"), "no call was made: {planned:?}");
    let instead = format!("hint: trace only the calls on segments: `shmadm --ns {pid} trace -- true`\n");
    run(["--ns", &pid, "trace", "--posix", "--", "true"]).exits(125).says(&trace).says(&instead);
    let one_error = format!("error: cannot find 2 objects (/x and /y) in /dev/shm of process {pid}: ");
    run(["--ns", &pid, "rm", "/x", "/y"]).exits(3).says(&one_error);
}

#[apply(test)]
#[requires(Root)]
fn another_directory_of_a_process_is_one_of_its_mount_namespace() {
    create("here", 4096);
    mount_tmpfs_on("/mnt", None);
    std::fs::write("/mnt/here", "").unwrap();
    let script = "mount -t tmpfs none /mnt && echo hello >/mnt/inside && mount -t tmpfs none /dev && mkdir /dev/objects \
                  && echo hello >/dev/objects/there && ln -s objects /dev/shm && ln -s /etc /dev/etc";
    let container = container(script);
    let pid = container.pid().to_string();
    let list = ["list", "--ns", &pid, "--posix", "-o", "NAME", "--no-headings", "--format", "tsv"];
    let listed = |directory| run([&list[..], &["--dir", directory]].concat()).exits(0).stdout;
    assert_eq!(listed("/mnt"), "/inside\n");
    assert_eq!(listed("/../mnt/."), "/inside\n", "nothing above its root directory is reached");
    let removed = run(["--ns", &pid, "--dir", "/mnt", "rm", "/here"]).exits(3);
    removed.says(&format!("hint: list the objects: `shmadm --ns {pid} --dir /mnt list --posix`\n"));
    run(["--ns", &pid, "--dir", "/mnt", "rm", "/inside"]).exits(0);
    assert_eq!(listed("/mnt"), "");
    // Its /dev/shm is a symbolic link. The hint runs as printed.
    let hint =
        format!("hint: use the directory that it leads to: `shmadm --ns {pid} stat /there --dir /dev/objects`\n");
    run(["--ns", &pid, "stat", "/there"]).exits(1).says(&hint);
    run(["--ns", &pid, "stat", "/there", "--dir", "/dev/objects"]).exits(0);
    let refused = run(["--ns", &pid, "--dir", "/dev/etc", "list"]).exits(1);
    assert!(!refused.stderr.contains("hint:"), "{refused:?}");
    assert_eq!(file_names("/mnt".as_ref()), ["here"]);
}

#[apply(test)]
#[requires(Root)]
fn the_number_of_a_mount_namespace_leads_to_a_process_in_it() {
    let container = container("mount -t tmpfs none /dev/shm && echo hello >/dev/shm/inside");
    let listed = run(["list", "--all-ns", "--posix", "--json"]).exits(0).json();
    let objects = listed["objects"].as_array().unwrap();
    let inside = objects.iter().find(|object| object["name"] == "/inside").unwrap();
    let number = inside["mnt_ns"].to_string();
    run(["list", "--posix", "--ns", &number]).exits(1).says("cause: this is a mount namespace\n").says(&format!(
        "hint: use the namespaces of a process in it: `shmadm list --posix --ns {}`\n",
        container.pid()
    ));
}

#[apply(test)]
#[requires(Root)]
fn an_object_without_a_name_may_exist_although_its_users_cannot_be_inspected() {
    let path = create("x", 4096);
    let name = super::file_id(&path);
    let mut actor = Actor::start();
    actor.ask(Request::MapFile { path: path.clone() });
    std::fs::remove_file(path).unwrap();
    run(["who", &name]).exits(0);
    let cause = "cause: no object with this device and inode number was found: it was removed or never existed, or it \
                 has no name and you are not permitted to inspect the processes that use it";
    let ran = finish(shmadm_as(NOBODY).args(["who", &name])).exits(3);
    ran.says(cause).says(&format!("hint: run as root: `sudo shmadm who {name}`\n"));
    drop(actor);
    let missing = "cause: no object has this device and inode number: it was removed or never existed\n";
    run(["who", &name]).exits(3).says(missing).says("hint: list the objects: `shmadm list --posix`\n");
}

#[apply(test)]
#[requires(Root)]
fn the_process_is_named_in_whose_dev_shm_an_object_is() {
    let container = container("mount -t tmpfs none /dev/shm && echo hello >/dev/shm/inside");
    let pid = container.pid();
    let name = super::file_id(&format!("/proc/{pid}/root/dev/shm/inside"));
    let refused = run(["stat", &name, "--json"]).exits(3);
    refused
        .says(&format!("cause: it is object /inside in the /dev/shm of pid {pid}\n"))
        .says(&format!("hint: use that /dev/shm: `shmadm stat {name} --json --ns {pid}`\n"));
    let shown = run(["--ns", &pid.to_string(), "stat", &name, "--json"]).exits(0).stdout;
    assert!(shown.contains("\"name\":\"/inside\""), "{shown}");
    finish(shmadm_as(NOBODY).args(["stat", &name]))
        .exits(3)
        .says("; it may be in the /dev/shm of a process that you are not permitted to inspect\n");
}

#[apply(test)]
#[requires(Root)]
fn each_file_system_is_listed_once() {
    let name = format!("everywhere-{}", std::process::id());
    create(&name, 4096);
    let script = format!("mount -t tmpfs none /dev/shm && echo hello >/dev/shm/{name}");
    let other = container(&script);
    // A container of the same pod, and one that shares the /dev/shm of this test.
    let mut entered = Command::new("nsenter");
    entered.args(["--mount", "--target", &other.pid().to_string(), "unshare", "--mount", "sh", "-c"]);
    let _pod = started(entered.arg("echo ready; read line"));
    let _shared = container("true");
    let list = ["list", "--all-ns", "--name", &format!("/{name}"), "--json"];
    let report = run(list).exits(0).json();
    let mut sizes: Vec<_> = report["objects"].as_array().unwrap().iter().map(|it| it["size"].as_u64()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [Some(6), Some(4096)], "{report}");
    let table = run(["list", "--all-ns", "--posix", "--name", &format!("/{name}")]).exits(0).stdout;
    assert!(table.starts_with("DEV ") && table.lines().count() == 3, "{table}");
    let table = run(["list", "--all-ns", "--name", &format!("/{name}")]).exits(0).stdout;
    assert!(table.trim_start().starts_with("NS  CONTAINER  NAME "), "{table}");
    // One scan finds the users in all of them.
    let mut user = Command::new("nsenter");
    user.args(["--mount", "--target", &other.pid().to_string(), "sh", "-c"]);
    let _user = started(user.arg(format!("exec 3</dev/shm/{name}; rm /dev/shm/{name}; echo ready; read line")));
    let report = run(["list", "--all-ns", "--unlinked", "--json"]).exits(0).json();
    let objects = report["objects"].as_array().unwrap();
    // Other tests have unlinked objects too.
    let file = super::file_id(&format!("/proc/{}/root/dev/shm", other.pid()));
    let dev = file.strip_prefix("obj:").unwrap().rsplit_once(':').unwrap().0;
    let gone: Vec<_> = objects.iter().filter(|it| it["dev"] == dev).collect();
    assert_eq!(gone.len(), 1, "{report}");
    assert_fields(gone[0], json!({ "size": 6, "users": 1 }));
    // Their number is known only if there were named objects to scan for.
    let line = format!(" 4 KiB on {dev}: `shmadm list --all-ns --unlinked`\n");
    run(["list", "--all-ns"]).exits(0).says(&line);
    // The metrics have each once, too.
    let metrics = run(["metrics", "--all-ns"]).exits(0).stdout;
    let series = format!("shmadm_posix_instance_info{{dev=\"{dev}\",");
    assert_eq!(metrics.matches(&series).count(), 1, "{metrics}");
    assert!(metrics.contains(&format!("\nshmadm_posix_unlinked_bytes{{dev=\"{dev}\"}} 4096\n")), "{metrics}");
}

#[apply(test)]
#[requires(Root)]
fn what_cannot_be_opened_everywhere_is_reported() {
    let container = container("mount -t tmpfs none /dev && ln -s /etc /dev/shm");
    let ran = run(["list", "--all-ns", "--posix"]).exits(0);
    let pid = container.pid().to_string();
    ran.says(&format!("objects omitted: cannot list /proc/{pid}/root/dev/shm: "));
    let ran = finish(shmadm_as(NOBODY).args(["list", "--all-ns", "--posix"])).exits(0);
    ran.says("cannot determine the mount namespace of ").says("hint: run as root: `sudo shmadm list --all-ns --posix`");
}

#[apply(test)]
#[requires(Root)]
fn in_a_user_namespace_an_object_is_not_an_orphan_while_its_owner_runs_a_process() {
    // Not uid 65534, as which the kernel shows the processes of other users.
    let owner = 1234;
    chown(create("x", 4096), Some(owner), Some(owner)).unwrap();
    let container = container_of(owner);
    let pid = container.pid().to_string();
    let run = |arguments: &[&str]| finish(shmadm_as(owner).args(["--ns", &pid]).args(arguments));
    let listed = run(&["list", "--posix", "--probe", "--json"]).exits(0).json();
    assert_fields(&listed["objects"][0], json!({ "name": "/x", "uid": owner, "state": "unused" }));
    let report = run(&["prune", "--dry-run", "--older-than", "0s", "--json"]).exits(0).json();
    assert_eq!(report["removed"], json!([]), "{report}");
}

#[apply(test)]
#[requires(Root)]
fn an_unlinked_object_of_another_file_system_is_named_by_its_inode() {
    let script = "mount -t tmpfs none /dev/shm && exec 3<>/dev/shm/x && echo hello >&3 && rm /dev/shm/x";
    let container = container(script);
    let listed = run(["list", "--unlinked", "--all-ns", "--json"]).exits(0).json();
    let objects = listed["objects"].as_array().unwrap().iter();
    let is_held = |object: &&serde_json::Value| {
        let who = run(["who", &format!("obj:{}", object["object"].as_str().unwrap()), "--json"]);
        let is_it = |user: &serde_json::Value| user["pid"] == container.pid().as_raw();
        who.code == Some(0) && who.json()["objects"][0]["users"].as_array().unwrap().iter().any(is_it)
    };
    let object = objects.clone().find(is_held).unwrap_or_else(|| panic!("{listed}"));
    let name = format!("obj:{}", object["object"].as_str().unwrap());
    assert_eq!(run(["read", &name, "--text"]).exits(0).stdout, "hello\n");
    // A deleted file on disk is not an object.
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let name = super::file_id(file.path().to_str().unwrap());
    let (_open, path) = file.into_parts();
    path.close().unwrap();
    run(["stat", &name]).exits(3);
}

#[apply(test)]
#[requires(Root)]
fn objects_in_a_rootless_container_are_removed_by_root() {
    let script =
        "mount -t tmpfs none /dev/shm && cd /dev/shm && echo a >a && echo b >b && echo c >c && echo ready; read line";
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups"]);
    let container = started(command.args(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]));
    let pid = container.pid().to_string();
    let ran = |arguments: &[&str]| run([&["--ns", &pid][..], arguments].concat());
    let cause = " belongs to another user namespace: run the command as a user with a mapping in it, such as ";
    ran(&["create", "/d"]).exits(1).says("(EOVERFLOW, open)\n").says(cause);
    ran(&["create", "/d", "-n"]).exits(1).says("would fail: cannot create object /d").says(cause);
    ran(&["rm", "/a"]).exits(0).says("removed object /a");
    ran(&["rm", "/b", "--force"]).exits(0).says("removed object /b");
    let prune = ["prune", "--posix", "--any-owner", "--unattached", "--older-than", "0s", "--settle", "0s", "--yes"];
    ran(&prune).exits(0).says("removed object /c");
    assert_eq!(file_names(format!("/proc/{pid}/root/dev/shm").as_ref()), [""; 0]);
}
