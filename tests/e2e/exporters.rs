//! What Prometheus' own programs make of metrics and rules: node_exporter and promtool, where they are installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::actor::Actor;
use crate::oracle;
use crate::support::{NOBODY, Ran, Running, finish, is_root, root_trial, run, trial};

/// The program that reads files for Prometheus, by the names that it is packaged under.
const NODE_EXPORTER: [&str; 2] = ["prometheus-node-exporter", "node_exporter"];
/// Prometheus' own critic.
const PROMTOOL: [&str; 1] = ["promtool"];
/// What takes rights away.
const SETPRIV: [&str; 1] = ["setpriv"];
/// Where node_exporter tells the address that it listens on.
const LISTENING: &str = "msg=\"Listening on\" address=";

/// Gives the trials of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs("prometheus-node-exporter", &NODE_EXPORTER, |program| {
            trial("exporters::node_exporter_hands_on_what_was_written", move || hand_on(&program))
        }),
        needs("promtool", &PROMTOOL, |program| {
            trial("exporters::promtool_has_nothing_to_say_about_metrics", move || lint(&program))
        }),
        needs("promtool", &PROMTOOL, |program| {
            trial("exporters::promtool_finds_the_rules_as_they_should_be", move || rules(&program))
        }),
        needs("setpriv", &SETPRIV, |program| {
            root_trial("exporters::the_service_has_the_rights_that_it_takes", move || with_its_rights(&program))
        }),
    ]
}

/// Makes a trial that is ignored, with the reason, where a program is not installed.
fn needs(package: &str, names: &[&str], make: impl FnOnce(PathBuf) -> Trial) -> Trial {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).flat_map(|place| names.iter().map(move |name| place.join(name)));
    match places.find(|program| program.is_file()) {
        Some(program) => make(program),
        None => make(PathBuf::new()).with_kind(format!("needs {package}")).with_ignored_flag(true),
    }
}

/// A node_exporter that reads a directory.
struct Exporter {
    /// The process.
    _running: Running,
    /// Where it listens.
    address: String,
}

impl Exporter {
    /// Starts one that does nothing else, on a port that is free; as another user, if we may.
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
        let mut told = String::new();
        let address = loop {
            let start = told.len();
            assert_ne!(lines.read_line(&mut told).unwrap(), 0, "it has ended: {told}");
            if let Some((_, rest)) = told[start..].split_once(LISTENING) {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        // What it has to say later is nobody's business, but must not make it wait.
        running.0.stderr = Some(lines.into_inner());
        Self { _running: running, address }
    }

    /// Asks it for all it knows.
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

/// Has a real node_exporter read what was written, and asks it for that.
fn hand_on(node_exporter: &Path) {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let file = directory.path().join("shmadm.prom").to_string_lossy().into_owned();
    // As services often have it: what they write is their own.
    let write = || -> Ran {
        let line = "umask 077; exec \"$0\" -q metrics --all-ns --output \"$1\"";
        finish(Command::new("sh").args(["-c", line, env!("CARGO_BIN_EXE_shmadm"), &file])).exits(0)
    };
    let segments = |owner: &str, count: usize| {
        format!("\nshmadm_sysv_segments{{ns=\"{}\",owner=\"{owner}\"}} {count}\n", oracle::namespace())
    };
    let uid = nix::unistd::geteuid();
    let me = nix::unistd::User::from_uid(uid).unwrap().map_or_else(|| uid.to_string(), |user| user.name);
    let exporter = Exporter::start(node_exporter, directory.path());
    assert!(!exporter.scrape().contains("shmadm_"), "nothing was written yet");
    for count in 1..=3 {
        oracle::create(0, 1 << 20, 0o600);
        write();
        let scraped = exporter.scrape();
        assert_eq!(oracle::rows().len(), count);
        assert!(scraped.contains(&segments(&me, count)), "{scraped}");
        assert!(scraped.contains("\nnode_textfile_scrape_error 0\n"), "{scraped}");
        assert!(scraped.contains("# TYPE shmadm_sysv_segments gauge\n"), "{scraped}");
        // What the rule about old files looks at.
        assert!(scraped.contains(&format!("node_textfile_mtime_seconds{{file=\"{file}\"}}")), "{scraped}");
        let written = std::fs::read_to_string(&file).unwrap();
        // It sorts labels in its own way, but drops no series and adds none.
        let names = |text: &str| -> Vec<String> {
            let names = text.lines().filter_map(|line| line.split(['{', ' ']).next()).map(ToOwned::to_owned);
            let mut names: Vec<_> = names.filter(|name| name.starts_with("shmadm_")).collect();
            names.sort();
            names
        };
        assert_eq!(names(&scraped), names(&written));
    }
}

/// Has promtool look at metrics of this and of all namespaces.
fn lint(promtool: &Path) {
    oracle::create(0, 4096, 0o600);
    let mut actor = Actor::start();
    // Whoever is not root may stay without another namespace.
    actor.say("unshare");
    actor.say("create 0 4096 0");
    for arguments in [&["metrics"][..], &["metrics", "--all-ns"]] {
        let metrics = run(arguments).exits(0).stdout;
        let ran = fed(Command::new(promtool).args(["check", "metrics"]), &metrics);
        assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(0), "", ""), "{metrics}");
    }
    // It would have something to say.
    let ran = fed(Command::new(promtool).args(["check", "metrics"]), "# TYPE x_total gauge\nx_total 1\n");
    assert!(ran.code != Some(0) && !ran.stderr.is_empty(), "{ran:?}");
}

/// Runs a command with a text on its standard input.
fn fed(command: &mut Command, text: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// Runs what the service runs with the capabilities that it has there, and compares with what root sees without limits.
fn with_its_rights(setpriv: &Path) {
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
    assert_eq!(elsewhere.say("unshare"), "0");
    let mut container = Actor::spawn(Command::new("/proc/self/exe").uid(NOBODY).gid(NOBODY).current_dir("/"));
    assert_eq!(container.say("unshare-user"), "0");
    let namespaces = [&mut elsewhere, &mut container].map(|actor| {
        actor.number("create 0 4096 0");
        actor.say("namespace")
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

/// Has promtool check the rules, and run their tests.
fn rules(promtool: &Path) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/prometheus");
    for arguments in [["check", "rules", "shmadm.rules.yml"], ["test", "rules", "shmadm.rules.test.yml"]] {
        let ran = finish(Command::new(promtool).args(arguments).current_dir(&directory)).exits(0);
        assert!(ran.stdout.contains("SUCCESS"), "{ran:?}");
    }
}
