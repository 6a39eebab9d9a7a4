//! Links the program with packed relocations where that is possible: 33,000 addresses are then described in 15 kB
//! instead of 790, which every process would have to map, read and keep.
//!
//! The C library has to understand them, so it is asked. Cross-compiled programs do without.

use std::env;
use std::process::Command;

/// The first glibc that does.
const FIRST: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let here = env::var("HOST") == env::var("TARGET");
    // Of the other architectures not every linker knows how.
    let may = is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64");
    if here && may && glibc().is_some_and(|version| version >= FIRST) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        // What is compared with the program is linked like it.
        println!("cargo:rustc-link-arg-benches=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's, from `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let (major, minor) = str::from_utf8(&output.stdout).ok()?.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
