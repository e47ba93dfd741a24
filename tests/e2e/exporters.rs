//! Metrics and rules, read by node_exporter and promtool where these are installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::actor::{Actor, Request};
use crate::harness::program;
use crate::oracle;
use crate::support::{NOBODY, Ran, Running, finish, is_root, run};

/// The names under which node_exporter is packaged.
const NODE_EXPORTER: &[&str] = &["prometheus-node-exporter", "node_exporter"];
/// The log text in which node_exporter reports its address.
const LISTENING: &str = "msg=\"Listening on\" address=";

/// A node_exporter that reads a directory.
struct Exporter {
    _running: Running,
    /// The address that it listens on.
    address: String,
}

impl Exporter {
    /// Starts one with only the textfile collector on a free port; as another user, if permitted.
    fn start(program: &Path, directory: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .args(["--collector.disable-defaults", "--collector.textfile", "--web.listen-address=127.0.0.1:0"])
            .arg(format!("--collector.textfile.directory={}", directory.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut running = Running(command.spawn().unwrap());
        let mut lines = BufReader::new(running.0.stderr.take().unwrap());
        let mut log = String::new();
        let address = loop {
            let start = log.len();
            assert_ne!(lines.read_line(&mut log).unwrap(), 0, "node_exporter has exited: {log}");
            if let Some((_, rest)) = log[start..].split_once(LISTENING) {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        // Further output does not matter, but must not block it.
        running.0.stderr = Some(lines.into_inner());
        Self { _running: running, address }
    }

    /// Returns everything that it exports.
    #[track_caller]
    fn scrape(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET /metrics HTTP/1.0\r\nAccept: text/plain\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200 "), "{answer}");
        body.to_owned()
    }
}

#[apply(test)]
#[requires(Program(NODE_EXPORTER))]
fn node_exporter_exports_the_written_file() {
    let node_exporter = program(NODE_EXPORTER).unwrap();
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let file = directory.path().join("shmadm.prom").to_string_lossy().into_owned();
    // Services often run as their own user, which owns the files.
    let write = || -> Ran {
        let line = "umask 077; exec \"$0\" -q metrics --all-ns --output \"$1\"";
        finish(Command::new("sh").args(["-c", line, env!("CARGO_BIN_EXE_shmadm"), &file])).exits(0)
    };
    let segments = |owner: &str, count: usize| {
        format!("\nshmadm_sysv_segments{{ns=\"{}\",owner=\"{owner}\"}} {count}\n", oracle::namespace())
    };
    let uid = nix::unistd::geteuid();
    let me = nix::unistd::User::from_uid(uid).unwrap().map_or_else(|| uid.to_string(), |user| user.name);
    let exporter = Exporter::start(&node_exporter, directory.path());
    assert!(!exporter.scrape().contains("shmadm_"), "no file was written yet");
    for count in 1..=3 {
        oracle::create(0, 1 << 20, 0o600);
        write();
        let scraped = exporter.scrape();
        assert_eq!(oracle::rows().len(), count);
        assert!(scraped.contains(&segments(&me, count)), "{scraped}");
        assert!(scraped.contains("\nnode_textfile_scrape_error 0\n"), "{scraped}");
        assert!(scraped.contains("# TYPE shmadm_sysv_segments gauge\n"), "{scraped}");
        // The value that the rule about old files uses.
        assert!(scraped.contains(&format!("node_textfile_mtime_seconds{{file=\"{file}\"}}")), "{scraped}");
        let written = std::fs::read_to_string(&file).unwrap();
        // It sorts labels differently, but drops and adds no series.
        let names = |text: &str| -> Vec<String> {
            let names = text.lines().filter_map(|line| line.split(['{', ' ']).next()).map(ToOwned::to_owned);
            let mut names: Vec<_> = names.filter(|name| name.starts_with("shmadm_")).collect();
            names.sort();
            names
        };
        assert_eq!(names(&scraped), names(&written));
    }
}

#[apply(test)]
#[requires(Program(&["promtool"]))]
fn promtool_accepts_the_metrics() {
    let promtool = program(&["promtool"]).unwrap();
    oracle::create(0, 4096, 0o600);
    let mut actor = Actor::start();
    // Without root, no second namespace may be available.
    actor.ask(Request::Unshare);
    actor.create(0, 4096);
    for arguments in [&["metrics"][..], &["metrics", "--all-ns"]] {
        let metrics = run(arguments).exits(0).stdout;
        let ran = fed(Command::new(&promtool).args(["check", "metrics"]), &metrics);
        assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(0), "", ""), "{metrics}");
    }
    // Invalid input is rejected.
    let ran = fed(Command::new(&promtool).args(["check", "metrics"]), "# TYPE x_total gauge\nx_total 1\n");
    assert!(ran.code != Some(0) && !ran.stderr.is_empty(), "{ran:?}");
}

/// Runs a command with a text on its standard input.
fn fed(command: &mut Command, text: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[apply(test)]
#[requires(Root, Program(&["setpriv"]))]
fn the_service_has_the_privileges_that_it_needs() {
    let setpriv = program(&["setpriv"]).unwrap();
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd/shmadm-metrics.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap().split(' ');
    let capabilities: Vec<_> = setting("CapabilityBoundingSet=")
        .map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let file = directory.path().join("shmadm.prom").to_string_lossy().into_owned();
    let arguments = setting("ExecStart=").skip(1).map(|word| if word.ends_with(".prom") { &file } else { word });

    let mut elsewhere = Actor::start();
    elsewhere.unshare();
    let mut container = Actor::spawn(Command::new("/proc/self/exe").uid(NOBODY).gid(NOBODY).current_dir("/"));
    container.unshare_user();
    let namespaces = [&mut elsewhere, &mut container].map(|actor| {
        actor.create(0, 4096);
        actor.namespace()
    });
    let mut command = Command::new(setpriv);
    command.arg(format!("--bounding-set=-all{}", capabilities.concat())).arg("--no-new-privs");
    let ran = finish(command.arg(env!("CARGO_BIN_EXE_shmadm")).args(arguments)).exits(0);
    assert!(!ran.stderr.contains("error"), "{ran:?}");
    let written = std::fs::read_to_string(&file).unwrap();
    let unlimited = run(["metrics", "--all-ns"]).exits(0).stdout;
    for ns in namespaces {
        let of_it = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.contains(&format!("\"{ns}\""))).map(ToOwned::to_owned).collect()
        };
        assert!(of_it(&written).iter().any(|line| line.contains("_segments{") && line.ends_with(" 1")), "{written}");
        assert_eq!(of_it(&written), of_it(&unlimited));
    }
}

#[apply(test)]
#[requires(Program(&["promtool"]))]
fn promtool_accepts_the_rules_and_their_tests() {
    let promtool = program(&["promtool"]).unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/prometheus");
    for arguments in [["check", "rules", "shmadm.rules.yml"], ["test", "rules", "shmadm.rules.test.yml"]] {
        let ran = finish(Command::new(&promtool).args(arguments).current_dir(&directory)).exits(0);
        assert!(ran.stdout.contains("SUCCESS"), "{ran:?}");
    }
}
