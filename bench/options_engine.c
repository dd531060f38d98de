/* SPDX-License-Identifier: BSD-3-Clause
 * Options of the engine. */
#include <stdio.h>
#include "bench/bench_options_priv.h"

static int parse_port(struct engine_conf *c, const char *text)
{
	static const struct {
		const char *name;
		enum port_kind kind;
	} kinds[] = {
		{"tap",       PORT_TAP      },
		{"af_packet", PORT_AF_PACKET},
		{"af_xdp",    PORT_AF_XDP   },
		{"memif",     PORT_MEMIF    },
		{"pci",       PORT_PCI      },
	};
	const char *comma = strchr(text, ',');

	snprintf(c->port.name, sizeof(c->port.name), "bench");
	for (unsigned i = 0; comma && i < ARRAY_LEN(kinds); i++) {
		if (strlen(kinds[i].name) == (size_t)(comma - text) &&
			strncmp(text, kinds[i].name, (size_t)(comma - text)) == 0) {
			c->port.kind = kinds[i].kind;
			c->port.discovery = kinds[i].kind != PORT_MEMIF; /* a cable */
			snprintf(c->port.device, sizeof(c->port.device), "%s", comma + 1);
			return 0;
		}
	}
	return value_bad("port KIND,DEVICE", text);
}

static int parse_host(struct engine_conf *c, const char *text)
{
	const char *slash = strchr(text, '/');
	struct ip_net *out = &c->port.address[c->port.address_count];
	uint64_t prefix;

	if (!slash || c->port.address_count == PORT_ADDRESSES_MAX ||
		ip_parse(bytes_make(text, (size_t)(slash - text)), &out->ip) < 0)
		return value_bad("address A/PREFIX", text);
	uint64_t most = ip_is_v4(&out->ip) ? 32 : 128;
	if (value_whole(slash + 1, "prefix", 0, most, &prefix) < 0)
		return -1;
	out->prefix = (uint8_t)(prefix + 128 - most);
	c->port.address_count++;
	return 0;
}

int engine_option(struct engine_conf *c, int opt, char *value)
{
	uint64_t n;

	switch (opt) {
	case OPT_ENGINE:
		c->dpdk = strcmp(value, "dpdk") == 0;
		return c->dpdk || strcmp(value, "kernel") == 0 ? 0 : value_bad("engine", value);
	case OPT_PORT:
		return parse_port(c, value);
	case OPT_ADDRESS:
		return parse_host(c, value);
	case OPT_GATEWAY:
		c->port.has_gateway = true;
		return ip_parse(bytes_str(value), &c->port.gateway) < 0
			       ? value_bad("address", value)
			       : 0;
	case OPT_MTU:
		if (value_whole(value, "mtu", 576, 9000, &n) < 0)
			return -1;
		c->port.mtu = (uint16_t)n;
		return 0;
	case OPT_MEMORY:
		return value_whole32(value, "megabytes", 1, UINT32_MAX, &c->memory_mb);
	case OPT_EAL_EXTRA:
		snprintf(c->eal_extra, sizeof(c->eal_extra), "%s", value);
		return 0;
	case OPT_CPUS:
		snprintf(c->cpus, sizeof(c->cpus), "%s", value);
		return 0;
	case OPT_WINDOW:
	case 'T':
		return value_whole32(value, "octets of window", 1, 1u << 30, &c->window);
	case OPT_IDLE:
		c->adaptive = strcmp(value, "adaptive") == 0;
		return c->adaptive || strcmp(value, "spin") == 0 ? 0 : value_bad("idle", value);
	default:
		return BENCH_UNKNOWN;
	}
}
