//! Advice with its commands as they are to be typed.

/// The longest command line that is worth repeating.
const LONGEST: usize = 256;

/// What the commands in advice depend on.
#[derive(Debug, Default)]
pub(super) struct Advice {
    /// The other namespace in which the whole command works, as a shell takes it.
    pub(super) place: Option<String>,
    /// What the user typed behind the program's name, as a shell takes it.
    pub(super) line: Option<String>,
}

impl Advice {
    /// Gives advice as it is to be typed: with the user's own words in the place of `shmadm …`, and within the namespace.
    pub(super) fn typed(&self, hint: &str) -> String {
        // One with bytes that are no text cannot be typed as it would stand here.
        let line =
            self.line.as_ref().filter(|line| line.len() <= LONGEST && !line.contains(char::REPLACEMENT_CHARACTER));
        let hint = line.and_then(|line| fill(hint, line)).unwrap_or_else(|| hint.to_owned());
        match &self.place {
            Some(place) if !hint.contains(" --ns") && !hint.contains(" --all-ns") => hint
                .replace("`shmadm ", &format!("`shmadm --ns {place} "))
                .replace("sudo shmadm ", &format!("sudo shmadm --ns {place} "))
                .replace("`sysctl ", &format!("`{}sysctl ", entering(place))),
            _ => hint,
        }
    }
}

/// Gives what has another program work in a namespace; of one by its number no file is known that it could enter.
fn entering(place: &str) -> String {
    if place.contains("ipc:[") {
        "nsenter --ipc=/proc/PID/ns/ipc ".to_owned()
    } else if place.contains('/') {
        format!("nsenter --ipc={place} ")
    } else {
        format!("nsenter --ipc --target {place} ")
    }
}

/// Puts a command line in the place of the dots of `shmadm … --option`, with the option before whatever stands behind --.
fn fill(hint: &str, line: &str) -> Option<String> {
    let (before, behind) = hint.split_once("shmadm …")?;
    let (options, behind) = behind.split_once('`')?;
    let (words, rest) = line.split_at(line.find(" -- ").unwrap_or(line.len()));
    Some(format!("{before}shmadm {words}{options}{rest}`{behind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_words_stand_in_the_place_of_the_dots() {
        let typed = |line: &str, hint: &str| Advice { place: None, line: Some(line.to_owned()) }.typed(hint);
        assert_eq!(typed("dump 5", "`shmadm … --force` overwrites it"), "`shmadm dump 5 --force` overwrites it");
        assert_eq!(typed("rm 5", "root can: `sudo shmadm …`"), "root can: `sudo shmadm rm 5`");
        assert_eq!(typed("leakcheck -- a b", "`shmadm … --trace`"), "`shmadm leakcheck --trace -- a b`");
        assert_eq!(typed("rm 5", "`shmadm list` shows it"), "`shmadm list` shows it");
        assert_eq!(typed(&"x".repeat(300), "`shmadm … --force`"), "`shmadm … --force`");
        assert_eq!(Advice::default().typed("`shmadm … -- -x`"), "`shmadm … -- -x`");
    }

    #[test]
    fn what_is_advised_stays_in_the_namespace() {
        let advice = Advice { place: Some("7".to_owned()), line: Some("--ns 7 rm 5".to_owned()) };
        assert_eq!(advice.typed("`sudo shmadm …`"), "`sudo shmadm --ns 7 rm 5`");
        assert_eq!(advice.typed("`shmadm list`"), "`shmadm --ns 7 list`");
        assert_eq!(advice.typed("`shmadm list --all-ns`"), "`shmadm list --all-ns`");
        let typed = |place: &str| {
            Advice { place: Some(place.to_owned()), line: None }.typed("raise it: `sysctl -w kernel.shmmni=2`")
        };
        assert_eq!(typed("7"), "raise it: `nsenter --ipc --target 7 sysctl -w kernel.shmmni=2`");
        assert_eq!(typed("/run/ns"), "raise it: `nsenter --ipc=/run/ns sysctl -w kernel.shmmni=2`");
        assert_eq!(typed("'/run/a b'"), "raise it: `nsenter --ipc='/run/a b' sysctl -w kernel.shmmni=2`");
        assert_eq!(typed("'ipc:[5]'"), "raise it: `nsenter --ipc=/proc/PID/ns/ipc sysctl -w kernel.shmmni=2`");
    }
}
