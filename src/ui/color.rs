//! Whether output has colors.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// All settings, with the words that users type.
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];

    pub(super) fn applies(self, is_terminal: bool) -> bool {
        let disabled = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || is_dumb();
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && !disabled(),
        }
    }
}

/// Returns whether the terminal knows no control sequences.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
