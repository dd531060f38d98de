/* SPDX-License-Identifier: BSD-3-Clause
 * Starting DPDK's EAL where there is no configuration: tests, fuzzers, micro-benchmarks. */
#pragma once
#include "dataplane/base/check.h"

/* Start EAL once per process with `--no-huge -m megabytes --no-pci --no-shconf --no-telemetry` and
 * remove its run directory at exit.  Aborts with a message on failure.  Further calls do nothing.
 */
void eal_start_for_tests(unsigned megabytes);
/* Remove what EAL leaves behind in its run directory (rte_eal_get_runtime_dir(), asked for before
 * rte_eal_cleanup), and the directory. */
void eal_remove_runtime_dir(const char *path);
