/* SPDX-License-Identifier: BSD-3-Clause
 * Any frame against a filter for `trace`, and through its ring.  The frame is a block of exactly
 * its size. */
#include <rte_mbuf.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/capture.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct capture_ring ring;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	eal_start_for_tests(64);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct capture_filter exact = {.exact = true, .local.port = 25};
	uint8_t *octets = malloc(n ? n : 1);
	struct rte_mbuf m = {
		.buf_addr = octets, .data_len = (uint16_t)n, .pkt_len = (uint32_t)n, .nb_segs = 1};
	struct rte_mbuf *frames = &m;

	if (n > 2048) {
		free(octets);
		return 0;
	}
	memcpy(octets, data, n);
	capture_matches(&exact, &m);
	ring.filter = (struct capture_filter){.snap = n ? data[n - 1] * 8u : 1};
	ring.filter.net.prefix = 0; /* everything that has addresses */
	capture_received(&ring, 0, &frames, 1);
	const struct capture_record *r = capture_peek(&ring);
	if (r) {
		BUG_ON(r->size != n || r->n > n || memcmp(r + 1, data, r->n) != 0);
		capture_take(&ring);
	}
	BUG_ON(capture_peek(&ring));
	free(octets);
	return 0;
}
