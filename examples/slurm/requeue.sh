#!/bin/bash
# Several nodes under lockstep launch, which starts a training again within the job where a worker fails, and without a
# node that fails twice. The job itself is queued again before its time is over, until the training is done:
#
#   sbatch requeue.sh CONFIG [options of train]
#
#SBATCH --job-name=lockstep --output=%x-%j.log --open-mode=append
#SBATCH --nodes=2 --ntasks-per-node=8 --time=04:00:00
#SBATCH --requeue --signal=B:USR1@120
set -u

lockstep launch --max-restarts 3 -- train "$@" --resume &
launch=$!
# SIGUSR1 comes to this shell alone; launch makes a checkpoint and exit code 75 of it. A trap runs while bash waits, and
# ends the wait. SIGTERM, where the job is cancelled or must make room for another one, comes to launch as well.
trap 'kill -USR1 $launch 2> /dev/null' USR1
trap : TERM
wait $launch
while kill -0 $launch 2> /dev/null; do wait $launch; done
wait $launch
code=$?
echo "job $SLURM_JOB_ID, start ${SLURM_RESTART_COUNT:-0}: exit code $code"
if [ $code = 75 ] && ! scontrol show job "$SLURM_JOB_ID" | grep -q JobState=CANCELLED; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
