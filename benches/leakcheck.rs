//! Benchmark of the overhead of `leakcheck`.

use crate::timing::{Job, SHMADM, extra};

/// Compares `true` under `leakcheck` with plain `true`.
pub(crate) fn run(pairs: usize, root: bool) {
    println!("-- leakcheck of a command that does nothing");
    let bare = Job::new(&["true"]);
    let always = ["--isolate", "always"];
    let mut variants: Vec<(&str, Vec<&str>)> = vec![
        ("leakcheck, isolated : bare", always.to_vec()),
        ("leakcheck, isolated and traced : bare", [&always[..], &["--trace"]].concat()),
        ("leakcheck, shared : bare", vec!["--isolate", "never"]),
    ];
    if root {
        variants.push(("leakcheck, shared and traced : bare", vec!["--isolate", "never", "--trace"]));
    }
    for (what, options) in variants {
        let command = [&[SHMADM, "leakcheck"], options.as_slice(), &["--", "true"]].concat();
        extra(what, &Job::new(&command), &bare, pairs, 20.0);
    }
}
