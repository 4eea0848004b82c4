#!/usr/bin/env bash
# lockstep launch: the same bits as one worker, restarts, signals, and nothing left behind. Arguments: the program, the source.
set -euo pipefail
lockstep=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
config=$source/examples/digits-mlp.toml

fail() {
  echo "$1"
  cat "$work/out"
  exit 1
}

launch() {  # ARGUMENTS...: output, exit code and seconds of lockstep launch
  local begin=$SECONDS
  code=0
  timeout -k 1 100 "$lockstep" launch "$@" > "$work/out" 2>&1 || code=$?
  took=$((SECONDS - begin))
}
none_left() {  # NAME
  ! pgrep -f "$work/" > "$work/left" || fail "$1: a process is left: $(tr '\n' ' ' < "$work/left")"
}
is_code() { test "$code" = "$2" || fail "$1: exit code $code, expected $2"; }
has_line() { grep -Eq "$2" "$work/out" || fail "$1: no line matches $2"; }
sha256() { grep -o '"parameters_sha256": *"[0-9a-f]*"' "$work/$1/summary.json"; }

# The same model.
"$lockstep" train "$config" --run "$work/one" --set train.epochs=3 --quiet
launch -n 3 -- train "$config" --run "$work/three" --set train.epochs=3 --quiet
is_code "3 workers" 0
grep -q '"world_size": 3' "$work/three/summary.json" || fail "not 3 workers"
test "$(sha256 one)" = "$(sha256 three)" || fail "3 workers: other bits than one"
none_left "3 workers"

# A worker is killed, once: the training goes on from its checkpoint, with the same bits.
launch -n 2 --max-restarts 2 -- train "$config" --run "$work/killed" --set train.epochs=3 --quiet \
  --set checkpoint.every_steps=20 --inject kill@1:50
is_code "restart" 0
has_line "restart" '^lockstep: rank 1 on .* is gone'
has_line "restart" '^lockstep: launch: restart 1 of 2 at once, from step [24]0$'
test "$(grep -c restart "$work/out")" = 1 || fail "restart: more than one"
test "$(sha256 one)" = "$(sha256 killed)" || fail "killed and restarted: other bits"
none_left "restart"

# Without --max-restarts it is the end.
launch -n 2 -- train "$config" --run "$work/failed" --set train.epochs=3 --quiet --inject segfault@0:20
is_code "no restart" 1
has_line "no restart" 'died of SIGSEGV'
none_left "no restart"

# Bad input is not tried again.
launch -n 2 --max-restarts 5 -- train "$config" --run "$work/bad" --set train.epoch=3
is_code "bad input" 2
test "$(grep -c '^lockstep' "$work/out")" = 1 || fail "bad input: not one line"
has_line "bad input" 'did you mean "epochs"'

# Signals: a checkpoint, exit code 75, no restart.
for signal in INT TERM USR1; do
  "$lockstep" launch -n 2 --max-restarts 3 -- train "$config" --run "$work/run-$signal" \
    --set train.epochs=100000 --quiet > "$work/out" 2>&1 &
  child=$!
  for _ in {1..200}; do
    test ! -s "$work/run-$signal/log.jsonl" || break
    sleep 0.05
  done
  kill -s "$signal" "$child"
  code=0
  wait "$child" || code=$?
  is_code "SIG$signal" 75
  has_line "SIG$signal" "^lockstep: launch: SIG$signal: the training ends after this step with a checkpoint"
  ! grep -q restart "$work/out" || fail "SIG$signal: restarted"
  grep -q '"stopped"' "$work/run-$signal/summary.json" || fail "SIG$signal: not stopped"
  ls "$work/run-$signal/checkpoints" | grep -q step- || fail "SIG$signal: no checkpoint"
  none_left "SIG$signal"
done

# The launcher itself is killed: the workers end with it.
"$lockstep" launch -n 2 -- train "$config" --run "$work/orphans" --set train.epochs=100000 --quiet \
  > "$work/out" 2>&1 &
child=$!
for _ in {1..200}; do
  test ! -s "$work/orphans/log.jsonl" || break
  sleep 0.05
done
kill -KILL "$child"
wait "$child" 2> /dev/null || true
for _ in {1..100}; do
  pgrep -f "$work/orphans" > /dev/null || break
  sleep 0.1
done
none_left "killed launcher"

# What mpirun may do wrong, done by a stand-in for it.
stand_in() {  # BODY
  cat > "$work/mpirun" << END
#!/usr/bin/env bash
if [ "\$1" = --version ]; then echo "mpirun (Open MPI) 4.1.4"; exit 0; fi
echo "\$@" >> "$work/calls"
rule=--------------------------------------------------------------------------
$1
END
  chmod +x "$work/mpirun"
  rm -f "$work/calls"
}

# It always fails: two restarts, which resume, and no fault is ordered again.
stand_in 'printf "%s\nMany words\n  of mpirun.\n%s\n" $rule $rule >&2; exit 9'
launch --mpirun "$work/mpirun" -n 2 --max-restarts 2 -- train "$config" --run "$work/x" --overwrite --inject kill@1:50
is_code "always fails" 1
test "$(wc -l < "$work/calls")" = 3 || fail "always fails: $(wc -l < "$work/calls") calls"
test "$(sed -n 1p "$work/calls" | grep -c -- '--overwrite --inject kill@1:50$')" = 1 || fail "first call"
test "$(sed -n 2,3p "$work/calls" | grep -c -- '--resume$')" = 2 || fail "restarts do not resume"
test "$(sed -n 2,3p "$work/calls" | grep -Ec -- '--overwrite|--inject')" = 0 || fail "restarts overwrite"
has_line "always fails" '^lockstep: launch: the run ended with exit code 9: Many words of mpirun$'
has_line "always fails" 'exit code 9: Many words of mpirun; restart 2 of 2 in 1 s, from the last checkpoint$'
test "$(wc -l < "$work/out")" = 4 || fail "always fails: not one line for each time, and the end"
has_line "always fails" '^lockstep: launch: gave up after 2 restarts within 3600 seconds$'

# A signal while it waits for the next restart: the checkpoint that it asks for is there.
mkdir -p "$work/waits/checkpoints/step-00000010"
stand_in 'exit 9'
"$lockstep" launch --mpirun "$work/mpirun" -n 2 --max-restarts 9 -- train "$config" --run "$work/waits" --resume \
  > "$work/out" 2>&1 &
child=$!
for _ in {1..200}; do
  ! grep -q 'restart 3 of 9' "$work/out" || break
  sleep 0.05
done
kill -s USR1 "$child"
code=0
wait "$child" || code=$?
is_code "signal before a restart" 75
has_line "signal before a restart" 'stopped by a signal before the restart, with the checkpoint of step 10$'

# A run that was to be overwritten, and is there still, is not resumed.
rm "$work/calls"
launch --mpirun "$work/mpirun" -n 2 --max-restarts 1 -- train "$config" --run "$work/three" --overwrite --inject kill@1:50
is_code "overwrite" 1
test "$(grep -c -- '--overwrite --inject kill@1:50$' "$work/calls")" = 2 || fail "overwrite: resumes the old run"
test "$(wc -l < "$work/three/restarts.jsonl")" = 1 || fail "overwrite: the restart is not kept"

# Its workers are gone and it lives on; or it goes and leaves one behind.
stand_in 'sleep 2.5; exec tail -f /dev/null'
launch --mpirun "$work/mpirun" -n 2 -- train "$config" --run "$work/x"
is_code "outlives" 1
test "$took" -le 15 || fail "outlives: $took s"
has_line "outlives" 'mpirun outlived all workers, and was killed$'
stand_in "setsid bash -c ': $work/left-behind; trap : TERM; while :; do sleep 1; done' & exit 0"
launch --mpirun "$work/mpirun" -n 2 -- train "$config" --run "$work/x"
is_code "leaves one" 0
none_left "leaves one"

# It does not hear: the third signal ends it at once.
stand_in "trap '' TERM USR1; echo > $work/up; while :; do sleep 0.1; done"
"$lockstep" launch --mpirun "$work/mpirun" -n 2 -- train "$config" --run "$work/x" > "$work/out" 2>&1 &
child=$!
for _ in {1..100}; do
  test ! -e "$work/up" || break
  sleep 0.05
done
for _ in 1 2 3; do
  kill -s INT "$child"
  sleep 0.3
done
code=0
wait "$child" || code=$?
is_code "does not hear" 1
has_line "does not hear" '^lockstep: launch: ended by a signal without a new checkpoint$'
none_left "does not hear"

# --dry-run: the call, and who would be where; nothing is written.
launch -n 3 --dry-run -- train "$config" --run "$work/dry"
is_code "--dry-run" 0
has_line "--dry-run" 'mpirun .*--bind-to none .*-n 3 .* train .*--run'
has_line "--dry-run" '^ +rank +host +process +device +cores'
test "$(grep -Ec '^ +[0-2]  .* cpu ' "$work/out")" = 3 || fail "--dry-run: no table"
test ! -e "$work/dry" || fail "--dry-run wrote"

# Hosts without a number are asked for their GPUs; one that does not know the question gets a worker per core.
cat > "$work/agent" << 'END'
#!/bin/sh
case "$1 $2" in
*a.invalid*doctor*) echo "Welcome"; echo "gpus 3" ;;
*b.invalid*doctor*) echo "gpus 0 it has no driver" ;;
*c.invalid*doctor*) echo "unexpected argument '--gpus'"; exit 2 ;;
esac
END
chmod +x "$work/agent"
hosts=(--hosts a.invalid,b.invalid,c.invalid,d.invalid:2 --remote-shell "$work/agent")
launch "${hosts[@]}" --dry-run -- evaluate "$work/one"
is_code "GPUs of hosts" 0
has_line "GPUs of hosts" ' --host a.invalid:3,b.invalid:auto,c.invalid:auto,d.invalid:2 '
launch "${hosts[@]}" --dry-run -- evaluate "$work/one" --device cpu
has_line "no GPUs asked for" ' --host a.invalid:auto,b.invalid:auto,c.invalid:auto,d.invalid:2 '
launch "${hosts[@]}" --dry-run -- evaluate "$work/one" --device cuda
is_code "a host without GPUs" 2
has_line "a host without GPUs" '^lockstep: launch: host b.invalid has no GPU that can be used: it has no driver; leave it out'
