#!/usr/bin/env bash
# Two and three processes under mpirun train to the same bits as one. Argument: the program.
set -euo pipefail
lockstep=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp

train() {  # RUN COMMAND...
  local run=$1
  shift
  "$@" "$lockstep" train "$source/examples/digits-mlp.toml" --set train.epochs=2 --run "$work/$run" --quiet
}
sha256() { grep -o '"parameters_sha256": *"[0-9a-f]*"' "$work/$1/summary.json"; }

train one
for n in 2 3; do
  train "world-$n" mpirun --oversubscribe --bind-to none -n "$n"
  test "$(sha256 one)" = "$(sha256 "world-$n")" || { echo "$n workers: other bits than one"; exit 1; }
done

# A batch of one sample less than microbatches: somebody has nothing to do, but exchanges gradients and statistics.
for n in 1 2 4; do
  mpirun --oversubscribe --bind-to none -n "$n" "$lockstep" train "$source/examples/digits-cnn.toml" \
    --set train.global_batch=479 --set train.epochs=1 --run "$work/rest-$n" --quiet 2> /dev/null
  test "$(sha256 rest-1)" = "$(sha256 "rest-$n")" || { echo "$n workers with a small last batch: other bits"; exit 1; }
done

# Read in blocks instead of held, by two threads of each worker.
stream() {  # RUN COMMAND...
  local run=$1
  shift
  "$@" "$lockstep" train "$source/examples/digits-mlp.toml" --set train.epochs=2 --set 'data.cache="none"' \
    --set 'data.memory="64 KiB"' --set data.threads=2 --run "$work/$run" --quiet
}
stream streamed
for n in 2 8; do
  stream "streamed-$n" mpirun --oversubscribe --bind-to none -n "$n" 2> /dev/null
  test "$(sha256 streamed)" = "$(sha256 "streamed-$n")" || { echo "$n workers that stream: other bits than one"; exit 1; }
done

# A run of 10 workers has 10 microbatches, and keeps them when it is resumed by one. (A schedule would see the other end.)
train_ten() {  # RUN WORKERS MORE...
  local run=$1 workers=$2
  shift 2
  mpirun --oversubscribe --bind-to none -n "$workers" "$lockstep" train "$source/examples/digits-mlp.toml" \
    --set train.epochs=2 --set train.learning_rate=0.001 --run "$work/$run" --quiet "$@" 2> /dev/null
}
train_ten ten 10
train_ten begun 10 --set train.steps=45
train_ten begun 1 --resume
grep -q '^microbatches = 10$' "$work/begun/config.toml"
test "$(sha256 ten)" = "$(sha256 begun)" || { echo "10 workers, then 1: other bits"; exit 1; }

# A mistake is told once, by all ranks together, with the exit code of bad input.
code=0
mpirun --oversubscribe --bind-to none -n 2 "$lockstep" train "$source/examples/digits-mlp.toml" \
  --set train.epoch=2 --run "$work/bad" > "$work/out" 2>&1 || code=$?
test "$code" = 2 || { echo "exit code $code, expected 2"; cat "$work/out"; exit 1; }
test "$(grep -c 'did you mean "epochs"' "$work/out")" = 1 || { cat "$work/out"; exit 1; }
test ! -e "$work/bad"

# predict, evaluate and report on the run of two workers.
"$lockstep" evaluate "$work/world-2" | grep -q accuracy
"$lockstep" predict "$work/world-2" --input "$source/datasets/bundled/digits/digits-00000-of-00002.h5" \
  --output "$work/predictions.h5" | grep -q predictions
"$lockstep" report "$work/world-2" | grep -q report.html
