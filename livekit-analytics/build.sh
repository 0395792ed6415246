#!/bin/sh
# Builds LiveKit's server with analyticsservice.go in place of its own. See README.md.
set -eu

module=github.com/livekit/livekit-server
version=v1.13.5
replaced=pkg/telemetry/analyticsservice.go
# Of the file that is replaced, in that version.
sha256=1b08ca4713d06c9f266efead7fd9104089c6ba06d3c505f1bc47694ada5e3069

usage() {
	cat <<END
usage: build.sh [--source DIR] [OUTPUT]
       build.sh [--source DIR] --check | --test

Builds LiveKit's server $version, or the checkout in DIR, to OUTPUT (./livekit-server).
  --check  only says whether the file that is replaced is the one this was made for
  --test   only runs the tests of what replaces it
END
}

fail() {
	echo "build.sh: $1" >&2
	exit 1
}

source='' task=build output=''
while [ $# -gt 0 ]; do
	case $1 in
	--source)
		[ $# -gt 1 ] || fail "--source needs a directory"
		source=$2
		shift
		;;
	--check) task=check ;;
	--test) task=test ;;
	--help | -h) usage && exit ;;
	-*) usage >&2 && exit 64 ;;
	*)
		[ -z "$output" ] || { usage >&2 && exit 64; }
		output=$1
		;;
	esac
	shift
done
[ -z "$output" ] || [ "$task" = build ] || { usage >&2 && exit 64; }
output=${output:-livekit-server}

absolute() (
	cd "$1" 2>/dev/null || fail "there is no directory $1"
	pwd -P
)

sum() {
	if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

check() {
	[ -f "$source/$replaced" ] || fail "there is no $replaced in $source"
	[ "$(sum "$source/$replaced")" = "$sha256" ] ||
		fail "$replaced has changed since LiveKit's server $version: compare the two, carry over what is
new to analyticsservice.go, then set sha256 in build.sh to $(sum "$source/$replaced")"
}

ours=$(absolute "$(dirname "$0")")
folder=$(absolute "$(dirname "$output")")
output=$folder/$(basename "$output")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# Of the module, or of a checkout; no workspace is asked.
export GOWORK=off

if [ -n "$source" ]; then
	source=$(absolute "$source")
	check
fi
[ -n "$source" ] && [ "$task" = check ] && exit
command -v go >/dev/null || fail "there is no Go here (https://go.dev/dl)"

if [ -z "$source" ]; then
	(cd "$work" && go mod download -json "$module@$version") >"$work/download" || {
		cat "$work/download" >&2
		fail "$module $version can't be fetched"
	}
	source=$(sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p' "$work/download")
	check
	[ "$task" = check ] && exit
	# Go replaces no file in its module cache.
	cp -R "$source" "$work/server"
	chmod -R u+w "$work/server"
	source=$work/server
	set -- -buildvcs=false
fi

case $ours$source in *[\"\\]*) fail "no path may have a quote or a backslash" ;; esac
test_file=pkg/telemetry/livekit_otel_test.go
cat >"$work/overlay.json" <<END
{"Replace": {
  "$source/$replaced": "$ours/analyticsservice.go",
  "$source/$test_file": "$ours/analyticsservice_test.go"
}}
END

cd "$source"
# Without paths in it, so that what is built is the same, and found again, wherever it is built.
if [ "$task" = test ]; then
	go test -overlay "$work/overlay.json" -trimpath "$@" -run '^TestAnalytics' ./pkg/telemetry
else
	go build -overlay "$work/overlay.json" -trimpath "$@" -o "$output" ./cmd/server
fi
