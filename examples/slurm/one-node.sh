#!/bin/bash
# One node, one worker per core of the job:
#
#   sbatch one-node.sh CONFIG [options of train]
#
# The run goes on where it was, should the job be started again (docs/slurm.md).
#SBATCH --job-name=lockstep --output=%x-%j.log --open-mode=append
#SBATCH --nodes=1 --ntasks=8 --time=04:00:00 --requeue
set -u

# A worker that dies costs a few seconds: the training is started again from its last checkpoint.
lockstep launch --max-restarts 3 -- train "$@" --resume
