#!/usr/bin/env bash
# Makes this project's packages and its command available in an environment: link.sh ENVIRONMENT
# The checkout and the container image both come down to this.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment=$(cd "${1:?usage: link.sh ENVIRONMENT}" && pwd)

site=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# Line 1: the project's packages can be imported from any working directory, by Beam's worker processes too.
# Line 2: tensorflow-data-validation 1.16.1 imports a module that tfx-bsl 1.21 dropped; TFX itself puts a stand-in
# there, but a worker process that never imports TFX would fail.
cat >"$site/flightdeck.pth" <<PTH
$project
import sys, types; sys.modules.setdefault("tfx_bsl.arrow.sql_util", types.ModuleType("tfx_bsl.arrow.sql_util"))
PTH
# The first line of a script cannot name a Python in a folder with a blank. So this one is both: the shell starts the
# Python beside the script at line 2, which to Python is a string.
cat >"$environment/bin/flightdeck" <<'PY'
#!/bin/sh
'''exec' "$(dirname "$(realpath "$0")")/python" "$0" "$@"
' '''
from flightdeck.__main__ import main

main()
PY
chmod +x "$environment/bin/flightdeck"
