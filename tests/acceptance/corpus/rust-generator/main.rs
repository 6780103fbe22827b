include!("table.rs");

fn main() {
    for line in TABLE {
        println!("{line}");
    }
}
