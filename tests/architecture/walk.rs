//! The walk over a file's tokens: finds each path, and judges it by the rules.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use crate::rules::{CRATES, LAYERS, NEIGHBOURS, PRINTING, SHARED_BY_COMMANDS, TOP_MODULES, WORDS};
use crate::tokens::{
    is_colons, is_public, is_punct, is_test_attribute, is_visibility, is_word, name_of_module, starts_path,
};

/// A source file: its path below `src`, and its text.
pub(crate) type Source = (String, String);

/// Returns the module that a file is.
fn module_of(file: &str) -> Vec<String> {
    let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(ToOwned::to_owned).collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    if module == ["lib"] { Vec::new() } else { module }
}

/// Returns the violations in some files.
pub(crate) fn violations(sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<Vec<String>> = sources.iter().map(|(file, _)| module_of(file)).collect();
    let mut found = Vec::new();
    for (file, text) in sources {
        let top = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some((top, may)) = TOP_MODULES.iter().find(|(name, _)| *name == top) else {
            found.push(format!("{file}: the table has no module {top}"));
            continue;
        };
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut walk = Walk { file, top, may, modules: &modules, found: &mut found };
        walk.tokens(tokens, &module_of(file), false);
    }
    found
}

/// A walk over one file.
struct Walk<'a> {
    /// The file.
    file: &'a str,
    /// Its top-level module.
    top: &'a str,
    /// The modules that it may name.
    may: &'a [&'a str],
    /// Every module of the library.
    modules: &'a BTreeSet<Vec<String>>,
    /// What was found.
    found: &'a mut Vec<String>,
}

/// The context of a path.
#[derive(Clone, Copy, Default)]
struct Place {
    /// In test code.
    test: bool,
    /// In a `use`.
    import: bool,
    /// In a `pub use`.
    public: bool,
}

impl Walk<'_> {
    /// Records a violation.
    fn report(&mut self, what: &str) {
        self.found.push(format!("{}: {what}", self.file));
    }

    /// Walks some tokens of a module.
    fn tokens(&mut self, tokens: TokenStream, module: &[String], test: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut place = Place { test, ..Place::default() };
        let mut index = 0;
        while index < tokens.len() {
            match &tokens[index] {
                TokenTree::Punct(punct) if punct.as_char() == ';' => place = Place { test, ..Place::default() },
                // `pub(crate)` names no module, but `pub(in crate::x)` could.
                TokenTree::Group(group) if is_visibility(&tokens, index) && group.stream().into_iter().count() == 1 => {
                }
                TokenTree::Group(group) => {
                    place.test |= is_test_attribute(&tokens, index);
                    let inner = match name_of_module(&tokens, index) {
                        Some(name) => [module, &[name]].concat(),
                        None => module.to_vec(),
                    };
                    self.tokens(group.stream(), &inner, place.test);
                    if group.delimiter() == Delimiter::Brace {
                        place = Place { test, ..Place::default() };
                    }
                }
                TokenTree::Ident(word) if word == "crate" && index > 0 && is_word(&tokens[index - 1], "extern") => {
                    self.report("extern crate gives a crate another name");
                }
                TokenTree::Ident(word) if word == "use" => {
                    place.import = true;
                    place.public = is_public(&tokens, index);
                }
                TokenTree::Ident(_) if starts_path(&tokens, index) => {
                    index = self.path(&tokens, index, &[], module, place);
                    continue;
                }
                _ => {}
            }
            index += 1;
        }
    }

    /// Reads a path, with the branches of a `use`; returns the index after it.
    fn path(
        &mut self,
        tokens: &[TokenTree],
        start: usize,
        before: &[String],
        module: &[String],
        place: Place,
    ) -> usize {
        let mut path = before.to_vec();
        let mut index = start;
        loop {
            match tokens.get(index) {
                Some(TokenTree::Ident(word)) => {
                    path.push(word.to_string());
                    index += 1;
                }
                Some(TokenTree::Punct(punct)) if punct.as_char() == '*' && !path.is_empty() => {
                    path.push("*".to_owned());
                    index += 1;
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let branches: Vec<TokenTree> = group.stream().into_iter().collect();
                    for branch in branches.split(|token| is_punct(token, ',')).filter(|branch| !branch.is_empty()) {
                        self.path(branch, 0, &path, module, place);
                    }
                    return index + 1;
                }
                _ => break,
            }
            match tokens.get(index) {
                Some(TokenTree::Punct(punct)) if is_colons(tokens, index) && punct.spacing() == Spacing::Joint => {
                    index += 2;
                }
                _ => break,
            }
        }
        let is_macro = tokens.get(index).is_some_and(|token| is_punct(token, '!'));
        let is_absolute = before.is_empty() && start >= 2 && is_colons(tokens, start - 2);
        self.judge(&path, module, place, is_macro, is_absolute);
        index
    }

    /// Checks a path against all rules.
    fn judge(&mut self, path: &[String], module: &[String], place: Place, is_macro: bool, is_absolute: bool) {
        let shown = path.join("::");
        for (word, home) in WORDS {
            if self.top != *home && path.iter().any(|part| part == word) {
                self.report(&format!("only {home} may have the word {word}: {shown}"));
            }
        }
        if is_macro && self.top != "ui" && path.last().is_some_and(|last| PRINTING.contains(&last.as_str())) {
            self.report(&format!("only ui may print, and this is {shown}!"));
        }
        for (one, other, home) in NEIGHBOURS {
            let counts = path.windows(2).any(|pair| (*one == "*" || pair[0] == *one) && pair[1] == *other);
            if counts && self.top != *home {
                self.report(&format!("only {home} may name {shown}"));
            }
        }
        let whole = path.last().is_some_and(|last| last == "*") && path[..path.len() - 1] == ["std", "io"];
        if whole && self.top != "ui" {
            self.report("std::io::* would bring stdout along");
        }
        let named = path.len() > 1 || place.import;
        let inside = if is_absolute { None } else { self.resolve(path, module) };
        match inside {
            Some(target) if named => self.judge_inside(&shown, path, &target, module, place),
            Some(_) => {}
            None if named && !place.test => {
                let root = path.first().map(String::as_str).unwrap_or_default();
                let homes = CRATES.iter().find(|(name, _)| *name == root).map(|(_, homes)| homes);
                if homes.is_some_and(|homes| !homes.contains(&self.top)) {
                    self.report(&format!("{} may not name the crate {root}: {shown}", self.top));
                }
            }
            None => {}
        }
    }

    /// Checks a path that leads into the library.
    fn judge_inside(&mut self, shown: &str, path: &[String], target: &[String], module: &[String], place: Place) {
        let Some(top) = target.first().filter(|top| *top != "*") else {
            return self.report(&format!("{shown} imports every module at once"));
        };
        if top == "self" {
            return self.report(&format!("{shown} gives the whole crate another name"));
        }
        let is_top = TOP_MODULES.iter().any(|(name, _)| name == top);
        if is_top && top != self.top && !self.may.contains(&top.as_str()) {
            self.report(&format!("{} may not name {top}: {shown}", self.top));
        }
        let from_afar = path.first().is_some_and(|first| first == "crate") || (is_top && top != self.top);
        let is_front = self.top == "lib" || (module.len() == 1 && self.file.ends_with("/mod.rs"));
        if place.public && from_afar && !is_front {
            self.report(&format!("only the mod.rs of a top-level module may re-export {shown}"));
        }
        for (outer, order) in LAYERS {
            let is_inside = |path: &[String]| path.len() > outer.len() && path.iter().zip(*outer).all(|(a, b)| a == b);
            if !is_inside(module) || !is_inside(target) {
                continue;
            }
            let (here, there) = (&module[outer.len()], &target[outer.len()]);
            let place = |name: &String| order.iter().position(|module| module == name);
            if here != there && place(here).is_some_and(|here| place(there).is_none_or(|there| there > here)) {
                self.report(&format!("{here} may not name {there}, which is not in a layer below it: {shown}"));
            }
        }
        let (Some(here), Some(there)) = (module.get(1), target.get(1)) else { return };
        let is_command = |name: &String| self.modules.contains(&vec!["commands".to_owned(), name.clone()]);
        let shared = SHARED_BY_COMMANDS.contains(&there.as_str());
        // A test within mod.rs is a module too, but no command.
        if self.top == "commands" && top == "commands" && is_command(here) && here != there {
            if there == "*" {
                self.report(&format!("{shown} brings in every command"));
            } else if is_command(there) && !shared {
                self.report(&format!("command {here} may not name command {there}: {shown}"));
            }
        }
    }

    /// Finds the module or item of the library that a path names; `None` if it names something else.
    fn resolve(&self, path: &[String], module: &[String]) -> Option<Vec<String>> {
        if self.top == "main" {
            // The binary is a crate of its own.
            return None;
        }
        let first = path.first()?;
        let mut base = module.to_vec();
        let ups = path.iter().take_while(|word| *word == "super").count();
        let rest = match first.as_str() {
            "crate" => {
                base.clear();
                &path[1..]
            }
            "self" => {
                let rest = &path[1..];
                let ups = rest.iter().take_while(|word| *word == "super").count();
                base.truncate(base.len().saturating_sub(ups));
                &rest[ups..]
            }
            "super" => {
                base.truncate(base.len().saturating_sub(ups));
                &path[ups..]
            }
            _ => {
                base.push(first.clone());
                if !self.modules.contains(&base) {
                    return None;
                }
                base.pop();
                path
            }
        };
        base.extend_from_slice(rest);
        // `a::{self}` names a; that of the root is left, for `judge_inside` to find.
        if base.len() > 1 && base.last().is_some_and(|last| last == "self") {
            base.pop();
        }
        if base.is_empty() { Some(vec!["self".to_owned()]) } else { Some(base) }
    }
}
