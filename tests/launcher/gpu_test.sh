#!/usr/bin/env bash
# The program on a GPU: the same bits for any number of workers, killed or not, with recordings or without; checkpoints that
# move between GPU and CPU; what is refused. Arguments: the program, the source folder.
set -euo pipefail
lockstep=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp

fail() { echo "gpu_test: $*"; exit 1; }
train() {  # RUN MORE...: digits-cnn on the GPU
  local run=$1
  shift
  "$lockstep" train "$source/examples/digits-cnn.toml" --device cuda --run "$work/$run" --quiet "$@"
}
workers() {  # N RUN MORE...
  local n=$1 run=$2
  shift 2
  mpirun --oversubscribe --bind-to none -n "$n" "$lockstep" train "$source/examples/digits-cnn.toml" --device cuda \
    --set run.share_gpu=true --run "$work/$run" --quiet "$@"
}
value() { grep -o "\"$2\": *[^,}]*" "$work/$1/summary.json" | head -1 | sed 's/.*: *//'; }
same() { test "$(value "$1" parameters_sha256)" = "$(value "$2" parameters_sha256)" || fail "$1 and $2 have other bits"; }

# Two epochs, and a batch whose parts differ; 98 % of the digits are right after twelve.
train one --set train.epochs=2
test "$(value one device)" = '"cuda"' || fail "computed on $(value one device)"
train again --set train.epochs=2
same one again
for n in 2 4; do
  workers "$n" "world-$n" --set train.epochs=2
  same one "world-$n"
done
train whole
awk -v a="$(value whole accuracy)" 'BEGIN { exit !(a > 0.97) }' || fail "accuracy $(value whole accuracy) on the GPU"

# Stopped after any step and resumed, by another number of workers.
train stopped --set train.epochs=2 --set train.steps=17 --set train.learning_rate=0.003
train straight --set train.epochs=2 --set train.steps=40 --set train.learning_rate=0.003
workers 2 stopped --resume --set train.epochs=2 --set train.steps=40 --set train.learning_rate=0.003
same stopped straight

# A NaN changes nothing: the run ends at its step with the state before it, although the next step was launched.
regression() {  # RUN MORE...: logistic regression, whose inputs can be NaN
  local run=$1
  shift
  "$lockstep" train "$source/examples/logistic-regression.toml" --device cuda --run "$work/$run" --quiet --set train.epochs=20 \
    --set train.learning_rate=0.01 "$@"
}
code=0
regression nan --inject nan@0:9 > "$work/nan.out" 2>&1 || code=$?
test "$code" = 1 || { cat "$work/nan.out"; fail "a NaN ended with exit code $code"; }
grep -q 'step 9: the .* is -\?nan; it begins in ' "$work/nan.out" || { cat "$work/nan.out"; fail "a NaN is told otherwise"; }
regression eight --set train.steps=8
regression nan --resume --set train.steps=8
same nan eight

# Checkpoints belong to no device: trained here, evaluated and continued there.
"$lockstep" evaluate "$work/whole" --device cpu > "$work/cpu.out"
"$lockstep" evaluate "$work/whole" --device cuda > "$work/cuda.out"
accuracy() { grep -o 'accuracy *[0-9.]*' "$1" | head -1; }
test "$(accuracy "$work/cpu.out")" = "$(accuracy "$work/cuda.out")" || fail "the CPU evaluates otherwise"
"$lockstep" train "$source/examples/digits-cnn.toml" --device cpu --run "$work/moved" --quiet --set train.epochs=1
train moved --resume --set train.epochs=2
"$lockstep" train "$source/examples/digits-cnn.toml" --device cpu --run "$work/moved" --quiet --resume --set train.epochs=3

# In other precisions.
for precision in bf16 tf32; do
  train "$precision" --set "train.precision=\"$precision\""
  awk -v a="$(value "$precision" accuracy)" 'BEGIN { exit !(a > 0.97) }' || fail "accuracy $(value "$precision" accuracy) in $precision"
done
workers 2 bf16-2 --set 'train.precision="bf16"'
same bf16 bf16-2

# Two workers on one GPU only where that is asked for. (A machine with more GPUs gives each its own.)
if [[ $(nvidia-smi -L | wc -l) == 1 ]]; then
  code=0
  mpirun --oversubscribe --bind-to none -n 2 "$lockstep" train "$source/examples/digits-cnn.toml" --device cuda \
    --run "$work/two" --quiet > "$work/two.out" 2>&1 || code=$?
  test "$code" = 2 || { cat "$work/two.out"; fail "two workers on one GPU: exit code $code"; }
  grep -q share_gpu "$work/two.out" || { cat "$work/two.out"; fail "the remedy is missing"; }
fi

