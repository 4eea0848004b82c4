#!/usr/bin/env bash
# Faults of one of four workers: each ends the whole run soon, is told in one line that names rank, place and cause, and stands
# in failure.json. Arguments: the program, the source.
set -euo pipefail
lockstep=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp
deadline=2
example=digits-mlp

fail() {
  echo "$1"
  cat "$work/out"
  exit 1
}

run() {  # COMMAND...: its output, exit code and seconds
  local begin=$SECONDS
  code=0
  timeout -k 1 60 "$@" > "$work/out" 2>&1 || code=$?
  took=$((SECONDS - begin))
}

# fault FAULT WORDS [MORE ARGUMENTS]: the one line must match WORDS.
fault() {
  local name=$1 words=$2
  shift 2
  rm -rf "$work/run"
  run mpirun --oversubscribe --bind-to none -n 4 "$lockstep" train "$source/examples/$example.toml" \
    --run "$work/run" --quiet --set train.epochs=500 --set run.deadline=$deadline --inject "$name" "$@"
  test "$code" != 0 || fail "$name: exit code 0"
  test "$took" -le $((deadline + 5)) || fail "$name: took $took s"
  # Besides it may be warned that four workers are more than there are cores.
  grep '^lockstep:' "$work/out" | grep -v '^lockstep: warning:' > "$work/told"
  test "$(wc -l < "$work/told")" = 1 || fail "$name: not told in one line"
  grep -Eq "$words" "$work/told" || fail "$name: expected: $words"
  test -s "$work/run/failure.json" || fail "$name: no failure.json"
  ! pgrep -f "train .* --run $work/run" > /dev/null || fail "$name: a process is left"
}

fault kill@2:50 'rank 2 on .* \(process [0-9]+\) is gone: it was killed'
all_ranks() { test "$(grep -c '"host"' "$work/run/failure.json")" = 5 || fail "$1: failure.json has not all four ranks"; }
all_ranks kill@2:50
fault kill@0:50 'rank 0 on .* is gone: it was killed'
all_ranks kill@0:50
fault exit@3:50 'rank 3 on .* is gone: .* ended without a word'
fault abort@1:50 'rank 1 on .* died of SIGABRT'
fault segfault@2:50 'rank 2 on .* died of SIGSEGV'
fault exception@2:50 'rank 2 on .* failed: an error to order .* in data of step 50'
fault exception@0:50 'rank 0 on .* failed: an error to order'
fault stop@2:50 'rank 2 on .* is silent for [12]\.[0-9] s: it is stopped \(SIGSTOP\)'
fault sleep@3:50 'rank 3 on .* is late: rank [0-9] waits for it in "[a-z ]+" since 2\.[0-9] s, in forward of step 50'
fault slow-data@1:50 'rank 1 on .* is late: .* in data of step 50'
example=logistic-regression  # bytes are never NaN
fault nan@1:50 'step 50: the (loss|gradient norm) is -?nan; it begins in .* on rank 1; the learning rate is'
example=digits-mlp
fault flip@2:51 'step 50: the replicas are no longer equal: .* rank 2 has' --set run.check_every=1

# A checkpoint that cannot be written is told, and the training goes on; the last one must succeed.
fault full-disk@2:51 'step 100: its checkpoint could not be written: rank 2: .*part-0002.h5' \
  --set checkpoint.every_steps=20 --set train.steps=100
grep -Eq 'warning: the checkpoint of step 60 could not be written: rank 2: .*part-0002.h5' "$work/out" || fail "full-disk: not told"
ls "$work"/run/checkpoints/step-000000[24]0/manifest.json > /dev/null || fail "full-disk: the checkpoint before is gone"
test ! -e "$work/run/checkpoints/step-00000060" || fail "full-disk: a checkpoint that is not complete"

# The same on the rank that writes the log, and failure.json in vain.
rm -rf "$work/run"
run mpirun --oversubscribe --bind-to none -n 4 "$lockstep" train "$source/examples/$example.toml" --run "$work/run" --quiet \
  --set checkpoint.every_steps=20 --set train.steps=100 --inject full-disk@0:51
test "$code" = 1 || fail "full-disk of rank 0: exit code $code"
grep -Eq '^lockstep: step 100: its checkpoint could not be written: rank 0: .*part-0000.h5' "$work/out" || fail "full-disk of rank 0: not told"
ls "$work"/run/checkpoints/step-000000[24]0/manifest.json > /dev/null || fail "full-disk of rank 0: the checkpoint before is gone"
grep -Eq 'warning: .*log.jsonl: cannot write: File too large; its lines are kept in memory' "$work/out" || fail "full-disk: log not told"

# What was saved before a fault is there, and the run goes on from it.
fault kill@1:50 'rank 1 on .* is gone' --set checkpoint.every_steps=20
run mpirun --oversubscribe --bind-to none -n 3 "$lockstep" train "$source/examples/digits-mlp.toml" \
  --run "$work/run" --set train.epochs=500 --set checkpoint.every_steps=20 --set train.steps=60 --resume
test "$code" = 0 || fail "resume: exit code $code"
grep -q 'resumed from .*step-000000[24]0' "$work/out" || fail "resume: not from step 40, or the one before"

# A chunk that is damaged, which only the worker that reads it sees, whether the data is held or not.
"$lockstep" data synthesize images --samples 4000 --name images --output "$work/data" --compress 4 > /dev/null
printf '\377\377\377\377\377\377' | dd of="$work/data/images-00000-of-00001.h5" bs=1 seek=700000 conv=notrunc status=none
cat > "$work/images.toml" << 'END'
[data]
train = "images"
split = 0.1
normalize = 255
[train]
epochs = 20
global_batch = 32
optimizer = "sgd"
loss = "softmax_cross_entropy"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
units = 4
END
for cache in none memory; do
  run mpirun --oversubscribe --bind-to none -n 4 "$lockstep" train "$work/images.toml" --run "$work/run" --overwrite \
    --quiet --set run.deadline=$deadline --set "data.train=\"$work/data\"" --set "data.cache=\"$cache\""
  test "$code" != 0 || fail "damaged chunk, $cache: exit code 0"
  test "$took" -le $((deadline + 5)) || fail "damaged chunk, $cache: took $took s"
  grep '^lockstep:' "$work/out" | grep -v '^lockstep: warning:' > "$work/told"
  test "$(wc -l < "$work/told")" = 1 || fail "damaged chunk, $cache: not told in one line"
  grep -q 'images-00000-of-00001.h5: array "x", rows .* the chunk of .* is damaged' "$work/told" || fail "damaged chunk, $cache"
done

# Another program on one rank, and workers that no MPI connects.
cp "$lockstep" "$work/other"
echo >> "$work/other"
run mpirun --oversubscribe --bind-to none \
  -n 2 "$lockstep" train "$source/examples/digits-mlp.toml" --run "$work/odd" : \
  -n 1 "$work/other" train "$source/examples/digits-mlp.toml" --run "$work/odd"
test "$code" = 2 || fail "another program: exit code $code"
grep -q 'the workers disagree on the program: rank 2' "$work/out" || fail "another program"
for promise in SLURM_STEP_NUM_TASKS=4 PMI_SIZE=4 "OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=0"; do
  # shellcheck disable=SC2086 # two variables
  run env $promise "$lockstep" train "$source/examples/digits-mlp.toml" --run "$work/odd"
  test "$code" = 1 || fail "$promise: exit code $code"
  grep -q 'started 4 processes, but \(without PMIx \)\?MPI sees 1: each would train alone' "$work/out" || fail "$promise"
done

# --dry-run says who is where, and writes nothing.
run mpirun --oversubscribe --bind-to none -n 3 "$lockstep" train "$source/examples/digits-mlp.toml" \
  --run "$work/odd" --dry-run
test "$code" = 0 || fail "--dry-run: exit code $code"
grep -q '^3 workers, 8 microbatches' "$work/out" || fail "--dry-run"
test "$(grep -Ec '^ +[0-2]  ' "$work/out")" = 3 || fail "--dry-run: no table"
test ! -e "$work/odd"

# Faults of the preparation are those of all: exit code 2, nothing written.
run mpirun --oversubscribe --bind-to none \
  -n 2 "$lockstep" train "$source/examples/digits-mlp.toml" --run "$work/odd" : \
  -n 1 "$lockstep" train "$source/examples/digits-mlp.toml" --run "$work/odd" --set run.seed=7
test "$code" = 2 || fail "differing configuration: exit code $code"
grep -q 'the workers disagree on the configuration: rank 2' "$work/out" || fail "differing configuration"
test ! -e "$work/odd"
run mpirun --oversubscribe --bind-to none \
  -n 2 "$lockstep" train "$source/examples/digits-mlp.toml" --run "$work/odd" : \
  -n 1 "$lockstep" train "$source/examples/digits-mlp.toml" --run "$work/odd" --set 'data.train="missing.h5"'
test "$code" = 2 || fail "missing data: exit code $code"
grep -q 'rank 2: .*missing.h5' "$work/out" || fail "missing data"
