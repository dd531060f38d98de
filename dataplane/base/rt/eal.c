/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/rt/eal.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <rte_eal.h>

static void cleanup(void)
{
	rte_eal_cleanup();
}

void eal_start_for_tests(unsigned megabytes)
{
	static bool started;
	char memory[16], prefix[48];

	if (started)
		return;
	snprintf(memory, sizeof(memory), "%u", megabytes);
	snprintf(prefix, sizeof(prefix), "--file-prefix=bptest%d", (int)getpid());
	char *argv[] = {"test", "--no-huge", "-m", memory, "--no-pci", "--no-shconf",
		"--no-telemetry", "--log-level=error", prefix, "-l", "0", NULL};
	/* EAL pins the caller to lcore 0; tests must not care which CPU that is. */
	int rc = rte_eal_init((int)ARRAY_LEN(argv) - 1, argv);
	if (rc < 0) {
		fprintf(stderr, "tests: EAL does not start\n");
		abort();
	}
	started = true;
	atexit(cleanup);
}
