/* SPDX-License-Identifier: BSD-3-Clause
 * The packet rings between cores. */
#include <errno.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "dataplane/io.h"

#define NEIGH_RING_SIZE 64         /* chosen: what is lost is asked again */
#define COPIES_PER_SEC  2000       /* chosen: answers of all neighbours at once, twice */
#define STRAYS_WINDOW   (1u << 20) /* frames between two looks at how many went astray */
#define STRAYS_PERCENT  1
#define SMALL_RING      64 /* below this the configured size is a test's, and holds here too */
#define RING_FLAGS      (RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ)

static struct rte_ring *ring_new(
	const char *what, unsigned from, unsigned to, unsigned size, int socket)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "%s.%u.%u", what, from, to);
	return rte_ring_create(name, size, socket, RING_FLAGS);
}

static int rings_of_pair(struct net *net, unsigned from, unsigned to, unsigned size)
{
	int socket = net->cores[to].socket;
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "neigh.%u.%u", from, to);
	net->frames[from][to] = ring_new("frames", from, to, size, socket);
	net->neighs[from][to] = rte_ring_create_elem(
		name, sizeof(struct neigh_msg), MIN(size, NEIGH_RING_SIZE), socket, RING_FLAGS);
	if (!net->frames[from][to] || !net->neighs[from][to])
		return -ENOMEM;
	ring_watch_add(&net->frames_watch[from][to], net->frames[from][to], RING_PACKET);
	ring_watch_add(&net->neighs_watch[from][to], net->neighs[from][to], RING_PACKET);
	return 0;
}

int dispatch_init(struct net *net, uint32_t ring_size)
{
	unsigned size = ring_size >= 1 && ring_size < SMALL_RING ? ring_size : PACKET_RING_SIZE;

	for (unsigned from = 0; from < net->core_count; from++) {
		for (unsigned to = 0; to < net->core_count; to++) {
			if (from != to && rings_of_pair(net, from, to, size) < 0)
				return -ENOMEM;
		}
		for (unsigned p = 0; p < net->port_count; p++) {
			if (net->ports[p].queue_of[from] != PORT_NO_QUEUE)
				continue;
			net->sends[from][p] =
				ring_new("sends", from, p, size, net->ports[p].socket);
			if (!net->sends[from][p])
				return -ENOMEM;
			ring_watch_add(
				&net->sends_watch[from][p], net->sends[from][p], RING_PACKET);
		}
	}
	return 0;
}

static void ring_unwatch(struct ring_watch *w)
{
	if (w->ring)
		ring_watch_remove(w);
}

static void ring_drain(struct rte_ring *r, struct ring_watch *w)
{
	void *m;

	ring_unwatch(w);
	while (r && rte_ring_sc_dequeue(r, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(r);
}

void dispatch_fini(struct net *net)
{
	for (unsigned from = 0; from < CORES_MAX; from++) {
		for (unsigned to = 0; to < CORES_MAX; to++) {
			ring_drain(net->frames[from][to], &net->frames_watch[from][to]);
			ring_unwatch(&net->neighs_watch[from][to]);
			rte_ring_free(net->neighs[from][to]);
		}
		for (unsigned p = 0; p < PORTS_MAX; p++)
			ring_drain(net->sends[from][p], &net->sends_watch[from][p]);
	}
	memset(net->frames, 0, sizeof(net->frames));
	memset(net->neighs, 0, sizeof(net->neighs));
	memset(net->sends, 0, sizeof(net->sends));
}

/* One frame or message into a ring between cores.  False: no room. */
static bool ring_put(struct rte_ring *r, struct ring_watch *w, void *element)
{
	unsigned room;
	bool put = rte_ring_sp_enqueue_bulk(r, &element, 1, &room) == 1;

	if (put)
		ring_watch_depth(w, rte_ring_get_capacity(r) - room);
	else
		ring_watch_drop(w, 1);
	return put;
}

/* At most so many a second: nobody shall fill the rings by talking to all. */
static bool copies_allowed(struct core_io *io)
{
	if (io->core->now_us >= io->copies_until_us) {
		io->copies_until_us = io->core->now_us + US_PER_SEC;
		io->copies_left = COPIES_PER_SEC;
	}
	if (io->copies_left == 0) {
		counter_inc(CTR_STEER_DROPPED);
		return false;
	}
	io->copies_left--;
	return true;
}

/* Each core sees it and takes what concerns it (steer_for_all). */
static void copy_to_others(struct core_io *io, unsigned port, const struct rte_mbuf *m)
{
	struct net *net = io->net;
	unsigned here = io->core->index;

	for (unsigned to = 0; to < net->core_count; to++) {
		if (to == here)
			continue;
		struct rte_mbuf *copy =
			rte_pktmbuf_copy(m, net->ports[port].rx_pool, 0, UINT32_MAX);
		if (copy)
			copy->port = (uint16_t)port;
		if (copy && ring_put(net->frames[here][to], &net->frames_watch[here][to], copy)) {
			waker_kick(&net->cores[to].waker);
		} else {
			rte_pktmbuf_free(copy);
			counter_inc(CTR_STEER_DROPPED);
		}
	}
}

/* A card that does not do what it says costs a ring for each frame: it should be known. */
static void note_strays(struct core_io *io, unsigned port, unsigned n, unsigned away)
{
	if (!io->net->ports[port].rss.on)
		return;
	io->seen += n;
	io->strays += away;
	counter_add(CTR_STEER_STRAYS, away);
	if (io->seen < STRAYS_WINDOW)
		return;
	if (io->strays * 100 > io->seen * STRAYS_PERCENT)
		log_warn("port",
			"strays name=%s frames=%llu of=%llu: the card's RSS is not as it says",
			io->net->ports[port].conf.name, (unsigned long long)io->strays,
			(unsigned long long)io->seen);
	io->seen = io->strays = 0;
}

unsigned dispatch_frames(struct core_io *io, unsigned port, struct rte_mbuf **frames, unsigned n)
{
	struct net *net = io->net;
	unsigned here = io->core->index, ours = 0, away = 0, dropped = 0;
	bool kick[CORES_MAX] = {false};

	if (net->core_count == 1)
		return n;
	for (unsigned i = 0; i < n; i++) {
		unsigned to = steer_owner(&net->steer, frames[i], here);
		if (to == here || to >= net->core_count) {
			if (unlikely(steer_for_all(frames[i])) && copies_allowed(io))
				copy_to_others(io, port, frames[i]);
			frames[ours++] = frames[i];
			continue;
		}
		frames[i]->port = (uint16_t)port;
		if (ring_put(net->frames[here][to], &net->frames_watch[here][to], frames[i])) {
			away++;
			kick[to] = true;
		} else {
			rte_pktmbuf_free(frames[i]);
			dropped++;
		}
	}
	note_strays(io, port, n, away + dropped);
	counter_add(CTR_STEER_OUT, away);
	counter_add(CTR_STEER_DROPPED, dropped);
	for (unsigned to = 0; away && to < net->core_count; to++) {
		if (kick[to])
			waker_kick(&net->cores[to].waker);
	}
	return ours;
}

bool dispatch_whole(struct core_io *io, unsigned port, struct rte_mbuf *m)
{
	struct net *net = io->net;
	unsigned here = io->core->index, to;

	if (net->ports[port].conf.vlan)
		rte_vlan_strip(m);
	to = steer_owner(&net->steer, m, here);
	if (to == here || to >= net->core_count)
		return false;
	m->port = (uint16_t)port;
	if (ring_put(net->frames[here][to], &net->frames_watch[here][to], m)) {
		counter_inc(CTR_STEER_OUT);
		waker_kick(&net->cores[to].waker);
	} else {
		rte_pktmbuf_free(m);
		counter_inc(CTR_STEER_DROPPED);
	}
	return true;
}

/* Frames of one ring to the stack, in runs of one port. */
static unsigned receive_frames(struct core_io *io, struct rte_ring *r, uint64_t now_us)
{
	struct rte_mbuf *frames[IO_BURST];
	unsigned n = rte_ring_sc_dequeue_burst(r, (void **)frames, IO_BURST, NULL), first = 0;

	for (unsigned i = 1; i <= n; i++) {
		if (i < n && frames[i]->port == frames[first]->port)
			continue;
		stack_input(
			io->core->stack, frames[first]->port, frames + first, i - first, now_us);
		first = i;
	}
	return n;
}

static unsigned receive_neighs(struct core_io *io, struct rte_ring *r)
{
	struct neigh_msg m;
	unsigned n = 0;

	while (n < NEIGH_RING_SIZE && rte_ring_sc_dequeue_elem(r, &m, sizeof(m)) == 0) {
		stack_neigh_add(io->core->stack, m.port, &m.ip, m.mac, m.confirmed);
		n++;
	}
	return n;
}

/* What cores without a queue want to send on ours, as far as the backlog has room; what stays in a
 * ring is the back-pressure. */
static unsigned receive_sends(struct core_io *io, unsigned port)
{
	struct net *net = io->net;
	struct rte_mbuf *frames[IO_BURST];
	unsigned work = 0;

	for (unsigned from = 0; from < net->core_count; from++) {
		if (!net->sends[from][port] || net->ports[port].via[from] != io->core->index)
			continue;
		unsigned max = MIN((unsigned)IO_BURST, tx_backlog_room(io, port));
		unsigned n = rte_ring_sc_dequeue_burst(
			net->sends[from][port], (void **)frames, max, NULL);
		for (unsigned i = 0; i < n; i++)
			tx_backlog_push(io, port, frames[i]);
		work += n;
	}
	return work;
}

unsigned dispatch_receive(struct core_io *io, uint64_t now_us)
{
	struct net *net = io->net;
	unsigned here = io->core->index, work = 0;

	if (net->core_count == 1)
		return 0;
	for (unsigned from = 0; from < net->core_count; from++) {
		if (from == here)
			continue;
		work += receive_neighs(io, net->neighs[from][here]);
		work += receive_frames(io, net->frames[from][here], now_us);
	}
	for (unsigned p = 0; p < net->port_count; p++)
		work += receive_sends(io, p);
	return work;
}

unsigned dispatch_send(struct core_io *io, unsigned port, struct rte_mbuf **frames, unsigned n)
{
	struct net *net = io->net;
	unsigned here = io->core->index, room;
	struct rte_ring *ring = net->sends[here][port];
	unsigned done = rte_ring_sp_enqueue_burst(ring, (void **)frames, n, &room);

	/* What did not go stays in the backlog and is not lost yet. */
	ring_watch_depth(&net->sends_watch[here][port], rte_ring_get_capacity(ring) - room);
	if (done)
		waker_kick(&net->cores[net->ports[port].via[here]].waker);
	return done;
}

void dispatch_neigh(struct core_io *io, unsigned port, const struct ip_addr *ip,
	const uint8_t mac[6], bool confirmed)
{
	struct net *net = io->net;
	struct neigh_msg m = {.ip = *ip, .port = (uint8_t)port, .confirmed = confirmed};

	memcpy(m.mac, mac, sizeof(m.mac));
	unsigned here = io->core->index;
	for (unsigned to = 0; to < net->core_count; to++) {
		if (to == here)
			continue;
		if (rte_ring_sp_enqueue_elem(net->neighs[here][to], &m, sizeof(m)) == 0) {
			waker_kick(&net->cores[to].waker);
		} else {
			ring_watch_drop(&net->neighs_watch[here][to], 1);
			counter_inc(CTR_STEER_DROPPED);
		}
	}
}
