/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/eal_args.h"
#include <dirent.h>
#include <errno.h>
#include <rte_common.h>
#include "dataplane/cpus.h"
#include "dataplane/pools.h"

#define HUGEPAGES_DIR      "/sys/kernel/mm/hugepages"
#define AF_PACKET_BLOCK    4096u /* a page; the driver wants blocks without a rest */
#define AF_PACKET_OVERHEAD 146u  /* the ring's header and Ethernet */
#define AF_PACKET_FRAMES   1024  /* chosen: 2 MiB each way; a burst of 1,000 frames finds room */

static uint64_t free_hugepages_of(const char *name)
{
	unsigned long long kib, pages = 0;
	char path[300];

	if (sscanf(name, "hugepages-%llukB", &kib) != 1)
		return 0;
	snprintf(path, sizeof(path), HUGEPAGES_DIR "/%s/free_hugepages", name);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * kib * 1024;
}

void eal_host_read(struct eal_host *host_r)
{
	DIR *dir = opendir(HUGEPAGES_DIR);
	struct dirent *e;

	*host_r = (struct eal_host){0};
	if (sched_getaffinity(0, sizeof(host_r->cpus), &host_r->cpus) < 0)
		CPU_SET(0, &host_r->cpus);
	while (dir && (e = readdir(dir)))
		host_r->free_huge_bytes += free_hugepages_of(e->d_name);
	if (dir)
		closedir(dir);
}

static void add(struct eal_args *a, const char *format, ...) PRINTF(2, 3);
static void add(struct eal_args *a, const char *format, ...)
{
	char *at = (char *)a->text.p + a->text.n;
	va_list ap;

	va_start(ap, format);
	buf_vprintf(&a->text, format, ap);
	va_end(ap);
	buf_byte(&a->text, '\0');
	if (a->argc == EAL_ARGS_MAX)
		a->text.overflow = true;
	if (!a->text.overflow)
		a->argv[a->argc++] = at;
}

void eal_port_name(const struct dataplane_conf *conf, unsigned i, char *out, size_t cap)
{
	static const char *const driver[] = {
		[PORT_TAP] = "net_tap",
		[PORT_AF_PACKET] = "net_af_packet",
		[PORT_AF_XDP] = "net_af_xdp",
		[PORT_MEMIF] = "net_memif",
		[PORT_RING] = "net_ring",
	};
	const struct port_conf *p = &conf->ports[i];

	if (p->kind == PORT_PCI || (p->kind == PORT_RING && p->device[0]))
		snprintf(out, cap, "%s", p->device);
	else
		snprintf(out, cap, "%s%u", driver[p->kind], i);
}

unsigned eal_af_packet_frame_bytes(const struct port_conf *p)
{
	unsigned n = p->mtu + AF_PACKET_OVERHEAD;

	return n <= 2048 ? 2048 : RTE_ALIGN_CEIL(n, AF_PACKET_BLOCK);
}

uint16_t port_queues_wanted(const struct dataplane_conf *conf, unsigned i)
{
	static const bool one_each[] = {[PORT_TAP] = true, [PORT_PCI] = true, [PORT_RING] = true};
	const struct port_conf *p = &conf->ports[i];
	unsigned n = p->queues                                            ? p->queues
		     : p->kind < ARRAY_LEN(one_each) && one_each[p->kind] ? conf->core_count
									  : 1;

	return (uint16_t)MIN(n, conf->core_count);
}

static void add_port(struct eal_args *a, const struct dataplane_conf *conf, unsigned i)
{
	const struct port_conf *p = &conf->ports[i];
	char name[80];

	eal_port_name(conf, i, name, sizeof(name));
	switch (p->kind) {
	case PORT_TAP:
		/* No mac=: it would give our address to the kernel's end of the cable. */
		add(a, "--vdev=%s,iface=%s", name, p->device);
		break;
	case PORT_AF_PACKET: {
		unsigned frame = eal_af_packet_frame_bytes(p);
		add(a, "--vdev=%s,iface=%s,qpairs=%u,blocksz=%u,framesz=%u,framecnt=%u", name,
			p->device, port_queues_wanted(conf, i),
			RTE_ALIGN_CEIL(frame, AF_PACKET_BLOCK), frame, AF_PACKET_FRAMES);
		break;
	}
	case PORT_AF_XDP:
		add(a, "--vdev=%s,iface=%s,queue_count=%u", name, p->device,
			port_queues_wanted(conf, i));
		break;
	case PORT_MEMIF:
		add(a, "--vdev=%s,%ssocket-abstract=no,socket=%s", name,
			strstr(p->device, "role=") ? "" : "role=server,", p->device);
		break;
	case PORT_RING:
		if (!p->device[0])
			add(a, "--vdev=%s", name);
		break;
	case PORT_PCI:
		add(a, "--allow=%s", p->device);
		break;
	}
}

static int check_port(const struct port_conf *p, char *error, size_t error_n)
{
	size_t limit = p->kind == PORT_TAP || p->kind == PORT_AF_PACKET || p->kind == PORT_AF_XDP
			       ? 15 /* IFNAMSIZ - 1 */
			       : sizeof(p->device) - 1;
	size_t n = strlen(p->device);

	/* A comma would add driver arguments; only memif takes them. */
	if ((n == 0 && p->kind != PORT_RING) || n > limit ||
		(p->kind != PORT_MEMIF && strpbrk(p->device, ", \t"))) {
		snprintf(error, error_n, "ports.%s.device: \"%s\" is not a device name", p->name,
			p->device);
		return -EINVAL;
	}
	return 0;
}

/* lcore 0 is main and floats over all our CPUs; the polling cores are lcores 1.. */
static int add_lcores(struct eal_args *a, const struct dataplane_conf *conf,
	const struct eal_host *host, char *error, size_t error_n)
{
	char list[1024], cpus[256];
	cpu_set_t set;
	struct buf b;

	buf_init(&b, list, sizeof(list));
	if (!cpus_format(&host->cpus, cpus, sizeof(cpus)))
		b.overflow = true;
	buf_printf(&b, "0@(%s)", cpus);
	for (unsigned i = 0; i < conf->core_count; i++) {
		if (cpus_of_core(&conf->cores[i], &host->cpus, &set) < 0) {
			snprintf(error, error_n,
				"cores[%u].cpus: \"%s\" names no CPU that we may use (%s)", i,
				conf->cores[i].cpus, cpus);
			return -EINVAL;
		}
		char own[256];
		if (!cpus_format(&set, own, sizeof(own)))
			b.overflow = true;
		buf_printf(&b, ",%u@(%s)", i + 1, own);
	}
	if (b.overflow)
		a->text.overflow = true;
	add(a, "--lcores=%.*s", (int)b.n, list);
	return 0;
}

static void add_memory(
	struct eal_args *a, const struct dataplane_conf *conf, const struct eal_host *host)
{
	a->memory_mb = conf->memory_mb ? conf->memory_mb : pools_memory_mb(conf);
	/* An eighth more: memory in hugepages is taken page by page. */
	a->hugepages = host->free_huge_bytes / 9 * 8 >= (uint64_t)a->memory_mb << 20;
	if (a->hugepages) {
		add(a, "--in-memory");
	} else {
		/* Without -m there would be 64 MB; --in-memory is refused with --no-huge. */
		add(a, "--no-huge");
		add(a, "-m");
		add(a, "%u", a->memory_mb);
		add(a, "--no-shconf");
	}
}

static void add_extra(struct eal_args *a, const char *extra)
{
	while (*extra) {
		size_t n = strcspn(extra, " \t");
		if (n)
			add(a, "%.*s", (int)n, extra);
		extra += n;
		extra += strspn(extra, " \t");
	}
}

int eal_args_build(const struct dataplane_conf *conf, const struct eal_host *host,
	struct eal_args *args_r, char *error, size_t error_n)
{
	struct eal_args *a = args_r;
	bool pci = false;

	*a = (struct eal_args){0};
	buf_init(&a->text, a->memory, sizeof(a->memory));
	if (conf->core_count == 0 || conf->core_count > CORES_MAX) {
		snprintf(error, error_n, "cores: 1 to %u are possible, not %u", CORES_MAX,
			conf->core_count);
		return -EINVAL;
	}
	for (unsigned i = 0; i < conf->port_count; i++) {
		if (check_port(&conf->ports[i], error, error_n) < 0)
			return -EINVAL;
		pci |= conf->ports[i].kind == PORT_PCI;
	}
	add(a, "bypostd");
	if (add_lcores(a, conf, host, error, error_n) < 0)
		return -EINVAL;
	add_memory(a, conf, host);
	if (!pci) {
		add(a, "--no-pci");
		add(a, "--iova-mode=va"); /* af_xdp wants each pool in one piece */
	}
	add(a, "--file-prefix=%s", conf->file_prefix[0] ? conf->file_prefix : "bypost");
	if (!conf->telemetry)
		add(a, "--no-telemetry");
	add(a, "--log-level=error");
	/* Misses a queueing discipline that only its flow rules need, and calls that an error. */
	add(a, "--log-level=pmd.net.tap:critical");
	for (unsigned i = 0; i < conf->port_count; i++)
		add_port(a, conf, i);
	add_extra(a, conf->eal_extra);
	if (a->text.overflow) {
		snprintf(error, error_n, "ports, cores, eal_extra: more than %d arguments for EAL",
			EAL_ARGS_MAX);
		return -EINVAL;
	}
	return 0;
}
