//! What it costs to run a command under `leakcheck`.

use crate::timing::{Job, SHMADM, extra};

/// Runs a command that does nothing, bare and checked.
pub(crate) fn run(pairs: usize, root: bool) {
    println!("-- leakcheck of a command that does nothing");
    let bare = Job::new(&["true"]);
    let always = ["--isolate", "always"];
    let mut ways: Vec<(&str, Vec<&str>)> = vec![
        ("leakcheck, isolated : bare", always.to_vec()),
        ("leakcheck, isolated and traced : bare", [&always[..], &["--trace"]].concat()),
        ("leakcheck, shared : bare", vec!["--isolate", "never"]),
    ];
    if root {
        ways.push(("leakcheck, shared and traced : bare", vec!["--isolate", "never", "--trace"]));
    }
    for (what, options) in ways {
        let words = [&[SHMADM, "leakcheck"], options.as_slice(), &["--", "true"]].concat();
        extra(what, &Job::new(&words), &bare, pairs, 20.0);
    }
}
