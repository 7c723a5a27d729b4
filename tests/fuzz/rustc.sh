#!/bin/sh
# Cargo's RUSTC_WRAPPER when fuzz targets are built (`run`): the crates under test, and they only, report
# where they have been, so that everything else is as `cargo build` left it in target/.
coverage='-Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Ccodegen-units=1'
case " $* " in
*" --crate-name nullmta "* | *" fuzz_targets/"*)
    # Several words.
    # shellcheck disable=SC2086
    exec "$@" $coverage
    ;;
esac
exec "$@"
