#!/bin/sh
# Builds LiveKit's server with analyticsservice.go instead of its own file of that name. See README.md.
set -eu

module=github.com/livekit/livekit-server
version=v1.13.5
replaced=pkg/telemetry/analyticsservice.go
# The checksum of the replaced file in that version.
sha256=1b08ca4713d06c9f266efead7fd9104089c6ba06d3c505f1bc47694ada5e3069

usage() {
	cat <<END
usage: build.sh [--source DIR] [OUTPUT]
       build.sh [--source DIR] --check | --test

Builds LiveKit's server $version, or the checkout in DIR, to OUTPUT (./livekit-server).
  --check  only check that the replaced file is the version that this replacement was made for
  --test   only run the replacement's tests
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
		fail "$replaced has changed since LiveKit's server $version: compare the two, carry the
changes over to analyticsservice.go, then set sha256 in build.sh to $(sum "$source/$replaced")"
}

ours=$(absolute "$(dirname "$0")")
folder=$(absolute "$(dirname "$output")")
output=$folder/$(basename "$output")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# A Go workspace around this folder must not take part in the build.
export GOWORK=off

if [ -n "$source" ]; then
	source=$(absolute "$source")
	check
fi
[ -n "$source" ] && [ "$task" = check ] && exit
command -v go >/dev/null || fail "Go is not installed (https://go.dev/dl)"

if [ -z "$source" ]; then
	(cd "$work" && go mod download -json "$module@$version") >"$work/download" || {
		cat "$work/download" >&2
		fail "$module $version can't be fetched"
	}
	source=$(sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p' "$work/download")
	check
	[ "$task" = check ] && exit
	# A copy, as Go does not overlay files in its module cache.
	cp -R "$source" "$work/server"
	chmod -R u+w "$work/server"
	source=$work/server
	set -- -buildvcs=false
fi

case $ours$source in *[\"\\]*) fail "no path may contain a quote or a backslash" ;; esac
test_file=pkg/telemetry/livekit_otel_test.go
cat >"$work/overlay.json" <<END
{"Replace": {
  "$source/$replaced": "$ours/analyticsservice.go",
  "$source/$test_file": "$ours/analyticsservice_test.go"
}}
END

cd "$source"
# -trimpath leaves paths out, so that the result is the same in any folder, and the build cache is used.
if [ "$task" = test ]; then
	go test -overlay "$work/overlay.json" -trimpath "$@" -run '^TestAnalytics' ./pkg/telemetry
else
	go build -overlay "$work/overlay.json" -trimpath "$@" -o "$output" ./cmd/server
fi
