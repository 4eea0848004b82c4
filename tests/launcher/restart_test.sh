#!/usr/bin/env bash
# A launch that loses a worker five times, each killed from outside: it goes on from its checkpoints, soon, tells and keeps
# each restart, and ends with the bits of a run that nothing disturbed. Arguments: the program, the source.
set -euo pipefail
lockstep=$1 source=$2
work=$(mktemp -d)
launch=
trap 'test -z "$launch" || kill "$launch" 2> /dev/null || true; rm -rf "$work"' EXIT
kills=5
training=(train "$source/examples/digits-mlp.toml" --quiet --set train.epochs=500 --set checkpoint.every_steps=100
  --set evaluate.every=0)

fail() {
  echo "$1"
  cat "$work/out"
  exit 1
}
until_true() {  # SECONDS COMMAND...
  local tries
  for ((tries = 0; tries < $1 * 50; tries++)); do
    "${@:2}" && return
    sleep 0.02
  done
  return 1
}
workers() { pgrep -P "$(pgrep -d, -P "$launch")" 2> /dev/null || true; }  # children of mpirun
sha256() { grep -o '"parameters_sha256": *"[0-9a-f]*"' "$work/$1/summary.json"; }
newest() { ls "$work/run/checkpoints" 2> /dev/null | grep '^step-' | tail -n 1 || true; }
are_gone() { ! ps -o stat= -p "${victims[0]},${victims[1]}" | grep -q '^[^Z]'; }
is_tidy() { ! ps -o stat= --ppid "$launch" | grep -q Z; }
# There is a newer checkpoint than then: the training goes on.
has_more() { test -n "$(newest)" && test "$(newest)" != "$then" && test "$(workers | wc -l)" = 2; }

"$lockstep" "${training[@]}" --run "$work/undisturbed" > "$work/out" 2>&1 || fail "undisturbed"

# At most 3 in any 2 seconds: what lies further back does not count.
"$lockstep" launch -n 2 --max-restarts 3 --restart-window 2 -- "${training[@]}" --run "$work/run" > "$work/out" 2>&1 &
launch=$!
then=
for ((k = 1; k <= kills; k++)); do
  until_true 60 has_more || fail "kill $k: the training does not go on"
  # shellcheck disable=SC2207 # numbers
  victims=($(workers))
  kill -KILL "${victims[RANDOM % 2]}"
  begin=$EPOCHREALTIME
  until_true 60 are_gone || fail "kill $k: the other worker lives on"
  then=$(newest)
  until_true 60 has_more || fail "kill $k: the training does not go on"
  took=$((${EPOCHREALTIME/[.,]/} / 1000 - ${begin/[.,]/} / 1000))
  echo "kill $k: a new checkpoint after $took ms"
  # The first restart has no pause. Training again takes less than 3 s on a machine that does nothing else.
  test $k -gt 1 || test $took -le 10000 || fail "kill $k: a new checkpoint only after $took ms"
done
until_true 5 is_tidy || fail "the dead are not buried"
code=0
wait "$launch" || code=$?
launch=
test $code = 0 || fail "exit code $code"
test "$(sha256 run)" = "$(sha256 undisturbed)" || fail "other bits"
test "$(grep -Ec '^lockstep: rank [01] on .* is gone: it was killed' "$work/out")" = $kills || fail "not each told"
test "$(grep -Ec '^lockstep: launch: restart [1-3] of 3 (at once|in [12] s), from step [1-9][0-9]*$' "$work/out")" = $kills ||
  fail "restarts are not told"
test "$(grep -c '^{"time":.*"cause":"rank [01] on .* is gone: .*"rank":[01],' "$work/run/restarts.jsonl")" = $kills ||
  fail "restarts are not kept"
"$lockstep" report "$work/run" > /dev/null
test "$(grep -o 'is gone: it was killed' "$work/run/report.html" | wc -l)" = $kills || fail "the report has not all restarts"
! pgrep -f "$work/" > "$work/left" || fail "a process is left: $(cat "$work/left")"
