/* SPDX-License-Identifier: BSD-3-Clause
 * Ports and the packet rings between cores, as the core loop uses them.
 *
 * A port has pairs of queues, each polled by the core that owns it.  Whatever queue a frame comes
 * in on, it goes to the core that owns its flow, on a steering ring if need be; a core without a
 * queue of a port sends through a ring to one that has; a neighbour learned on one core goes to all
 * the others.  All these rings are SP/SC and may drop, which is counted: TCP repairs it. */
#pragma once
#include "dataplane/base/rt/ring_watch.h"
#include "dataplane/port.h"
#include "dataplane/rss.h"
#include "dataplane/stack.h"
#include "dataplane/capture.h"

struct rte_mempool;
struct rte_mbuf;
struct rte_ring;

#define IO_BURST         32
#define PORT_NO_QUEUE    0xff
#define PACKET_RING_SIZE 1024   /* chosen: a burst of every core fits */
#define TSO_SEGMENTS_MAX 32u    /* chosen: what every card with a ring of 512 takes with ease */
#define TSO_OCTETS_MAX   64000u /* an IP packet is at most 65,535 long, with its headers */
#define TX_BACKLOG_MAX   2048   /* frames that wait for a full queue, per port and core */
/* A port that took nothing for so long loses its backlog. */
#define TX_STALLED_US (100 * US_PER_MS)
/* While it took nothing for less than this, nothing is received from it.  Chosen: a few laps of a
 * busy core at the other end; what piles up meanwhile fits the rings. */
#define TX_HOLD_US 100

struct port {
	struct port_conf conf;
	uint16_t id; /* ethdev's */
	uint16_t mtu;
	uint16_t queues;
	uint8_t queue_core[CORES_MAX]; /* [queue]: index of the core that owns it */
	uint8_t queue_of[CORES_MAX];   /* [core]: its queue, or PORT_NO_QUEUE */
	uint8_t via[CORES_MAX];        /* [core]: who sends its frames; itself with a queue */
	int socket;
	bool started;
	bool multi_segs;                 /* the driver sends chained mbufs */
	bool csum_ip, csum_tcp, rx_csum; /* done by the device */
	uint32_t tso_segments;           /* the device cuts frames of so many; 0: it does not */
	bool tx_vlan;                    /* and the VLAN tag put in */
	struct rss rss;                  /* on: flows come in where it says */
	int fds[CORES_MAX];              /* [queue]: readable when there are frames; -1: none */
	uint8_t mac[6];
	struct rte_mempool *rx_pool;
	char driver[32], offloads[128];
};

/* Frames on their way to a port: to its queue, or to the ring of the core that owns it. */
struct tx_backlog {
	struct rte_mbuf *frames[TX_BACKLOG_MAX]; /* a circle */
	unsigned head, n;
	uint64_t moved_us; /* when the port last took one */
};

struct neigh_msg {
	struct ip_addr ip;
	uint8_t mac[6];
	uint8_t port;
	bool confirmed; /* it answered; or it has only asked for us */
};
static_assert(sizeof(struct neigh_msg) == 24, "element of a ring: a multiple of 4");

/* All ports and rings: read-only after start, but for the rings. */
struct net {
	struct port ports[PORTS_MAX];
	unsigned port_count;
	struct core *cores; /* [core_count] */
	unsigned core_count;
	struct steer_table steer;
	struct siphash_key steer_key;
	struct rte_ring *frames[CORES_MAX][CORES_MAX]; /* [from][to]: received, steered */
	struct rte_ring *sends[CORES_MAX][PORTS_MAX];  /* [from]: to a core with a queue */
	struct rte_ring *neighs[CORES_MAX][CORES_MAX]; /* [from][to]: struct neigh_msg */
	struct ring_watch frames_watch[CORES_MAX][CORES_MAX], neighs_watch[CORES_MAX][CORES_MAX];
	struct ring_watch sends_watch[CORES_MAX][PORTS_MAX];
};

/* One core's side.  OWNER: that core. */
struct core_io {
	struct net *net;
	struct core *core;
	struct siphash_key rng_key;
	uint64_t rng_counter;
	uint64_t copies_until_us; /* copies_left holds until then */
	uint32_t copies_left;
	uint64_t seen, strays; /* frames of ports with RSS, and those the card put elsewhere */
	struct capture_ring *capture; /* frames are copied there; NULL: not */
	uint64_t nap_us;              /* next sleep where no descriptor tells of frames */
	struct tx_backlog tx[PORTS_MAX];
};

/* ---- main thread, before the cores run ---- */

/* Probe result of port i checked, configured and started.  0 or -errno, error[] names the key. */
int port_open(struct port *p, const struct dataplane_conf *conf, unsigned i, char *error,
	size_t error_n) WARN_UNUSED;
void port_close(struct port *p);
/* For each of n queues the descriptor of this process that becomes readable when the kernel has
 * frames for it, or -1; makes a TAP's descriptors stop sending signals. */
void port_find_fds(const struct port_conf *conf, int *fds, unsigned n);
/* Sets the interface's MTU.  Returns 0 or -errno. */
int port_set_kernel_mtu(const char *device, uint16_t mtu) WARN_UNUSED;
/* Takes the XDP program, if there is one, off an interface (xdp.c).  Returns 0 or -errno. */
int xdp_detach(const char *device) WARN_UNUSED;
/* Why a device may be missing, from asking the kernel for what its driver needs. */
void port_explain(const struct port_conf *conf, char *out, size_t cap);
/* For port_get_info. */
void port_info_register(const struct net *net);

/* Rings between the cores.  0 or -ENOMEM. */
int dispatch_init(struct net *net, uint32_t ring_size) WARN_UNUSED;
void dispatch_fini(struct net *net);

struct core_io *core_io_create(struct net *net, struct core *core);
void core_io_destroy(struct core_io **io);
/* The stack's env: tx, randomness, neighbours. */
void core_io_env(struct core_io *io, struct stack_env *env_r);

/* ---- the core, each lap; they return work done ---- */

unsigned core_io_receive(struct core_io *io, uint64_t now_us);
unsigned core_io_transmit(struct core_io *io, uint64_t now_us);
/* The core: copy frames into ring from now on; NULL: no more. */
void core_io_capture(struct core_io *io, struct capture_ring *ring);
/* Sleep until there are frames, a kick, or timeout_us have passed.  After waker_begin. */
void core_io_wait(struct core_io *io, uint64_t timeout_us);
/* Work was found: naps begin short again. */
void core_io_awake(struct core_io *io);

/* ---- between cores (dispatch.c) ---- */

/* Frames received on port: gives those of other cores away, leaves ours in frames[]; returns how
 * many are left. */
unsigned dispatch_frames(struct core_io *io, unsigned port, struct rte_mbuf **frames, unsigned n);
/* What other cores have sent us: frames to the stack, neighbours, frames for our ports. */
unsigned dispatch_receive(struct core_io *io, uint64_t now_us);
/* Up to n frames towards a core with a queue of port; returns how many were taken. */
unsigned dispatch_send(struct core_io *io, unsigned port, struct rte_mbuf **frames, unsigned n);
/* A packet was put together from fragments: false, and m stays the caller's, when it is for this
 * core. */
bool dispatch_whole(struct core_io *io, unsigned port, struct rte_mbuf *m);
void dispatch_neigh(struct core_io *io, unsigned port, const struct ip_addr *ip,
	const uint8_t mac[6], bool confirmed);

/* Queue a frame for port; takes it, also when the backlog is full (counted). */
void tx_backlog_push(struct core_io *io, unsigned port, struct rte_mbuf *m);
static inline unsigned tx_backlog_room(const struct core_io *io, unsigned port)
{
	return TX_BACKLOG_MAX - io->tx[port].n;
}
