/* SPDX-License-Identifier: BSD-3-Clause
 * EAL's arguments from configuration, and CPU lists: text only, no EAL. */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include "dataplane/cpus.h"
#include "dataplane/eal_args.h"

static struct dataplane_conf conf;
static struct eal_host host;
static struct eal_args args;
static char error[256];

/* One core, one TAP, CPUs 0 and 1, no hugepages. */
static int setup(void **state)
{
	(void)state;
	conf = (struct dataplane_conf){
		.ports[0] = {.name = "uplink", .kind = PORT_TAP, .device = "bp0"},
		.port_count = 1,
		.core_count = 1,
		.connections_max = 1000,
	};
	host = (struct eal_host){0};
	CPU_SET(0, &host.cpus);
	CPU_SET(1, &host.cpus);
	return 0;
}

static int build(void)
{
	error[0] = '\0';
	return eal_args_build(&conf, &host, &args, error, sizeof(error));
}

static bool has(const char *arg)
{
	for (int i = 0; i < args.argc; i++) {
		if (strcmp(args.argv[i], arg) == 0)
			return true;
	}
	return false;
}

static void test_without_hugepages_memory_is_given(void **state)
{
	char mb[16];

	(void)state;
	assert_int_equal(build(), 0);
	assert_false(args.hugepages);
	assert_true(has("--no-huge") && has("-m") && has("--no-shconf") && has("--no-pci"));
	assert_false(has("--in-memory")); /* refused together with --no-huge */
	assert_true(args.memory_mb > 64);
	snprintf(mb, sizeof(mb), "%u", args.memory_mb);
	assert_true(has(mb));
	assert_true(has("--file-prefix=bypost") && has("--no-telemetry"));
	conf.telemetry = true;
	assert_int_equal(build(), 0);
	assert_false(has("--no-telemetry"));
	conf.telemetry = false;
	assert_true(has("--vdev=net_tap0,iface=bp0"));
	assert_null(args.argv[args.argc]);
}

static void test_with_hugepages_they_are_used(void **state)
{
	(void)state;
	conf.memory_mb = 100;
	host.free_huge_bytes = 100ull << 20; /* no room to spare */
	assert_int_equal(build(), 0);
	assert_false(args.hugepages);
	host.free_huge_bytes = 120ull << 20;
	assert_int_equal(build(), 0);
	assert_true(args.hugepages && has("--in-memory"));
	assert_false(has("--no-huge") || has("-m") || has("--no-shconf"));
}

static void test_main_floats_and_cores_go_where_they_are_told(void **state)
{
	(void)state;
	conf.core_count = 3;
	snprintf(conf.cores[1].cpus, sizeof(conf.cores[1].cpus), "1");
	snprintf(conf.cores[2].cpus, sizeof(conf.cores[2].cpus), "0-1,7");
	assert_int_equal(build(), 0);
	assert_true(has("--lcores=0@(0-1),1@(0-1),2@(1),3@(0-1)"));
	/* taskset -c 1: all float over the one that is left. */
	CPU_CLR(0, &host.cpus);
	assert_int_equal(build(), 0);
	assert_true(has("--lcores=0@(1),1@(1),2@(1),3@(1)"));
}

static void test_each_kind_has_its_device(void **state)
{
	static const struct {
		enum port_kind kind;
		const char *device, *arg;
	} v[] = {
		{PORT_AF_PACKET, "eth1",
                 "--vdev=net_af_packet0,iface=eth1,qpairs=1,blocksz=4096,framesz=2048,"
			"framecnt=1024"								  },
		{PORT_AF_XDP,    "eth1",                    "--vdev=net_af_xdp0,iface=eth1,queue_count=1"},
		{PORT_MEMIF,     "/run/a.sock",
                 "--vdev=net_memif0,role=server,socket-abstract=no,socket=/run/a.sock"                   },
		{PORT_MEMIF,     "/run/a.sock,role=client",
                 "--vdev=net_memif0,socket-abstract=no,socket=/run/a.sock,role=client"                   },
		{PORT_RING,      "",                        "--vdev=net_ring0"                           },
		{PORT_PCI,       "0000:00:05.0",            "--allow=0000:00:05.0"                       },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		conf.ports[0].kind = v[i].kind;
		snprintf(conf.ports[0].device, sizeof(conf.ports[0].device), "%s", v[i].device);
		assert_int_equal(build(), 0);
		assert_true(has(v[i].arg));
		assert_int_equal(has("--no-pci"), v[i].kind != PORT_PCI);
	}
}

static void test_queues_are_at_most_one_for_each_core(void **state)
{
	(void)state;
	conf.core_count = 3;
	assert_int_equal(port_queues_wanted(&conf, 0), 3); /* tap */
	conf.ports[0].queues = 2;
	assert_int_equal(port_queues_wanted(&conf, 0), 2);
	conf.ports[0].queues = 8;
	assert_int_equal(port_queues_wanted(&conf, 0), 3);
	conf.ports[0].kind = PORT_AF_PACKET;
	assert_int_equal(build(), 0);
	assert_true(has("--vdev=net_af_packet0,iface=bp0,qpairs=3,blocksz=4096,framesz=2048,"
			"framecnt=1024"));
	conf.ports[0].queues = 0;
	assert_int_equal(port_queues_wanted(&conf, 0), 1);
	conf.ports[0].kind = PORT_AF_XDP;
	conf.ports[0].queues = 2;
	assert_int_equal(build(), 0);
	assert_true(has("--vdev=net_af_xdp0,iface=bp0,queue_count=2"));
}

static void test_a_large_mtu_gets_larger_frames(void **state)
{
	(void)state;
	conf.ports[0].kind = PORT_AF_PACKET;
	conf.ports[0].mtu = 9000;
	assert_int_equal(build(), 0);
	assert_true(has("--vdev=net_af_packet0,iface=bp0,qpairs=1,blocksz=12288,framesz=12288,"
			"framecnt=1024"));
}

static void test_extra_arguments_are_split_at_spaces(void **state)
{
	(void)state;
	snprintf(conf.eal_extra, sizeof(conf.eal_extra), "  --log-level=pmd:8   --trace ");
	assert_int_equal(build(), 0);
	assert_string_equal(args.argv[args.argc - 2], "--log-level=pmd:8");
	assert_string_equal(args.argv[args.argc - 1], "--trace");
}

static void test_errors_name_the_key(void **state)
{
	(void)state;
	snprintf(conf.ports[0].device, sizeof(conf.ports[0].device), "bp0,remote=eth0");
	assert_int_equal(build(), -EINVAL);
	assert_non_null(strstr(error, "ports.uplink.device"));
	conf.ports[0].device[0] = '\0';
	assert_int_equal(build(), -EINVAL);
	snprintf(conf.ports[0].device, sizeof(conf.ports[0].device), "sixteen-letters.");
	assert_int_equal(build(), -EINVAL);
	setup(NULL);
	snprintf(conf.cores[0].cpus, sizeof(conf.cores[0].cpus), "5");
	assert_int_equal(build(), -EINVAL);
	assert_non_null(strstr(error, "cores[0].cpus"));
	setup(NULL);
	conf.core_count = 0;
	assert_int_equal(build(), -EINVAL);
	assert_non_null(strstr(error, "cores"));
	conf.core_count = CORES_MAX + 1;
	assert_int_equal(build(), -EINVAL);
	setup(NULL);
	memset(conf.eal_extra, 0, sizeof(conf.eal_extra));
	for (size_t i = 0; i + 2 < sizeof(conf.eal_extra); i += 2)
		memcpy(conf.eal_extra + i, "x ", 2);
	assert_int_equal(build(), -EINVAL);
	assert_non_null(strstr(error, "eal_extra"));
}

static void test_cpu_lists(void **state)
{
	static const char *const bad[] = {"", "a", "1-", "-1", "2-1", "1,", ",1", "1,,2", "1 2",
		"1024", "99999999999999999999"};
	cpu_set_t set;
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(cpus_parse(bad[i], &set), -EINVAL);
	assert_int_equal(cpus_parse("0-2,5,7-8", &set), 0);
	assert_int_equal(CPU_COUNT(&set), 6);
	assert_true(cpus_format(&set, text, sizeof(text)));
	assert_string_equal(text, "0-2,5,7-8");
	assert_false(cpus_format(&set, text, 5));
}

static void test_a_core_alone_on_its_cpu_shares_nothing(void **state)
{
	(void)state;
	conf.core_count = 2;
	assert_true(cpus_shared(&conf, &host.cpus, 0)); /* two CPUs are too few for main as well */
	assert_int_equal(cpus_parse("0-5", &host.cpus), 0);
	assert_true(cpus_shared(&conf, &host.cpus, 0)); /* both float over all */
	snprintf(conf.cores[0].cpus, sizeof(conf.cores[0].cpus), "2");
	snprintf(conf.cores[1].cpus, sizeof(conf.cores[1].cpus), "3");
	assert_false(cpus_shared(&conf, &host.cpus, 0));
	assert_false(cpus_shared(&conf, &host.cpus, 1));
}

static void test_memory_grows_with_what_is_configured(void **state)
{
	uint32_t before;

	(void)state;
	assert_int_equal(build(), 0);
	before = args.memory_mb;
	conf.chunks = 65536; /* 256 MiB of bodies */
	assert_int_equal(build(), 0);
	assert_true(args.memory_mb >= before + 250);
	conf.memory_mb = 77;
	assert_int_equal(build(), 0);
	assert_int_equal(args.memory_mb, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_without_hugepages_memory_is_given, setup),
		cmocka_unit_test_setup(test_with_hugepages_they_are_used, setup),
		cmocka_unit_test_setup(test_main_floats_and_cores_go_where_they_are_told, setup),
		cmocka_unit_test_setup(test_each_kind_has_its_device, setup),
		cmocka_unit_test_setup(test_queues_are_at_most_one_for_each_core, setup),
		cmocka_unit_test_setup(test_a_large_mtu_gets_larger_frames, setup),
		cmocka_unit_test_setup(test_extra_arguments_are_split_at_spaces, setup),
		cmocka_unit_test_setup(test_errors_name_the_key, setup),
		cmocka_unit_test_setup(test_cpu_lists, setup),
		cmocka_unit_test_setup(test_a_core_alone_on_its_cpu_shares_nothing, setup),
		cmocka_unit_test_setup(test_memory_grows_with_what_is_configured, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
