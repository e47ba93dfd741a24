use clap::Args;
use clap_complete::Shell;

use super::{Context, Manual, usage_error};
use crate::error::{Error, Exit};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Print a shell completion script",
    description: "Prints a completion script for a shell.\n\n\
                  The scripts for bash (4.4 or newer), fish and zsh run shmadm, which must be in PATH, for each \
                  completion. They also complete values from the running system: ids and keys of segments that the \
                  command can use, columns, users, groups, IPC namespaces, and the command of leakcheck.",
    examples: &[
        ("shmadm completions bash > shmadm.bash", "write the completion script for bash"),
        ("shmadm completions fish > shmadm.fish", "write the completion script for fish"),
    ],
    json: "--json is a usage error: the output is a script.",
    notes: "For bash, source the script or save it in ~/.local/share/bash-completion/completions; for zsh, save it as \
            _shmadm in a directory of $fpath; for fish, in ~/.config/fish/completions.",
};

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// Shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, context: &mut Context, mut program: clap::Command) -> Result<Exit, Error> {
    if context.json() {
        return Err(usage_error(
            "completions and --json cannot be combined: completions prints a script, not a report",
        ));
    }
    // Into memory first: the generator panics on a writer that fails.
    let mut script = Vec::new();
    match args.shell {
        Shell::Bash => script.extend(include_bytes!("../../completions/shmadm.bash")),
        Shell::Fish => script.extend(include_bytes!("../../completions/shmadm.fish")),
        Shell::Zsh => script.extend(include_bytes!("../../completions/_shmadm")),
        other => clap_complete::generate(other, &mut program, "shmadm", &mut script),
    }
    context.ui.write(|out| std::io::Write::write_all(out, &script))?;
    Ok(Exit::Done)
}
