//! The program.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    // A page of 2 MiB for a heap of small things is mostly air, and costs its zeroing.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let arguments = tandem_gateway::cli::Arguments::parse();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(tandem_gateway::cli::run(arguments))
}
