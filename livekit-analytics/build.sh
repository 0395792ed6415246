#!/bin/sh
# Builds LiveKit's server with analyticsservice.go instead of its own file of that name. See README.md.
set -eu

module=github.com/livekit/livekit-server
version=v1.13.5
made_for=$version
replaced=pkg/telemetry/analyticsservice.go
# The checksum of the replaced file in that version. Every version that has the same file can be built.
sha256=1b08ca4713d06c9f266efead7fd9104089c6ba06d3c505f1bc47694ada5e3069
# Exit code for a server whose file has another checksum.
changed=65

usage() {
	cat <<END
usage: build.sh [--version VERSION | --source DIR] [OUTPUT]
       build.sh [--version VERSION | --source DIR] --check | --test

Builds LiveKit's server $made_for, another VERSION of it, or the checkout in DIR, to OUTPUT
(./livekit-server), and prints which version it built.
  --check  only check that the replaced file is the one that this replacement was made for
  --test   only run the replacement's tests
Exit codes: 64 for wrong arguments, $changed if the replaced file differs, 1 for everything else.
END
}

fail() {
	echo "build.sh: $1" >&2
	exit "${2:-1}"
}

misused() {
	usage >&2
	exit 64
}

source='' task=build output='' chosen=''
while [ $# -gt 0 ]; do
	case $1 in
	--version)
		[ $# -gt 1 ] || misused
		chosen=$2
		shift
		;;
	--source)
		[ $# -gt 1 ] || misused
		source=$2
		shift
		;;
	--check) task=check ;;
	--test) task=test ;;
	--help | -h) usage && exit ;;
	-*) misused ;;
	*)
		[ -z "$output" ] || misused
		output=$1
		;;
	esac
	shift
done
[ -z "$output" ] || [ "$task" = build ] || misused
[ -z "$chosen" ] || [ -z "$source" ] || misused
output=${output:-livekit-server}
case $chosen in
'') ;;
[0-9]*) version=v$chosen ;;
*) version=$chosen ;;
esac

absolute() (
	cd "$1" 2>/dev/null || fail "there is no directory $1"
	pwd -P
)

sum() {
	if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# What is in $source: the version that its own source names.
name() {
	named=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' "$source/version/version.go" 2>/dev/null) || true
	echo "LiveKit's server${named:+ v$named}"
}

check() {
	[ -f "$source/$replaced" ] || fail "there is no $replaced in $source"
	found=$(sum "$source/$replaced")
	[ "$found" = "$sha256" ] || fail "$(name) has another $replaced:
  expected sha256 $sha256
  found    sha256 $found
Compare it with that of $module $made_for, carry the changes over to
analyticsservice.go, then set sha256 in build.sh." "$changed"
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
	echo "built $(name), with the replaced $replaced: $output"
fi
