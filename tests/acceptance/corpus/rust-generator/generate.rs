use std::collections::HashMap;
use std::time::{Instant, SystemTime};
use std::{process, thread};

fn main() {
    let numbers: HashMap<String, u32> = (0..40).map(|n| (format!("word-{n}"), n)).collect();
    println!("pub const TABLE: &[&str] = &[");
    for (word, number) in &numbers {
        println!("    \"{word} {number}\",");
    }
    let seen = thread::spawn(|| (SystemTime::now(), Instant::now())).join().unwrap();
    println!("    \"{:?} {}\",\n];", seen, process::id());
}
