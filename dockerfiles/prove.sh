#!/bin/sh
# Runs inside a proof's container, which has torch, no compiler and no network.
# pip installs every wheel of the channel from the channel's own index; then each package's test runs.
set -u
index=$1
export PIP_ROOT_USER_ACTION=ignore

report() {
    python - "$@" <<'EOF'
import json, sys
name, result, detail = sys.argv[1:4]
print(json.dumps({"schema": 1, "checks": [{"name": name, "result": result, "detail": detail}]}))
EOF
}

version() {
    python -c 'import importlib.metadata as m, sys; print(m.version(sys.argv[1]))' "$1" 2>/dev/null || echo none
}

torch_before=$(version torch)
while read -r place project wanted; do
    echo "wheelfarm-proof $place"
    pip install --quiet --no-cache-dir --only-binary=:all: --index-url "file:///release/$index" "$project==$wanted"
    installed=$(version "$project")
    if [ "$installed" = "$wanted" ]; then
        report "pip install" pass "$project $installed"
    else
        report "pip install" fail "wanted $wanted, got $installed"
        continue
    fi
    if [ "$project" = torch ]; then
        report "torch is left alone" "not checked" "the wheel is torch"
    elif [ "$(version torch)" = "$torch_before" ]; then
        report "torch is left alone" pass "torch $torch_before"
    else
        report "torch is left alone" fail "torch was $torch_before and is $(version torch)"
    fi
    if [ -r "/proof/$place/test.py" ]; then
        echo wheelfarm-test
        PYTHONPATH=/proof python "/proof/$place/test.py" < /dev/null || report "test exit" fail "exit code $?"
    fi
done < /proof/wanted
