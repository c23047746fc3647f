//! Sets of nodes in a directed graph: what reaches each other, and what stays connected without any one.

use std::collections::{BTreeMap, BTreeSet};

/// File → files that it imports from.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// What `files` import from each other.
pub(crate) fn restricted(graph: &Graph, files: &BTreeSet<String>) -> Graph {
    let imported = |file: &String| {
        let all = graph.get(file).into_iter().flatten();
        let inside = all.filter(|imported| files.contains(*imported));
        (file.clone(), inside.cloned().collect())
    };
    files.iter().map(imported).collect()
}

/// Sets of files that reach each other, by Tarjan's algorithm: what is below comes first.
pub(crate) struct Components {
    pub(crate) members: Vec<BTreeSet<String>>,
    of: BTreeMap<String, usize>,
}

#[derive(Default)]
struct Search {
    numbers: BTreeMap<String, usize>,
    stack: Vec<String>,
    members: Vec<BTreeSet<String>>,
}

impl Components {
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut search = Search::default();
        for file in graph.keys() {
            if !search.numbers.contains_key(file) {
                search.visit(file, graph);
            }
        }
        let members = search.members;
        let of = members
            .iter()
            .enumerate()
            .flat_map(|(index, files)| files.iter().map(move |file| (file.clone(), index)));
        Self {
            of: of.collect(),
            members,
        }
    }

    /// One step per layer, from the top.
    pub(crate) fn longest_way_down(&self, graph: &Graph) -> Vec<String> {
        // For each component its height and the next one down.
        let mut heights: Vec<(usize, Option<usize>)> = Vec::new();
        for (index, files) in self.members.iter().enumerate() {
            let below = files
                .iter()
                .flat_map(|file| graph.get(file).into_iter().flatten())
                .filter_map(|file| self.of.get(file).copied())
                .filter(|below| *below != index)
                .filter_map(|below| Some((heights.get(below)?.0, below)))
                .max();
            heights.push((
                below.map_or(1, |(height, _)| height + 1),
                below.map(|b| b.1),
            ));
        }
        let mut at = (0..heights.len()).max_by_key(|index| heights.get(*index).map(|h| h.0));
        let mut way = Vec::new();
        while let Some(index) = at {
            let files = self.members.get(index).into_iter().flatten();
            let files: Vec<_> = files.map(String::as_str).collect();
            way.push(files.join(" and "));
            at = heights.get(index).and_then(|height| height.1);
        }
        way
    }
}

impl Search {
    /// The lowest number that can be reached from `file` within what is open.
    fn visit(&mut self, file: &str, graph: &Graph) -> usize {
        let number = self.numbers.len();
        self.numbers.insert(file.to_owned(), number);
        self.stack.push(file.to_owned());
        let mut lowest = number;
        for next in graph.get(file).into_iter().flatten() {
            match self.numbers.get(next) {
                None => lowest = lowest.min(self.visit(next, graph)),
                Some(seen) if self.stack.contains(next) => lowest = lowest.min(*seen),
                Some(_) => {}
            }
        }
        if lowest == number {
            let at = self.stack.iter().position(|open| open == file);
            let members = self.stack.split_off(at.expect("it was put there"));
            self.members.push(members.into_iter().collect());
        }
        lowest
    }
}

/// Sets of files that stay connected when one of them is taken away, by Hopcroft and Tarjan's algorithm.
/// Of files that reach each other, each set of more than two has a circle of more than two.
#[derive(Default)]
pub(crate) struct Blocks {
    numbers: BTreeMap<String, usize>,
    open: Vec<(String, String)>,
    found: Vec<BTreeSet<String>>,
}

impl Blocks {
    pub(crate) fn of(graph: &Graph) -> Vec<BTreeSet<String>> {
        let mut both = graph.clone();
        for (file, imported) in graph {
            for imported in imported {
                let back = both.entry(imported.clone()).or_default();
                back.insert(file.clone());
            }
        }
        let mut blocks = Self::default();
        for file in both.keys() {
            if !blocks.numbers.contains_key(file) {
                blocks.visit(file, None, &both);
            }
        }
        blocks.found.sort();
        blocks.found
    }

    /// The lowest number that can be reached from `file` without the way that led to it.
    fn visit(&mut self, file: &str, from: Option<&str>, both: &Graph) -> usize {
        let number = self.numbers.len();
        self.numbers.insert(file.to_owned(), number);
        let mut lowest = number;
        for next in both.get(file).into_iter().flatten() {
            if from == Some(next.as_str()) {
                continue;
            }
            let edge = (file.to_owned(), next.clone());
            match self.numbers.get(next) {
                None => {
                    self.open.push(edge.clone());
                    let reached = self.visit(next, Some(file), both);
                    lowest = lowest.min(reached);
                    if reached >= number {
                        self.close(&edge);
                    }
                }
                Some(seen) if *seen < number => {
                    lowest = lowest.min(*seen);
                    self.open.push(edge);
                }
                Some(_) => {}
            }
        }
        lowest
    }

    /// What was opened since `edge` is a set of its own.
    fn close(&mut self, edge: &(String, String)) {
        let at = self.open.iter().position(|open| open == edge);
        let edges = self.open.split_off(at.expect("it was put there"));
        let files = edges.into_iter().flat_map(|(from, to)| [from, to]);
        self.found.push(files.collect());
    }
}
