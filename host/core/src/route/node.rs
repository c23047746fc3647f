//! The paths of all routes of one host as a tree, a level for each segment.
//!
//! A segment is looked for among texts, then among types, those that take fewer first, then among
//! rests. A request visits each node once at most, whatever its path is: the tree that the
//! configuration makes bounds the work, and a path has a bounded number of segments.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use super::{
    path::PathSegment,
    template::{ParamType, PathTemplate, TemplatePart},
};
use crate::text::Text;

/// Where paths part. What stands in it are routes by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PathNode {
    literals: HashMap<Text, PathNode>,
    /// In the order of types.
    typed: BTreeMap<ParamType, PathNode>,
    /// Routes whose path ends here.
    ends: Vec<usize>,
    /// Routes that take all that is left.
    rests: Vec<usize>,
}

impl PathNode {
    /// Where the routes of `template` stand.
    pub(super) fn insert(&mut self, template: &PathTemplate, route: usize) {
        let mut node = self;
        for part in &template.parts {
            node = match part {
                TemplatePart::Literal(text) => node.literals.entry(text.clone()).or_default(),
                TemplatePart::Param { kind, .. } => node.typed.entry(*kind).or_default(),
                TemplatePart::Rest { .. } => {
                    node.rests.push(route);
                    return;
                }
            };
        }
        node.ends.push(route);
    }

    /// Sorts the routes of each place.
    pub(super) fn sort(&mut self, order: &impl Fn(&mut Vec<usize>)) {
        order(&mut self.ends);
        order(&mut self.rests);
        for node in self.literals.values_mut() {
            node.sort(order);
        }
        for node in self.typed.values_mut() {
            node.sort(order);
        }
    }

    /// Every set of routes that take the same paths.
    pub(super) fn sets<'n>(&'n self, found: &mut Vec<&'n [usize]>) {
        found.push(&self.ends);
        found.push(&self.rests);
        for node in self.literals.values() {
            node.sets(found);
        }
        for node in self.typed.values() {
            node.sets(found);
        }
    }

    /// Tells `visit` of the routes that take a path, the most specific first, until it breaks.
    pub(super) fn visit<'a>(
        &self,
        path: &[PathSegment<'a>],
        visit: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some((segment, left)) = path.split_first() else {
            return self.ends.iter().copied().try_for_each(visit);
        };
        if let Some(node) = self.literals.get(&*segment.text) {
            node.visit(left, visit)?;
        }
        for (kind, node) in &self.typed {
            if kind.takes(segment) {
                node.visit(left, visit)?;
            }
        }
        self.rests.iter().copied().try_for_each(visit)
    }
}
