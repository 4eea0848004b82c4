#!/usr/bin/env bash
# Two hosts: network namespaces of this machine, each with its own address, name and /dev/shm, joined by one link.
# The workers train over TCP with equal bits; when the link is cut without a word the other host is named within the deadline.
# lockstep launch goes on without a host that failed twice, and without one that died.
# Arguments: the program, the source. Exit code 77 (skipped) where the machine allows no namespaces.
set -euo pipefail
lockstep=$1 source=$2
work=$(mktemp -d)
unshare -n -u -m -p -f true 2>/dev/null && command -v ip >/dev/null || { echo "no namespaces here"; exit 77; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp
export OMPI_MCA_orte_tmpdir_base=/dev/shm OMPI_MCA_plm_rsh_agent="$work/agent" OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_oob_tcp_if_include=10.99.0.0/24 OMPI_MCA_btl_tcp_if_include=10.99.0.0/24
deadline=2

# The first process of each host. h2 has processes of its own, which end with it; mpirun runs on h1 and looks into h2.
declare -A first spaces=([h1]="-n -u -m" [h2]="-n -u -m -p")
down() {
  pkill -9 -f "^$lockstep train .* --run $work/" || true
  for host in "${!first[@]}"; do kill -9 "${first[$host]}" 2>/dev/null || true; done
  rm -rf "$work"
}
trap down EXIT

fail() {
  echo "$1"
  cat "$work/out"
  exit 1
}

on() {  # HOST COMMAND...
  local host=$1
  shift
  # shellcheck disable=SC2086 # several options
  nsenter -t "${first[$host]}" ${spaces[$host]} -- "$@"
}

printf '127.0.0.1 localhost\n10.99.0.1 h1\n10.99.0.2 h2\n' > "$work/hosts"
for host in h1 h2; do
  own=()
  test "$host" = h1 || own=(-p -f --mount-proc)
  # shellcheck disable=SC2016 # the inner shell's variables
  setsid unshare -n -u -m "${own[@]}" --propagation private bash -c '
    hostname "$1" && ip link set lo up && mount --bind "$2/hosts" /etc/hosts && mount -t tmpfs shm /dev/shm
    touch "$2/$1.up"
    test $1 = h2 || exec sleep 600
    trap : CHLD
    while :; do sleep 600 & wait $!; done' host "$host" "$work" < /dev/null > "$work/$host.log" 2>&1 &
  outer=$!
  disown
  for _ in {1..250}; do
    test -e "$work/$host.up" && break
    sleep 0.02
  done
  test -e "$work/$host.up" || { cat "$work/$host.log"; exit 77; }
  first[$host]=$outer
  test "$host" = h1 || read -r "first[$host]" _ < "/proc/$outer/task/$outer/children" || true  # the line has no end
done
ip link add name ls-h1 netns "${first[h1]}" type veth peer name ls-h2 netns "${first[h2]}" || exit 77
for n in 1 2; do
  on h$n ip addr add 10.99.0.$n/24 dev ls-h$n
  on h$n ip link set ls-h$n up
done
# What mpirun calls instead of ssh: HOST COMMAND...
cat > "$work/agent" << END
#!/bin/bash
test "\$1" = h2 || exit 255
shift
test -e /proc/${first[h2]}/ns/net || { echo "no route to h2"; exit 255; }
exec nsenter -t ${first[h2]} -n -u -m -p -- bash -c "\$*"
END
chmod +x "$work/agent"

run() {  # on both hosts, two workers each, in the background of h1
  on h1 timeout -k 1 60 mpirun --host h1:2,h2:2 --bind-to none \
    ${ASAN_OPTIONS:+-x ASAN_OPTIONS} -n 4 "$lockstep" train "$source/examples/digits-cnn.toml" \
    --quiet --set run.deadline=$deadline "$@" > "$work/out" 2>&1
}
workers() { pgrep -f "^$lockstep train .* --run $work/" | grep -c . || true; }

# ---- The same bits as one worker -------------------------------------------------------------------

hash_of() { grep -o '"parameters_sha256": "[0-9a-f]*"' "$work/$1/summary.json"; }
"$lockstep" train "$source/examples/digits-cnn.toml" --quiet --set train.epochs=1 --run "$work/one" > "$work/out" 2>&1
run --set train.epochs=1 --run "$work/four" || fail "training on two hosts"
test "$(hash_of one)" = "$(hash_of four)" || fail "other bits on two hosts: $(hash_of one), $(hash_of four)"

# ---- A host fails twice ----------------------------------------------------------------------------

launch() {  # RUN ARGUMENTS...: lockstep launch with two workers a host, in the background of h1
  on h1 timeout -k 1 100 "$lockstep" launch --hosts h1:2,h2:2 --remote-shell "$work/agent" --max-restarts 4 \
    -- train "$source/examples/digits-cnn.toml" --quiet --set run.deadline=$deadline --set checkpoint.every_steps=5 \
    --run "$work/$1" "${@:2}" > "$work/out" 2>&1
}
workers_of() {  # HOST: those that train
  local process
  for process in $(pgrep -f "^$lockstep train .* --run $work/" || true); do
    test "$(readlink "/proc/$process/ns/uts")" != "$(readlink "/proc/${first[$1]}/ns/uts")" || echo "$process"
  done
}
newest() { ls "$work/$1/checkpoints" 2> /dev/null | grep '^step-' | tail -n 1 || true; }
trains_on() {  # RUN: there is a newer checkpoint than then, and all workers are there
  test -n "$(newest "$1")" && test "$(newest "$1")" != "$then" && test "$(workers_of h2 | wc -l)" = 2
}
all_ended() { test -z "$(workers_of h2)"; }
until_true() {  # SECONDS COMMAND...
  local tries
  for ((tries = 0; tries < $1 * 20; tries++)); do
    "${@:2}" && return
    sleep 0.05
  done
  return 1
}

"$lockstep" train "$source/examples/digits-cnn.toml" --quiet --set train.epochs=6 --run "$work/six" > "$work/out" 2>&1
launch left-out --set train.epochs=6 &
started=$!
then=
for k in 1 2; do
  until_true 30 trains_on left-out || fail "failure $k: the training does not go on"
  kill -KILL "$(workers_of h2 | tail -n 1)"
  until_true 10 all_ended || fail "failure $k: workers live on"
  then=$(newest left-out)
done
wait "$started" || fail "a host that failed twice: exit code $?"
test "$(hash_of six)" = "$(hash_of left-out)" || fail "a host that failed twice: other bits"
grep -q '"world_size": 2' "$work/left-out/summary.json" || fail "a host that failed twice: it is not left out"
grep -Eq '^lockstep: launch: restart 1 of 4 at once, from step [0-9]+$' "$work/out" || fail "first restart"
grep -Eq '^lockstep: launch: restart 2 of 4 in 1 s, from step [0-9]+, without host h2 \(it failed twice\)$' "$work/out" ||
  fail "second restart"
grep -q '"host":"h2","rank":[23],.*"left_out":\["h2"\]}' "$work/left-out/restarts.jsonl" || fail "it is not kept"

# ---- The link is cut -------------------------------------------------------------------------------

run --set train.epochs=10000 --run "$work/cut" &
started=$!
for _ in {1..500}; do
  test -s "$work/cut/log.jsonl" && break
  sleep 0.02
done
test -s "$work/cut/log.jsonl" || fail "the training did not begin"
# Packets go to nobody; neither side sees its link go down.
on h1 ip neigh replace 10.99.0.2 lladdr 02:00:00:00:00:99 dev ls-h1 nud permanent
on h2 ip neigh replace 10.99.0.1 lladdr 02:00:00:00:00:99 dev ls-h2 nud permanent
begin=$SECONDS
while test "$(workers)" != 0 && test $((SECONDS - begin)) -le $((deadline + 6)); do sleep 0.1; done
test "$(workers)" = 0 || fail "$(workers) processes are left $((SECONDS - begin)) s after the cut"
kill "$started" 2>/dev/null || true
grep '^lockstep:' "$work/out" | grep -v '^lockstep: warning:' > "$work/told" || true
test "$(wc -l < "$work/told")" = 1 || fail "not told in one line"
grep -Eq 'rank [23] on h2 \(process [0-9]+\) is silent for [0-9.]+ s: its host or the network to it is down' "$work/told" ||
  fail "not told what it is"
test -s "$work/cut/failure.json" || fail "no failure.json"

# ---- A host dies -----------------------------------------------------------------------------------

on h1 ip neigh del 10.99.0.2 dev ls-h1 || true
on h2 ip neigh del 10.99.0.1 dev ls-h2 || true
launch host-lost --set train.epochs=6 &
started=$!
then=
until_true 30 trains_on host-lost || fail "the training did not begin"
kill -KILL "${first[h2]}"
wait "$started" || fail "a host dies: exit code $?"
test "$(hash_of six)" = "$(hash_of host-lost)" || fail "a host dies: other bits"
grep -q '"world_size": 2' "$work/host-lost/summary.json" || fail "a host dies: it is not left out"
grep -Eq '^lockstep: launch: .*restart 1 of 4 at once, from step [0-9]+, without host h2 \(cannot be reached: ' "$work/out" ||
  fail "a host dies: not told"
