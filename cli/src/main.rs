//! The program's entry. Memory is wiped when it is given back, whatever it held.

use std::alloc::System;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    avouch::main(std::env::args_os())
}
