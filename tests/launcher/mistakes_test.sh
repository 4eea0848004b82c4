#!/usr/bin/env bash
# Mistakes of starting: each is refused within 10 seconds, in one line that names rank or host, cause and remedy, with the
# right exit code; nothing is written and no process is left. Arguments: the program, the source.
set -euo pipefail
lockstep=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp
cd "$work"
config=$source/examples/digits-mlp.toml
mpirun=(mpirun --oversubscribe --bind-to none)
mistakes=0

fail() {
  echo "$1"
  cat out
  exit 1
}

# mistake NAME CODE WORDS COMMAND...: the one line must match WORDS. The run is always called $work/run.
mistake() {
  local name=$1 expected=$2 words=$3 begin code=0 took
  shift 3
  begin=$(date +%s%N)
  timeout -k 1 60 "$@" > out 2>&1 < /dev/null || code=$?
  took=$((($(date +%s%N) - begin) / 1000000))
  test "$code" = "$expected" || fail "$name: exit code $code, expected $expected"
  test "$took" -le 10000 || fail "$name: took $took ms"
  grep '^lockstep: ' out | grep -v '^lockstep: warning:' > told || fail "$name: nothing told"
  test "$(wc -l < told)" = 1 || fail "$name: not told in one line"
  grep -Eq -- "$words" told || fail "$name: expected: $words"
  ! pgrep -f "$work/run" > /dev/null || fail "$name: a process is left"
  test ! -e "$work/run" || fail "$name: something was written"
  mistakes=$((mistakes + 1))
  printf '%2d  %5d ms  exit code %d  %s\n' "$mistakes" "$took" "$code" "$(head -c 300 told)"
}

train=("$lockstep" train "$config" --run "$work/run" --quiet)

# ---- One rank differs from the others ---------------------------------------------------------------
sed 's/^seed = .*/seed = 7/' "$config" > other.toml
cmp -s "$config" other.toml && fail "the other configuration is the same"
mistake "another configuration on one rank" 2 'the workers disagree on the configuration: rank 2 has run.seed = 7, most others have 42; start all with' \
  "${mpirun[@]}" -n 2 "${train[@]}" : -n 1 "$lockstep" train other.toml --run "$work/run" --quiet
mistake "another --set on one rank" 2 'the workers disagree on the configuration: rank 1 has train.global_batch = 64, most others have 32; start' \
  "${mpirun[@]}" -n 1 "${train[@]}" : -n 1 "${train[@]}" --set train.global_batch=64
cp -r "$source/datasets/bundled/digits" digits
mkdir half
cp digits/*.h5 half/
rm "$(find half -name '*.h5' | sort | tail -1)"
mistake "a shard is missing on one rank" 2 'rank 2: .*half.*' \
  "${mpirun[@]}" -n 2 "${train[@]}" --set "data.train=\"$work/digits\"" : \
  -n 1 "${train[@]}" --set "data.train=\"$work/half\""
# Two datasets of one name in two places.
csv() { awk -v rows="$1" 'BEGIN { for (i = 0; i < rows; i++) { for (k = 0; k < 64; k++) printf "%d,", i * k % 17; print "d" i % 10 } }'; }
for rows in 180 200; do
  mkdir "$rows"
  csv "$rows" > "$rows/pixels.csv"
  "$lockstep" data import "$rows/pixels.csv" --output "$rows/pixels" --label -1 > /dev/null
done
pixels=("$lockstep" train "$config" --run "$work/run" --quiet --set 'data.train="./pixels"')
mistake "another dataset on one rank" 2 'the workers disagree on the dataset ./pixels/.*: rank 2 has 180 rows .*, the others have 200' \
  "${mpirun[@]}" -n 2 -wdir "$work/200" "${pixels[@]}" : -n 1 -wdir "$work/180" "${pixels[@]}"
cp "$lockstep" lockstep-other
echo >> lockstep-other
mistake "another program on one rank" 2 'the workers disagree on the program: rank 2 .*; install the same build on all hosts' \
  "${mpirun[@]}" -n 2 "${train[@]}" : -n 1 "$work/lockstep-other" "${train[@]:1}"

# ---- The world is not what was promised -------------------------------------------------------------
mistake "the promised number of workers" 1 'mpirun started 4 processes, but MPI sees 1: .*Start with' \
  env OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=0 "${train[@]}"
mistake "srun without PMIx" 1 'srun started 4 processes, but without PMIx MPI sees 1: .*srun --mpi=pmix' \
  env SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 "${train[@]}"
mistake "launch under mpirun" 2 "launch: mpirun has started this as one of 2 processes already, .* use either" \
  "${mpirun[@]}" -n 2 "$lockstep" launch -n 2 -- "${train[@]:1}"

# ---- Hosts ------------------------------------------------------------------------------------------
launch=("$lockstep" launch)
mistake "no workers" 2 '--workers expects an integer from 1 on, found .0.' \
  "${launch[@]}" -n 0 -- "${train[@]:1}"
mistake "an unknown host" 2 'launch: host no-such-host.invalid is not known: .*; check --hosts' \
  "${launch[@]}" --hosts localhost:1,no-such-host.invalid:1 -- "${train[@]:1}"
mistake "a malformed list of hosts" 2 "--hosts: expected a number of workers from 1 on after h1, found 'x'; write h1:4" \
  "${launch[@]}" --hosts h1:x,h2:2 -- "${train[@]:1}"
mistake "no file of hosts" 2 "$work/no-hosts: .*[Nn]o such file" \
  "${launch[@]}" --hostfile "$work/no-hosts" -- "${train[@]:1}"
printf '#!/bin/sh\necho "kex: connection closed" >&2\nexit 255\n' > dead-shell
chmod +x dead-shell
mistake "a host that does not answer" 2 'launch: host far.invalid cannot be reached: kex: connection closed; .*must work' \
  "${launch[@]}" --hosts far.invalid:2 --remote-shell "$work/dead-shell" -- "${train[@]:1}"
printf '#!/bin/sh\nexit 1\n' > empty-shell
chmod +x empty-shell
mistake "a host without the program" 2 'launch: host far.invalid lacks .*/lockstep, .*; install Lockstep' \
  "${launch[@]}" --hosts far.invalid:2 --remote-shell "$work/empty-shell" -- "${train[@]:1}"
mistake "no mpirun in PATH" 2 'mpirun is not in PATH; install openmpi-bin' \
  env PATH=/nonexistent "${launch[@]}" -n 2 -- "${train[@]:1}"
printf '#!/bin/sh\necho "HYDRA build details: Version 4.0"\n' > mpirun
chmod +x mpirun
mistake "mpirun of another MPI" 2 "is not Open MPI's: its --version says 'HYDRA" \
  "${launch[@]}" --mpirun "$work/mpirun" -n 2 -- "${train[@]:1}"

# ---- The command ------------------------------------------------------------------------------------
mistake "a command that one process does" 2 "'report' is done by one process" \
  "${launch[@]}" -n 2 -- report "$work/run"
mistake "a slip of the keyboard" 2 'did you mean "epochs"' \
  "${launch[@]}" -n 2 -- "${train[@]:1}" --set train.epoch=2
mistake "no configuration" 2 'no.toml: .*[Nn]o such file' \
  "${launch[@]}" -n 2 -- train no.toml --run "$work/run"
mistake "a GPU where there is none" 2 '--device cuda: no GPU can be used: .*; use --device cpu' \
  env CUDA_VISIBLE_DEVICES= "${launch[@]}" -n 2 -- "${train[@]:1}" --device cuda
echo > a-file
mistake "a run directory that cannot be made" 2 'a-file' \
  "${launch[@]}" -n 2 -- train "$config" --run "$work/a-file/run"

# ---- Resuming ---------------------------------------------------------------------------------------
"${launch[@]}" -n 2 -- train "$config" --run "$work/begun" --quiet --set train.epochs=1 2> /dev/null
before=$(find begun -type f | sort | xargs sha256sum)
mistake "resumed with another model" 2 'begun/checkpoints/.*: belongs to another model or optimizer: missing: ' \
  "${launch[@]}" -n 2 -- train "$source/examples/digits-cnn.toml" --run "$work/begun" --quiet --resume
test "$before" = "$(find begun -type f | sort | xargs sha256sum)" || fail "resumed with another model: a file of the run changed"
mistake "a directory that holds a run" 2 'begun: holds a run already; go on with --resume' \
  "${launch[@]}" -n 2 -- train "$config" --run "$work/begun" --quiet

test "$mistakes" -ge 12
