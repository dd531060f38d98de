/* SPDX-License-Identifier: BSD-3-Clause
 * test_sim [--seeds N] [--first N] [--seed N] [--pcap FOLDER]: run the simulator over seeds.  A
 * failing seed is printed and its frames are written to FOLDER/sim-SEED.pcap; `--seed N` replays it
 * with every segment.
 * test_sim --goodput: what a connection carries over lossy and narrow links. */
#include <signal.h>
#include <unistd.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/goodput.h"
#include "tests/sim/sim.h"

#define PCAP_MAX (64u << 20) /* chosen: the largest seeds have some megabytes */

static struct sim sim;
static struct options {
	uint64_t first, seeds;
	const char *folder;
	bool verbose;
} options = {.first = 1, .seeds = 300, .folder = "."};

static void pcap_name(char *path, size_t n)
{
	snprintf(path, n, "%s/sim-%lu.pcap", options.folder, sim.seed);
}

static void report(const char *wrong)
{
	char path[512];

	pcap_name(path, sizeof(path));
	if (pcap_write(&sim.pcap, path) < 0)
		snprintf(path, sizeof(path), "no capture");
	printf("seed %lu: %s (replay: --seed %lu; %s)\n", sim.seed, wrong, sim.seed, path);
}

/* A check inside a stack or a host has aborted: say for which seed. */
static void on_crash(int signal_number)
{
	signal(signal_number, SIG_DFL);
	report("aborted");
	fflush(stdout);
	raise(signal_number);
}

static void options_parse(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		uint64_t value = strtoull(argv[i + 1], NULL, 10);
		if (strcmp(argv[i], "--seeds") == 0)
			options.seeds = value;
		else if (strcmp(argv[i], "--first") == 0)
			options.first = value;
		else if (strcmp(argv[i], "--pcap") == 0)
			options.folder = argv[i + 1];
		else if (strcmp(argv[i], "--seed") == 0)
			options = (struct options){value, 1, options.folder, true};
	}
}

/* What the seeds made happen: a figure of 0 over many seeds is a test that does not test. */
static void print_counters(void)
{
	static const enum counter shown[] = {CTR_IP_REASS_OK, CTR_IP_REASS_TIMEOUT,
		CTR_IP_REASS_EVICTED, CTR_IP_REASS_OVERLAP, CTR_IP_REASS_BAD, CTR_IP_PMTU_LOWERED,
		CTR_ICMP_RX_ERRORS, CTR_ICMP_RX_ERRORS_IGNORED, CTR_ICMP_TX_ERRORS,
		CTR_TCP_MTU_LOWERED, CTR_TCP_MTU_BLACK_HOLES, CTR_TCP_MTU_PROBES,
		CTR_TCP_MTU_RAISED, CTR_TCP_TSO_FRAMES};

	for (unsigned i = 0; i < ARRAY_LEN(shown); i++)
		printf("%s=%lu ", counter_table[shown[i]].name,
			(unsigned long)atomic_load(&counters_mine->value[shown[i]]));
	printf("\n");
}

int main(int argc, char **argv)
{
	uint64_t failed = 0, frames = 0, lost = 0;
	struct host_pools pools[SIM_HOSTS_MAX], scarce;
	struct sim_conf conf;

	options_parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && strcmp(argv[1], "--goodput") == 0) {
		eal_start_for_tests(192);
		return goodput_run() ? 0 : 1;
	}
	eal_start_for_tests(96);
	host_pools_init(&pools[0], "a", 4095, 4095);
	host_pools_init(&pools[1], "b", 4095, 4095);
	host_pools_init(&pools[2], "c", 4095, 4095);
	host_pools_init(&scarce, "d", 1023, 63);
	sim_init(&sim, PCAP_MAX);
	sim.verbose = options.verbose;
	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
	for (uint64_t seed = options.first; seed < options.first + options.seeds; seed++) {
		struct host_pools *set[SIM_HOSTS_MAX] = {
			&pools[0], seed % 5 ? &pools[1] : &scarce, &pools[2]};
		sim_profile(seed, &conf);
		conf.scarce = set[1] == &scarce;
		const char *wrong = sim_run(&sim, &conf, seed, set);
		frames += sim.wire.sent;
		lost += sim.wire.lost;
		if (wrong) {
			report(wrong);
			failed++;
		}
	}
	printf("sim: %lu seeds, %lu failed, %lu frames, %lu lost, %lu connections given up as "
	       "designed\n",
		options.seeds, failed, frames, lost, sim.given_up);
	print_counters();
	sim_fini(&sim);
	return failed ? 1 : 0;
}
