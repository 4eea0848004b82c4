#!/usr/bin/env bash
# lockstep doctor: a machine that works, and what it says of mistakes. Argument: the program.
set -euo pipefail
lockstep=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "$1"
  cat out
  exit 1
}
doctor() {  # NAME CODE ARGUMENTS...
  local name=$1 expected=$2 code=0
  shift 2
  timeout -k 1 120 "$lockstep" doctor "$@" > out 2> err || code=$?
  test "$code" = "$expected" || fail "$name: exit code $code, expected $expected: $(cat err)"
  ! pgrep -f "^$lockstep bench" > /dev/null || fail "$name: a process is left"
}
says() { grep -Eq "$2" out || fail "$1: no line matches $2"; }

doctor "this machine" 0
for what in program processor cores memory "shared memory" "open files" libraries GPU mpirun exchange; do
  says "this machine" "^  (OK|WARNING)  +$what "
done
says "this machine" 'exchange +two workers exchange 16 MiB at [0-9.]+ GB/s, 4 bytes in [0-9]+ us$'
says "this machine" '^ready'
! grep -q FAILED out || fail "this machine failed"

"$lockstep" doctor --gpus | grep -Eq '^gpus ([1-9][0-9]*|0 .+)$' || fail "--gpus: $("$lockstep" doctor --gpus)"

doctor "an unknown host" 1 --hosts localhost:1,no-such-host.invalid:1
says "an unknown host" '^  FAILED   host no-such-host.invalid  its name is not known: .*; check --hosts'
says "an unknown host" '^1 check failed, '

printf '#!/bin/sh\necho "kex: connection closed" >&2\nexit 255\n' > dead-shell
printf '#!/bin/sh\necho "Welcome"; shift; exec sh -c "$*"\n' > near-shell
printf '#!/bin/sh\necho %064d; echo 3; date +%%s.%%N\n' 7 > other-shell
printf '#!/bin/sh\necho none; echo 3; date +%%s.%%N\n' > empty-shell
chmod +x ./*-shell
doctor "a host that does not answer" 1 --hosts far.invalid:1 --remote-shell "$work/dead-shell"
says "a host that does not answer" '^  FAILED   host far.invalid  cannot be reached: kex: connection closed; '
doctor "a host without the program" 1 --hosts far.invalid:1 --remote-shell "$work/empty-shell"
says "a host without the program" '^  FAILED   host far.invalid  .*/lockstep is not there; install the same build'
doctor "another program" 1 --hosts far.invalid:1 --remote-shell "$work/other-shell"
says "another program" '^  FAILED   host far.invalid  .*/lockstep is another program there; install the same build'
doctor "a host that answers" 0 --hosts far.invalid:1000 --remote-shell "$work/near-shell"
says "a host that answers" '^  OK       host far.invalid  is reached, has the same program, [0-9]+ cores?$'
says "a host that answers" '^  WARNING  host far.invalid  1000 workers for [0-9]+ cores?; give it at most far.invalid:[0-9]+$'
says "a host that answers" '^  OK       clock of far.invalid  0.[0-9]+ s (ahead|behind) '

# mpirun that is not there, is another one, or starts nobody.
printf '#!/bin/sh\nif [ "$1" = --version ]; then echo "mpirun (Open MPI) 3.0.0"; fi\n' > old-mpirun
cat > dead-mpirun << 'END'
#!/bin/sh
if [ "$1" = --version ]; then exec mpirun --version; fi
rule=--------------------------------------------------------------------------
printf '%s\nNo network\n  was found.\n%s\n' $rule $rule >&2
exit 1
END
chmod +x ./*-mpirun
doctor "no mpirun" 1 --mpirun "$work/no-mpirun"
says "no mpirun" '^  FAILED   mpirun +--mpirun .*no-mpirun: is no program'
doctor "an old mpirun" 1 --mpirun "$work/old-mpirun"
says "an old mpirun" '^  FAILED   mpirun +.*old-mpirun is of Open MPI 3.0.0, this program uses [0-9.]+; use the mpirun'
doctor "a dead mpirun" 1 --mpirun "$work/dead-mpirun"
says "a dead mpirun" '^  FAILED   exchange +two workers could not exchange: No network was found\.; .*--verbose'

doctor "a malformed list" 2 --hosts h1:x
grep -q "^lockstep: --hosts: expected a number of workers" err || fail "a malformed list"
