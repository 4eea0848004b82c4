#!/usr/bin/env bash
# The program of docs/checkpoints.md reads a checkpoint of three workers with h5py: the same parameters, by their SHA-256.
# Arguments: the program, the source. Skipped (77) where there is no h5py.
set -euo pipefail
lockstep=$1 source=$2
python3 -c 'import h5py, numpy' 2> /dev/null || { echo "python3 has no h5py"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp

mpirun --oversubscribe --bind-to none -n 3 "$lockstep" train "$source/examples/digits-cnn.toml" --run "$work/run" \
  --set train.steps=5 --quiet
sed -n '/^```python$/,/^```$/p' "$source/docs/checkpoints.md" | grep -v '^```' | sed '/^weights = /,$d' > "$work/read.py"
cat >> "$work/read.py" << 'END'
import hashlib, json, sys
run = sys.argv[1]
checkpoint = f"{run}/checkpoints/step-00000005"
tensors = read(checkpoint)
manifest = json.load(open(f"{checkpoint}/manifest.json"))
assert {name: list(value.shape) for name, value in tensors.items()} == manifest["tensors"]
assert manifest["world_size"] == len(manifest["parts"]) == 3
digest = hashlib.sha256()
for name in sorted(tensors):
    if name.startswith("parameters/"):
        digest.update(tensors[name].tobytes())
expected = json.load(open(f"{run}/summary.json"))["parameters_sha256"]
assert digest.hexdigest() == expected, (digest.hexdigest(), expected)
END
python3 "$work/read.py" "$work/run"
