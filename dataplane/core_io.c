/* SPDX-License-Identifier: BSD-3-Clause
 * A core's receive and transmit paths.  Runs on the core. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>
#include "dataplane/base/counters.h"
#include "dataplane/io.h"

#define ETH_TAGGED_MIN (sizeof(struct rte_ether_hdr) + sizeof(struct rte_vlan_hdr))
#define NAP_FIRST_US   50
#define NAP_MAX_US     1000 /* where nothing tells of frames */

struct core_io *core_io_create(struct net *net, struct core *core)
{
	struct core_io *io = rte_zmalloc_socket("core_io", sizeof(*io), CACHE_LINE, core->socket);

	if (!io)
		return NULL;
	io->net = net;
	io->core = core;
	io->nap_us = NAP_FIRST_US;
	siphash_key_random(&io->rng_key);
	return io;
}

void core_io_destroy(struct core_io **io)
{
	if (!*io)
		return;
	for (unsigned p = 0; p < PORTS_MAX; p++) {
		struct tx_backlog *b = &(*io)->tx[p];
		for (; b->n; b->n--, b->head = (b->head + 1) % TX_BACKLOG_MAX)
			rte_pktmbuf_free(b->frames[b->head]);
	}
	rte_free(*io);
	*io = NULL;
}

/* ---- the stack's env ---- */

static void env_tx(void *ctx, unsigned port, struct rte_mbuf *m)
{
	tx_backlog_push(ctx, port, m);
}

/* A keyed PRF in counter mode: nobody without the key predicts the next value. */
static uint64_t env_random64(void *ctx)
{
	struct core_io *io = ctx;

	io->rng_counter++;
	return siphash24(&io->rng_key, &io->rng_counter, sizeof(io->rng_counter));
}

static void env_neigh_learned(
	void *ctx, unsigned port, const struct ip_addr *ip, const uint8_t mac[6], bool confirmed)
{
	dispatch_neigh(ctx, port, ip, mac, confirmed);
}

static bool env_comes_back(
	void *ctx, unsigned port, const struct endpoint *local, const struct endpoint *peer)
{
	const struct core_io *io = ctx;
	const struct port *p = &io->net->ports[port];

	return !p->rss.on ||
	       p->queue_core[rss_queue(&p->rss, rss_hash(&p->rss, peer, local))] == io->core->index;
}

static bool env_whole(void *ctx, unsigned port, struct rte_mbuf *m)
{
	return dispatch_whole(ctx, port, m);
}

static bool any_rss(const struct net *net)
{
	for (unsigned p = 0; p < net->port_count; p++) {
		if (net->ports[p].rss.on)
			return true;
	}
	return false;
}

void core_io_env(struct core_io *io, struct stack_env *env_r)
{
	env_r->ctx = io;
	env_r->tx = env_tx;
	env_r->random64 = env_random64;
	env_r->comes_back = any_rss(io->net) ? env_comes_back : NULL;
	env_r->neigh_learned = io->net->core_count > 1 ? env_neigh_learned : NULL;
	env_r->whole = io->net->core_count > 1 ? env_whole : NULL;
}

void core_io_capture(struct core_io *io, struct capture_ring *ring)
{
	io->capture = ring;
}

/* ---- transmit ---- */

/* A driver that cannot send chains would send what lies behind the first segment. */
static bool fit_driver(const struct port *port, struct rte_mbuf *m)
{
	if (likely(m->nb_segs == 1) || port->multi_segs)
		return true;
	return rte_mbuf_refcnt_read(m) == 1 && rte_pktmbuf_linearize(m) == 0;
}

void tx_backlog_push(struct core_io *io, unsigned port, struct rte_mbuf *m)
{
	struct tx_backlog *b = &io->tx[port];

	if (unlikely(b->n == TX_BACKLOG_MAX || !fit_driver(&io->net->ports[port], m))) {
		counter_inc(CTR_PORT_TX_DROPPED);
		rte_pktmbuf_free(m);
		return;
	}
	if (b->n == 0)
		b->moved_us = io->core->now_us;
	b->frames[(b->head + b->n++) % TX_BACKLOG_MAX] = m;
}

static uint64_t octets(struct rte_mbuf **frames, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += frames[i]->pkt_len;
	return sum;
}

/* Who has a queue: to it.  Octets are counted before the driver frees the frames. */
static unsigned queue_send(
	const struct port *port, uint16_t queue, struct rte_mbuf **frames, unsigned n)
{
	/* Devices differ in what they want to find where a checksum goes, and in what they cut. */
	if (port->csum_tcp)
		n = rte_eth_tx_prepare(port->id, queue, frames, (uint16_t)n);
	if (unlikely(n == 0)) {
		counter_inc(CTR_PORT_TX_DROPPED);
		rte_pktmbuf_free(frames[0]);
		return 1;
	}
	uint64_t all = octets(frames, n);
	unsigned done = rte_eth_tx_burst(port->id, queue, frames, (uint16_t)n);

	counter_add(CTR_PORT_TX_PACKETS, done);
	counter_add(CTR_PORT_TX_BYTES, done == n ? all : all - octets(frames + done, n - done));
	return done;
}

static unsigned captured_send(struct core_io *io, unsigned p, struct rte_mbuf **frames, unsigned n)
{
	const struct port *port = &io->net->ports[p];
	struct capture_sending s;

	capture_sending(&s, io->capture, p, frames, n);
	unsigned done = queue_send(port, port->queue_of[io->core->index], frames, n);
	capture_sent(&s, done);
	return done;
}

/* One piece of the circle that does not wrap; returns frames that left. */
static unsigned backlog_send(struct core_io *io, unsigned p)
{
	struct tx_backlog *b = &io->tx[p];
	const struct port *port = &io->net->ports[p];
	unsigned n = MIN(MIN(b->n, TX_BACKLOG_MAX - b->head), (unsigned)IO_BURST);
	uint8_t queue = port->queue_of[io->core->index];
	struct rte_mbuf **frames = b->frames + b->head;
	unsigned done;

	if (queue == PORT_NO_QUEUE)
		done = dispatch_send(io, p, frames, n);
	else if (unlikely(io->capture != NULL))
		done = captured_send(io, p, frames, n);
	else
		done = queue_send(port, queue, frames, n);

	b->head = (b->head + done) % TX_BACKLOG_MAX;
	b->n -= done;
	return done;
}

static void backlog_drop(struct tx_backlog *b)
{
	counter_add(CTR_PORT_TX_DROPPED, b->n);
	for (; b->n; b->n--, b->head = (b->head + 1) % TX_BACKLOG_MAX)
		rte_pktmbuf_free(b->frames[b->head]);
}

unsigned core_io_transmit(struct core_io *io, uint64_t now_us)
{
	unsigned work = 0;

	for (unsigned p = 0; p < io->net->port_count; p++) {
		struct tx_backlog *b = &io->tx[p];
		unsigned before = b->n, done = 1;
		while (b->n && done) {
			done = backlog_send(io, p);
			work += done;
		}
		if (b->n < before)
			b->moved_us = now_us;
		else if (b->n && now_us - b->moved_us > TX_STALLED_US)
			backlog_drop(b); /* link down: TCP asks again when it is up */
	}
	return work;
}

/* ---- receive ---- */

/* As a card does it, so that nobody behind need look for tags; frames without one stay. */
static void strip_tags(struct rte_mbuf **frames, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (!(frames[i]->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) &&
			frames[i]->data_len >= ETH_TAGGED_MIN)
			rte_vlan_strip(frames[i]);
	}
}

/* Each frame may make an answer: no new ones while the old answers have not left.  But who does not
 * take our answers may be waiting for us to take his (both ends of a memif): for that nobody waits
 * long, and what finds no room then is dropped. */
static bool held_back(const struct core_io *io, unsigned p, uint64_t now_us)
{
	return tx_backlog_room(io, p) < TX_BACKLOG_MAX / 2 &&
	       now_us - io->tx[p].moved_us < TX_HOLD_US;
}

static unsigned receive_port(struct core_io *io, unsigned p, uint64_t now_us)
{
	struct rte_mbuf *frames[IO_BURST];
	const struct port *port = &io->net->ports[p];
	uint8_t queue = port->queue_of[io->core->index];
	uint16_t n;

	if (queue == PORT_NO_QUEUE)
		return 0;
	if (held_back(io, p, now_us))
		return 0;
	n = rte_eth_rx_burst(port->id, queue, frames, IO_BURST);
	if (n == 0)
		return 0;
	counter_add(CTR_PORT_RX_PACKETS, n);
	counter_add(CTR_PORT_RX_BYTES, octets(frames, n));
	if (unlikely(io->capture != NULL))
		capture_received(io->capture, p, frames, n);
	if (unlikely(port->conf.vlan))
		strip_tags(frames, n);
	unsigned ours = dispatch_frames(io, p, frames, n);
	if (ours)
		stack_input(io->core->stack, p, frames, ours, now_us);
	return n;
}

unsigned core_io_receive(struct core_io *io, uint64_t now_us)
{
	unsigned work = 0;

	for (unsigned p = 0; p < io->net->port_count; p++)
		work += receive_port(io, p, now_us);
	return work + dispatch_receive(io, now_us);
}

/* ---- idle ---- */

void core_io_awake(struct core_io *io)
{
	io->nap_us = NAP_FIRST_US;
}

static bool backlogged(const struct core_io *io)
{
	for (unsigned p = 0; p < io->net->port_count; p++) {
		if (io->tx[p].n)
			return true;
	}
	return false;
}

static struct timespec timespec_of(uint64_t us)
{
	return (struct timespec){
		.tv_sec = (time_t)(us / US_PER_SEC), .tv_nsec = (long)(us % US_PER_SEC) * 1000};
}

/* An interface that went down reports an error, once it is asked; asking for it again and again
 * would be a busy loop. */
static bool clear_errors(const struct pollfd *fds, nfds_t n)
{
	bool found = false;

	for (nfds_t i = 1; i < n; i++) {
		int error;
		socklen_t len = sizeof(error);
		if (!(fds[i].revents & (POLLERR | POLLHUP | POLLNVAL)))
			continue;
		getsockopt(fds[i].fd, SOL_SOCKET, SO_ERROR, &error, &len);
		found = true;
	}
	return found;
}

void core_io_wait(struct core_io *io, uint64_t timeout_us)
{
	struct pollfd fds[PORTS_MAX + 1] = {
		{.fd = io->core->waker.fd, .events = POLLIN}
        };
	nfds_t n = 1;
	bool nap = backlogged(io);

	for (unsigned p = 0; p < io->net->port_count; p++) {
		const struct port *port = &io->net->ports[p];
		uint8_t queue = port->queue_of[io->core->index];
		if (queue == PORT_NO_QUEUE)
			continue;
		if (port->fds[queue] >= 0)
			fds[n++] = (struct pollfd){.fd = port->fds[queue], .events = POLLIN};
		else
			nap = true;
	}
	if (nap) {
		timeout_us = MIN(timeout_us, io->nap_us);
		io->nap_us = MIN(2 * io->nap_us, (uint64_t)NAP_MAX_US);
	}
	struct timespec ts = timespec_of(timeout_us);
	if (ppoll(fds, n, &ts, NULL) > 0 && clear_errors(fds, n)) {
		ts = timespec_of(MIN(timeout_us, (uint64_t)NAP_MAX_US));
		ppoll(fds, 1, &ts, NULL);
	}
}
