//! Replays every committed input on stable Rust, and checks that each target has a binary and inputs. Part of the library, since
//! tests beside it would have every binary linked first.

use std::fs;
use std::path::{Path, PathBuf};

/// The committed inputs of a target.
fn inputs(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_returns() {
    for (name, target) in crate::TARGETS {
        for input in inputs(name) {
            println!("{}", input.display());
            target(&fs::read(&input).unwrap());
        }
    }
}

#[test]
fn every_target_has_inputs_and_a_binary() {
    let binaries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets")).unwrap().count();
    assert_eq!(binaries, crate::TARGETS.len());
    for (name, _) in crate::TARGETS {
        assert!(!inputs(name).is_empty(), "corpus/{name} is empty");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz_targets/{name}.rs")).is_file());
    }
}

#[test]
fn any_short_input_returns() {
    // Every input of two bytes, since the corner cases of lengths and tags live there.
    for (_, target) in crate::TARGETS {
        target(&[]);
        (0..=u16::MAX).for_each(|word| target(&word.to_be_bytes()));
    }
}
