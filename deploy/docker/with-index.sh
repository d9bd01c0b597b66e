#!/bin/sh
# Runs a command with the certificates and the package index that the build was given as secrets, if any.
# They are seen by the command alone, and reach neither a layer nor the image's history.
set -eu
ca=/run/secrets/ca
index=/run/secrets/index
if [ -f "$ca" ]; then
    export SSL_CERT_FILE="$ca" PIP_CERT="$ca" REQUESTS_CA_BUNDLE="$ca"
fi
if [ -f "$index" ]; then
    PIP_INDEX_URL=$(cat "$index")
    export PIP_INDEX_URL UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi
exec "$@"
