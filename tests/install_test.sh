#!/usr/bin/env bash
# Installs Lockstep into an empty folder, builds the example outside the tree against it with find_package(lockstep), and runs
# it. Arguments: build folder, source folder.
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/installed" > "$work/log" || { cat "$work/log"; exit 1; }
cp -r "$source/examples/cpp" "$work/example"
cmake -S "$work/example" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/installed" -DCMAKE_BUILD_TYPE=Release \
  > "$work/log" || { cat "$work/log"; exit 1; }
cmake --build "$work/build" > "$work/log" || { cat "$work/log"; exit 1; }
cd "$work" && "$work/build/digits"
"$work/installed/bin/lockstep" --version
