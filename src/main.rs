//! The one binary; the library is the program.

fn main() {}
