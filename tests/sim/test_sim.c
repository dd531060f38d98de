/* SPDX-License-Identifier: BSD-3-Clause
 * test_sim [--seeds N] [--first N] [--seed N]: run the simulator over seeds.  A failing seed is
 * printed; `--seed N` replays it with every segment. */
#include "dataplane/base/rt/eal.h"
#include "tests/sim/sim.h"

static struct sim sim;

int main(int argc, char **argv)
{
	uint64_t first = 1, n = 300, failed = 0, frames = 0, dropped = 0;
	struct host_pools pools[3];
	bool verbose = false;

	for (int i = 1; i + 1 < argc; i += 2) {
		uint64_t value = strtoull(argv[i + 1], NULL, 10);
		if (strcmp(argv[i], "--seeds") == 0)
			n = value;
		else if (strcmp(argv[i], "--first") == 0)
			first = value;
		else if (strcmp(argv[i], "--seed") == 0) {
			first = value;
			n = 1;
			verbose = true;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	eal_start_for_tests(64);
	host_pools_init(&pools[0], "a", 4095, 4095);
	host_pools_init(&pools[1], "b", 4095, 4095);
	host_pools_init(&pools[2], "c", 1023, 63); /* scarce */
	for (uint64_t seed = first; seed < first + n; seed++) {
		struct host_pools pair[2] = {pools[0], seed % 5 == 0 ? pools[2] : pools[1]};
		const char *wrong = sim_run(&sim, seed, pair, verbose);
		frames += sim.frames_sent;
		dropped += sim.dropped;
		if (wrong) {
			printf("seed %lu: %s (replay: --seed %lu)\n", seed, wrong, seed);
			failed++;
		}
	}
	printf("sim: %lu seeds, %lu failed, %lu frames, %lu lost\n", n, failed, frames, dropped);
	return failed ? 1 : 0;
}
