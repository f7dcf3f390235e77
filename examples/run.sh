#!/usr/bin/env bash
# Make the workspace of an example and run it: examples/run.sh NAME [FOLDER]
# FOLDER is made anew by you: the script refuses one that is there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
example=$here/${1:?which example? sentiment, emotion, instructions or team}
folder=${2:-example-$1}
[ -f "$example/run.sh" ] || { echo "there is no example '$1' in $here" >&2; exit 1; }
[ ! -e "$folder" ] || { echo "$folder is there already; remove it, or name another folder" >&2; exit 1; }
mkdir -p "$folder"
cd "$folder"
cp "$example/ftzard.yaml" example.yaml
python "$example/data.py"
source "$example/run.sh"
