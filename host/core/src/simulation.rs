//! Simulations run once for every seed.

/// Runs `run` for every seed, or for the one that `POSTERN_SEED` names; returns what each gave.
pub(crate) fn for_each_seed<T>(name: &str, n_seeds: u64, run: impl Fn(u64) -> T) -> Vec<T> {
    let replayed = std::env::var("POSTERN_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seeds = replayed.map_or(0..n_seeds, |seed| seed..seed + 1);
    let run_named = |seed| {
        let guard = Guard { name, seed };
        let outcome = run(seed);
        drop(guard);
        outcome
    };
    seeds.map(run_named).collect()
}

/// Names the seed when what it runs panics.
struct Guard<'a> {
    name: &'a str,
    seed: u64,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, seed } = self;
            eprintln!("simulation {name} fails: replay it with POSTERN_SEED={seed}");
        }
    }
}
