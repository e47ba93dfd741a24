//! Questions about the tokens around an index.

use proc_macro2::{Delimiter, TokenTree};

/// Returns whether a token is this character.
pub(crate) fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// Returns whether a token is this word.
pub(crate) fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

/// Returns whether `::` is at an index.
pub(crate) fn is_colons(tokens: &[TokenTree], index: usize) -> bool {
    tokens.get(index).is_some_and(|token| is_punct(token, ':'))
        && tokens.get(index + 1).is_some_and(|token| is_punct(token, ':'))
}

/// Returns whether a path begins at a word, which is neither a field or method nor an item of the type before it.
pub(crate) fn starts_path(tokens: &[TokenTree], index: usize) -> bool {
    let before = |back: usize| index.checked_sub(back).and_then(|place| tokens.get(place));
    let is = |back: usize, character: char| before(back).is_some_and(|token| is_punct(token, character));
    let of_value = is(1, '.') && !is(2, '.');
    let of_type = is(1, ':') && is(2, ':') && is(3, '>');
    !of_value && !of_type
}

/// Returns whether the group at an index is the `(crate)` of `pub(crate)`.
pub(crate) fn is_visibility(tokens: &[TokenTree], index: usize) -> bool {
    index > 0
        && is_word(&tokens[index - 1], "pub")
        && matches!(&tokens[index], TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis)
}

/// Returns whether the `use` at an index hands on what it names.
pub(crate) fn is_public(tokens: &[TokenTree], index: usize) -> bool {
    let after_group = index >= 2 && is_visibility(tokens, index - 1);
    after_group || (index >= 1 && is_word(&tokens[index - 1], "pub"))
}

/// Returns whether the group at an index is that of `#[cfg(test)]`.
pub(crate) fn is_test_attribute(tokens: &[TokenTree], index: usize) -> bool {
    let text = tokens[index].to_string().replace(' ', "");
    text == "[cfg(test)]" && index > 0 && is_punct(&tokens[index - 1], '#')
}

/// Returns the name of the inline module whose braces stand at an index.
pub(crate) fn name_of_module(tokens: &[TokenTree], index: usize) -> Option<String> {
    let name = tokens.get(index.checked_sub(1)?)?;
    is_word(tokens.get(index.checked_sub(2)?)?, "mod").then(|| name.to_string())
}
