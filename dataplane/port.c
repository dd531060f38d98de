/* SPDX-License-Identifier: BSD-3-Clause
 * Probing, configuring and starting one port.  Main thread. */
#include "dataplane/port.h"
#include <errno.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include "dataplane/base/log.h"
#include "dataplane/eal_args.h"
#include "dataplane/io.h"
#include "dataplane/pools.h"

#define MTU_DEFAULT       1500
#define MTU_MIN           576   /* RFC 1122 3.3.3: what every host takes */
#define MTU_MAX           9000u /* chosen: what networks with jumbo frames use */
#define ETHERNET_OVERHEAD 18u   /* header and FCS, or header and VLAN tag */
#define VLAN_TAG          4u
/* A page, which is the largest chunk the kernel takes, less the object's header and mbuf (64 and
 * 128 octets), the head rooms of mbuf and kernel (128 and 256), and Ethernet.
 */
#define MTU_MAX_AF_XDP (4096u - 64 - 128 - 128 - 256 - ETHERNET_OVERHEAD)
#define TAP_IOVECS     2 /* the driver hands this many buffers to each readv() */

#define RX_CSUM (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)
#define TX_CSUM (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
/* Frames that the device cuts are chains, with a checksum in each piece. */
#define TX_TSO (TX_CSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)

static int port_probe(
	struct port *p, const struct dataplane_conf *conf, unsigned i, char *error, size_t error_n)
{
	char name[80], why[160];

	eal_port_name(conf, i, name, sizeof(name));
	if (rte_eth_dev_get_port_by_name(name, &p->id) == 0)
		return 0;
	port_explain(&p->conf, why, sizeof(why));
	snprintf(error, error_n, "ports.%s.device: \"%s\" did not start: %s", p->conf.name,
		p->conf.device, why);
	return -ENODEV;
}

/* Checksums in hardware are used where the device is hardware; a software driver would compute them
 * as slowly as the stack does, behind one copy more. */
static void port_choose_offloads(
	const struct port *p, const struct rte_eth_dev_info *info, struct rte_eth_conf *ec)
{
	ec->txmode.offloads |= info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	if (p->conf.kind == PORT_PCI || p->conf.software_offloads) {
		ec->rxmode.offloads |= info->rx_offload_capa & RX_CSUM;
		ec->txmode.offloads |= info->tx_offload_capa & TX_CSUM;
		if ((info->tx_offload_capa & TX_TSO) == TX_TSO)
			ec->txmode.offloads |= TX_TSO;
	}
	/* a tag that the device leaves on is taken off by the core */
	if (p->conf.kind == PORT_PCI && p->conf.vlan) {
		ec->rxmode.offloads |= info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
		ec->txmode.offloads |= info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
	}
}

/* After configuring, which fails when the device does not take one of them. */
static void port_note_offloads(
	struct port *p, const struct rte_eth_dev_info *info, const struct rte_eth_conf *on)
{
	uint16_t chain = info->tx_desc_lim.nb_seg_max; /* mbufs; 0: the driver does not say */
	struct buf b;

	if (on->txmode.offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO)
		p->tso_segments = MIN(chain ? chain - 1u : TSO_SEGMENTS_MAX, TSO_SEGMENTS_MAX);
	p->multi_segs = on->txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	p->rx_csum = (on->rxmode.offloads & RX_CSUM) == RX_CSUM;
	p->csum_ip = on->txmode.offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	p->tx_vlan = on->txmode.offloads & RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
	p->csum_tcp = on->txmode.offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	buf_init(&b, p->offloads, sizeof(p->offloads) - 1);
	buf_printf(&b, "rx checksums %s, tx checksums %s%s",
		p->conf.trust_rx_checksum ? "trusted"
		: p->rx_csum              ? "by device"
					  : "in software",
		p->csum_tcp ? "by device" : "in software", p->multi_segs ? ", chained frames" : "");
	if (p->tso_segments)
		buf_printf(&b, ", segmentation by device (%u)", p->tso_segments);
	if (p->conf.vlan)
		buf_printf(
			&b, ", vlan %u %s", p->conf.vlan, p->tx_vlan ? "by device" : "in software");
}

static int failed(const struct port *p, const char *what, int rc, char *error, size_t error_n)
{
	snprintf(error, error_n, "ports.%s: %s: %s", p->conf.name, what, rte_strerror(-rc));
	return rc < 0 ? rc : -EIO;
}

/* What the device carries.  af_xdp forgets that an object of a pool begins on a cache line;
 * af_packet says 1,500 and takes what its ring's frames hold. */
static uint16_t port_mtu_max(const struct port *p, const struct rte_eth_dev_info *info)
{
	uint32_t most = info->max_mtu ? info->max_mtu : MTU_DEFAULT;

	if (p->conf.kind == PORT_AF_PACKET)
		return MTU_MAX;
	uint32_t overhead = ETHERNET_OVERHEAD;
	if (p->conf.vlan && p->conf.kind != PORT_AF_XDP) /* its frames have no FCS */
		overhead += VLAN_TAG;
	if (info->max_rx_pktlen > overhead)
		most = MIN(most, info->max_rx_pktlen - overhead);
	if (p->conf.kind == PORT_AF_XDP)
		most = MIN(most, MTU_MAX_AF_XDP);
	return (uint16_t)MIN(most, MTU_MAX);
}

/* The mtu asked for, if the device can; the default is cut to what it can. */
static int port_set_mtu(
	struct port *p, const struct rte_eth_dev_info *info, char *error, size_t error_n)
{
	uint16_t most = port_mtu_max(p, info);
	uint16_t now;
	int rc;

	p->mtu = p->conf.mtu ? p->conf.mtu : MIN(most, (uint16_t)MTU_DEFAULT);
	if (p->mtu < MTU_MIN || p->mtu > most) {
		snprintf(error, error_n, "ports.%s.mtu: %u is not in %u..%u", p->conf.name, p->mtu,
			MTU_MIN, most);
		return -EINVAL;
	}
	if (rte_eth_dev_get_mtu(p->id, &now) == 0 && now == p->mtu)
		return 0;
	rc = p->conf.kind == PORT_AF_PACKET ? port_set_kernel_mtu(p->conf.device, p->mtu)
					    : rte_eth_dev_set_mtu(p->id, p->mtu);
	/* Drivers that cannot set it have what the interface has. */
	if (rc == -ENOTSUP && (!p->conf.mtu || p->conf.kind == PORT_RING))
		return 0;
	return rc == 0 ? 0 : failed(p, "mtu cannot be set", rc, error, error_n);
}

/* As many pairs of queues as wanted, if the device has them. */
static int port_count_queues(struct port *p, const struct dataplane_conf *conf, unsigned i,
	const struct rte_eth_dev_info *info, char *error, size_t error_n)
{
	uint16_t most = MIN(info->max_rx_queues, info->max_tx_queues);

	p->queues = port_queues_wanted(conf, i);
	if (p->conf.queues && p->queues > most) {
		snprintf(error, error_n, "ports.%s.queues: the device has %u, not %u", p->conf.name,
			most, p->queues);
		return -EINVAL;
	}
	p->queues = MAX(MIN(p->queues, most), (uint16_t)1);
	return 0;
}

/* Offloads are chosen for the whole port.  A driver's default for queues could bring others, above
 * all MBUF_FAST_FREE, which forgets that a segment sent is still on its retransmission queue. */
static int port_set_up_queue(struct port *p, const struct rte_eth_dev_info *info, uint16_t queue,
	char *error, size_t error_n)
{
	struct rte_eth_rxconf rxconf = info->default_rxconf;
	struct rte_eth_txconf txconf = info->default_txconf;
	uint16_t rx = RX_DESCRIPTORS, tx = TX_DESCRIPTORS;
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &rx, &tx);

	if (rc < 0)
		return failed(p, "queues", rc, error, error_n);
	rxconf.offloads = txconf.offloads = 0;
	if (p->conf.kind == PORT_TAP)
		rx = TAP_IOVECS;
	rc = rte_eth_rx_queue_setup(p->id, queue, rx, (unsigned)p->socket, &rxconf, p->rx_pool);
	if (rc < 0) {
		/* Where af_xdp meets the kernel first. */
		char why[160];
		port_explain(&p->conf, why, sizeof(why));
		snprintf(error, error_n, "ports.%s.device: \"%s\": receive queue %u: %s: %s",
			p->conf.name, p->conf.device, queue, rte_strerror(-rc), why);
		return rc;
	}
	rc = rte_eth_tx_queue_setup(p->id, queue, tx, (unsigned)p->socket, &txconf);
	return rc < 0 ? failed(p, "transmit queue", rc, error, error_n) : 0;
}

static int port_set_queues(struct port *p, const struct dataplane_conf *conf, unsigned i,
	const struct rte_eth_dev_info *info, char *error, size_t error_n)
{
	int rc = 0;

	p->rx_pool = pool_create_rx(conf, i, p->socket);
	if (!p->rx_pool) {
		snprintf(error, error_n, "ports.%s: no memory for frames: raise memory_mb",
			p->conf.name);
		return -ENOMEM;
	}
	for (uint16_t q = 0; q < p->queues && rc == 0; q++)
		rc = port_set_up_queue(p, info, q, error, error_n);
	return rc;
}

static bool mac_is_set(const uint8_t mac[6])
{
	static const uint8_t none[6];

	return memcmp(mac, none, 6) != 0;
}

/* A TAP is a cable with the kernel at the other end, and the driver's address is the kernel's: ours
 * is another one, the same at each start, so that neighbours need not learn it anew. */
static void mac_of_cable(const struct port *p, uint8_t mac[6])
{
	static const struct siphash_key key = {0x6279706f73740001u, 0x7461706d61630001u};
	uint8_t text[sizeof(p->conf.device) + sizeof(struct ip_addr)] = {0};
	uint64_t h;

	memcpy(text, p->conf.device, strlen(p->conf.device));
	memcpy(text + sizeof(p->conf.device), &p->conf.address[0].ip, sizeof(struct ip_addr));
	h = siphash24(&key, text, sizeof(text));
	memcpy(mac, &h, 6);
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 0x02); /* locally administered, unicast */
}

static bool has_v6(const struct port_conf *conf)
{
	bool found = false;

	for (unsigned i = 0; i < conf->address_count; i++)
		found |= !ip_is_v4(&conf->address[i].ip);
	return found;
}

/* Frames to groups, which neighbour discovery needs: all of them, the stack knows which are ours. A
 * driver without a filter for that takes all frames. */
static int port_set_groups(struct port *p, char *error, size_t error_n)
{
	int rc;

	if (!has_v6(&p->conf) || p->conf.kind == PORT_TAP || p->conf.kind == PORT_RING ||
		p->conf.kind == PORT_MEMIF)
		return 0; /* these have no filter */
	rc = rte_eth_allmulticast_enable(p->id);
	if (rc == -ENOTSUP)
		rc = rte_eth_promiscuous_enable(p->id);
	return rc < 0 ? failed(p, "groups for IPv6", rc, error, error_n) : 0;
}

static int port_set_mac(struct port *p, char *error, size_t error_n)
{
	struct rte_ether_addr mac;
	int rc;

	if (mac_is_set(p->conf.mac)) {
		memcpy(p->mac, p->conf.mac, 6);
	} else if (p->conf.kind == PORT_TAP) {
		mac_of_cable(p, p->mac);
	} else {
		rc = rte_eth_macaddr_get(p->id, &mac);
		if (rc < 0)
			return failed(p, "address", rc, error, error_n);
		memcpy(p->mac, mac.addr_bytes, 6);
		return port_set_groups(p, error, error_n);
	}
	if (p->mac[0] & 1) {
		snprintf(error, error_n, "ports.%s.mac: is a group address", p->conf.name);
		return -EINVAL;
	}
	/* Frames to an address that is not the interface's; a TAP gets all anyway. */
	rc = p->conf.kind == PORT_TAP || p->conf.kind == PORT_RING
		     ? 0
		     : rte_eth_promiscuous_enable(p->id);
	return rc < 0 ? failed(p, "mac: promiscuous mode", rc, error, error_n) : 0;
}

static int port_configure(
	struct port *p, const struct dataplane_conf *conf, unsigned i, char *error, size_t error_n)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf ec = {0};
	int rc = rte_eth_dev_info_get(p->id, &info);

	if (rc < 0)
		return failed(p, "device", rc, error, error_n);
	snprintf(p->driver, sizeof(p->driver), "%s", info.driver_name);
	p->socket = rte_eth_dev_socket_id(p->id);
	port_choose_offloads(p, &info, &ec);
	rc = port_count_queues(p, conf, i, &info, error, error_n);
	if (rc < 0)
		return rc;
	rss_request(&p->rss, &info, p->queues, &ec);
	ec.intr_conf.rxq = p->conf.kind == PORT_TAP; /* it tells which descriptor is whose */
	rc = rte_eth_dev_configure(p->id, p->queues, p->queues, &ec);
	if (rc < 0)
		return failed(p, "configuring", rc, error, error_n);
	port_note_offloads(p, &info, &ec);
	rc = port_set_mtu(p, &info, error, error_n);
	return rc < 0 ? rc : port_set_queues(p, conf, i, &info, error, error_n);
}

/* Several queues without RSS that we can predict are as well: frames are handed on. */
static void port_start_rss(struct port *p)
{
	const char *why = p->rss.reta_n ? rss_check(&p->rss, p->id, p->queues) : NULL;

	if (why)
		log_warn("port", "rss not-used name=%s why=\"%s\"", p->conf.name, why);
}

int port_open(
	struct port *p, const struct dataplane_conf *conf, unsigned i, char *error, size_t error_n)
{
	int rc;

	*p = (struct port){.conf = conf->ports[i]};
	rc = port_probe(p, conf, i, error, error_n);
	if (rc < 0)
		return rc;
	rc = port_configure(p, conf, i, error, error_n);
	if (rc < 0)
		return rc;
	rc = rte_eth_dev_start(p->id);
	if (rc < 0)
		return failed(p, "starting", rc, error, error_n);
	p->started = true;
	port_start_rss(p);
	rc = port_set_mac(p, error, error_n);
	if (rc < 0)
		return rc;
	port_find_fds(&p->conf, p->fds, p->queues);
	for (uint16_t q = 0; q < p->queues && p->conf.kind == PORT_TAP; q++)
		p->fds[q] = rte_eth_dev_rx_intr_ctl_q_get_fd(p->id, q);
	log_info("port", "started name=%s driver=%s device=%s mtu=%u queues=%u rss=%s idle=%s %s",
		p->conf.name, p->driver, p->conf.device, p->mtu, p->queues,
		p->rss.on ? "yes" : "no", p->fds[0] >= 0 ? "descriptor" : "naps", p->offloads);
	return 0;
}

void port_close(struct port *p)
{
	if (!p->started)
		return;
	rte_eth_dev_stop(p->id);
	rte_eth_dev_close(p->id);
	p->started = false;
}
