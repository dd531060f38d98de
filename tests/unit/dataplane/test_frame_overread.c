/* SPDX-License-Identifier: BSD-3-Clause
 * Frames of tests are exact-size blocks: reading one octet beyond a frame must be an error that
 * AddressSanitizer reports.  A child process does it.  Built only with ASan. */
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/frame.h"

#define FRAME 60

static void read_octet(struct rte_mempool *pool, size_t i)
{
	uint8_t octets[FRAME] = {0};
	struct rte_mbuf *m = frame_make(pool, bytes_make(octets, sizeof(octets)));
	volatile const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	volatile uint8_t sink = p[i];

	(void)sink;
	rte_pktmbuf_free(m);
}

/* Returns the child's output length; *status_r as waitpid tells. */
static size_t run_child(struct rte_mempool *pool, size_t i, char *out, size_t cap, int *status_r)
{
	int fd[2];
	size_t n = 0;

	BUG_ON(pipe(fd) < 0);
	fflush(NULL);
	pid_t pid = fork();
	BUG_ON(pid < 0);
	if (pid == 0) {
		dup2(fd[1], 2);
		read_octet(pool, i);
		_exit(0);
	}
	close(fd[1]);
	for (ssize_t got; n < cap - 1 && (got = read(fd[0], out + n, cap - 1 - n)) > 0;)
		n += (size_t)got;
	out[n] = '\0';
	close(fd[0]);
	BUG_ON(waitpid(pid, status_r, 0) != pid);
	return n;
}

int main(void)
{
	static char out[65536];
	int status;

	eal_start_for_tests(32);
	struct rte_mempool *pool = frame_pool_create("frames", 15);
	run_child(pool, FRAME - 1, out, sizeof(out), &status);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		printf("the last octet of a frame cannot be read: %s\n", out);
		return 1;
	}
	run_child(pool, FRAME, out, sizeof(out), &status);
	if ((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
		!strstr(out, "AddressSanitizer: heap-buffer-overflow")) {
		printf("an overread by one octet went unnoticed: %s\n", out);
		return 1;
	}
	printf("an overread by one octet is reported\n");
	return 0;
}
