/* SPDX-License-Identifier: BSD-3-Clause
 * Starting DPDK's EAL where there is no configuration: tests, fuzzers, micro-benchmarks. */
#pragma once
#include "dataplane/base/check.h"

/* Start EAL once per process with `--no-huge -m megabytes --no-pci --no-shconf --no-telemetry` on
 * whichever CPUs we may use, and leave no run directory behind.  Aborts with a message on failure.
 * Further calls do nothing.
 */
void eal_start_for_tests(unsigned megabytes);
/* Remove EAL's run directory (rte_eal_get_runtime_dir()) and what is in it: it serves processes
 * that share memory, and we do not. */
void eal_remove_runtime_dir(const char *path);
