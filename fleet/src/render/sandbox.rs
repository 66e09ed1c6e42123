//! The renderer's sandbox: this process gives up its rights, then becomes the renderer.
//!
//! Called by the hidden subcommand `sandbox` of hub and CLI, which the pool starts for each worker, never by a thread
//! of a running hub: what is given up here never comes back. Order: resource limits, Landlock (with no_new_privs),
//! seccomp, exec. What stays: the inherited socket, memory, threads, the renderer's own file.
use std::{
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The renderer's address space, bytes. Go reserves far more than it uses; what it uses is watched from outside.
const ADDRESS_SPACE_MAX: u64 = 16 << 30;
/// Processor time of one worker in its life, seconds: 200 renders of 30 s. Ends a worker whose hub is gone.
const CPU_SECONDS_MAX: u64 = 6_000;
/// Open files: socket, output and what the runtime needs.
const OPEN_FILES_MAX: u64 = 64;

/// Why the renderer was not started. In each case it must not run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A resource limit was refused.
    #[error("resource limits: {0}")]
    Limits(#[source] io::Error),
    /// The kernel offers no Landlock, or too little.
    #[error("landlock: {0}")]
    Landlock(String),
    /// The filter of system calls was refused.
    #[error("seccomp: {0}")]
    Seccomp(String),
    /// The renderer is not there, or can't be run.
    #[error("exec {path}: {source}")]
    Exec {
        /// The renderer.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Confines this thread and becomes the program at `path`. Returns only with the reason why not.
///
/// # Errors
/// [`SandboxError`]; some rights may be gone by then, so the process has to end.
pub fn enter_and_exec(path: &Path) -> SandboxError {
    match enter(path) {
        Err(error) => error,
        Ok(()) => SandboxError::Exec {
            path: path.to_owned(),
            source: Command::new(path).exec(),
        },
    }
}

fn enter(path: &Path) -> Result<(), SandboxError> {
    limit_resources().map_err(SandboxError::Limits)?;
    confine_files(path)?;
    deny_system_calls()
}

fn limit_resources() -> io::Result<()> {
    for (resource, most) in [
        (rlimit::Resource::AS, ADDRESS_SPACE_MAX),
        (rlimit::Resource::CPU, CPU_SECONDS_MAX),
        (rlimit::Resource::NOFILE, OPEN_FILES_MAX),
        (rlimit::Resource::FSIZE, 0),
        (rlimit::Resource::CORE, 0),
    ] {
        let (_, hard) = resource.get()?;
        let most = most.min(hard);
        resource.set(most, most)?;
    }
    Ok(())
}

/// No file but the renderer itself, no port, no signal and no abstract socket to the outside.
fn confine_files(path: &Path) -> Result<(), SandboxError> {
    let refused = |error: &dyn std::fmt::Display| SandboxError::Landlock(error.to_string());
    // ABI 4 (network) is the least that a kernel must offer; what newer ones add is taken where it is there.
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V4))
        .map_err(|error| refused(&error))?
        .handle_access(AccessNet::from_all(ABI::V4))
        .map_err(|error| refused(&error))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V6))
        .map_err(|error| refused(&error))?
        .scope(Scope::from_all(ABI::V6))
        .map_err(|error| refused(&error))?
        .create()
        .map_err(|error| refused(&error))?
        .add_rule(PathBeneath::new(
            PathFd::new(path).map_err(|error| refused(&error))?,
            AccessFs::Execute | AccessFs::ReadFile,
        ))
        .map_err(|error| refused(&error))?
        .restrict_self()
        .map_err(|error| refused(&error))?;
    if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
        return Err(SandboxError::Landlock(
            "the kernel enforces nothing".to_owned(),
        ));
    }
    Ok(())
}

/// System calls that a renderer never needs. A list of what is denied, not of what is allowed: Go's runtime changes
/// what it calls with each version; exec needs no entry, since Landlock leaves nothing to execute but the renderer.
const DENIED: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_clone3,
    libc::SYS_execveat,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_memfd_create,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_inotify_init1,
    libc::SYS_fanotify_init,
    libc::SYS_mq_open,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
];

/// The old calls that start a process; newer architectures have `clone` alone.
#[cfg(target_arch = "x86_64")]
const FORKS: &[i64] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const FORKS: &[i64] = &[];

fn deny_system_calls() -> Result<(), SandboxError> {
    let refused = |error: &dyn std::fmt::Display| SandboxError::Seccomp(error.to_string());
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> = DENIED
        .iter()
        .chain(FORKS)
        .map(|call| (*call, Vec::new()))
        .collect();
    // Threads yes, processes no.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let no_thread = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(thread),
        0,
    )
    .and_then(|condition| SeccompRule::new(vec![condition]))
    .map_err(|error| refused(&error))?;
    rules.insert(libc::SYS_clone, vec![no_thread]);
    let errno = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = std::env::consts::ARCH
        .try_into()
        .and_then(|arch| SeccompFilter::new(rules, SeccompAction::Allow, errno, arch))
        .and_then(BpfProgram::try_from)
        .map_err(|error| refused(&error))?;
    seccompiler::apply_filter(&filter).map_err(|error| refused(&error))
}
