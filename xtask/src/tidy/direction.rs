//! Which of our crates may know which: core ← the layers, never one another ← edge ← node ← bin.

use cargo_metadata::{DependencyKind, Package};

use super::Report;
use crate::shell::Workspace;

/// How far a crate stands from `core`; it may know only what stands nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Core,
    Layer,
    Edge,
    Node,
    /// What is run, and what is fuzzed.
    Binary,
    /// The test kit, which may know everything but the binary, and which only tests may know.
    Testkit,
    /// Tasks, which know none of ours.
    Tasks,
}

impl Rank {
    fn of(package: &str) -> Option<Self> {
        Some(match package {
            "atoll-core" | "atoll-durable" | "atoll-sealed" | "atoll-trust" => Self::Core,
            "atoll-cache" | "atoll-certs" | "atoll-content" | "atoll-routing" | "atoll-ledger" | "atoll-compute"
            | "atoll-security" | "atoll-identity" | "atoll-fallback" | "atoll-swarm" | "atoll-pinning" => Self::Layer,
            "atoll-edge" => Self::Edge,
            "atoll-node" => Self::Node,
            "atoll" | "atoll-fuzz" => Self::Binary,
            "atoll-testkit" => Self::Testkit,
            "xtask" => Self::Tasks,
            _ => return None,
        })
    }

    fn may_know(self, other: Self, kind: DependencyKind) -> bool {
        match (self, other) {
            (Self::Tasks, _) | (_, Self::Tasks) => false,
            (_, Self::Testkit) => kind == DependencyKind::Development && self != Self::Core,
            (Self::Testkit, other) => other < Self::Binary,
            (own, other) => other < own,
        }
    }
}

/// Checks every dependency between our crates.
pub(super) fn check(workspace: &Workspace, report: &mut Report) {
    for package in workspace.metadata.workspace_packages() {
        match Rank::of(&package.name) {
            Some(rank) => check_package(package, rank, report),
            None => report
                .problem(format!("crate {} has no rank: give it one in xtask/src/tidy/direction.rs", package.name)),
        }
    }
}

fn check_package(package: &Package, rank: Rank, report: &mut Report) {
    for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
        let Some(other) = Rank::of(&dependency.name) else { continue };
        if !rank.may_know(other, dependency.kind) {
            report.problem(format!("{} may not depend on {}", package.name, dependency.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_do_not_know_each_other() {
        assert!(!Rank::Layer.may_know(Rank::Layer, DependencyKind::Normal));
        assert!(Rank::Layer.may_know(Rank::Core, DependencyKind::Normal));
        assert!(!Rank::Core.may_know(Rank::Layer, DependencyKind::Normal));
        assert!(Rank::Binary.may_know(Rank::Layer, DependencyKind::Normal));
    }

    #[test]
    fn only_tests_know_the_test_kit() {
        assert!(Rank::Layer.may_know(Rank::Testkit, DependencyKind::Development));
        assert!(!Rank::Node.may_know(Rank::Testkit, DependencyKind::Normal));
        assert!(Rank::Testkit.may_know(Rank::Node, DependencyKind::Normal));
    }
}
