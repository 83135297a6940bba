#!/usr/bin/env bash
# Makes the virtual environment of the peers that sftprep is measured against.
#
#   benches/python/setup_peers.sh [FOLDER]      (default: benches/.peers)
#
# The peers live apart from sftprep's own environment: they need torch (about 2.5 GB), and
# their versions are pinned because the comparison is a statement about these versions.
set -euo pipefail

folder="${1:-$(cd "$(dirname "$0")/.." && pwd)/.peers}"
python="${PYTHON:-python3}"

if [ ! -x "$folder/bin/python" ]; then
    "$python" -m venv "$folder"
fi
"$folder/bin/python" -m pip install --quiet --upgrade pip
"$folder/bin/python" -m pip install --quiet \
    "trl==1.16.0" "transformers==5.23.0" "datasets" "accelerate" "torch" \
    "tiktoken" "pyarrow" "numpy" "tokenizers" "fastokens" "gigatoken" "snaptokens"
"$folder/bin/python" -c 'import trl, torch, tiktoken; print("peers: trl", trl.__version__, "torch", torch.__version__)'
echo "peers: $folder/bin/python"
