//! The programs that objects with known names belong to.

use std::cell::OnceCell;

use regex_lite::Regex;
use serde::Deserialize;

use crate::model::ObjectName;

/// A program, by the names of its objects; see products.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Product {
    pub(crate) id: String,
    pattern: String,
    #[serde(default)]
    pub(crate) keep: bool,
    #[expect(dead_code, reason = "for readers of the file")]
    source: String,
    /// Compiled when a name begins like the pattern.
    #[serde(skip)]
    regex: OnceCell<Option<Regex>>,
}

impl Product {
    /// Matches a file name; returns the pid in it, if there is one.
    fn matches(&self, name: &str) -> Option<Option<i32>> {
        let literal = self.pattern.find(|first: char| !first.is_ascii_alphanumeric() && !"_-".contains(first));
        let literal = literal.map_or(&*self.pattern, |end| &self.pattern[..end]);
        // A quantifier applies to the character before it.
        let is_quantified = self.pattern[literal.len()..].starts_with(['*', '+', '?', '{']);
        let literal = if is_quantified { &literal[..literal.len().saturating_sub(1)] } else { literal };
        if !name.starts_with(literal) {
            return None;
        }
        let regex = self.regex.get_or_init(|| Regex::new(&format!("^(?:{})$", self.pattern)).ok());
        let found = regex.as_ref()?.captures(name)?;
        Some(found.name("pid").and_then(|pid| pid.as_str().parse().ok()))
    }
}

/// The first product that a name matches, and the pid in the name.
pub(in crate::query) fn find(name: &ObjectName) -> Option<(&'static Product, Option<i32>)> {
    thread_local! {
        static PRODUCTS: &'static [Product] = products();
    }
    let name = name.file_name().to_str()?;
    PRODUCTS.with(|products| products.iter().find_map(|product| Some((product, product.matches(name)?))))
}

fn products() -> &'static [Product] {
    #[derive(Deserialize)]
    struct Table {
        product: Vec<Product>,
    }
    let table = toml::from_str(include_str!("products.toml")).map(|table: Table| table.product);
    Vec::leak(table.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_known_programs_are_recognised_with_the_pid_in_them() {
        for product in products() {
            assert!(Regex::new(&product.pattern).is_ok(), "{product:?}");
        }
        for (name, expected) in [
            ("psm_1a2b3c4d", Some(("python-shared-memory", None))),
            ("psm_1a2b3c4", None),
            ("xpsm_1a2b3c4d", None),
            ("torch_4711_1234_0", Some(("pytorch", Some(4711)))),
            ("sem.loky-12-abc_", Some(("loky", Some(12)))),
            ("joblib_memmapping_folder_33_ab_cd", Some(("joblib", Some(33)))),
            ("sem.mp-x1", Some(("python-multiprocessing", None))),
            ("vllm_offload_63f63241-9def-4261-b65e-0123456789ab_dp0.mmap", Some(("vllm", None))),
            ("sgl_shm_mm_4711_0123abcd", Some(("sglang", Some(4711)))),
            ("PostgreSQL.1234", Some(("postgresql", None))),
            ("vader_segment.host.0.1", Some(("open-mpi", None))),
            ("nvmf_trace.pid99", Some(("spdk", Some(99)))),
            ("tt_h2d_4242_987_3", Some(("tt-metal", Some(4242)))),
            ("qb-cib_rw-77-88-13-event-data", Some(("libqb", Some(77)))),
            ("qb-77-88-13-AbC123", Some(("libqb", Some(77)))),
            ("jack-1000-0", Some(("jack", None))),
            ("sem.jack_sem.1000_default_system", Some(("jack", None))),
            ("libpod_rootless_lock_1000", Some(("podman", None))),
            ("ols", Some(("openlitespeed", None))),
            ("rtemap_3", Some(("dpdk", None))),
            ("mine", None),
        ] {
            let found = find(&ObjectName::of_file(name.as_bytes()).unwrap());
            assert_eq!(found.map(|(product, pid)| (&*product.id, pid)), expected, "{name}");
        }
    }
}
