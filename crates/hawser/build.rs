//! How the binary is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Unoptimised, the binary has some 350,000 addresses to relocate: 12 MB and milliseconds for each of the dozens of
    // processes of a lab. At a fixed address there are none. Optimised builds, which face the world, stay relocatable.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        println!("cargo::rustc-link-arg-bin=hawser=-no-pie");
    }
}
