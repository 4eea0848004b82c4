#!/usr/bin/env bash
# Workers are killed, and asked to stop, at random instants; each time the training goes on from the newest checkpoint with
# another number of workers, and comes out as one that was left alone: losses, evaluations, parameters, optimizer.
# Arguments: the program, the source, how many kills, how many signals.
set -euo pipefail
lockstep=$1 source=$2 kills=$3 signals=$4
work=$(mktemp -d)
trap 'pkill -KILL -f "$work/" || true; rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp
seed=${SEED:-$$}
echo "SEED=$seed"
RANDOM=$seed

fail() {
  echo "$1"
  cat "$work/out"
  ls -la "$work/$run/checkpoints"
  exit 1
}

# train RUN [MORE ARGUMENTS]: goes on where there is a checkpoint, with $workers workers, in the background: $child.
train() {
  run=$1
  shift
  local program=("$lockstep" train "$source/examples/digits-cnn.toml" --run "$work/$run" --resume --quiet
    --set train.epochs=100000 --set 'train.learning_rate.schedule="constant"' --set checkpoint.every_steps=7
    --set 'checkpoint.best="accuracy"' "$@")
  local mpirun=(mpirun --oversubscribe --bind-to none -n "$workers")
  test "$workers" != 1 || mpirun=()
  "${mpirun[@]}" "${program[@]}" > "$work/out" 2>&1 &
  child=$!
}
# The processes of the workers that hear signals already.
workers_up() {
  local process
  for process in $(pgrep -f "^$lockstep train .* --run $work/$run "); do
    # Bit 14 of the mask: SIGTERM is caught.
    local caught
    caught=$(sed -n 's/^SigCgt:\t*//p' "/proc/$process/status" 2> /dev/null) || continue
    test -z "$caught" || test $((16#$caught >> 14 & 1)) = 0 || echo "$process"
  done
}
# The newest checkpoint of the run; nothing where there is none yet.
newest_checkpoint() { { ls "$work/$run/checkpoints" 2> /dev/null || true; } | { grep '^step-' || true; } | sort | tail -1; }
# Waits until all are up and, every second time, until there is a checkpoint more; then a random time of at most $1 ms, and
# picks one of them: $victim. Half of the faults meet workers that start, and half such as have gone on from one before.
pick_victim() {
  local all=() i before
  before=$(newest_checkpoint)
  for i in {1..3000}; do
    mapfile -t all < <(workers_up)
    test "${#all[@]}" -lt "$workers" || break
    kill -0 "$child" 2> /dev/null || fail "it ended by itself"
    sleep 0.01
  done
  test "${#all[@]}" = "$workers" || fail "not all $workers workers came up"
  while test $((turn % 2)) = 0 && test "$(newest_checkpoint)" = "$before"; do
    kill -0 "$child" 2> /dev/null || fail "it ended by itself"
    sleep 0.02
  done
  sleep "$(printf '0.%03d' $((RANDOM % $1)))"
  victim=${all[RANDOM % workers]}
}
none_left() {
  local i
  for i in {1..100}; do
    pgrep -f "^$lockstep train .* --run $work/$run " > /dev/null || return 0
    sleep 0.05
  done
  fail "$1: a worker is left after 5 s"
}
# What must be equal: the log without times, the end, and the state, written by one worker.
same_as_undisturbed() {
  local step
  step=$(newest_checkpoint | sed 's/^step-0*//')
  step=$((step + 9))
  local disturbed=$run alone=undisturbed-$run
  workers=1
  train "$disturbed" --set "train.steps=$step"
  wait "$child" || fail "the last steps: exit code $?"
  train "$alone" --set "train.steps=$step"
  wait "$child" || fail "undisturbed: exit code $?"
  for name in "$alone" "$disturbed"; do
    grep -o '^{"step":[0-9]*,"epoch":[0-9]*,"loss":[^,]*,"learning_rate":[^,]*' "$work/$name/log.jsonl" > "$work/$name.losses"
    grep -o '^{"event":"evaluation".*"metrics":{[^}]*}' "$work/$name/log.jsonl" > "$work/$name.evaluations"
    grep -o '"parameters_sha256": *"[0-9a-f]*"' "$work/$name/summary.json" > "$work/$name.sha256"
    cp "$work/$name/checkpoints/$(printf 'step-%08d' "$step")/part-0000.h5" "$work/$name.state"
  done
  test "$(wc -l < "$work/$alone.losses")" = "$step" || fail "undisturbed: not $step steps in the log"
  for what in losses evaluations sha256 state; do
    cmp "$work/$alone.$what" "$work/$disturbed.$what" || fail "$disturbed: other $what than undisturbed after $step steps"
  done
  echo "$disturbed: the same $step steps, in $(ls "$work/$disturbed/checkpoints" | wc -l) checkpoints"
}

for ((turn = 1; turn <= kills; ++turn)); do
  workers=$((RANDOM % 4 + 1))
  test $((turn % 10)) != 5 || workers=8
  train killed
  pick_victim 900
  kill -KILL "$victim" 2> /dev/null || fail "kill $turn: the worker was gone already"
  none_left "kill $turn"
  # mpirun takes seconds to notice that there is nothing left.
  kill -KILL "$child" 2> /dev/null || true
  wait "$child" 2> /dev/null || true
done 2> /dev/null
test "$kills" = 0 || same_as_undisturbed

slowest=0
for ((turn = 1; turn <= signals; ++turn)); do
  workers=$((RANDOM % 4 + 1))
  train signalled
  pick_victim 900
  all=(TERM INT USR1)
  signal=${all[RANDOM % 3]}
  kill -s "$signal" "$victim"
  begin=$(date +%s%N)
  code=0
  wait "$child" || code=$?
  took=$((($(date +%s%N) - begin) / 1000000))
  test "$code" = 75 || fail "signal $turn ($signal to one of $workers workers): exit code $code, expected 75"
  test "$took" -lt 10000 || fail "signal $turn: took $took ms"
  test "$took" -le "$slowest" || slowest=$took
  grep -q '"status": "stopped"' "$work/signalled/summary.json" || fail "signal $turn: the summary does not say stopped"
  none_left "signal $turn"
  # The newest checkpoint is that of the last step of the log.
  step=$(sed -n 's/^{"step":\([0-9]*\),.*/\1/p' "$work/signalled/log.jsonl" | tail -1)
  test -s "$work/signalled/checkpoints/$(printf 'step-%08d' "${step:-0}")/manifest.json" || fail "signal $turn: no checkpoint of step $step"
done
test "$signals" = 0 || { echo "signals: the slowest stop took $slowest ms"; same_as_undisturbed; }
