#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# run.sh TARGET CORPUS DICT: fuzz for FUZZ_SECONDS (10) from the seeds; new inputs stay in a
# temporary folder.  By hand: FUZZ_SECONDS=900 tests/fuzz/run.sh build-fuzz/tests/fuzz/fuzz_frame ...
set -eu
target=$1 corpus=$2 dict=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -d "$corpus" ] || corpus=
set -- -max_total_time="${FUZZ_SECONDS:-10}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	-artifact_prefix="${FUZZ_ARTIFACTS:-./}" "$work"
[ -n "$corpus" ] && set -- "$@" "$corpus"
[ -f "$dict" ] && set -- -dict="$dict" "$@"
"$target" "$@"
