#!/bin/bash
# Several nodes; Slurm itself starts the workers:
#
#   sbatch several-nodes.sh CONFIG [options of train]
#
# Two minutes before the time is over, Slurm sends the workers SIGUSR1. They write a checkpoint and end with exit code 75;
# the job is queued again and goes on from there, until the training is done.
#SBATCH --job-name=lockstep --output=%x-%j.log --open-mode=append
#SBATCH --nodes=2 --ntasks-per-node=8 --time=04:00:00
#SBATCH --requeue --signal=USR1@120
set -u

srun --mpi=pmix lockstep train "$@" --resume
code=$?
echo "job $SLURM_JOB_ID, start ${SLURM_RESTART_COUNT:-0}: exit code $code"
if [ $code = 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
