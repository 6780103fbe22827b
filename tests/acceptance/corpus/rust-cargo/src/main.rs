include!(concat!(env!("OUT_DIR"), "/table.rs"));

fn main() {
    for line in TABLE {
        println!("{line}");
    }
}
