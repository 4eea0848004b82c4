#!/usr/bin/env bash
# A Slurm cluster of two nodes on this machine: the ready job scripts are stopped, queued again and go on, with the bits of
# a run that nothing disturbed. Arguments: the program, the source. Exit code 77 (skipped) where it cannot run: without root,
# Slurm, munge, namespaces, or another address than that of loopback.
#
# All that the cluster needs is in one temporary directory; nothing of /etc/slurm is read. The nodes have host names and a
# /dev/shm of their own and share the rest. There are no cgroups: cores and memory are not limited.
set -euo pipefail
lockstep=$1 source=$2

skip() { echo "$1"; exit 77; }
test "$(id -u)" = 0 || skip "not root"
for program in munged slurmctld slurmd sbatch srun ip; do
  command -v $program > /dev/null || skip "no $program here"
done
unshare -u -m true 2> /dev/null || skip "no namespaces here"
test -n "$(ip -4 -brief address show scope global)" || skip "no network here"

work=$(mktemp -d)
chmod 755 "$work"
export SLURM_CONF=$work/slurm.conf
nodes=(n1 n2)

# ---- The cluster -----------------------------------------------------------------------------------

daemons=()  # files with their process numbers
end_steps() {  # SIGNAL: what runs the steps of this cluster, and what they run
  local step
  for step in $(pgrep -x slurmstepd || true); do
    grep -qzFx "SLURM_CONF=$SLURM_CONF" "/proc/$step/environ" 2> /dev/null || continue
    # shellcheck disable=SC2046 # numbers
    kill "-$1" $(pgrep -P "$step") "$step" 2> /dev/null || true
  done
}
down() {
  local signal file
  for signal in TERM KILL; do
    end_steps $signal
    for file in "${daemons[@]}"; do
      test ! -s "$file" || kill -$signal "$(< "$file")" 2> /dev/null || true
    done
    for _ in {1..50}; do
      pgrep -F "$work/slurmctld.pid" > /dev/null 2>&1 || break
      sleep 0.02
    done
  done
  rm -rf "$work"
}
trap down EXIT

fail() {
  echo "$1"
  cat "$work"/*.out 2> /dev/null || true
  tail -n 5 "$work"/slurm*.log 2> /dev/null || true
  exit 1
}
until_true() {  # SECONDS COMMAND...
  local tries
  for ((tries = 0; tries < $1 * 20; tries++)); do
    "${@:2}" && return
    sleep 0.05
  done
  return 1
}

free_ports() {  # the first of three ports that nobody listens on
  local first
  while :; do
    first=$((20000 + RANDOM % 10000))
    ss -ltnH | grep -qE ":($first|$((first + 1))|$((first + 2))) " || { echo $first; return; }
  done
}
configure() {
  local port n
  port=$(free_ports)
  cat > "$SLURM_CONF" << END
ClusterName=test
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool.%n
TmpFS=$work/tmp.%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/%n.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=pmix
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
ReturnToService=2
KillWait=5
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
END
  for n in 1 2; do
    echo "NodeName=n$n NodeHostname=n$n NodeAddr=127.0.1.$n Port=$((port + n)) CPUs=4 RealMemory=1000" >> "$SLURM_CONF"
  done
  echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >> "$SLURM_CONF"
}
start_munge() {
  mkdir -m 755 "$work/munge"
  (umask 077; head -c 1024 /dev/urandom > "$work/munge/key")
  daemons+=("$work/munge/pid")
  munged --force --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
    --log-file="$work/munge/log" --seed-file="$work/munge/seed" > "$work/munge.out" 2>&1 < /dev/null || fail "munged"
}
start_node() {
  mkdir -p "$work/spool.$1" "$work/tmp.$1"
  daemons+=("$work/$1.pid")
  # shellcheck disable=SC2016 # the inner shell's variables
  unshare -u -m --propagation private sh -c '
    hostname "$1" && mount -t tmpfs shm /dev/shm && mount --bind "$2/hosts" /etc/hosts && exec slurmd -N "$1"' \
    node "$1" "$work" < /dev/null > "$work/slurmd.$1.out" 2>&1 || fail "slurmd of $1"
}
controller_answers() { scontrol ping 2> /dev/null | grep -q 'is UP'; }
nodes_are_idle() { test "$(sinfo -h -N -t idle -o %N | sort -u | wc -l)" = ${#nodes[@]}; }

up() {
  mkdir "$work/state"
  { cat /etc/hosts; printf '127.0.1.1 n1\n127.0.1.2 n2\n'; } > "$work/hosts"
  configure
  start_munge
  daemons+=("$work/slurmctld.pid")
  slurmctld -c < /dev/null > "$work/slurmctld.out" 2>&1 || fail "slurmctld"
  until_true 20 controller_answers || fail "slurmctld does not answer"
  for node in "${nodes[@]}"; do start_node "$node"; done
  until_true 30 nodes_are_idle || fail "the nodes do not come up"
}

# ---- The jobs --------------------------------------------------------------------------------------

# Nodes of one machine meet on its loopback interface; and there are fewer cores than workers.
export OMPI_MCA_btl_tcp_if_include=127.0.0.0/8 OMPI_MCA_oob_tcp_if_include=127.0.0.0/8
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
PATH=$(dirname "$lockstep"):$PATH
training=("$source/examples/digits-mlp.toml" --quiet --set train.epochs=200 --set checkpoint.every_steps=500
  --set evaluate.every=0)

sha256() { grep -o '"parameters_sha256": *"[0-9a-f]*"' "$work/$1/summary.json"; }
newest() { ls "$work/$1/checkpoints" 2> /dev/null | grep '^step-' | tail -n 1 || true; }
has_more() { test -n "$(newest "$1")" && test "$(newest "$1")" != "$then"; }
is_state() { scontrol show job "$1" | grep -q "JobState=$2 "; }
is_over() { ! squeue -h -j "$1" -t PENDING,RUNNING,COMPLETING,CONFIGURING -o %A 2> /dev/null | grep -q .; }
submit() {  # NAME SCRIPT: with two tasks on two nodes
  job=$(sbatch --parsable --output="$work/$1.out" --nodes=2 --ntasks-per-node=1 --time=10 \
    "$source/examples/slurm/$2" "${training[@]}" --run "$work/$1")
}
# stop_and_go NAME TIMES OPTIONS: sends SIGUSR1, as Slurm does before the time is over, and lets the job start again at once
# (Slurm would wait for two minutes).
stop_and_go() {
  local k
  then=
  for ((k = 1; k <= $2; k++)); do
    until_true 60 has_more "$1" || fail "$1: stop $k: the training does not go on"
    # shellcheck disable=SC2086 # several options
    scancel $3 --signal=USR1 "$job"
    until_true 30 is_state "$job" PENDING || fail "$1: stop $k: the job is not queued again"
    then=$(newest "$1")
    sleep 1.1  # credentials that are given in the second of the job's end are void
    scontrol update JobId="$job" StartTime=now
  done
  until_true 120 is_over "$job" || fail "$1: the job does not end"
  is_state "$job" COMPLETED || fail "$1: the job has failed"
  test "$(grep -c ': exit code 75$' "$work/$1.out")" = "$2" || fail "$1: not stopped $2 times"
  grep -q ": exit code 0$" "$work/$1.out" || fail "$1: not done"
  grep -q '"world_size": 2' "$work/$1/summary.json" || fail "$1: not two workers"
  test "$(sha256 undisturbed)" = "$(sha256 "$1")" || fail "$1: other bits"
}

up
"$lockstep" train "${training[@]}" --run "$work/undisturbed" > "$work/undisturbed.out" 2>&1 || fail "undisturbed"

# srun starts the workers, and Slurm sends them the signal.
submit steps several-nodes.sh
stop_and_go steps 3 ""

# launch does, and the script's shell gets the signal.
submit launched requeue.sh
stop_and_go launched 1 --batch
grep -q 'SIGUSR1: the training ends after this step with a checkpoint' "$work/launched.out" || fail "launched: not told"

# Without PMIx each worker would train alone.
code=0
srun --mpi=none -N 2 -n 2 lockstep train "${training[@]}" --run "$work/alone" > "$work/alone.out" 2>&1 || code=$?
test $code = 1 || fail "no PMIx: exit code $code"
grep -q 'srun started 2 processes, but without PMIx MPI sees 1: .*srun --mpi=pmix' "$work/alone.out" ||
  fail "no PMIx: not told"
test "$(grep -c '^lockstep:' "$work/alone.out")" = 1 || fail "no PMIx: not told in one line"

# Of what was started nothing is left.
! pgrep -f -- "--run $work/" > "$work/left" || fail "a process is left: $(cat "$work/left")"
