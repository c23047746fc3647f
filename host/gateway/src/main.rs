//! The binary `postern`; everything is in the library, so that tests reach it.

use std::process::ExitCode;

/// Plugins and connections allocate on many threads at once; measured better in the tail than the
/// system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    postern::cli::main()
}
