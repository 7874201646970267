#!/bin/sh
# Measures MnemoCore and FAISS on the same vectors within the same few minutes.
# Usage: adapters/faiss/run.sh [MEMORIES], 100000 by default.
set -eu

memories=${1:-100000}
cd "$(dirname "$0")/../.."
cargo build --release --example compare_faiss_export

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --requirement adapters/faiss/requirements.txt

cargo run --quiet --release --example compare_faiss_export -- "$work/data" "$memories"
"$work/venv/bin/python" adapters/faiss/compare.py "$work/data"
