#!/usr/bin/env bash
# The work of action.yml: initial-setup --hook in $FOLDER, then its verdict as summary and output, and the addresses as
# variables and outputs. Its exit code is that of the hook. On a failure the log is shown, with times, and nothing is
# exported.
set -euo pipefail
cd "$FOLDER"
if [ -n "$ENGINE" ]; then
	export LOCALENV_ENGINE=$ENGINE
	echo "LOCALENV_ENGINE=$ENGINE" >>"$GITHUB_ENV"
fi

code=0
verdict=$(./inv initial-setup --hook) || code=$?
verdict=${verdict:-localenv: FAILED before it could start; the lines above say why (exit code $code)}

echo "$verdict"
echo "verdict=$verdict" >>"$GITHUB_OUTPUT"
printf '~~~text\n%s\n~~~\n' "$verdict" >>"$GITHUB_STEP_SUMMARY"

if [ "$code" -ne 0 ]; then
	log=$(sed -n 's/.* (see \(.*\), run `.*/\1/p' <<<"$verdict")
	if [ -f "$log" ]; then
		echo "::group::$log"
		cat "$log"
		echo "::endgroup::"
	fi
	exit "$code"
fi

./inv env.export --format github
./inv env.export --format json | .venv/bin/python -c '
import json, sys

data = json.load(sys.stdin)["data"]
names = {
    "connection-url": "CONNECTION_URL",
    "dynamodb-endpoint": "AWS_ENDPOINT_URL_DYNAMODB",
    "cognito-endpoint": "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER",
    "user-pool-id": "AWS_COGNITO_USER_POOL_ID",
}
for output, name in names.items():
    print(f"{output}={data.get(name, str())}")
' >>"$GITHUB_OUTPUT"
