//! The one binary; the library is the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    nullmta::cli::main()
}
