use quorate_sim::{campaign::Campaign, options::{Limits,Options,Traffic}, run::simulate, shrink::shrink};
use std::sync::{Mutex, atomic::{AtomicU64, AtomicBool, Ordering}};
use std::collections::BTreeMap;
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let traffic: Option<Traffic> = a[0].parse().ok();
    let from: u64 = a[1].parse().unwrap(); let count: u64 = a[2].parse().unwrap();
    let bug = a.get(3).filter(|b| *b != "-").map(|b| b.parse().unwrap());
    let all = a.get(4).is_some_and(|w| w == "all");
    let limits = Limits { traffic, defect: bug, ..Limits::default() };
    if std::env::var("QUIET").is_ok() || bug.is_some() { std::panic::set_hook(Box::new(|_| {})); }
    let next = AtomicU64::new(from); let stop = AtomicBool::new(false);
    let sum = Mutex::new(Campaign::default()); let fails = Mutex::new(BTreeMap::new());
    let t = std::time::Instant::now();
    std::thread::scope(|s| for _ in 0..2 { s.spawn(|| while !stop.load(Ordering::Relaxed) {
        let seed = next.fetch_add(1, Ordering::Relaxed); if seed >= from + count { break }
        let r = simulate(&Options::draw(seed, limits.clone()), false);
        sum.lock().unwrap().add(&r);
        if !r.violations.is_empty() { if !all { stop.store(true, Ordering::Relaxed); } fails.lock().unwrap().insert(seed, r); }
    }); });
    let c = sum.into_inner().unwrap(); let fails = fails.into_inner().unwrap();
    println!("{} seeds in {:.1}s = {:.1}/s; failed {}; decided {} undecided {} chosen {}; ops {:?}", c.seeds, t.elapsed().as_secs_f64(), c.seeds as f64/t.elapsed().as_secs_f64(), c.failed, c.tally.keys_decided, c.tally.keys_undecided, c.tally.chosen, c.tally.operations);
    if bug.is_none() { println!("missing {:?} {:?}", c.missing_marks(), c.missing_faults());
    println!("{:?}", c.tally.marks); }
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for r in fails.values() { *kinds.entry(r.violations[0].kind).or_default() += 1; }
    println!("kinds {kinds:?}");
    if let Some((seed, r)) = fails.into_iter().next() {
        println!("seed {seed}: "); for i in r.violations[0].operations.iter().rev().take(5) { println!("   #{i} {:?}", r.history.operations[*i]); } for v in r.violations.iter().take(4) { println!("   {}", v.to_string().chars().take(300).collect::<String>()); }
        if a.get(5).is_some_and(|w| w == "shrink") {
            let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
            let small = shrink(r, || std::time::Instant::now() < end);
            let r = simulate(&small.options, true);
            std::fs::write("/tmp/linsim-trace.txt", format!("{}\n{}\n{:?}\n{}", r.options, r.options.limits, r.violations, r.trace.join("\n"))).unwrap();
            for i in r.violations[0].operations.iter().rev().take(5) { println!("   #{i} {:?}", r.history.operations[*i]); } println!("shrunk: {} ops; {}", r.history.operations.len(), r.options.limits); for v in r.violations.iter().take(4) { println!("   {}", v.to_string().chars().take(300).collect::<String>()); }
        }
    }
}
