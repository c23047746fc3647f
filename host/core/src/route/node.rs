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
    path::{PathSegment, split_verb},
    template::{ParamType, PathTemplate, TemplatePart},
};
use crate::text::Text;

/// The paths of one host. Those with a verb are trees of their own, looked at first: a path with a verb
/// that nobody knows is one whose last segment has a colon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PathTree {
    by_verb: HashMap<Text, PathNode>,
    plain: PathNode,
}

/// Where paths part. What stands in it are routes by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct PathNode {
    literals: HashMap<Text, Self>,
    /// In the order of types.
    typed: BTreeMap<ParamType, Self>,
    /// Routes whose path ends here.
    ends: Vec<usize>,
    /// Routes that take all that is left.
    rests: Vec<usize>,
    /// Those among them that take a path which ends here as well.
    optional_rests: Vec<usize>,
}

impl PathTree {
    /// Where the routes of `template` stand.
    pub(super) fn insert(&mut self, template: &PathTemplate, route: usize) {
        let tree = match &template.verb {
            Some(verb) => self.by_verb.entry(verb.clone()).or_default(),
            None => &mut self.plain,
        };
        tree.insert(template, route);
    }

    /// Sorts the routes of each place.
    pub(super) fn sort(&mut self, order: &impl Fn(&mut Vec<usize>)) {
        for tree in self.by_verb.values_mut().chain([&mut self.plain]) {
            tree.sort(order);
        }
    }

    /// Every set of routes that take the same paths.
    pub(super) fn sets<'n>(&'n self, found: &mut Vec<&'n [usize]>) {
        for tree in self.by_verb.values().chain([&self.plain]) {
            tree.sets(found);
        }
    }

    /// Tells `visit` of the routes that take a path, the most specific first, until it breaks.
    pub(super) fn visit(
        &self,
        path: &[PathSegment<'_>],
        visit: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if !self.by_verb.is_empty()
            && let Some((segments, verb)) = split_verb(path)
            && let Some(tree) = self.by_verb.get(&*verb)
        {
            tree.visit(&segments, visit)?;
        }
        self.plain.visit(path, visit)
    }
}

impl PathNode {
    fn insert(&mut self, template: &PathTemplate, route: usize) {
        let mut node = self;
        for part in &template.parts {
            node = match part {
                TemplatePart::Literal(text) => node.literals.entry(text.clone()).or_default(),
                TemplatePart::Segment(kind) => node.typed.entry(*kind).or_default(),
                TemplatePart::Rest { may_be_none } => {
                    node.rests.push(route);
                    if *may_be_none {
                        node.optional_rests.push(route);
                    }
                    return;
                }
            };
        }
        node.ends.push(route);
    }

    fn sort(&mut self, order: &impl Fn(&mut Vec<usize>)) {
        order(&mut self.ends);
        order(&mut self.rests);
        order(&mut self.optional_rests);
        for node in self.literals.values_mut() {
            node.sort(order);
        }
        for node in self.typed.values_mut() {
            node.sort(order);
        }
    }

    fn sets<'n>(&'n self, found: &mut Vec<&'n [usize]>) {
        found.push(&self.ends);
        found.push(&self.rests);
        for node in self.literals.values() {
            node.sets(found);
        }
        for node in self.typed.values() {
            node.sets(found);
        }
    }

    fn visit<'a>(
        &self,
        path: &[PathSegment<'a>],
        visit: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some((segment, left)) = path.split_first() else {
            let ends = self.ends.iter().chain(&self.optional_rests);
            return ends.copied().try_for_each(visit);
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
