/* SPDX-License-Identifier: BSD-3-Clause
 * The simulator's checks look: each fault that is planted is found, and named, and leaves a
 * capture.  Without a fault the same seeds pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/sim.h"

#define SEEDS 10 /* of which one at least must show the fault */

static struct host_pools pools[SIM_HOSTS_MAX];
static struct host_pools *const set[SIM_HOSTS_MAX] = {&pools[0], &pools[1], &pools[2]};
static struct sim sim;

static const struct {
	enum sim_mutant mutant;
	const char *found; /* by every seed that shows it */
} mutants[] = {
	{SIM_MUTANT_OCTET, "a wrong octet arrived"              },
	{SIM_MUTANT_EDGE,  "the right edge moved left"          },
	{SIM_MUTANT_ACK,   "the acknowledgment moved left"      },
	{SIM_MUTANT_LEAK,  "an mbuf leaked"                     },
	{SIM_MUTANT_TIMER, "did not come to rest"               },
	{SIM_MUTANT_STALL, "a connection was reset or timed out"},
};

static void test_nothing_is_found_where_nothing_is(void **state)
{
	struct sim_conf conf;

	(void)state;
	sim.mutant = SIM_MUTANT_NONE;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		sim_profile(seed, &conf);
		assert_null(sim_run(&sim, &conf, seed, set));
	}
}

static void test_planted_faults_are_found(void **state)
{
	struct sim_conf conf;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(mutants); i++) {
		unsigned found = 0;
		sim.mutant = mutants[i].mutant;
		for (uint64_t seed = 1; seed <= SEEDS; seed++) {
			sim_profile(seed, &conf);
			const char *wrong = sim_run(&sim, &conf, seed, set);
			found += wrong && strcmp(wrong, mutants[i].found) == 0;
		}
		printf("mutant %u: %u of %u seeds: %s\n", i, found, SEEDS, mutants[i].found);
		assert_int_not_equal(found, 0);
	}
}

static void test_a_seed_replays_exactly(void **state)
{
	struct sim_conf conf;
	struct pcap first;

	(void)state;
	sim.mutant = SIM_MUTANT_NONE;
	sim_profile(7, &conf);
	assert_null(sim_run(&sim, &conf, 7, set));
	pcap_init(&first, sim.pcap.max);
	first.octets = malloc(sim.pcap.n);
	assert_non_null(first.octets);
	memcpy(first.octets, sim.pcap.octets, sim.pcap.n);
	first.n = sim.pcap.n;
	sim_profile(8, &conf);
	assert_null(sim_run(&sim, &conf, 8, set));
	sim_profile(7, &conf);
	assert_null(sim_run(&sim, &conf, 7, set));
	assert_int_equal(first.n, sim.pcap.n);
	assert_memory_equal(first.octets, sim.pcap.octets, first.n);
	pcap_fini(&first);
}

static void test_a_capture_is_a_file_that_others_read(void **state)
{
	char path[] = "/tmp/bypost-pcap-XXXXXX";
	uint8_t head[24];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pcap_write(&sim.pcap, path), 0);
	assert_int_equal(read(fd, head, sizeof(head)), sizeof(head));
	assert_memory_equal(head, "\xd4\xc3\xb2\xa1\2\0\4\0", 8);
	assert_int_equal(head[20], 1); /* Ethernet */
	assert_int_equal(lseek(fd, 0, SEEK_END), sizeof(head) + sim.pcap.n);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_found_where_nothing_is),
		cmocka_unit_test(test_planted_faults_are_found),
		cmocka_unit_test(test_a_seed_replays_exactly),
		cmocka_unit_test(test_a_capture_is_a_file_that_others_read),
	};

	eal_start_for_tests(96);
	host_pools_init(&pools[0], "a", 4095, 4095);
	host_pools_init(&pools[1], "b", 4095, 4095);
	host_pools_init(&pools[2], "c", 4095, 4095);
	sim_init(&sim, 64u << 20);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	sim_fini(&sim);
	return failed;
}
