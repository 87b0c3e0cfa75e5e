//! The `tollway` program; all of it is in the library.

fn main() -> std::process::ExitCode {
    tollway::cli::main()
}
