use std::collections::HashMap;
use std::time::{Instant, SystemTime};
use std::{env, fs, process, thread};

fn main() {
    let numbers: HashMap<String, u32> = (0..40).map(|n| (format!("word-{n}"), n)).collect();
    let mut text = String::from("pub const TABLE: &[&str] = &[\n");
    for (word, number) in &numbers {
        text.push_str(&format!("    \"{word} {number}\",\n"));
    }
    let seen = thread::spawn(|| (SystemTime::now(), Instant::now())).join().unwrap();
    text.push_str(&format!("    \"{:?} {}\",\n", seen, process::id()));
    text.push_str("];\n");
    fs::write(env::var("OUT_DIR").unwrap() + "/table.rs", text).unwrap();
}
