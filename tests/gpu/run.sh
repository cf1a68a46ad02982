#!/bin/sh
# What only a GPU can show, in under eight minutes: CPU and CUDA agree; a smoke bench on the device, held to what is expected
# of it; the rates that docs/performance.md keeps. Without CUDA the rates are a rehearsal on small shapes.
# PYTHON=... names an environment that has what pyproject.toml asks for, pytest and beartype; sparsify for its row.
cd "$(dirname "$0")/../.." || exit 1
python="${PYTHON:-python3}"
runs="$(mktemp -d)"
trap 'rm -rf "$runs"' EXIT
failed=0
"$python" -m pytest -q -p no:cacheprovider tests/gpu || failed=1
{ "$python" -m benchmark run topk_sae --suite smoke --runs "$runs" && "$python" -m benchmark guard topk_sae --runs "$runs"; } || failed=1
# Whether a jail takes a device is to be learnt: it is not the default there.
"$python" -m benchmark run topk_sae --suite smoke --isolation jail --runs "$runs/jail" && echo "jail: works on this device"
"$python" -m tests.gpu.measure || failed=1
exit "$failed"
