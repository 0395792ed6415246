#!/bin/sh
# Builds LiveKit's server with analyticsservice.go instead of its own file of that name, and with sipcalls.go instead of
# one function. See README.md.
set -eu

module=github.com/livekit/livekit-server
version=v1.13.5
made_for=$version
replaced=pkg/telemetry/analyticsservice.go
# The checksum of the replaced file in that version. Every version that has the same file can be built.
sha256=1b08ca4713d06c9f266efead7fd9104089c6ba06d3c505f1bc47694ada5e3069
# The function that sipcalls.go has in its place, and the checksum of its text in that version.
function_file=pkg/service/ioservice.go
receiver='func (s *IOInfoService) '
function=UpdateSIPCallState
function_sha256=9096cb9504681a029c1ce1bf1bf1b7a38f56f76592165b4588053456a06d2e0d
# Exit code for a server whose file or function has another checksum.
changed=65

usage() {
	cat <<END
usage: build.sh [--version VERSION | --source DIR] [OUTPUT]
       build.sh [--version VERSION | --source DIR] --check | --test

Builds LiveKit's server $made_for, another VERSION of it, or the checkout in DIR, to OUTPUT
(./livekit-server), and prints which version it built.
  --check  only check that the replaced file and function are those that the replacements were made for
  --test   only run the replacements' tests
Exit codes: 64 for wrong arguments, $changed if the replaced file or function differs, 1 for everything else.
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

# Of a file, or of the input.
sum() {
	if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi | cut -d ' ' -f 1
}

# What is in $source: the version that its own source names.
name() {
	named=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' "$source/version/version.go" 2>/dev/null) || true
	echo "LiveKit's server${named:+ v$named}"
}

# The lines of the file that has the function: those of the function with 1, all others with 0. It ends with the first
# brace at the beginning of a line.
lines() {
	awk -v first="$receiver$function(" -v wanted="$1" '
		index($0, first) == 1 { inside = 1 }
		(inside + 0) == wanted
		inside && /^}/ { inside = 0 }
	' "$source/$function_file"
}

# Prints what differs.
check_file() {
	found=$(sum "$source/$replaced")
	[ "$found" = "$sha256" ] || cat <<END
$(name) has another $replaced:
  expected sha256 $sha256
  found    sha256 $found
Compare it with that of $module $made_for, carry the changes over to
analyticsservice.go, then set sha256 in build.sh.
END
}

# Prints what differs.
check_function() {
	text=$(lines 1)
	found=$(printf '%s\n' "$text" | sum)
	if [ -z "$text" ]; then
		cat <<END
$(name) has no function $function in $function_file:
find out where it receives the reports of the SIP service now, and change sipcalls.go and build.sh.
END
	elif [ "$found" != "$function_sha256" ]; then
		cat <<END
$(name) has another function $function in $function_file:
  expected sha256 $function_sha256
  found    sha256 $found
$text
Compare it with that of $module $made_for, carry the changes over to
sipcalls.go, then set function_sha256 in build.sh.
END
	fi
}

check() {
	for file in "$replaced" "$function_file"; do
		[ -f "$source/$file" ] || fail "there is no $file in $source"
	done
	differs=$(check_file && check_function)
	[ -z "$differs" ] || fail "$differs" "$changed"
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
lines 0 >"$work/ioservice.go"
# The second test is in a package without tests: those of pkg/service need Docker.
cat >"$work/overlay.json" <<END
{"Replace": {
  "$source/$replaced": "$ours/analyticsservice.go",
  "$source/pkg/telemetry/livekit_otel_test.go": "$ours/analyticsservice_test.go",
  "$source/$function_file": "$work/ioservice.go",
  "$source/pkg/service/livekit_otel_sip.go": "$ours/sipcalls.go",
  "$source/pkg/telemetry/telemetryfakes/livekit_otel_sip_test.go": "$ours/sipcalls_test.go"
}}
END

cd "$source"
# -trimpath leaves paths out, so that the result is the same in any folder, and the build cache is used.
if [ "$task" = test ]; then
	go test -overlay "$work/overlay.json" -trimpath "$@" -run '^Test(Analytics|SIP)' \
		./pkg/telemetry ./pkg/telemetry/telemetryfakes
else
	go build -overlay "$work/overlay.json" -trimpath "$@" -o "$output" ./cmd/server
	echo "built $(name), with the replaced $replaced and $function: $output"
fi
