#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# format.sh CLANG-FORMAT: every C file is as .clang-format says.  Proves first that a file which is
# not so is found.
set -eu
format=$1
cd "$(dirname "$0")/../.."
mutant=$(mktemp -d ./.format-XXXXXX)
trap 'rm -rf "$mutant"' EXIT
printf 'int f( int a ) {\n  return a ;\n}\n' >"$mutant/a.c"
if "$format" --dry-run -Werror "$mutant/a.c" 2>/dev/null; then
	echo "self-test: a badly formatted file was not found"
	exit 1
fi
find dataplane smtp store delivery bench tests -name '*.[ch]' -print | sort |
	xargs "$format" --dry-run -Werror
