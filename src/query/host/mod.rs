//! The machine and the caller: users, processes, rights, namespaces, huge pages.

mod accounts;
mod ages;
mod caller;
mod devices;
mod directory;
mod file_systems;
mod huge;
mod id_map;
mod instances;
mod namespaces;
mod process;
mod rights;
mod system;

pub(crate) use accounts::{Account, find_group, find_user};
pub(super) use devices::{page_size_on, segment_devices};
pub(crate) use directory::{DEV_SHM, ObjectDirectory};
pub(crate) use file_systems::{MountedFileSystem, MountedFileSystems, mounted_file_systems};
pub(crate) use huge::{huge_page_pools, huge_page_sizes, pool as huge_page_pool, pool_file as huge_page_pool_file};
pub(crate) use id_map::IdMaps;
pub(super) use id_map::to_caller;
pub(crate) use instances::{Instances, instances};
pub(super) use namespaces::container;
pub(crate) use namespaces::{Census, Namespace, census, container_of_process};
pub(super) use process::wait_for_exits;
pub(crate) use process::{ProcessStatus, SLACK_SECONDS};
pub(crate) use rights::{
    CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_IPC_LOCK, CAP_IPC_OWNER, CAP_SYS_ADMIN, Capability, Resource,
    caller_limit, can_become_root, can_create_user_namespace, can_inspect_all, capability, has_capability,
    has_capability_over, is_in_initial_user_namespace, is_owner_or_creator, lockable, may_control,
    may_exceed_lock_limit, may_use_huge_pages, mode_shift,
};
pub(crate) use system::{ObjectsLocation, System};
