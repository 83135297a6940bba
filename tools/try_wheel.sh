#!/usr/bin/env bash
# Install one wheel into an empty environment and do a whole run with it, far from the sources.
set -euo pipefail

if [[ $# -ne 1 || ! -f $1 ]]; then
    echo "usage: tools/try_wheel.sh dist/sftprep-VERSION-PLATFORM.whl" >&2
    exit 2
fi
wheel=$(realpath "$1")
demo=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../examples/demo")
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

"${PYTHON:-python3}" -m venv "$room/venv"
"$room/venv/bin/python" -m pip --disable-pip-version-check -q install "$wheel"
cd "$room"
bin=$room/venv/bin
"$bin/python" - <<'PY'
import sys
import sftprep

heavy = {"torch", "pyarrow", "transformers", "tokenizers"} & set(sys.modules)
assert not heavy, f"import sftprep loads {heavy}"
print("imported", sftprep.__file__)
PY
"$bin/sftprep" --version
"$bin/sftprep" pack "$demo" --tokenizer builtin --max-len 1024 --out packs
"$bin/sftprep" verify packs
"$bin/sftprep" inspect packs --row 0 > view.txt
test -s view.txt
"$bin/python" -c '
import sftprep
rows = sftprep.ShardDataset("packs")
print(len(rows), "packed sequences, the first with", len(rows[0]["input_ids"]), "tokens")
'
printf 'ok: %s works in an empty environment\n' "$(basename "$wheel")"
