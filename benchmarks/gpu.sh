#!/usr/bin/env bash
# Everything that wants a GPU, in one command, in ten minutes at most:
#
#     benchmarks/gpu.sh OUT [PYTHON]
#
# installs what is missing (CuPy for the CUDA that nvidia-smi names, PyTorch and PEFT if absent; without
# internet it goes on without them), runs the tests of the GPU, the benchmark against PyTorch and a comparison
# of methods, and writes all of it into the folder OUT: summary.txt, failure.txt (the first one), on_gpu.json,
# on_gpu.md, and what each part said. A part that fails does not keep the next from running.
set -uo pipefail

if [ $# -lt 1 ]; then
    echo "gpu.sh: say where the results go: benchmarks/gpu.sh OUT [PYTHON]" >&2
    exit 2
fi
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
python=${2:-python3}
cd "$(dirname "$0")/.." || exit 2

if ! about=$(nvidia-smi 2> /dev/null); then
    echo "gpu.sh: no GPU here: nvidia-smi does not run" | tee "$out/summary.txt" >&2
    exit 3
fi
cuda=$(grep -oE 'CUDA Version: [0-9]+' <<< "$about" | grep -oE '[0-9]+$')
if [ "${cuda:-0}" -lt 12 ]; then
    echo "gpu.sh: CuPy needs a driver for CUDA 12 or later, not '${cuda:-unknown}'" | tee "$out/summary.txt" >&2
    exit 3
fi
extra=$([ "$cuda" -eq 12 ] && echo gpu12 || echo gpu13)
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader > "$out/gpu.txt"
: > "$out/summary.txt"
rm -f "$out/failure.txt"
failed=0

part() { # part NAME SECONDS COMMAND...: what it says goes to OUT/NAME.txt, how it ended to summary.txt
    local name=$1 seconds=$2 code=0
    local left=$((600 - SECONDS))
    seconds=$((seconds < left ? seconds : left))
    shift 2
    if [ "$seconds" -le 0 ]; then
        failed=1
        echo "$name: not run, the ten minutes are over" | tee -a "$out/summary.txt"
        return
    fi
    timeout "$seconds" "$@" > "$out/$name.txt" 2>&1 || code=$?
    if [ $code -eq 0 ]; then
        echo "$name: passed" | tee -a "$out/summary.txt"
        return
    fi
    failed=1
    echo "$name: failed with code $code$([ $code -eq 124 ] && echo ", after $seconds seconds"): see $name.txt" |
        tee -a "$out/summary.txt"
    if [ ! -f "$out/failure.txt" ]; then
        { echo "$name: $*"; tail -n 80 "$out/$name.txt"; } > "$out/failure.txt"
    fi
}

has() { "$python" -c "import $1" 2> /dev/null; }

if ! { has cupy && has minipeft && has pytest; }; then
    part install 120 "$python" -m pip install -e ".[test,$extra]"
fi
if ! { has torch && has transformers && has peft; }; then
    part install-pytorch 120 "$python" -m pip install torch transformers peft
fi
part tests 150 "$python" -m pytest tests/test_kernels.py tests/test_mixed_precision.py tests/test_device.py --device cuda
part on_gpu 240 "$python" benchmarks/on_gpu.py "$out"
part compare 120 "$python" -m minipeft compare --device cuda --out "$out/compare" --budget 60s
exit $failed
