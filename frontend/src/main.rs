//! The program: `mainstem`.

fn main() {}
