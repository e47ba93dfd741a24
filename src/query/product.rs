//! The programs that objects with known names belong to.

use std::sync::{Arc, LazyLock};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::name_pattern::NamePattern;
use crate::model::{FileStat, Key, ObjectName};

/// A rule by which a program is recognized; see products.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Product {
    #[serde(deserialize_with = "not_empty")]
    pub(crate) id: Arc<str>,
    pattern: Option<NamePattern>,
    /// Whether only files on hugetlbfs are the program's.
    #[serde(default)]
    hugetlbfs: bool,
    #[serde(default)]
    pub(crate) keep: bool,
    #[serde(default)]
    together: bool,
    /// The first bytes of some of its objects.
    pub(in crate::query) magic: Option<u32>,
    pub(crate) source: String,
    /// What the program uses such an object for.
    pub(crate) what: Option<String>,
    /// The program's own command that cleans up.
    pub(crate) cleanup: Option<Arc<str>>,
    /// The base of the pid in a name.
    #[serde(default = "decimal")]
    base: u32,
    /// The names of the program's processes (proc_pid_comm(5)).
    #[serde(default)]
    pub(crate) users: Vec<String>,
    /// Whether a segment that such a process has attached is the program's.
    #[serde(default, rename = "segments")]
    pub(crate) has_segments: bool,
    /// Whether only segments that are marked for destruction are.
    #[serde(default)]
    pub(crate) dest: bool,
    /// Keys of segments, in hexadecimal.
    #[serde(default)]
    keys: Vec<String>,
}

const fn decimal() -> u32 {
    10
}

fn not_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Err(D::Error::custom("empty `id`")) } else { Ok(text.into()) }
}

/// The maximum of kernel.pid_max (PID_MAX_LIMIT of linux/threads.h).
const MAX_PID: i32 = 1 << 22;

impl Product {
    /// Parses a table of products, and checks the keys in it.
    fn parse(text: &str) -> Result<Vec<Self>, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            #[serde(default)]
            product: Vec<Product>,
        }
        let invalid = |error: toml::de::Error| match error.span() {
            Some(span) => {
                let before = text.get(..span.start).unwrap_or_default();
                format!("line {}: {}", before.matches('\n').count() + 1, error.message())
            }
            None => error.message().to_owned(),
        };
        let products = toml::from_str(text).map(|table: Table| table.product).map_err(invalid)?;
        for product in &products {
            if !matches!(product.base, 2..=36) {
                return Err(format!("{}: invalid base {}", product.id, product.base));
            }
            if let Some(key) = product.keys.iter().find(|key| Key::parse(key).is_err()) {
                return Err(format!("{}: invalid key {key:?}", product.id));
            }
        }
        Ok(products)
    }

    pub(in crate::query) fn has_key(&self, key: Key) -> bool {
        self.keys.iter().any(|own| Key::parse(own) == Ok(key))
    }

    /// Returns the name of the family of an object: of those with the same unit, or else with the same owner.
    pub(in crate::query) fn family(&self, uid: u32, unit: Option<&str>) -> Option<Arc<str>> {
        let name = || unit.map_or_else(|| format!("{} of {uid}", self.id), |unit| format!("{} {unit}", self.id));
        self.together.then(|| name().into())
    }

    fn is_for_directories(&self) -> bool {
        self.pattern.as_ref().is_some_and(|pattern| pattern.is_for_directories)
    }

    /// Returns what the name of an object shows, if it matches.
    fn recognize<'a>(&'a self, name: &'a ObjectName) -> Option<Recognized<'a>> {
        let found = self.pattern.as_ref()?.captures(name.file_name().to_str()?)?;
        let maker = found.name("pid").and_then(|pid| i32::from_str_radix(pid.as_str(), self.base).ok());
        Some(Recognized {
            product: self,
            maker: maker.filter(|pid| (1..=MAX_PID).contains(pid)),
            unit: found.name("unit").map(|unit| unit.as_str()),
            is_lock: found.name("lock").is_some(),
        })
    }
}

/// What a name shows.
pub(in crate::query) struct Recognized<'a> {
    pub(in crate::query) product: &'a Product,
    /// The pid of the creator.
    pub(in crate::query) maker: Option<i32>,
    /// What the names of the objects that the program needs together have in common.
    pub(in crate::query) unit: Option<&'a str>,
    /// Whether the program keeps it open and locked while it uses the others.
    pub(in crate::query) is_lock: bool,
}

/// Rules for programs, those of the user first.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    own: Vec<Product>,
}

impl Rules {
    /// Parses rules in the format of products.toml.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let own = Product::parse(text)?;
        for Product { id, pattern, users, keys, .. } in &own {
            if let Some(Err(error)) = pattern.as_ref().map(NamePattern::check) {
                return Err(format!("{id}: {error}"));
            }
            if pattern.is_none() && users.is_empty() && keys.is_empty() {
                return Err(format!("{id}: expected a pattern, users or keys"));
            }
        }
        Ok(Self { own })
    }

    fn builtin() -> &'static [Product] {
        static BUILTIN: LazyLock<Vec<Product>> =
            LazyLock::new(|| Product::parse(include_str!("products.toml")).unwrap_or_default());
        &BUILTIN
    }

    pub(in crate::query) fn all(&self) -> impl Iterator<Item = &Product> {
        self.own.iter().chain(Self::builtin())
    }

    /// Returns what the name of a file shows, by the first rule that it matches.
    pub(in crate::query) fn find<'a>(
        &'a self,
        name: &'a ObjectName,
        stat: &FileStat,
        on_hugetlbfs: bool,
    ) -> Option<Recognized<'a>> {
        let is_directory = stat.is_directory();
        // Patterns in users' rules also match directories, for compatibility.
        let own = self.own.iter().filter(|product| is_directory || !product.is_for_directories());
        let builtin = Self::builtin().iter().filter(|product| is_directory == product.is_for_directories());
        let mut products = own.chain(builtin).filter(|product| on_hugetlbfs || !product.hugetlbfs);
        products.find_map(|product| product.recognize(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_with_the_same_unit_or_owner_are_a_family() {
        let family = |name: &str, uid| {
            let name = ObjectName::of_file(name.as_bytes()).unwrap();
            Rules::default()
                .find(&name, &FileStat::REGULAR, false)
                .and_then(|found| found.product.family(uid, found.unit))
                .map(|family| family.to_string())
        };
        for name in ["fastrtps_port7411", "fastrtps_port7411_el", "fastrtps_port7411_sl", "sem.fastrtps_port7411_mutex"]
        {
            assert_eq!(family(name, 1).as_deref(), Some("fast-dds fastrtps_port7411"), "{name}");
        }
        assert_eq!(family("fastdds_0123456789abcdef_el", 1), family("fastdds_0123456789abcdef", 2));
        assert_ne!(family("fastrtps_port7411", 1), family("fastrtps_port7412", 1));
        assert_eq!(family("PostgreSQL.1", 5), family("PostgreSQL.2", 5));
        assert_ne!(family("PostgreSQL.1", 5), family("PostgreSQL.2", 6));
        assert_eq!(family("psm_1a2b3c4d", 5), None);
    }

    #[test]
    fn names_of_known_programs_are_recognized_with_the_pid_in_them() {
        let products = Rules::parse(include_str!("products.toml")).unwrap().own;
        for product in products {
            let page = include_str!("../../docs/products.md");
            assert!(page.contains(&format!("`{}`", product.id)), "{} is not in docs/products.md", product.id);
        }
        for (name, expected) in [
            ("psm_1a2b3c4d", Some(("python-shared-memory", None))),
            ("psm_1a2b3c4", None),
            ("psm_1a2b3c4d/", None),
            ("xpsm_1a2b3c4d", None),
            ("torch_4711_1234_0", Some(("pytorch", Some(4711)))),
            ("torch_0_1234_0", Some(("pytorch", None))),
            ("sem.loky-12-abc_", Some(("loky", Some(12)))),
            ("joblib_memmapping_folder_33_ab_cd/", Some(("joblib", Some(33)))),
            ("joblib_memmapping_folder_33_ab_cd", None),
            ("sem.mp-x1", Some(("python-multiprocessing", None))),
            ("vllm_offload_63f63241-9def-4261-b65e-0123456789ab_dp0.mmap", Some(("vllm", None))),
            ("sgl_shm_mm_4711_0123abcd", Some(("sglang", Some(4711)))),
            ("PostgreSQL.1234", Some(("postgresql", None))),
            ("vader_segment.host.0.1", Some(("open-mpi", None))),
            ("nvmf_trace.pid99", Some(("spdk", Some(99)))),
            ("tt_h2d_4242_987_3", Some(("tt-metal", Some(4242)))),
            ("qb-cib_rw-77-88-13-event-data", Some(("libqb", Some(77)))),
            ("qb-77-88-13-AbC123/", Some(("libqb", Some(77)))),
            ("tt_d2h_4242_3", Some(("tt-metal", Some(4242)))),
            ("jack-1000-0", Some(("jack", None))),
            ("jack_default_0", Some(("jack", None))),
            ("sglang_loads_1", Some(("sglang", None))),
            ("app.running", Some(("sysrepo", None))),
            ("sem.jack_sem.1000_default_system", Some(("jack", None))),
            ("libpod_rootless_lock_1000", Some(("podman", None))),
            ("ols/", Some(("openlitespeed", None))),
            ("ols", None),
            ("rtemap_3", None),
            ("sem.fastrtps_port7411_mutex", Some(("fast-dds", None))),
            ("sem.fastrtps_x_mutex", Some(("fast-dds", None))),
            ("qb-corosync-88-blackbox-header", Some(("libqb", Some(88)))),
            ("osc_sm.host.1.0.3", Some(("open-mpi", None))),
            ("mpich_shar_tmpYbGKbb", Some(("mpich", None))),
            ("squid-cf__metadata.shm", Some(("squid", None))),
            ("ShM.1a2bH3c4d", Some(("apr", None))),
            ("mine", None),
        ] {
            let mode = if name.ends_with('/') { 0o040_000 } else { 0o100_000 };
            let stat = FileStat { mode, ..FileStat::REGULAR };
            let name = ObjectName::of_file(name.trim_end_matches('/').as_bytes()).unwrap();
            let rules = Rules::default();
            let found = rules.find(&name, &stat, false);
            assert_eq!(found.map(|found| (&*found.product.id, found.maker)), expected, "{name:?}");
        }
        let name = ObjectName::of_file(b"rtemap_3").unwrap();
        assert!(
            Rules::default().find(&name, &FileStat::REGULAR, true).is_some_and(|found| &*found.product.id == "dpdk")
        );
    }
}
