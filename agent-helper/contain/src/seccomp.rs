//! System calls that no contained session makes: what namespaces do not divide, and what opens the kernel's rarely
//! trodden paths.
//!
//! A list of what is refused, not of what is allowed: a session runs whatever people run, and its walls are the
//! namespaces. A refused call fails with an error that programs know, so that they go on without it. A program of
//! another architecture (32 bits) would pass by numbers that mean something else; it is ended by SIGSYS.

mod rules;
#[cfg(test)]
mod tests;

use crate::profile::{Allowed, Kernel};
use rules::Rules;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// The filters could not be made or installed.
#[derive(Debug, thiserror::Error)]
#[error("system calls cannot be filtered: {0}")]
pub(crate) struct SeccompError(String);

/// Installs the list for this thread and all that it starts, with `no_new_privs`. Last of all: it refuses what the
/// steps before it do.
pub(crate) fn install(kernel: &Kernel) -> Result<(), SeccompError> {
    for program in programs(kernel)? {
        apply_filter(&program).map_err(|error| SeccompError(error.to_string()))?;
    }
    Ok(())
}

/// One program for each error: a filter has but one.
fn programs(kernel: &Kernel) -> Result<Vec<BpfProgram>, SeccompError> {
    let told = |error: seccompiler::BackendError| SeccompError(error.to_string());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(told)?;
    let (namespaces, trace) = (kernel.namespaces == Allowed::Refuse, kernel.trace == Allowed::Refuse);
    let mut programs = vec![FOREIGN_NUMBERS.to_vec()];
    for (errno, rules) in [
        (nix::errno::Errno::EPERM, Rules::forbidden(namespaces, trace)),
        (nix::errno::Errno::ENOSYS, Rules::missing(namespaces)),
        (nix::errno::Errno::EAFNOSUPPORT, Rules::families()),
        (nix::errno::Errno::EOPNOTSUPP, Rules::attributes(!namespaces)),
    ] {
        let refusal = SeccompAction::Errno(u32::try_from(errno as i32).unwrap_or(EPERM));
        let filter = SeccompFilter::new(rules.map_err(told)?.into_map(), SeccompAction::Allow, refusal, arch);
        programs.push(filter.and_then(BpfProgram::try_from).map_err(told)?);
    }
    Ok(programs)
}

/// Refuses the numbers of the x32 calls, which pass as x86-64 and are on no list.
const FOREIGN_NUMBERS: [seccompiler::sock_filter; 4] = [
    // Load the number of the call; from the x32 bit on it is refused.
    instruction(BPF_LOAD_WORD, 0, 0, 0),
    instruction(BPF_JUMP_IF_AT_LEAST, 0, 1, X32_BIT),
    instruction(BPF_RETURN, 0, 0, SECCOMP_ERRNO | EPERM),
    instruction(BPF_RETURN, 0, 0, SECCOMP_ALLOW),
];

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> seccompiler::sock_filter {
    seccompiler::sock_filter { code, jt, jf, k }
}

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP | BPF_JGE | BPF_K` and `BPF_RET | BPF_K` of linux/bpf_common.h.
const BPF_LOAD_WORD: u16 = 0x20;
const BPF_JUMP_IF_AT_LEAST: u16 = 0x35;
const BPF_RETURN: u16 = 0x06;
/// `SECCOMP_RET_ALLOW` and `SECCOMP_RET_ERRNO` of linux/seccomp.h.
const SECCOMP_ALLOW: u32 = 0x7fff_0000;
const SECCOMP_ERRNO: u32 = 0x0005_0000;
const EPERM: u32 = 1;
const X32_BIT: u32 = 0x4000_0000;
