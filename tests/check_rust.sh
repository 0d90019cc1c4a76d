#!/bin/sh
# SPDX-License-Identifier: MIT
# The example of Rust compiles and does what its page says.
# usage: check_rust.sh BUILD-DIRECTORY
set -eu
build=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ln -s "$build/liblabyrinth.so" "$dir/liblabyrinth.so.1"
rustc --edition 2021 -O -D warnings -L "$build" -l labyrinth -C "link-arg=-Wl,-rpath,$dir" -o "$dir/global" \
	"$(dirname "$0")/../examples/rust/global.rs"
timeout -k 5 60 "$dir/global" | tee "$dir/said"
grep -q -x '1000 handlers, 4950000 characters, aligned true, kept true' "$dir/said"
echo "rust: 1 passed, 0 failed"
