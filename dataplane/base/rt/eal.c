/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/rt/eal.h"
#include <dirent.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>
#include <rte_eal.h>
#include "dataplane/base/buf.h"

void eal_remove_runtime_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	if (!dir)
		return;
	/* Plain files and sockets only: unlink refuses a directory. */
	while ((e = readdir(dir)))
		unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
	rmdir(path);
}

static void cleanup(void)
{
	rte_eal_cleanup();
}

/* "0@(0,1)": lcore 0 floats over the CPUs that we may use, whichever they are. */
static void format_lcores(struct buf *b)
{
	cpu_set_t cpus;
	char separator = '(';

	CPU_ZERO(&cpus);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		CPU_SET(0, &cpus);
	buf_str(b, "--lcores=0@");
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &cpus))
			continue;
		buf_printf(b, "%c%d", separator, cpu);
		separator = ',';
	}
	buf_str(b, ")");
	buf_byte(b, 0);
}

void eal_start_for_tests(unsigned megabytes)
{
	static bool started;
	char memory[16], prefix[48], lcores[4096];
	struct buf b;

	if (started)
		return;
	snprintf(memory, sizeof(memory), "%u", megabytes);
	snprintf(prefix, sizeof(prefix), "--file-prefix=bptest%d", (int)getpid());
	buf_init(&b, lcores, sizeof(lcores));
	format_lcores(&b);
	char *argv[] = {"test", "--no-huge", "-m", memory, "--no-pci", "--no-shconf",
		"--no-telemetry", "--log-level=error", prefix, lcores, NULL};
	if (b.overflow || rte_eal_init((int)ARRAY_LEN(argv) - 1, argv) < 0) {
		fprintf(stderr, "tests: EAL does not start\n");
		abort();
	}
	eal_remove_runtime_dir(rte_eal_get_runtime_dir());
	started = true;
	atexit(cleanup);
}
